"""Runs in an environment with a framework: make small networks, convert them as the Job would, print what came out.

`python walk.py torch|tensorflow FOLDER` prints one JSON object per case. It runs there and not in the development
environment, so that what is tested is the lock of the image.
"""

import json
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from visionmodel_contract.conversion import SourceInput, SourceRequest
from visionmodel_converter.failures import ConversionFailure
from visionmodel_converter.formats.confinement import Limits
from visionmodel_converter.formats.detect import detect
from visionmodel_converter.formats.load import Surroundings, load_as_onnx
from visionmodel_converter.graph.limits import limits_of

SIZE = 32
IMAGE = SourceInput(name="image", dims=(-1, 3, SIZE, SIZE))


@dataclass(frozen=True)
class Case:
    """A source that `make` writes below a folder, and what the request says about it."""

    name: str
    make: Callable[[Path], Path]
    declared: str | None = None
    inputs: tuple[SourceInput, ...] = ()
    trust: bool = True


def convert(case: Case, folder: Path) -> dict[str, Any]:
    """Return what happened, ready for JSON."""
    here = folder / case.name
    (here / "work").mkdir(parents=True)
    request = SourceRequest(uri=case.name, format=case.declared, inputs=case.inputs, trust_pickle=case.trust)
    source = case.make(here)
    around = Surroundings(here / "work", Limits(), 1, limits_of(onnxruntime.__version__))
    start = time.monotonic()
    try:
        found = detect(source, shown=case.name, declared=case.declared, trust_pickle=case.trust)
        loaded = load_as_onnx(source, found, request, around, shown=case.name)
    except ConversionFailure as failure:
        return {"case": case.name, "reason": failure.reason, "message": failure.message}
    model = loaded.model
    return {
        "case": case.name,
        "format": found,
        "seconds": round(time.monotonic() - start, 1),
        "difference": loaded.difference,
        "opset": model.opset,
        "nodes": model.nodes,
        "inputs": [[spec.name, list(spec.dims)] for spec in model.inputs],
        "outputs": [[spec.name, list(spec.dims)] for spec in model.outputs],
    }


# --- torch ----------------------------------------------------------------------------------------------------


def torch_net() -> Any:
    """A conv net with a batch norm, a mean and two outputs' worth of arithmetic."""
    import torch

    class Net(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
            self.norm = torch.nn.BatchNorm2d(8)
            self.head = torch.nn.Linear(8, 5)

        def forward(self, image):  # type: ignore[no-untyped-def]
            features = torch.relu(self.norm(self.conv(image)))
            return torch.softmax(self.head(features.mean((2, 3))), 1)

    torch.manual_seed(1)
    return Net().eval()


def traced(folder: Path) -> Path:
    """A trace at batch 2."""
    import torch

    torch.jit.trace(torch_net(), torch.rand(2, 3, SIZE, SIZE)).save(str(folder / "traced.pt"))
    return folder / "traced.pt"


def scripted(folder: Path) -> Path:
    """A script of a function, because a module must be importable to be scripted."""
    import torch

    module = torch.jit.freeze(torch.jit.trace(torch_net(), torch.rand(2, 3, SIZE, SIZE)))
    module.save(str(folder / "frozen.pt"))
    return folder / "frozen.pt"


def exported(folder: Path) -> Path:
    """A torch.export program with a dynamic batch, and dynamic height and width."""
    import torch

    batch, height, width = (
        torch.export.Dim(name, min=1 if name == "batch" else 4, max=512) for name in ("batch", "height", "width")
    )
    example = torch.rand(2, 3, SIZE, SIZE + 8)
    program = torch.export.export(torch_net(), (example,), dynamic_shapes={"image": {0: batch, 2: height, 3: width}})
    torch.export.save(program, str(folder / "net.pt2"))
    return folder / "net.pt2"


def static_export(folder: Path) -> Path:
    """A program whose batch is fixed."""
    import torch

    torch.export.save(torch.export.export(torch_net(), (torch.rand(2, 3, SIZE, SIZE),)), str(folder / "static.pt2"))
    return folder / "static.pt2"


def future_export(folder: Path) -> Path:
    """A program that says it is of a schema that no torch has yet."""
    source, target = exported(folder), folder / "future.pt2"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            data = old.read(info)
            if info.filename.endswith("models/model.json"):
                document = json.loads(data)
                document["schema_version"]["major"] = 999
                data = json.dumps(document).encode()
            new.writestr(info.filename, data)
    return target


def hostile_export(folder: Path) -> Path:
    """A program whose example inputs are a pickle that would write a file: the safe unpickler has to refuse it."""
    import io

    import torch

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return (exec, (f"open({str(folder / 'pwned')!r}, 'w').close()",))

    buffer = io.BytesIO()
    torch.save((Payload(),), buffer)
    source, target = exported(folder), folder / "hostile.pt2"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            hostile = info.filename.endswith("sample_inputs/model.pt")
            new.writestr(info.filename, buffer.getvalue() if hostile else old.read(info))
    return target


def state_dict(folder: Path) -> Path:
    """Weights alone."""
    import torch

    torch.save(torch_net().state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


TORCH = (
    Case("traced", traced, "torchscript", (IMAGE,)),
    Case("frozen", scripted, "torchscript", (IMAGE,)),
    Case("wrong-shape", traced, "torchscript", (SourceInput(name="image", dims=(-1, 4, SIZE, SIZE)),)),
    Case("exported", exported, "torch-export"),
    Case("static-batch", static_export, "torch-export"),
    Case("future", future_export, "torch-export"),
    Case("hostile", hostile_export, "torch-export"),
    Case("state-dict", state_dict),
    Case("untrusted", traced, "torchscript", (IMAGE,), trust=False),
)


# --- TensorFlow -----------------------------------------------------------------------------------------------


def keras_net() -> Any:
    """The same network in Keras, channels last."""
    import keras

    keras.utils.set_random_seed(1)
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(8, 3, strides=2, padding="same")(image)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, keras.layers.Dense(5, activation="softmax", name="scores")(x))


def saved_as(name: str) -> Callable[[Path], Path]:
    """The network by model.save under a name."""

    def make(folder: Path) -> Path:
        keras_net().save(folder / name)
        return folder / name

    return make


def sequential(folder: Path) -> Path:
    """A Sequential model, which tf2onnx's own Keras reader cannot read."""
    import keras

    layers = [keras.Input((SIZE, SIZE, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten(), keras.layers.Dense(2)]
    keras.Sequential(layers).save(folder / "sequential.keras")
    return folder / "sequential.keras"


def lambda_h5(folder: Path) -> Path:
    """A Lambda layer in HDF5."""
    import keras

    image = keras.Input((SIZE, SIZE, 3))
    twice = keras.layers.Lambda(lambda tensor: tensor * 2, name="twice")(image)
    keras.Model(image, keras.layers.Flatten()(twice)).save(folder / "lambda.h5")
    return folder / "lambda.h5"


def weights_h5(folder: Path) -> Path:
    """Weights alone."""
    keras_net().save_weights(folder / "net.weights.h5")
    return folder / "net.weights.h5"


def saved_model_folder(folder: Path) -> Path:
    """A SavedModel as Keras exports it."""
    keras_net().export(str(folder / "saved"))
    return folder / "saved"


def saved_model_archive(folder: Path) -> Path:
    """The same, packed below a version folder as TensorFlow Serving wants it."""
    root, target = saved_model_folder(folder), folder / "saved.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for file in root.rglob("*"):
            archive.write(file, Path("1") / file.relative_to(root))
    return target


def traversal_archive(folder: Path) -> Path:
    """An archive that would write beside the folder it is unpacked to."""
    target = folder / "traversal.zip"
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("m/saved_model.pb", b"")
        archive.writestr("../../../evil", b"x")
    return target


def python_function(folder: Path) -> Path:
    """A SavedModel that would call Python."""
    import tensorflow as tf

    class Net(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])
        def __call__(self, x):  # type: ignore[no-untyped-def]
            return tf.ensure_shape(tf.py_function(lambda value: value * 2, [x], tf.float32), (None, 4))

    tf.saved_model.save(Net(), str(folder / "python"))
    return folder / "python"


def flatbuffer(folder: Path) -> Path:
    """TFLite by TensorFlow's converter."""
    import tensorflow as tf

    data = tf.lite.TFLiteConverter.from_saved_model(str(saved_model_folder(folder))).convert()
    (folder / "net.tflite").write_bytes(data)
    return folder / "net.tflite"


def custom_flatbuffer(folder: Path) -> Path:
    """A TFLite file whose network needs an operator of TensorFlow."""
    import tensorflow as tf

    class Net(tf.Module):  # type: ignore[misc]
        @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])
        def __call__(self, x):  # type: ignore[no-untyped-def]
            return tf.math.bessel_i0e(x)

    net = Net()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([net.__call__.get_concrete_function()], net)
    converter.allow_custom_ops = True
    (folder / "custom.tflite").write_bytes(converter.convert())
    return folder / "custom.tflite"


def truncated_flatbuffer(folder: Path) -> Path:
    """The first third of a TFLite file."""
    source = flatbuffer(folder)
    data = source.read_bytes()
    (folder / "cut.tflite").write_bytes(data[: len(data) // 3])
    return folder / "cut.tflite"


TENSORFLOW = (
    Case("keras", saved_as("net.keras"), "keras", trust=False),
    Case("hdf5", saved_as("net.h5"), "keras", trust=False),
    Case("sequential", sequential, "keras", trust=False),
    Case("saved-model", saved_model_folder, "tensorflow-savedmodel", trust=False),
    Case("saved-model-archive", saved_model_archive, trust=False),
    Case("tflite", flatbuffer, "tflite", trust=False),
    Case("lambda", lambda_h5, trust=False),
    Case("weights-only", weights_h5, trust=False),
    Case("traversal", traversal_archive, trust=False),
    Case("python-function", python_function, trust=False),
    Case("custom-operator", custom_flatbuffer, trust=False),
    Case("truncated-tflite", truncated_flatbuffer, trust=False),
)


def main(arguments: list[str]) -> None:
    """Run every case of one framework."""
    framework, folder = arguments
    for case in {"torch": TORCH, "tensorflow": TENSORFLOW}[framework]:
        print(json.dumps(convert(case, Path(folder))), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
