"""What every suite needs before anything is imported."""

import os

# onnxruntime reads this once, when it is imported; tests report nothing to anybody.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
