"""What is sent and where: Open Inference Protocol v2 requests, encoded before the clock starts.

The generator shares two cores with the system under test, so nothing is encoded while it runs.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

REVISION_HEADER: Final = "x-visionmodel-revision"

Image = npt.NDArray[Any]

DATATYPES: Final[Mapping[str, str]] = {
    "float32": "FP32",
    "float16": "FP16",
    "uint8": "UINT8",
    "int32": "INT32",
    "int64": "INT64",
}


@dataclass(frozen=True)
class Target:
    """Where requests go.

    Attributes:
        url: http://host:port or grpc://host:port, without a path.
        model: name of the model in the protocol.
        input_name: tensor that carries the image.
        host: Host header or :authority, where it differs from the URL's.
        binary: HTTP only: tensor bytes after the JSON header instead of numbers in the JSON.
        timeout: seconds after which a request has failed.
    """

    url: str
    model: str
    input_name: str = "images"
    host: str | None = None
    binary: bool = True
    timeout: float = 5.0

    def __post_init__(self) -> None:
        """Refuse what cannot be sent to: ValueError."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "grpc") or not parts.netloc or parts.path not in ("", "/"):
            raise ValueError(f"{self.url!r} is not http://host:port or grpc://host:port")

    @property
    def is_grpc(self) -> bool:
        """Return whether requests go over gRPC."""
        return urlsplit(self.url).scheme == "grpc"

    @property
    def address(self) -> str:
        """Return host:port."""
        return urlsplit(self.url).netloc


@dataclass(frozen=True)
class Payload:
    """One encoded request body with the headers that describe it."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict, hash=False)


def image_payloads(target: Target, image: Callable[[int], Image], distinct: int = 16) -> tuple[Payload, ...]:
    """Return the requests for image(0) .. image(distinct - 1); arrays already have the model's full shape."""
    encode = grpc_payload if target.is_grpc else http_payload
    return tuple(encode(target, np.ascontiguousarray(image(index))) for index in range(distinct))


def http_payload(target: Target, image: Image) -> Payload:
    """Return the body of POST /v2/models/<model>/infer for one input tensor."""
    tensor: dict[str, object] = {
        "name": target.input_name,
        "shape": list(image.shape),
        "datatype": datatype_of(image),
    }
    if not target.binary:
        tensor["data"] = image.ravel().tolist()
        body = json.dumps({"inputs": [tensor]}).encode()
        return Payload(body, {"Content-Type": "application/json"})
    raw = image.tobytes()
    tensor["parameters"] = {"binary_data_size": len(raw)}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return Payload(
        head + raw,
        {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(head))},
    )


def grpc_payload(target: Target, image: Image) -> Payload:
    """Return a serialized inference.ModelInferRequest for one input tensor."""
    from tritonclient.grpc import service_pb2  # here, because it is slow and HTTP runs do not need it

    request = service_pb2.ModelInferRequest(model_name=target.model, raw_input_contents=[image.tobytes()])
    request.inputs.add(name=target.input_name, shape=image.shape, datatype=datatype_of(image))
    body: bytes = request.SerializeToString()
    return Payload(body)


def datatype_of(image: Image) -> str:
    """Return the protocol's name of an array's type; ValueError for one that images do not have."""
    try:
        return DATATYPES[image.dtype.name]
    except KeyError:
        raise ValueError(f"images are of {', '.join(DATATYPES)}, not {image.dtype.name}") from None
