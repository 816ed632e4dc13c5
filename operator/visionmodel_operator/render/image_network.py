"""Whether a network can stand in an image ensemble: its input's size, and which of its outputs the decoder reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from visionmodel_contract.report import ArtifactInfo, TensorSpec
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.spec import ColorSpace, Decoder, ImageInput, Layout, Task
from visionmodel_operator.core.image_task import decoder_of
from visionmodel_operator.errors import UserError

CHANNELS: Final = {ColorSpace.RGB: 3, ColorSpace.BGR: 3, ColorSpace.GRAY: 1}
BOX: Final = 4
MAX_MASK_CLASSES: Final = 255
"""A mask has a byte per pixel, and one value says that there is no class."""


@dataclass(frozen=True)
class ImageNetwork:
    """A network between the two steps.

    Attributes:
        channels, height, width: of its input; the latter in pixels.
        input: its input.
        outputs: its outputs by the names that the decoder has for them.
    """

    channels: int
    height: int
    width: int
    input: TensorSpec
    outputs: Mapping[str, TensorSpec]

    def input_dims(self, layout: Layout) -> tuple[int, ...]:
        """Return the input's shape without the batch axis."""
        if layout == Layout.NCHW:
            return (self.channels, self.height, self.width)
        return (self.height, self.width, self.channels)


def image_network(task: Task, artifact: ArtifactInfo) -> ImageNetwork:
    """Return the network as the ensemble sees it.

    Raises:
        UserError: its tensors are not those of an image network with this decoder, or task.input disagrees.
    """
    wanted = task.input or ImageInput()
    if len(artifact.inputs) != 1:
        raise _refused(f"an image task needs a model with one input, this one has {len(artifact.inputs)}")
    (tensor,) = artifact.inputs
    if tensor.dtype != wanted.dtype:
        raise _refused(f"input {tensor.name!r} has type {tensor.dtype}, not {wanted.dtype}")
    height, width = _size(wanted, tensor)
    decoder = decoder_of(task)
    outputs = _outputs(decoder, artifact)
    _check_labels(task.labels, _classes(decoder, outputs))
    return ImageNetwork(CHANNELS[wanted.color_space], height, width, tensor, outputs)


def _size(wanted: ImageInput, tensor: TensorSpec) -> tuple[int, int]:
    if len(tensor.dims) != 4:
        raise _refused(f"input {tensor.name!r} has shape {list(tensor.dims)}, not the four axes of {wanted.layout}")
    _, first, second, third = tensor.dims
    is_nchw = wanted.layout == Layout.NCHW
    channels, height, width = (first, second, third) if is_nchw else (third, first, second)
    served = CHANNELS[wanted.color_space]
    if channels not in (served, -1):
        raise _refused(
            f"input {tensor.name!r} has shape {list(tensor.dims)}, which in layout {wanted.layout} are {channels}"
            f" channels; {served} are served. Correct task.input.layout, task.input.colorSpace or the model"
        )
    return _side("height", wanted.height, height), _side("width", wanted.width, width)


def _side(field: str, wanted: int | None, found: int) -> int:
    if found == -1:
        if wanted is None:
            raise _refused(f"the model takes any {field}; say which one in task.input.{field}")
        return wanted
    if wanted not in (None, found):
        raise _refused(f"task.input.{field} is {wanted} and the model's input has {found}; leave it out or correct it")
    return found


_SHAPES: Final[Mapping[Decoder, Mapping[str, tuple[int, ...]]]] = {
    Decoder.GRID: {"boxes": (-1, BOX), "scores": (-1, -1)},
    Decoder.TRIPLE: {"boxes": (-1, BOX), "scores": (-1,), "labels": (-1,)},
    Decoder.YOLO_V8: {"predictions": (-1, -1)},
    Decoder.SOFTMAX: {"scores": (-1,)},
    Decoder.PROBABILITIES: {"scores": (-1,)},
    Decoder.CLASS_SCORES: {"scores": (-1, -1, -1)},
    Decoder.CLASS_MAP: {"classes": (-1, -1)},
    Decoder.SIGMOID: {"scores": (1, -1, -1)},
}
"""What each decoder reads, without the batch axis; -1 is any size."""


def _outputs(decoder: Decoder, artifact: ArtifactInfo) -> dict[str, TensorSpec]:
    """Match by name; a decoder that reads one tensor takes the model's only output under any name.

    Classifiers and segmenters are often exported with the heads of their training behind the one that counts, so of
    several outputs theirs is the first one.
    """
    shapes = _SHAPES[decoder]
    found = {tensor.name: tensor for tensor in artifact.outputs}
    if len(shapes) == 1 and (len(found) == 1 or (decoder is not Decoder.YOLO_V8 and not _is_named(shapes, found))):
        found = dict.fromkeys(shapes, artifact.outputs[0])
    if missing := sorted(shapes.keys() - found.keys()):
        raise _refused(
            f"decoder {decoder} reads the outputs {', '.join(shapes)}; the model has no {', '.join(missing)} but"
            f" {', '.join(sorted(tensor.name for tensor in artifact.outputs))}"
        )
    for name, shape in shapes.items():
        dims = found[name].dims[1:]
        if len(dims) != len(shape) or any(a != b and -1 not in (a, b) for a, b in zip(dims, shape, strict=True)):
            raise _refused(
                f"output {found[name].name!r} has shape {list(found[name].dims)}, which is not the {name} of decoder"
                f" {decoder}: batch and {list(shape)}; set task.output.decoder to the layout that it has"
            )
    return {name: found[name] for name in shapes}


def _is_named(shapes: Mapping[str, tuple[int, ...]], found: Mapping[str, TensorSpec]) -> bool:
    """Return whether an output of the right rank has the decoder's name for it."""
    return any(name in found and len(found[name].dims) == len(shape) + 1 for name, shape in shapes.items())


def _classes(decoder: Decoder, outputs: Mapping[str, TensorSpec]) -> int:
    """Return the number of classes, or -1 where the shapes do not tell."""
    if decoder == Decoder.GRID:
        return outputs["scores"].dims[-1]
    if decoder == Decoder.YOLO_V8:
        rows = outputs["predictions"].dims[1]
        if -1 < rows <= BOX:
            raise _refused(f"decoder {decoder} needs more than {BOX} rows of predictions, the model has {rows}")
        return rows - BOX if rows > 0 else -1
    if decoder in (Decoder.SOFTMAX, Decoder.PROBABILITIES):
        return outputs["scores"].dims[1]
    if decoder == Decoder.CLASS_SCORES:
        return _mask_classes(outputs["scores"])
    return 2 if decoder == Decoder.SIGMOID else -1


def _mask_classes(scores: TensorSpec) -> int:
    classes = scores.dims[1]
    if classes == 1:
        raise _refused(f"output {scores.name!r} has one class, which always wins; set task.output.decoder to Sigmoid")
    if classes > MAX_MASK_CLASSES:
        raise _refused(f"output {scores.name!r} has {classes} classes; a mask holds at most {MAX_MASK_CLASSES}")
    return classes


def _check_labels(labels: list[str], classes: int) -> None:
    if labels and classes >= 0 and len(labels) != classes:
        raise _refused(f"task.labels has {len(labels)} names and the model {classes} classes")


def _refused(message: str) -> UserError:
    return UserError(Reason.INVALID_SPEC, message)
