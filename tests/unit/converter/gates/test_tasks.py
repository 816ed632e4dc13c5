"""What a network does and how it is read, from the request's texts and the model's tensors."""

import pytest

from unit.converter.gates.archives import IMAGE_INPUT, image_task
from visionmodel_contract.conversion import ImageTask
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.tasks import (
    DECODERS_OF,
    RANKS,
    TaskKind,
    class_names,
    classification_plan,
    detection_plan,
    kind_of,
    mask_classes,
    pre_settings,
    segmentation_plan,
)
from visionmodel_pipeline.answers import raw_names
from visionmodel_pipeline.segmentation import MAX_CLASSES
from visionmodel_pipeline.settings import (
    ClassificationSettings,
    SegmentationSettings,
    output_settings,
)


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
        (image_task(decoder="Probabilities"), MASKS, [], TaskKind.CLASSIFICATION),
        (image_task(decoder="Sigmoid"), LOGITS, [TaskKind.DETECTION], TaskKind.SEGMENTATION),
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
        (image_task(), (spec("a", 1, 8, 8),), "is 1 channels; correct task.input.layout or task.input.colorSpace"),
        (image_task(color_space="Gray"), IMAGE_INPUT, "is 3 channels"),
        (image_task(height="9"), IMAGE_INPUT, "task.input.height is 9 and the model's input has 8"),
        (image_task(mean="[1]"), IMAGE_INPUT, "mean is '[1]'"),
        (ImageTask(preprocess={}), IMAGE_INPUT, "parameter layout is missing"),
    ],
    ids=["two-inputs", "rank", "dtype", "layout", "free-size", "grey", "colored", "other-size", "bad-mean", "missing"],
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


@pytest.mark.parametrize(
    ("task", "outputs", "expected"),
    [
        (None, LOGITS, "logits"),
        (None, MASKS, None),
        (image_task(), (*LOGITS, spec("aux", 10)), "logits"),
        (image_task(decoder="Softmax"), LOGITS, "logits"),
        (image_task(decoder="Probabilities"), (spec("features", 10), spec("scores", 10)), "scores"),
        (image_task(), (*LOGITS, spec("scores", 9, 3)), "logits"),
        (image_task(decoder="Softmax"), MASKS, None),
        (image_task(decoder="Grid"), LOGITS, None),
        (image_task(decoder="ClassMap"), LOGITS, None),
    ],
    ids=["tensors", "rank", "first", "one", "named", "of-boxes", "wrong-rank", "detector", "segmenter"],
)
def test_classification_plan(task: ImageTask | None, outputs: tuple[TensorSpec, ...], expected: str | None) -> None:
    plan = classification_plan(task, outputs)
    assert (None if plan is None else plan.outputs) == (None if expected is None else {"scores": expected})


def test_classification_settings_are_servings() -> None:
    plan = classification_plan(image_task(decoder="Probabilities", labels=("a",)), LOGITS)
    assert plan is not None
    assert plan.settings == ClassificationSettings("Probabilities", 3, 0.3, ("a",))


@pytest.mark.parametrize(
    ("task", "outputs", "expected", "classes"),
    [
        (None, MASKS, None, 0),
        (image_task(), MASKS, {"scores": "masks"}, 3),
        (image_task(), (spec("masks", -1, 4, 4),), {"scores": "masks"}, MAX_CLASSES),
        (image_task(), (spec("masks", 1, 4, 4),), None, 0),
        (image_task(), LOGITS, None, 0),
        (image_task(decoder="ClassScores"), (spec("out", 3, 8, 8), spec("aux", 3, 8, 8)), {"scores": "out"}, 3),
        (image_task(decoder="ClassMap"), (spec("y", 8, 8, dtype="int64"),), {"classes": "y"}, MAX_CLASSES),
        (image_task(decoder="Sigmoid"), (spec("y", 1, 8, 8),), {"scores": "y"}, 2),
        (image_task(decoder="Sigmoid"), (spec("y", -1, 8, 8),), {"scores": "y"}, 2),
        (image_task(decoder="Sigmoid"), (spec("y", 2, 8, 8),), None, 0),
        (image_task(decoder="Sigmoid"), (spec("y", 8, 8),), None, 0),
        (image_task(decoder="Softmax"), MASKS, None, 0),
    ],
    ids=[
        *("tensors", "rank", "free", "one-class", "classes", "first", "map"),
        *("sigmoid", "sigmoid-free", "sigmoid-of-two", "wrong-rank", "classifier"),
    ],
)
def test_segmentation_plan(
    task: ImageTask | None, outputs: tuple[TensorSpec, ...], expected: dict[str, str] | None, classes: int
) -> None:
    plan = segmentation_plan(task, IMAGE_INPUT, outputs)
    assert (None if plan is None else plan.outputs) == expected
    if plan is not None:
        assert mask_classes(plan, outputs) == classes
        assert (plan.settings.height, plan.settings.width) == (8, 8)


def test_segmentation_settings_are_servings() -> None:
    plan = segmentation_plan(image_task(decoder="Sigmoid", labels=("a",)), IMAGE_INPUT, (spec("y", 1, 8, 8),))
    assert plan is not None
    assert plan.settings == SegmentationSettings("Sigmoid", 8, 8, 0.3, ("a",))


def test_every_decoder_of_serving_is_known_here() -> None:
    """By the same names for its outputs."""
    parameters = image_task(decoder="Grid").postprocess | {"height": "8", "width": "8"}
    for decoder in (one for decoders in DECODERS_OF.values() for one in decoders):
        assert tuple(RANKS[decoder]) == raw_names(output_settings({**parameters, "decoder": decoder}))
    assert {one for decoders in DECODERS_OF.values() for one in decoders} == RANKS.keys()


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
