"""The optimization profile of an engine: the range of every input's shape, and the shape that is served; pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from visionmodel_contract.build import DynamicAxis, EngineOptions, ShapeRange
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_pipeline.settings import PreSettings

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShapeBounds:
    """Smallest, most usual and largest shape of one input, batch included."""

    min: Shape
    opt: Shape
    max: Shape


def profile_of(inputs: tuple[TensorSpec, ...], options: EngineOptions) -> dict[str, ShapeBounds]:
    """Return the bounds of every input by name.

    Raises ConversionFailure BadRequest: a free axis without a range, a range for an axis that is fixed or not there.
    """
    ranges = {(axis.input, axis.axis): axis.range for axis in options.dynamic_shapes}
    _refuse_unknown(inputs, options.dynamic_shapes)
    bounds = {}
    for spec in inputs:
        axes = list(_axes(spec, options.batch, ranges))
        bounds[spec.name] = ShapeBounds(
            min=tuple(axis.min for axis in axes),
            opt=tuple(axis.opt for axis in axes),
            max=tuple(axis.max for axis in axes),
        )
    return bounds


def served_sizes(
    inputs: tuple[TensorSpec, ...], profile: Mapping[str, ShapeBounds], images: PreSettings | None
) -> tuple[TensorSpec, ...]:
    """Return the inputs with every axis but the batch at the length that is served.

    That is the task's where `images` are the only input, else the one that the engine is fastest at. Raises
    ConversionFailure BadRequest: the task makes images that the engine does not take.
    """
    if images is None:
        return tuple(spec.model_copy(update={"dims": (spec.dims[0], *profile[spec.name].opt[1:])}) for spec in inputs)
    (spec,) = inputs
    bounds = profile[spec.name]
    height = 2 if images.layout == "NCHW" else 1
    sides = {height: ("height", images.height), height + 1: ("width", images.width)}
    for axis, (name, side) in sides.items():
        if not bounds.min[axis] <= side <= bounds.max[axis]:
            raise ConversionFailure(
                Reason.BAD_REQUEST,
                f"task.input.{name} is {side}, the engine takes {bounds.min[axis]} to {bounds.max[axis]} on axis {axis}"
                f" of input {spec.name!r}: correct one of task.input.{name} and conversion.dynamicShapes",
            )
    dims = (sides[axis][1] if axis in sides else length for axis, length in enumerate(bounds.opt))
    return (spec.model_copy(update={"dims": (spec.dims[0], *list(dims)[1:])}),)


def _axes(spec: TensorSpec, batch: ShapeRange, ranges: Mapping[tuple[str, int], ShapeRange]) -> Iterator[ShapeRange]:
    for index, length in enumerate(spec.dims):
        if index == 0 and length < 0:
            yield batch
        elif length >= 0:
            yield ShapeRange(min=length, opt=length, max=length)
        elif (spec.name, index) in ranges:
            yield ranges[spec.name, index]
        else:
            raise ConversionFailure(
                Reason.BAD_REQUEST,
                f"input {spec.name!r} has shape {list(spec.dims)} and axis {index} is free; an engine needs its range:"
                " add it to conversion.dynamicShapes, or export the model with a fixed size",
            )


def _refuse_unknown(inputs: tuple[TensorSpec, ...], axes: tuple[DynamicAxis, ...]) -> None:
    free = {(spec.name, index) for spec in inputs for index, length in enumerate(spec.dims) if length < 0 and index}
    for axis in axes:
        if (axis.input, axis.axis) not in free:
            shapes = ", ".join(f"{spec.name!r} {list(spec.dims)}" for spec in inputs)
            raise ConversionFailure(
                Reason.BAD_REQUEST,
                f"conversion.dynamicShapes: axis {axis.axis} of input {axis.input!r} is no free axis of the model,"
                f" whose inputs are {shapes} (-1 is free)",
            )


def refuse_other_sizes(sample: Mapping[str, NDArray[Any]], profile: Mapping[str, ShapeBounds], *, shown: str) -> None:
    """Raise BadRequest where a sample of a dataset, [1, ...] by input, has another size than the engine takes.

    Before the engine runs it: what TensorRT refuses counts against the engine, whoever asks for it with other data.
    """
    for name, array in sample.items():
        least, most, found = profile[name].min[1:], profile[name].max[1:], array.shape[1:]
        if not all(low <= length <= high for low, length, high in zip(least, found, most, strict=True)):
            raise ConversionFailure(
                Reason.BAD_REQUEST,
                f"dataset {shown} holds samples of shape {list(found)} for input {name!r}, and the engine takes"
                f" {list(least)} to {list(most)}: widen conversion.dynamicShapes, or use samples of such a size",
            )
