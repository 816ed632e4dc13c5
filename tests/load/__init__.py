"""Open-loop load over HTTP and gRPC that says which answers were lost; for the e2e tests and the demo."""

from load.binomial import binomial_interval
from load.generator import Load
from load.payload import Target, image_payloads
from load.report import Counters, LoadReport, Outcome, Record
from load.thread import LoadThread

__all__ = [
    "Counters",
    "Load",
    "LoadReport",
    "LoadThread",
    "Outcome",
    "Record",
    "Target",
    "binomial_interval",
    "image_payloads",
]
