"""The one connection to the API server, on the official asyncio client: JSON in, JSON out, errors translated here.

The typed models of the client are not used: children are rendered as JSON, and a typed round trip would lose the
fields that a newer server knows.
"""

import json
import os
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import config as kube_config
from kubernetes.aio.client import ApiClient, Configuration

from visionmodel_operator.adapters.reading import field_of
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.errors import Error, Retry, UserError

REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 5.0
MAX_CONNECTIONS = 32
USER_AGENT = "visionmodel-operator"

JSON = "application/json"
APPLY = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"

FORBIDDEN = "Forbidden"
REFUSALS = frozenset({400, 413, 422})


@dataclass(frozen=True)
class Answer:
    """Status code, body as JSON (as text where it is none), and the body's bytes."""

    status: int
    body: Any
    raw: bytes = b""


class Connection:
    """Requests to the API server; one per process, closed at its end."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._client = ApiClient(configuration)
        self._client.user_agent = USER_AGENT
        self._timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self._configuration.host)

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """How the API server is verified, and the client certificate where there is one."""
        context: ssl.SSLContext = self._client.rest_client.ssl_context
        return context

    async def authorization(self) -> Mapping[str, str]:
        """Header with the current token, read again when it is old; empty with client certificates."""
        settings = (await self._configuration.auth_settings()).get("BearerToken")
        return {} if settings is None or not settings["value"] else {"Authorization": str(settings["value"]).strip()}

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        allow: Collection[int] = (),
    ) -> Answer:
        """Send one request; statuses in `allow` are answers and not errors, such as 404.

        Raises:
            Retry: nobody answered, the server is busy, or the object moved on.
            UserError: the server refuses the request as it is.
        """
        headers = {"Accept": accept, "Content-Type": content_type}
        what = f"{method} {path}"
        try:
            request = await self._client.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
            )
            response = await self._client.call_api(*request, _request_timeout=self._timeout)
            raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Retry(f"{what}: {type(error).__name__} {error}".strip()) from error
        answer = Answer(response.status, _decoded(raw), raw)
        if 200 <= answer.status < 300 or answer.status in allow:
            return answer
        raise error_from(answer, what, response.headers.get("Retry-After"))

    async def close(self) -> None:
        """Close the pool."""
        await self._client.close()


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")


def error_from(answer: Answer, what: str, retry_after: str | None = None) -> Error:
    """Return what a refusal of the API server means for a pass."""
    text = str(field_of(answer.body, "message", default=answer.body))[:1024]
    message = f"{what}: {answer.status} {text}"
    if answer.status == 403 and not _is_terminating(answer.body):
        writes = not what.startswith("GET ")
        return UserError(Reason.APPLY_REFUSED if writes else FORBIDDEN, text)
    if answer.status in REFUSALS:
        return UserError(Reason.APPLY_REFUSED, text)
    delay = float(retry_after) if retry_after is not None and retry_after.isdigit() else None
    return Retry(message, delay=delay)


def _is_terminating(body: Any) -> bool:
    causes = field_of(body, "details", "causes", default=[])
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)


async def connect(environment: Mapping[str, str] = os.environ, *, tls_strict: bool = False) -> Connection:
    """Return a connection: by KUBECONFIG when it is set, else as a pod of the cluster.

    Args:
        environment: of the process.
        tls_strict: keep Python's RFC 5280 checks of certificates, which CAs without key usage (EKS) fail; chain
            and host name are verified either way.
    """
    configuration = Configuration()
    if environment.get("KUBECONFIG"):
        await kube_config.load_kube_config(
            config_file=environment["KUBECONFIG"], client_configuration=configuration, persist_config=False
        )
    else:
        kube_config.load_incluster_config(client_configuration=configuration)
    configuration.disable_strict_ssl_verification = not tls_strict
    configuration.connection_pool_maxsize = MAX_CONNECTIONS
    return Connection(configuration)
