"""What the two steps are told: the `parameters` of their config.pbtxt, all of them strings, and the values they mean.

The operator writes these keys (render/ensemble.py); it never imports this package, so a test of both holds them
together. A decoder's name tells its task, so the last step is told nothing else.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

DETECTION_DECODERS: Final = ("Grid", "Triple", "YOLOv8")
CLASSIFICATION_DECODERS: Final = ("Softmax", "Probabilities")
SEGMENTATION_DECODERS: Final = ("ClassScores", "ClassMap", "Sigmoid")


class SettingsError(ValueError):
    """A parameter is missing or makes no sense; the model must not load."""


@dataclass(frozen=True)
class PreSettings:
    """How image bytes become the network's input.

    Attributes:
        height, width: of the network's input in pixels.
        layout: "NCHW" or "NHWC".
        resize: "Letterbox", "Stretch" or "CenterCrop".
        color_space: order of the channels, "RGB" or "BGR", or "Gray" for one channel of luma.
        mean, std: per channel in that order, for values from 0 to 1; the first of each for Gray.
        max_bytes, max_pixels: larger images are refused before they are decoded.
    """

    height: int
    width: int
    layout: str = "NCHW"
    resize: str = "Letterbox"
    color_space: str = "RGB"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    max_bytes: int = 16 * 1024 * 1024
    max_pixels: int = 50_000_000

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Self:
        """Read config.pbtxt's parameters. Raises SettingsError."""
        return cls(
            height=_integer(parameters, "height"),
            width=_integer(parameters, "width"),
            layout=_word(parameters, "layout", ("NCHW", "NHWC")),
            resize=_word(parameters, "resize", ("Letterbox", "Stretch", "CenterCrop")),
            color_space=_word(parameters, "color_space", ("RGB", "BGR", "Gray")),
            mean=_channels(parameters, "mean"),
            std=_channels(parameters, "std"),
            max_bytes=_integer(parameters, "max_bytes"),
            max_pixels=_integer(parameters, "max_pixels"),
        )


@dataclass(frozen=True)
class DetectionSettings:
    """How raw outputs become detections.

    Attributes:
        decoder: a name of `decoders.DECODERS`.
        score_threshold: detections below it are dropped.
        iou_threshold: of two boxes of one class that overlap by more, the better one stays.
        max_detections: rows of the answer; the best ones when there are more.
        labels: names of the classes by number; a class without a name is its number.
    """

    decoder: str
    score_threshold: float = 0.3
    iou_threshold: float = 0.5
    max_detections: int = 100
    labels: tuple[str, ...] = ()

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Self:
        """Read config.pbtxt's parameters. Raises SettingsError."""
        return cls(
            decoder=_word(parameters, "decoder", DETECTION_DECODERS),
            score_threshold=_number(parameters, "score_threshold"),
            iou_threshold=_number(parameters, "iou_threshold"),
            max_detections=_integer(parameters, "max_detections"),
            labels=_labels(parameters),
        )


@dataclass(frozen=True)
class ClassificationSettings:
    """How raw outputs become the best classes.

    Attributes:
        decoder: a name of `CLASSIFICATION_DECODERS`.
        top_k: rows of the answer; those that the model has no class for are empty.
        score_threshold: classes below it are dropped.
        labels: names of the classes by number; a class without a name is its number.
    """

    decoder: str
    top_k: int = 5
    score_threshold: float = 0.0
    labels: tuple[str, ...] = ()

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Self:
        """Read config.pbtxt's parameters. Raises SettingsError."""
        return cls(
            decoder=_word(parameters, "decoder", CLASSIFICATION_DECODERS),
            top_k=_integer(parameters, "top_k"),
            score_threshold=_number(parameters, "score_threshold"),
            labels=_labels(parameters),
        )


@dataclass(frozen=True)
class SegmentationSettings:
    """How raw outputs become a mask of the source image.

    Attributes:
        decoder: a name of `SEGMENTATION_DECODERS`.
        height, width: of the network's input in pixels, which the raw outputs cover at any stride.
        score_threshold: share from which a pixel of Sigmoid is of class 1.
        labels: names of the classes by number; a class without a name is its number.
    """

    decoder: str
    height: int
    width: int
    score_threshold: float = 0.5
    labels: tuple[str, ...] = ()

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Self:
        """Read config.pbtxt's parameters. Raises SettingsError."""
        return cls(
            decoder=_word(parameters, "decoder", SEGMENTATION_DECODERS),
            height=_integer(parameters, "height"),
            width=_integer(parameters, "width"),
            score_threshold=_number(parameters, "score_threshold"),
            labels=_labels(parameters),
        )


OutputSettings = DetectionSettings | ClassificationSettings | SegmentationSettings


def output_settings(parameters: Mapping[str, str]) -> OutputSettings:
    """Return the settings of the last step, of the task that the decoder belongs to. Raises SettingsError."""
    known = (*DETECTION_DECODERS, *CLASSIFICATION_DECODERS, *SEGMENTATION_DECODERS)
    decoder = _word(parameters, "decoder", known)
    if decoder in CLASSIFICATION_DECODERS:
        return ClassificationSettings.from_parameters(parameters)
    if decoder in SEGMENTATION_DECODERS:
        return SegmentationSettings.from_parameters(parameters)
    return DetectionSettings.from_parameters(parameters)


def _text(parameters: Mapping[str, str], key: str) -> str:
    try:
        return parameters[key]
    except KeyError:
        raise SettingsError(f"parameter {key} is missing") from None


def _word(parameters: Mapping[str, str], key: str, allowed: tuple[str, ...]) -> str:
    value = _text(parameters, key)
    if value not in allowed:
        raise SettingsError(f"parameter {key} is {value!r}, not one of {', '.join(allowed)}")
    return value


def _number(parameters: Mapping[str, str], key: str) -> float:
    value = _text(parameters, key)
    try:
        return float(value)
    except ValueError:
        raise SettingsError(f"parameter {key} is {value!r}, not a number") from None


def _integer(parameters: Mapping[str, str], key: str) -> int:
    value = _text(parameters, key)
    if not value.isdecimal() or int(value) < 1:
        raise SettingsError(f"parameter {key} is {value!r}, not a whole number of at least 1")
    return int(value)


def _json_list(parameters: Mapping[str, str], key: str) -> list[object]:
    try:
        value = json.loads(_text(parameters, key))
    except json.JSONDecodeError:
        value = None
    if not isinstance(value, list):
        raise SettingsError(f"parameter {key} is {parameters[key]!r}, not a JSON list")
    return value


def _labels(parameters: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(str(label) for label in _json_list(parameters, "labels"))


def _channels(parameters: Mapping[str, str], key: str) -> tuple[float, ...]:
    values = _json_list(parameters, key)
    numbers = tuple(float(value) for value in values if isinstance(value, int | float))
    if len(numbers) != 3 or len(values) != 3:
        raise SettingsError(f"parameter {key} is {parameters[key]!r}, not three numbers")
    return numbers
