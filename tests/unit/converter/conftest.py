"""Imported before any test: no test may let onnxruntime report usage over the network."""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
