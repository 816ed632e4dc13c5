"""Makes model.tflite of model.onnx with onnx2tf and runs it; a script for another Python that imports nothing of ours.

`python -I tflite_child.py FOLDER` reads model.onnx and inputs.npz there ("<index>:<input>", one sample each) and writes
model.tflite, outputs.npz ("<index>:<output>") and runtime.txt. onnx2tf pins other versions of onnx, onnxruntime and
numpy than the converter and brings TensorFlow, hence the environment of its own.
"""

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np


def convert(folder: Path) -> Path:
    """Return the flatbuffer: FP32, one sample, channels last."""
    module: Any = importlib.import_module("onnx2tf.onnx2tf")
    # For images it would fetch twenty photos from the project's releases, to compare layers by; noise does as well.
    module.download_test_image_data = lambda: np.random.default_rng(0).random((20, 128, 128, 3), np.float32)
    module.convert(
        input_onnx_file_path=str(folder / "model.onnx"),
        output_folder_path=str(folder / "onnx2tf"),
        batch_size=1,
        output_signaturedefs=True,  # which keep the names of inputs and outputs
        non_verbose=True,
        verbosity="error",
    )
    return (folder / "onnx2tf" / "model_float32.tflite").rename(folder / "model.tflite")


def laid_out(array: Any, shape: tuple[int, ...], name: str) -> Any:
    """Return a channels-first array in the layout of the flatbuffer's input."""
    last = np.moveaxis(array, 1, -1) if array.ndim > 2 else array
    for candidate in (last, array):
        if candidate.shape == shape:
            return np.ascontiguousarray(candidate)
    raise SystemExit(f"input {name!r} became {list(shape)}, which is no layout of {list(array.shape)}")


def main(folder: Path) -> None:
    """Convert, run, write."""
    path = convert(folder)
    tensorflow = importlib.import_module("tensorflow")
    runner = tensorflow.lite.Interpreter(model_path=str(path)).get_signature_runner()
    details = runner.get_input_details()
    samples: dict[str, dict[str, Any]] = {}
    with np.load(folder / "inputs.npz") as stored:
        for key in stored.files:
            index, _, name = key.partition(":")
            if name not in details:
                raise SystemExit(f"input {name!r} was renamed to one of {sorted(details)}; export it with a plain name")
            samples.setdefault(index, {})[name] = laid_out(stored[key], tuple(details[name]["shape"]), name)
    outputs = {
        f"{index}:{name}": found for index, inputs in samples.items() for name, found in runner(**inputs).items()
    }
    np.savez(folder / "outputs.npz", **outputs)
    (folder / "runtime.txt").write_text(f"tensorflow lite {tensorflow.__version__}", encoding="ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
