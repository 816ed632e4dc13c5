"""What a model does: with tensors alone, or with images in and detections out.

Every value of every enum here is one that the generated ensemble honours (`visionmodel_pipeline`).
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from visionmodel_operator.api.base import ApiModel, Quantity, rule


class TaskType(StrEnum):
    """What the model does, which decides pre- and post-processing."""

    TENSOR = "Tensor"
    DETECTION = "Detection"


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
    """Order of the network's channels."""

    RGB = "RGB"
    BGR = "BGR"


class Decoder(StrEnum):
    """Layout of the network's raw outputs."""

    GRID = "Grid"
    TRIPLE = "Triple"
    YOLO_V8 = "YOLOv8"


Side = Annotated[int, Field(ge=1, le=8192)]
Mean = Annotated[float, Field(ge=-1000, le=1000)]
Std = Annotated[float, Field(gt=0, le=1000)]


class ImageInput(ApiModel):
    """How encoded images become the network's input: decode, resize, (value / 255 - mean) / std."""

    height: Side | None = Field(default=None, description="Height of the network's input; read from the model.")
    width: Side | None = Field(default=None, description="Width of the network's input; read from the model.")
    layout: Layout = Field(default=Layout.NCHW, description="Order of the axes of the network's input.")
    dtype: Literal["float32"] = Field(default="float32", description="Type of the network's input.")
    resize: Resize = Field(
        default=Resize.LETTERBOX,
        description="Letterbox: keep the aspect, grey bars; CenterCrop: keep the aspect, cut the longer side;"
        " Stretch: change the aspect.",
    )
    color_space: ColorSpace = Field(default=ColorSpace.RGB, description="Order of the network's channels.")
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


class DetectionOutput(ApiModel):
    """How the network's raw outputs become boxes in pixels of the source image."""

    decoder: Decoder = Field(
        description="Layout of the raw outputs. Grid: boxes [K, 4] and scores [K, classes]. Triple: boxes [K, 4],"
        " scores [K] and labels [K]. YOLOv8: one output [4 + classes, anchors]. Boxes are in pixels of the network's"
        " input, x1 y1 x2 y2 (YOLOv8: centre, width, height)."
    )
    score_threshold: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.3, description="Detections with a lower score are dropped."
    )
    iou_threshold: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="Of two boxes of one class that overlap by more, the better one stays."
    )
    max_detections: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=100, description="Rows of every answer; unused ones are zero."
    )


IMAGE_FIELDS_MESSAGE = "labels, input and output belong to task type Detection"
OUTPUT_MESSAGE = "task type Detection needs output.decoder"


class Task(ApiModel):
    """What the model does."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "self.type == 'Detection' || !(has(self.labels) && size(self.labels) > 0 || has(self.input)"
                    " || has(self.output))",
                    IMAGE_FIELDS_MESSAGE,
                ),
                rule("self.type != 'Detection' || has(self.output)", OUTPUT_MESSAGE),
            ]
        },
    )

    type: TaskType = Field(
        description="Tensor: tensors in, tensors out. Detection: encoded images in, labelled boxes out."
    )
    labels: Annotated[list[Annotated[str, Field(min_length=1, max_length=63)]], Field(max_length=1024)] = Field(
        default=[], description="Names of the classes by number; without them the number is the name."
    )
    input: ImageInput | None = Field(default=None, description="How images become the network's input.")
    output: DetectionOutput | None = Field(default=None, description="How raw outputs become detections.")

    @model_validator(mode="after")
    def _image_fields_belong_to_image_tasks(self) -> Self:
        is_detection = self.type == TaskType.DETECTION
        if not is_detection and (self.labels or self.input is not None or self.output is not None):
            raise ValueError(IMAGE_FIELDS_MESSAGE)
        if is_detection and self.output is None:
            raise ValueError(OUTPUT_MESSAGE)
        return self
