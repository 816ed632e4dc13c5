"""The conversion Job: runs in its own image; imports the contract, never the operator."""

import os

# Here, because it must be set before onnxruntime is first imported, wherever that happens: its wheels report
# usage to their maker unless this is set. The images set it too.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
