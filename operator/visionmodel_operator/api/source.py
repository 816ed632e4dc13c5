"""`spec.model`: where the trained model lies, in which format, and how far its file is trusted."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from visionmodel_contract.formats import CODE_FORMATS, SourceFormat
from visionmodel_operator.api.base import ApiModel, Digest, Name, distinct_names, rule
from visionmodel_operator.api.conversion import Uri


class LocalObjectReference(ApiModel):
    """Reference to an object of the VisionModel's own namespace."""

    name: Name = Field(description="Name of the object in the VisionModel's namespace.")


class ModelFormat(ApiModel):
    """Format of the source file."""

    name: SourceFormat = Field(
        description="Format of the source. The content must have it; all but onnx need an image of the platform"
        " (Helm values converter.images), torchscript and torch-export also trustPickle."
    )


class ModelInput(ApiModel):
    """One input of a network whose file does not hold shapes."""

    name: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]*$", max_length=128)] = Field(
        description="Name that the input gets."
    )
    dtype: Literal["float32", "float16", "uint8", "int32", "int64", "bool"] = Field(
        default="float32", description="Type of its elements."
    )
    dims: Annotated[list[Annotated[int, Field(ge=-1, le=65_536)]], Field(min_length=1, max_length=8)] = Field(
        description="Its shape; -1 is a free axis. The first axis is the batch and must be free."
    )


PICKLE_NEEDS_DIGEST = "trustPickle trusts one content: set digest"
CODE_NEEDS_TRUST = "torchscript and torch-export can run code of the file while they are loaded: set trustPickle"
DISTINCT_INPUTS = "inputs need distinct names"
"""By a rule and not as a map, because their order counts."""
SCRIPT_NEEDS_INPUTS = "torchscript does not hold the shapes of its inputs: set inputs"


class ModelSource(ApiModel):
    """Where the trained model lies and how it may be read."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule("!(has(self.trustPickle) && self.trustPickle) || has(self.digest)", PICKLE_NEEDS_DIGEST),
                rule(
                    "!has(self.modelFormat) || !(self.modelFormat.name in ['torchscript', 'torch-export'])"
                    " || has(self.trustPickle) && self.trustPickle",
                    CODE_NEEDS_TRUST,
                ),
                rule(
                    "!has(self.modelFormat) || self.modelFormat.name != 'torchscript'"
                    " || has(self.inputs) && size(self.inputs) > 0",
                    SCRIPT_NEEDS_INPUTS,
                ),
            ]
        },
    )

    storage_uri: Uri = Field(
        description="Model file or archive of one: s3://bucket/key, gs://bucket/name,"
        " abfs://container@account.dfs.core.windows.net/path, https://host/path, hf://org/repo[@revision]/path,"
        " oci://host/repository[:tag][@digest][#path], pvc://claim/path or mlflow://model/version-or-@alias."
    )
    model_format: ModelFormat | None = Field(
        default=None,
        description="Format of the source; taken from the file name where it is clear (.onnx, .pt2, .keras, .h5,"
        " .tflite), else from the content.",
    )
    digest: Digest | None = Field(
        default=None,
        description="Refuse anything but this content; without it the digest is resolved once per revision.",
    )
    secret_ref: LocalObjectReference | None = Field(
        default=None,
        description="Secret with credentials for the store; mounted into the conversion Job by the kubelet,"
        " never read by the operator.",
    )
    trust_pickle: bool = Field(
        default=False,
        description="Let formats be loaded that can run code of the file meanwhile; it happens in a process without"
        " network, credentials and other files.",
    )
    inputs: Annotated[
        list[ModelInput],
        Field(
            max_length=16,
            json_schema_extra={
                "x-kubernetes-validations": [rule("self.all(a, self.exists_one(b, a.name == b.name))", DISTINCT_INPUTS)]
            },
        ),
        AfterValidator(distinct_names),
    ] = Field(default=[], description="Inputs in the order of the network's arguments; for torchscript alone.")

    @model_validator(mode="after")
    def _code_is_trusted_by_digest(self) -> Self:
        name = None if self.model_format is None else self.model_format.name
        if self.trust_pickle and self.digest is None:
            raise ValueError(PICKLE_NEEDS_DIGEST)
        if name in CODE_FORMATS and not self.trust_pickle:
            raise ValueError(CODE_NEEDS_TRUST)
        if name == SourceFormat.TORCHSCRIPT and not self.inputs:
            raise ValueError(SCRIPT_NEEDS_INPUTS)
        return self
