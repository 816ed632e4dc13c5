"""`python -m load`: bounded open-loop load against one model, with a verdict in the exit status."""

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Final

import numpy as np

from load.generator import Load
from load.payload import Image, Target
from load.report import LoadReport
from load.thread import LoadThread

EXIT_OK: Final = 0
EXIT_LOST: Final = 1
EXIT_VOID: Final = 3


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    made = argparse.ArgumentParser(
        prog="python -m load",
        description="Send Open Inference Protocol v2 requests at a fixed rate, without retries.",
        epilog="Exit status: 0 nothing lost, 1 requests lost, 2 usage, 3 void (the generator was over 1 s late).",
    )
    made.add_argument("url", help="http://host:port or grpc://host:port")
    made.add_argument("model", help="name of the model")
    made.add_argument("--rate", type=float, required=True, help="requests per second")
    made.add_argument("--seconds", type=float, required=True, help="longest time to send")
    made.add_argument("--requests", type=int, required=True, help="most requests to send")
    made.add_argument("--host", help="Host header, or :authority over gRPC")
    made.add_argument("--canary", help="revision whose own failures are not losses")
    made.add_argument("--timeout", type=float, default=5.0, help="seconds after which a request has failed")
    made.add_argument("--input", default="images", help="name of the input tensor")
    made.add_argument("--shape", default="1,3,64,64", help="shape of the input tensor, with the batch axis")
    made.add_argument("--dtype", default="float32", help="numpy type of the input tensor")
    made.add_argument("--images", help="module:function that gives the array of image i, instead of a pattern")
    made.add_argument("--json-tensors", action="store_true", help="numbers in JSON instead of bytes (HTTP)")
    made.add_argument("--json", action="store_true", help="print the report as JSON")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run to the end or to an interrupt and return the exit status."""
    chosen = parser().parse_args(arguments)
    try:
        target = Target(chosen.url, chosen.model, chosen.input, chosen.host, not chosen.json_tensors, chosen.timeout)
        images = _function(chosen.images) if chosen.images else _pattern(chosen.shape, chosen.dtype)
        load = Load(target, chosen.rate, images, max_requests=chosen.requests, max_seconds=chosen.seconds)
    except (ValueError, TypeError, ImportError, AttributeError) as wrong:
        print(f"python -m load: {wrong}", file=sys.stderr)
        return 2
    thread = LoadThread(load)
    thread.start()
    try:
        while not thread.join(1.0):
            live = thread.counters()
            print(f"sent {live.sent}, answered {live.answered}, failed {live.failed}", file=sys.stderr)
    except KeyboardInterrupt:
        thread.stop()
    return _exit_of(thread.report(canary=chosen.canary), as_json=chosen.json)


def _exit_of(report: LoadReport, *, as_json: bool) -> int:
    print(json.dumps({**asdict(report), "void": report.void}) if as_json else report)
    return EXIT_VOID if report.void else EXIT_LOST if report.lost else EXIT_OK


def _function(name: str) -> Callable[[int], Image]:
    module, _, attribute = name.partition(":")
    found: Callable[[int], Image] = getattr(importlib.import_module(module), attribute)
    return found


def _pattern(shape: str, dtype: str) -> Callable[[int], Image]:
    """Return a function that gives a moving ramp of bytes, scaled to 0..1 for floating types."""
    dims, kind = tuple(int(axis) for axis in shape.split(",")), np.dtype(dtype)

    def image(index: int) -> Image:
        ramp = (np.arange(int(np.prod(dims))) + 17 * index) % 256
        return (ramp / 255 if kind.kind == "f" else ramp).astype(kind).reshape(dims)

    return image


if __name__ == "__main__":
    sys.exit(main())
