"""What a model does: with tensors alone, or with images in and classes, boxes or masks out.

Every value of every enum here is one that the generated ensemble honours (`visionmodel_pipeline`).
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from visionmodel_operator.api.base import ApiModel, Quantity, rule


class TaskType(StrEnum):
    """What the model does, which decides pre- and post-processing."""

    TENSOR = "Tensor"
    CLASSIFICATION = "Classification"
    DETECTION = "Detection"
    SEGMENTATION = "Segmentation"


class Layout(StrEnum):
    """Order of the axes of the network's input."""

    NCHW = "NCHW"
    NHWC = "NHWC"


class Resize(StrEnum):
    """How an image is brought to the network's size."""

    LETTERBOX = "Letterbox"
    STRETCH = "Stretch"
    CENTER_CROP = "CenterCrop"


class ColorSpace(StrEnum):
    """The network's channels, in their order."""

    RGB = "RGB"
    BGR = "BGR"
    GRAY = "Gray"


class Decoder(StrEnum):
    """Layout of the network's raw outputs; each belongs to one type of task."""

    GRID = "Grid"
    TRIPLE = "Triple"
    YOLO_V8 = "YOLOv8"
    SOFTMAX = "Softmax"
    PROBABILITIES = "Probabilities"
    CLASS_SCORES = "ClassScores"
    CLASS_MAP = "ClassMap"
    SIGMOID = "Sigmoid"


DECODERS: Final[Mapping[TaskType, tuple[Decoder, ...]]] = {
    TaskType.DETECTION: (Decoder.GRID, Decoder.TRIPLE, Decoder.YOLO_V8),
    TaskType.CLASSIFICATION: (Decoder.SOFTMAX, Decoder.PROBABILITIES),
    TaskType.SEGMENTATION: (Decoder.CLASS_SCORES, Decoder.CLASS_MAP, Decoder.SIGMOID),
}
"""The decoders of each type of task with images."""


Side = Annotated[int, Field(ge=1, le=8192)]
Mean = Annotated[float, Field(ge=-1000, le=1000)]
Std = Annotated[float, Field(gt=0, le=1000)]


GRAY_MESSAGE = "colorSpace Gray has one channel: the values of mean must be equal, and those of std"


class ImageInput(ApiModel):
    """How encoded images become the network's input: decode, resize, (value / 255 - mean) / std."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "self.colorSpace != 'Gray' || self.mean.all(v, v == self.mean[0])"
                    " && self.std.all(v, v == self.std[0])",
                    GRAY_MESSAGE,
                )
            ]
        },
    )

    height: Side | None = Field(default=None, description="Height of the network's input; read from the model.")
    width: Side | None = Field(default=None, description="Width of the network's input; read from the model.")
    layout: Layout = Field(default=Layout.NCHW, description="Order of the axes of the network's input.")
    dtype: Literal["float32"] = Field(default="float32", description="Type of the network's input.")
    resize: Resize = Field(
        default=Resize.LETTERBOX,
        description="Letterbox: keep the aspect, grey bars; CenterCrop: keep the aspect, cut the longer side;"
        " Stretch: change the aspect.",
    )
    color_space: ColorSpace = Field(
        default=ColorSpace.RGB,
        description="The network's channels: three in this order, or one of brightness (ITU-R BT.601).",
    )
    mean: Annotated[list[Mean], Field(min_length=3, max_length=3)] = Field(
        default=[0, 0, 0], description="Subtracted per channel from values between 0 and 1."
    )
    std: Annotated[list[Std], Field(min_length=3, max_length=3)] = Field(
        default=[1, 1, 1], description="Divisor per channel, after the mean."
    )
    max_bytes: Quantity = Field(default="16Mi", description="Largest image file; a larger one is answered with 400.")
    max_pixels: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        default=50_000_000, description="Largest width times height; a larger image is refused before it is decoded."
    )

    @model_validator(mode="after")
    def _one_channel_has_one_scale(self) -> Self:
        if self.color_space == ColorSpace.GRAY and (len(set(self.mean)) > 1 or len(set(self.std)) > 1):
            raise ValueError(GRAY_MESSAGE)
        return self


class TaskOutput(ApiModel):
    """How the network's raw outputs become the answer.

    No field has a default in the CRD: the API server knows one default per field, and here it depends on the type of
    the task. `core.image_task` has them, and a rule refuses a field that another type would ignore.
    """

    decoder: Decoder | None = Field(
        default=None,
        description="Layout of the raw outputs. Detection, where it must be set: Grid: boxes [K, 4] and scores"
        " [K, classes]. Triple: boxes [K, 4], scores [K] and labels [K]. YOLOv8: one output [4 + classes, anchors]."
        " Boxes are in pixels of the network's input, x1 y1 x2 y2 (YOLOv8: centre, width, height). Classification:"
        " Softmax (the default): logits [classes]; Probabilities: values from 0 to 1 [classes]. Segmentation:"
        " ClassScores (the default): [classes, H, W]; ClassMap: class numbers [H, W]; Sigmoid: logits [1, H, W] of"
        " class 1.",
    )
    score_threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Detections and classes with a lower score are dropped; of decoder Sigmoid the share from which a"
        " pixel is of class 1. Default: Detection 0.3, Classification 0, Sigmoid 0.5.",
    )
    iou_threshold: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Detection: of two boxes of one class that overlap by more, the better one stays. Default: 0.5.",
    )
    max_detections: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Detection: rows of every answer; unused ones are zero. Default: 100."
    )
    top_k: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Classification: rows of every answer, the best classes first. Default: 5."
    )


IMAGE_FIELDS_MESSAGE = "labels, input and output belong to tasks with images: leave them out or choose another type"
OUTPUT_MESSAGE = "task type Detection needs output.decoder"
DECODER_MESSAGE = "output.decoder belongs to another task type: " + "; ".join(
    f"{kind} has {', '.join(decoders)}" for kind, decoders in DECODERS.items()
)
BOX_FIELDS_MESSAGE = "output.iouThreshold and output.maxDetections belong to task type Detection"
TOP_K_MESSAGE = "output.topK belongs to task type Classification"
THRESHOLD_MESSAGE = "in task type Segmentation output.scoreThreshold belongs to decoder Sigmoid"


def _decoder_rule() -> str:
    """Return that a decoder, where there is one, is of the task's type."""
    fitting = " || ".join(
        f"self.type == '{kind}' && self.output.decoder in {[decoder.value for decoder in decoders]}"
        for kind, decoders in DECODERS.items()
    )
    return f"!has(self.output) || !has(self.output.decoder) || self.type == 'Tensor' || {fitting}"


class Task(ApiModel):
    """What the model does."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "self.type != 'Tensor' || !(has(self.labels) && size(self.labels) > 0 || has(self.input)"
                    " || has(self.output))",
                    IMAGE_FIELDS_MESSAGE,
                ),
                rule("self.type != 'Detection' || has(self.output) && has(self.output.decoder)", OUTPUT_MESSAGE),
                rule(_decoder_rule(), DECODER_MESSAGE),
                rule(
                    "!has(self.output) || self.type in ['Tensor', 'Detection']"
                    " || !(has(self.output.iouThreshold) || has(self.output.maxDetections))",
                    BOX_FIELDS_MESSAGE,
                ),
                rule(
                    "!has(self.output) || self.type in ['Tensor', 'Classification'] || !has(self.output.topK)",
                    TOP_K_MESSAGE,
                ),
                rule(
                    "self.type != 'Segmentation' || !has(self.output) || !has(self.output.scoreThreshold)"
                    " || has(self.output.decoder) && self.output.decoder == 'Sigmoid'",
                    THRESHOLD_MESSAGE,
                ),
            ]
        },
    )

    type: TaskType = Field(
        description="Tensor: tensors in, tensors out. With encoded images in: Classification: the best classes out;"
        " Detection: labelled boxes; Segmentation: a mask in pixels of the image."
    )
    labels: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]], Field(max_length=1024)] = Field(
        default=[], description="Names of the classes by number; without them the number is the name."
    )
    input: ImageInput | None = Field(default=None, description="How images become the network's input.")
    output: TaskOutput | None = Field(default=None, description="How raw outputs become the answer.")

    @model_validator(mode="after")
    def _fields_belong_to_the_type(self) -> Self:
        if self.type == TaskType.TENSOR:
            if self.labels or self.input is not None or self.output is not None:
                raise ValueError(IMAGE_FIELDS_MESSAGE)
            return self
        output = self.output or TaskOutput()
        if self.type == TaskType.DETECTION and output.decoder is None:
            raise ValueError(OUTPUT_MESSAGE)
        if output.decoder is not None and output.decoder not in DECODERS[self.type]:
            raise ValueError(DECODER_MESSAGE)
        if self.type != TaskType.DETECTION and (output.iou_threshold, output.max_detections) != (None, None):
            raise ValueError(BOX_FIELDS_MESSAGE)
        if self.type != TaskType.CLASSIFICATION and output.top_k is not None:
            raise ValueError(TOP_K_MESSAGE)
        has_threshold = output.score_threshold is not None
        if self.type == TaskType.SEGMENTATION and has_threshold and output.decoder != Decoder.SIGMOID:
            raise ValueError(THRESHOLD_MESSAGE)
        return self
