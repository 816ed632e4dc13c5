"""What a network does and how it is read, from the request's texts and the model's tensors."""

import pytest

from unit.converter.gates.archives import IMAGE_INPUT, image_task
from visionmodel_contract.conversion import ImageTask
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.tasks import TaskKind, class_names, detection_plan, kind_of, pre_settings


def spec(name: str, *dims: int, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, dims=(-1, *dims))


GRID = (spec("boxes", 64, 4), spec("scores", 64, 3))
TRIPLE = (spec("boxes", 9, 4), spec("scores", 9), spec("labels", 9, dtype="int64"))
RAW = (spec("output0", 84, 8400),)
LOGITS = (spec("logits", 10),)
MASKS = (spec("masks", 3, 64, 64),)


@pytest.mark.parametrize(
    ("task", "outputs", "labelled", "kind"),
    [
        (None, LOGITS, [], TaskKind.TENSOR),
        (None, LOGITS, [TaskKind.CLASSIFICATION], TaskKind.CLASSIFICATION),
        (None, GRID, [TaskKind.DETECTION, TaskKind.CLASSIFICATION], TaskKind.DETECTION),
        (image_task(decoder="YOLOv8"), RAW, [], TaskKind.DETECTION),
        (image_task(), LOGITS, [], TaskKind.CLASSIFICATION),
        (image_task(), MASKS, [], TaskKind.SEGMENTATION),
        (image_task(), (spec("y", 4, 5),), [], TaskKind.TENSOR),
    ],
)
def test_kind(
    task: ImageTask | None, outputs: tuple[TensorSpec, ...], labelled: list[TaskKind], kind: TaskKind
) -> None:
    assert kind_of(task, outputs, labelled) is kind


def test_size_is_the_models_where_the_task_leaves_it_out() -> None:
    assert (pre_settings(image_task(), IMAGE_INPUT).height, pre_settings(image_task(), IMAGE_INPUT).width) == (8, 8)
    free = (spec("x", 3, -1, -1),)
    sized = pre_settings(image_task(height="20", width="30"), free)
    assert (sized.height, sized.width) == (20, 30)
    nhwc = pre_settings(image_task(layout="NHWC"), (spec("x", 6, 7, 3),))
    assert (nhwc.height, nhwc.width, nhwc.layout) == (6, 7, "NHWC")


@pytest.mark.parametrize(
    ("task", "inputs", "words"),
    [
        (image_task(), (spec("a", 3, 8, 8), spec("b", 3, 8, 8)), "one input"),
        (image_task(), (spec("a", 4),), "four axes"),
        (image_task(), (spec("a", 3, 8, 8, dtype="uint8"),), "float32"),
        (image_task(), (spec("a", 8, 8, 3),), "is 8 channels"),
        (image_task(), (spec("a", 3, -1, 8),), "any height"),
        (image_task(height="9"), IMAGE_INPUT, "task.input.height is 9 and the model's input has 8"),
        (image_task(mean="[1]"), IMAGE_INPUT, "mean is '[1]'"),
        (ImageTask(preprocess={}), IMAGE_INPUT, "parameter layout is missing"),
    ],
    ids=["two-inputs", "rank", "dtype", "layout", "free-size", "other-size", "bad-mean", "missing"],
)
def test_tasks_that_do_not_fit(task: ImageTask, inputs: tuple[TensorSpec, ...], words: str) -> None:
    with pytest.raises(ConversionFailure) as caught:
        pre_settings(task, inputs)
    assert caught.value.reason is Reason.BAD_REQUEST
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("task", "outputs", "expected"),
    [
        (None, GRID, {"boxes": "boxes", "scores": "scores"}),
        (None, TRIPLE, {"boxes": "boxes", "scores": "scores", "labels": "labels"}),
        (None, RAW, None),
        (None, LOGITS, None),
        (image_task(decoder="YOLOv8"), RAW, {"predictions": "output0"}),
        (image_task(decoder="YOLOv8"), GRID, None),
        (image_task(decoder="Grid"), TRIPLE, None),
    ],
    ids=["grid", "triple", "raw-unnamed", "logits", "one-output-any-name", "two-outputs", "wrong-rank"],
)
def test_detection_plan(
    task: ImageTask | None, outputs: tuple[TensorSpec, ...], expected: dict[str, str] | None
) -> None:
    plan = detection_plan(task, outputs)
    assert (None if plan is None else plan.outputs) == expected


def test_unknown_parameters_of_the_decoder_are_the_requests_fault() -> None:
    task = ImageTask(preprocess={}, postprocess={"decoder": "DETR", "labels": "[]"})
    with pytest.raises(ConversionFailure, match="'DETR', not one of") as caught:
        detection_plan(task, GRID)
    assert caught.value.reason is Reason.BAD_REQUEST


@pytest.mark.parametrize("text", ["{", "{}", "[1]"])
def test_labels_that_are_no_list_of_names(text: str) -> None:
    with pytest.raises(ConversionFailure, match="not a JSON list of names"):
        class_names(ImageTask(preprocess={}, postprocess={"labels": text}))


def test_class_names() -> None:
    assert class_names(image_task(labels=("circle", "Quadrat ü"))) == ("circle", "Quadrat ü")
    assert class_names(None) == ()
