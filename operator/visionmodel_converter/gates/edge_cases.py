"""Inputs that nobody trains for and somebody will send, through the whole pipeline before anything is published.

Images must end as a finite answer or as a client's fault (BadImage, which serving answers with 400), whatever the
source model does. Tensors of a model without image task must end as a finite answer wherever the source's does:
which values make sense there is its owner's business.
"""

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visionmodel_contract.conversion import ImageTask
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.served import served_problem
from visionmodel_converter.gates.tasks import Specs, pre_settings
from visionmodel_converter.graph.session import Run, random_inputs
from visionmodel_converter.report import EdgeCaseResult
from visionmodel_pipeline.decoding import BadImage
from visionmodel_pipeline.preparing import prepare

SIDE: Final = 256
HUGE: Final = (6000, 4000)
"""24 million pixels: a usual camera's."""
PANORAMA: Final = (3200, 64)
ORIENTATION_TAG: Final = 0x0112
QUARTER_TURN: Final = 6
LARGE: Final = 255.0
"""The largest raw pixel, far above any scaled one. FP16 ends at 65504, so a much larger value would refuse every FP16
network for an input that none of them sees."""


@dataclass(frozen=True, slots=True)
class ImageCase:
    """A file that a client could send; `must_be_refused` where answering it would be wrong."""

    name: str
    data: Callable[[], bytes]
    must_be_refused: bool = False


def _plain(mode: str, size: tuple[int, int], color: Any, form: str = "PNG") -> Callable[[], bytes]:
    return lambda: _file(Image.new(mode, size, color), form)


def _file(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _noise(size: tuple[int, int] = (SIDE, SIDE)) -> Image.Image:
    width, height = size
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def _rotated() -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = QUARTER_TURN
    return _file(_noise((SIDE, SIDE // 2)), "JPEG", exif=exif)


def _truncated() -> bytes:
    whole = _file(_noise(), "JPEG")
    return whole[: len(whole) // 2]


IMAGE_CASES: Final = (
    ImageCase("black", _plain("RGB", (SIDE, SIDE), (0, 0, 0))),
    ImageCase("white", _plain("RGB", (SIDE, SIDE), (255, 255, 255))),
    ImageCase("noise", lambda: _file(_noise(), "PNG")),
    ImageCase("one-pixel", _plain("RGB", (1, 1), (90, 90, 90))),
    ImageCase("huge", _plain("RGB", HUGE, (120, 60, 30), "JPEG")),
    ImageCase("panorama", lambda: _file(_noise(PANORAMA), "JPEG")),
    ImageCase("tower", lambda: _file(_noise(PANORAMA[::-1]), "JPEG")),
    ImageCase("grey", _plain("L", (SIDE, SIDE), 128)),
    ImageCase("transparent", _plain("RGBA", (SIDE, SIDE), (255, 0, 0, 0))),
    ImageCase("cmyk", _plain("CMYK", (SIDE, SIDE), (10, 200, 30, 40), "JPEG")),
    ImageCase("exif-rotated", _rotated),
    ImageCase("sixteen-bit", _plain("I;16", (SIDE, SIDE), 40_000)),
    ImageCase("truncated", _truncated, must_be_refused=True),
    ImageCase("empty", lambda: b"", must_be_refused=True),
    ImageCase("no-image", lambda: b"<!DOCTYPE html>", must_be_refused=True),
)

TENSOR_CASES: Final[Mapping[str, float]] = {"zeros": 0.0, "ones": 1.0, "large": LARGE, "large-negative": -LARGE}
"""Value of every element; types that cannot hold it are given what they can."""


def check_edge_cases(
    run_source: Run, run_artifact: Run, *, inputs: Specs, outputs: Specs, task: ImageTask | None
) -> tuple[EdgeCaseResult, ...]:
    """Run every case; returns one result each. A network's failure to run is a result; a device's is raised."""
    if task is None:
        return tuple(_tensor_case(name, run_source, run_artifact, inputs) for name in TENSOR_CASES)
    return tuple(_image_case(case, run_artifact, inputs, outputs, task) for case in IMAGE_CASES)


def refuse_failed_edge_cases(results: Iterable[EdgeCaseResult]) -> None:
    """Raise EdgeCaseFailed with every case that failed."""
    failed = [result for result in results if result.outcome == "failed"]
    if failed:
        words = "; ".join(f"{result.name}: {result.detail}" for result in failed)
        raise ConversionFailure(
            Reason.EDGE_CASE_FAILED,
            f"unusual inputs break the artifact ({words}); nothing was published: guard the division, logarithm or "
            "root in the model that gives these values, or convert to a higher precision",
        )


def _image_case(case: ImageCase, run: Run, inputs: Specs, outputs: Specs, task: ImageTask) -> EdgeCaseResult:
    try:
        tensor, geometry = prepare(case.data(), pre_settings(task, inputs))
    except BadImage as error:
        return EdgeCaseResult(name=case.name, outcome="refused", detail=str(error))
    if case.must_be_refused:
        return _failed(case.name, "it was taken for an image")
    try:
        answer = _finite_outputs(run, {inputs[0].name: tensor[None]})
    except _BrokenError as error:
        return _failed(case.name, str(error))
    problem = served_problem(answer, geometry, inputs=inputs, outputs=outputs, task=task)
    if problem is not None:
        return _failed(case.name, problem)
    return EdgeCaseResult(name=case.name, outcome="answered")


def _tensor_case(name: str, run_source: Run, run_artifact: Run, inputs: Specs) -> EdgeCaseResult:
    tensors = {spec.name: _filled(spec, TENSOR_CASES[name]) for spec in inputs}
    try:
        _finite_outputs(run_artifact, tensors)
    except _BrokenError as error:
        try:
            _finite_outputs(run_source, tensors)
        except _BrokenError as of_source:
            return EdgeCaseResult(name=name, outcome="refused", detail=f"the source does not bear it: {of_source}")
        return _failed(name, f"{error}, the source's is finite")
    return EdgeCaseResult(name=name, outcome="answered")


def _filled(spec: TensorSpec, value: float) -> NDArray[Any]:
    """Return one sample of one value; bytes are cut to 0..255, other whole numbers to 0 or 1, as they are indices."""
    (shape,) = (array.shape for array in random_inputs((spec,), batch=1, seed=0).values())
    dtype = np.dtype(spec.dtype)
    if dtype.kind == "f":
        return np.full(shape, value, dtype)
    return np.full(shape, np.clip(value, 0, 255 if spec.dtype == "uint8" else 1), dtype)


OF_THE_NETWORK: Final = (Reason.RUNTIME_REFUSES, Reason.ENGINE_REFUSED)
"""How a network fails by itself; whatever else ends a run is no result of a case."""


class _BrokenError(Exception):
    """The network did not answer, or not with numbers."""


def _finite_outputs(run: Run, tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    try:
        answer = run(tensors)
    except ConversionFailure as error:
        if error.reason not in OF_THE_NETWORK:
            raise
        raise _BrokenError(error.message) from error
    for name, array in answer.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise _BrokenError(f"output {name!r} holds NaN or infinity")
    return answer


def _failed(name: str, detail: str) -> EdgeCaseResult:
    return EdgeCaseResult(name=name, outcome="failed", detail=detail)
