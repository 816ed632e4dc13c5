"""The registry: event handlers that enqueue a name, a login that shares the adapters' connection, and nothing else."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import aiohttp
import kopf

from visionmodel_operator.adapters.connection import MAX_CONNECTIONS, Connection
from visionmodel_operator.api.base import GROUP, PLURAL, VERSION
from visionmodel_operator.core.names import LABEL_NAME
from visionmodel_operator.handlers.kopf_settings import CHILDREN, ROUTES

LOGIN_LIFETIME = timedelta(minutes=10)
SPARE_CONNECTIONS = 8


class Woken(Protocol):
    """Who is told that something happened."""

    def __call__(self, resource: str, namespace: str, name: str, version: str | None) -> None:
        """Something happened to a resource of the VisionModel `name`; version None: deleted, or only a child."""


def registry_for(
    woken: Woken, login: Callable[..., Awaitable[kopf.AiohttpSession]], *, route_kinds: Sequence[str]
) -> Any:
    """Return kopf's registry.

    Args:
        woken: called for every event.
        login: returns a session for kopf.
        route_kinds: kinds of route that are served; a watch of an absent resource would only warn.
    """
    registry = kopf.OperatorRegistry()

    async def on_model(event: Mapping[str, Any], namespace: str | None, name: str | None, **_: Any) -> None:
        is_deleted = event["type"] == "DELETED"
        version = None if is_deleted else event["object"]["metadata"].get("resourceVersion")
        woken(PLURAL, namespace or "", name or "", version)

    def on_child(resource: str) -> Callable[..., Awaitable[None]]:
        async def enqueue_owner(labels: Mapping[str, str], namespace: str | None, **_: Any) -> None:
            if owner := labels.get(LABEL_NAME):
                woken(resource, namespace or "", owner, None)

        return enqueue_owner

    kopf.on.login(registry=registry, id="login")(login)
    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, id=PLURAL)(on_model)
    for group, version, plural in (*CHILDREN, *(ROUTES[kind] for kind in route_kinds)):
        kopf.on.event(group, version, plural, registry=registry, id=plural)(on_child(plural))
    return registry


def login_with(connection: Connection, watches: int) -> Callable[..., Awaitable[kopf.AiohttpSession]]:
    """Return kopf's login handler.

    Args:
        connection: whose server, certificates and token are used.
        watches: streams that stay open all the time, each on a connection of its own.
    """

    async def login(**_: Any) -> kopf.AiohttpSession:
        authorization = await connection.authorization()
        limit = max(MAX_CONNECTIONS, watches + SPARE_CONNECTIONS)
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=limit, ssl=connection.ssl_context), headers=dict(authorization)
        )
        return kopf.AiohttpSession(
            server=connection.server,
            aiohttp_session=session,
            # A projected token is replaced on disk before it expires; a certificate stays.
            expiration=datetime.now(UTC) + LOGIN_LIFETIME if authorization else None,  # noqa: TID251
        )

    return login
