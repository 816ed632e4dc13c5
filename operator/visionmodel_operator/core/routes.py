"""Which kinds of route a spec asks for: one object for each protocol of its gateways."""

from collections.abc import Mapping
from typing import Final

from visionmodel_operator.api.spec import GatewayProtocol, Traffic
from visionmodel_operator.core.names import GRPC_ROUTE, HTTP_ROUTE
from visionmodel_operator.core.snapshot import Platform

KIND_OF: Final[Mapping[GatewayProtocol, str]] = {GatewayProtocol.HTTP: HTTP_ROUTE, GatewayProtocol.GRPC: GRPC_ROUTE}


def route_kinds(traffic: Traffic) -> tuple[str, ...]:
    """Return the kinds of route that carry this traffic, HTTP first; none where no gateway is named."""
    asked = {gateway.protocol for gateway in traffic.gateway_refs}
    return tuple(kind for protocol, kind in KIND_OF.items() if protocol in asked)


def is_split(traffic: Traffic, platform: Platform) -> bool:
    """Return whether gateways split this traffic: some are named, and the cluster serves what each needs."""
    return bool(traffic.gateway_refs) and not absent_kinds(traffic, platform)


def absent_kinds(traffic: Traffic, platform: Platform) -> tuple[str, ...]:
    """Return the kinds that this traffic needs and the cluster does not serve."""
    return tuple(kind for kind in route_kinds(traffic) if kind not in platform.route_kinds)
