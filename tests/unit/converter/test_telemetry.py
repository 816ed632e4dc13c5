"""onnxruntime's usage reports are off in every process of the converter, whatever its environment says."""

import os
import subprocess
import sys


def test_importing_the_converter_turns_reports_off() -> None:
    program = "import os, visionmodel_converter; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    clean = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    clean["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path.endswith("operator"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=clean)
    assert done.stdout.strip() == "1"
