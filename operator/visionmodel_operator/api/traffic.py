"""Gateway listeners by which requests reach a model, and what one of them may ask."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from visionmodel_operator.api.base import ApiModel, Duration, Name, rule

GRPC_OF_ITS_OWN = (
    "a gRPC request names its model in the body: give protocol GRPC a sectionName or hostnames of this model's own"
)
ONE_PER_PROTOCOL = "at most one gateway for each protocol"
SHARED_HOST = (
    "HTTP and GRPC must not share a host of one listener: give each another sectionName, or hostnames that differ"
)


class GatewayProtocol(StrEnum):
    """Protocol of the requests that a listener carries, both of the Open Inference Protocol."""

    HTTP = "HTTP"
    GRPC = "GRPC"


class GatewayRef(ApiModel):
    """A Gateway listener that carries this model's traffic."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!has(self.protocol) || self.protocol != 'GRPC' || has(self.sectionName)"
                    " || (has(self.hostnames) && size(self.hostnames) > 0)",
                    GRPC_OF_ITS_OWN,
                )
            ]
        },
    )

    name: Name = Field(description="Name of the Gateway.")
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)] | None = Field(
        default=None, description="Namespace of the Gateway; the VisionModel's own when unset."
    )
    section_name: Name | None = Field(default=None, description="Listener of the Gateway; all when unset.")
    protocol: GatewayProtocol = Field(
        default=GatewayProtocol.HTTP,
        description="HTTP: requests to /v2/models/<name>. GRPC: every call of inference.GRPCInferenceService, for"
        " whatever model, so that the listener or its hostnames must be this model's own.",
    )
    hostnames: Annotated[list[Annotated[str, Field(max_length=253)]], Field(max_length=16)] = Field(
        default=[], description="Host names that the route answers to; all of the listener's when empty."
    )

    @model_validator(mode="after")
    def _grpc_is_told_apart(self) -> Self:
        if self.protocol is GatewayProtocol.GRPC and self.section_name is None and not self.hostnames:
            raise ValueError(GRPC_OF_ITS_OWN)
        return self


def distinct_listeners(refs: list[GatewayRef]) -> list[GatewayRef]:
    """Return the list; ValueError when two refs have one protocol, or their routes would share a host.

    The Gateway API lets a gateway refuse an HTTPRoute and a GRPCRoute of one listener that share a host.
    """
    if len({ref.protocol for ref in refs}) < len(refs):
        raise ValueError(ONE_PER_PROTOCOL)
    if len(refs) == 2 and _share_a_host(*refs):
        raise ValueError(SHARED_HOST)
    return refs


def _share_a_host(one: GatewayRef, other: GatewayRef) -> bool:
    if (one.name, one.namespace) != (other.name, other.namespace):
        return False
    sections = {one.section_name, other.section_name}
    if None not in sections and len(sections) == 2:
        return False
    return not one.hostnames or not other.hostnames or bool(set(one.hostnames) & set(other.hostnames))


class Traffic(ApiModel):
    """How requests reach the model."""

    gateway_refs: Annotated[
        list[GatewayRef],
        Field(
            max_length=2,
            json_schema_extra={
                "x-kubernetes-validations": [
                    rule(
                        "self.size() < 2 || (has(self[0].protocol) ? self[0].protocol : 'HTTP')"
                        " != (has(self[1].protocol) ? self[1].protocol : 'HTTP')",
                        ONE_PER_PROTOCOL,
                    ),
                    rule(
                        "self.size() < 2 || self[0].name != self[1].name"
                        " || has(self[0].__namespace__) != has(self[1].__namespace__)"
                        " || (has(self[0].__namespace__) && self[0].__namespace__ != self[1].__namespace__)"
                        " || (has(self[0].sectionName) && has(self[1].sectionName)"
                        " && self[0].sectionName != self[1].sectionName)"
                        " || (has(self[0].hostnames) && has(self[1].hostnames) && size(self[0].hostnames) > 0"
                        " && size(self[1].hostnames) > 0 && !self[0].hostnames.exists(h, h in self[1].hostnames))",
                        SHARED_HOST,
                    ),
                ]
            },
        ),
        AfterValidator(distinct_listeners),
    ] = Field(
        default=[],
        description="Gateways that split the traffic, one for each protocol; none: a Service for the stable revision"
        " only.",
    )
    request_timeout: Duration = Field(
        default="10s",
        description="Longest time one HTTP request may take at the gateway, and the shortest drain. Over gRPC the"
        " client's own deadline holds: a longer one asks for a longer rollout.drain.",
    )
