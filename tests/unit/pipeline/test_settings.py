"""The texts of config.pbtxt as settings of the two steps, and what makes no sense."""

import pytest

from visionmodel_pipeline.answers import raw_names
from visionmodel_pipeline.classification import CLASSIFIERS
from visionmodel_pipeline.decoders import DECODERS
from visionmodel_pipeline.segmentation import SEGMENTERS
from visionmodel_pipeline.settings import (
    CLASSIFICATION_DECODERS,
    DETECTION_DECODERS,
    SEGMENTATION_DECODERS,
    ClassificationSettings,
    DetectionSettings,
    PreSettings,
    SegmentationSettings,
    SettingsError,
    output_settings,
)

DETECTION = {"decoder": "Grid", "score_threshold": "0.3", "iou_threshold": "0.5", "max_detections": "9", "labels": "[]"}
CLASSIFICATION = {"decoder": "Softmax", "score_threshold": "0.0", "top_k": "2", "labels": '["a"]'}
SEGMENTATION = {
    "decoder": "Sigmoid",
    "score_threshold": "0.5",
    "height": "8",
    "width": "9",
    "labels": '["a", "\u00e4"]',
}
PRE = {
    **{"height": "64", "width": "96", "layout": "NCHW", "resize": "Letterbox", "color_space": "RGB"},
    **{"mean": "[0, 0, 0]", "std": "[1, 1, 1]", "max_bytes": "10", "max_pixels": "20"},
}


def test_parameters() -> None:
    assert PreSettings.from_parameters(PRE) == PreSettings(64, 96, max_bytes=10, max_pixels=20)
    assert output_settings(DETECTION) == DetectionSettings("Grid", max_detections=9)
    assert output_settings(CLASSIFICATION) == ClassificationSettings("Softmax", top_k=2, labels=("a",))
    assert output_settings(SEGMENTATION) == SegmentationSettings("Sigmoid", 8, 9, labels=("a", "ä"))


def test_every_decoder_has_code_and_one_task() -> None:
    assert DECODERS.keys() == set(DETECTION_DECODERS)
    assert CLASSIFIERS.keys() == set(CLASSIFICATION_DECODERS)
    assert SEGMENTERS.keys() == set(SEGMENTATION_DECODERS)
    every = (*DETECTION_DECODERS, *CLASSIFICATION_DECODERS, *SEGMENTATION_DECODERS)
    assert len(set(every)) == len(every)
    whole = DETECTION | CLASSIFICATION | SEGMENTATION
    assert all(raw_names(output_settings({**whole, "decoder": decoder})) for decoder in every)


@pytest.mark.parametrize(
    ("given", "key", "value", "words"),
    [
        (DETECTION, "decoder", "grid", "not one of Grid, Triple, YOLOv8, Softmax"),
        (DETECTION, "score_threshold", "much", "not a number"),
        (DETECTION, "max_detections", "0", "not a whole number of at least 1"),
        (DETECTION, "labels", "cat", "not a JSON list"),
        (CLASSIFICATION, "top_k", "0", "not a whole number of at least 1"),
        (CLASSIFICATION, "score_threshold", "", "not a number"),
        (CLASSIFICATION, "labels", "{}", "not a JSON list"),
        (SEGMENTATION, "height", "-8", "not a whole number of at least 1"),
        (SEGMENTATION, "width", "wide", "not a whole number of at least 1"),
    ],
)
def test_parameters_of_the_last_step_that_make_no_sense(
    given: dict[str, str], key: str, value: str, words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        output_settings({**given, key: value})
    with pytest.raises(SettingsError, match=f"parameter {key} is missing"):
        output_settings({name: text for name, text in given.items() if name != key})


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("height", "-1", "not a whole number"),
        ("mean", "[1, 2]", "not three numbers"),
        ("layout", "CHW", "not one of NCHW, NHWC"),
        ("color_space", "L", "not one of RGB, BGR, Gray"),
    ],
)
def test_parameters_of_the_first_step_that_make_no_sense(key: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        PreSettings.from_parameters({**PRE, key: value})
    with pytest.raises(SettingsError, match=f"parameter {key} is missing"):
        PreSettings.from_parameters({name: text for name, text in PRE.items() if name != key})
