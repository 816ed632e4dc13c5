"""Quantises model.onnx with NVIDIA Model Optimizer; a script for another Python that imports nothing of ours.

`python -I modelopt_child.py FOLDER METHOD` reads model.onnx there, and calibration.json, which names an .npy file for
each input; it writes quantised.onnx and version.txt. Samples are mapped into memory, as all of them need not fit there.
ModelOpt pins other versions of onnx and onnxruntime than the converter and brings a CUDA build of torch, hence the
environment of its own; it runs on the CPU alone.
"""

import json
import sys
from pathlib import Path

import modelopt
import numpy as np
from modelopt.onnx.quantization import quantize


def main(folder: Path, method: str) -> None:
    """Quantise to INT8 beside FP32: FP16 is a precision of its own, to be asked for and proven."""
    files = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
    samples = {name: np.load(folder / file, mmap_mode="r") for name, file in files.items()}
    quantize(
        str(folder / "model.onnx"),
        quantize_mode="int8",
        calibration_data=samples,
        calibration_method=method,
        calibration_eps=["cpu"],
        high_precision_dtype="fp32",
        output_path=str(folder / "quantised.onnx"),
        log_level="WARNING",
    )
    (folder / "version.txt").write_text(str(modelopt.__version__), encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
