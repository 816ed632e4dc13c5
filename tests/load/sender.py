"""One request, one answer, no retry: the two protocols behind one call.

A failure names a revision only if the model server wrote it. The gateway puts the revision's header on its own
answers too (503 without a healthy upstream, a reset, a timeout), and those are users' requests that were lost.
"""

import asyncio
import json
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

import aiohttp
import grpc
import grpc.aio

from load.payload import REVISION_HEADER, Payload, Target

TIMEOUT: Final = "timeout"
GATEWAY_CODES: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
"""What the gateway answers for itself over gRPC; a server may use them too, and in doubt a request is lost."""
INFER_METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"

CHANNEL_OPTIONS: Final = (
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", -1),
)
"""No retries, not even transparent ones, and a quick return after a lost connection: its wait is not the server's."""


@dataclass(frozen=True)
class Answer:
    """How a request ended: `status` is the HTTP code, the gRPC status name, "timeout" or the error's class.

    `revision` is whose server wrote the answer, None if nobody knows or the gateway did.
    """

    is_ok: bool
    status: str
    revision: str | None


class Sender(Protocol):
    """A connection to a target; `send` may run many times at once and never raises for a failed request."""

    async def send(self, payload: Payload) -> Answer:
        """Send one request and read the whole answer."""

    async def __aenter__(self) -> Self:
        """Open the client."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""


def sender_for(target: Target) -> Sender:
    """Return the unopened client for the target's protocol."""
    return GrpcSender(target) if target.is_grpc else HttpSender(target)


class HttpSender:
    """POST over one pool of kept-alive connections; aiohttp never repeats a POST by itself."""

    def __init__(self, target: Target) -> None:
        self._url = f"{target.url.rstrip('/')}/v2/models/{target.model}/infer"
        self._headers = {} if target.host is None else {"Host": target.host}
        self._timeout = target.timeout
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the pool, without a limit: an open-loop request never waits for another one's connection."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            headers=self._headers,
            trust_env=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the pool."""
        if self._session is not None:
            await self._session.close()

    async def send(self, payload: Payload) -> Answer:
        """Send one request; a reset in the middle of the body still names the revision of its header."""
        if self._session is None:
            raise RuntimeError("the sender is not open")
        revision = None
        try:
            async with self._session.post(
                self._url, data=payload.body, headers=payload.headers, allow_redirects=False
            ) as response:
                is_ok, named = 200 <= response.status < 300, response.headers.get(REVISION_HEADER)
                revision = named if is_ok else None
                body = await response.read()
                return Answer(is_ok, str(response.status), named if is_ok or _is_servers_error(body) else None)
        except TimeoutError:
            return Answer(False, TIMEOUT, revision)
        except (aiohttp.ClientError, OSError) as failure:
            return Answer(False, type(failure).__name__, revision)


def _is_servers_error(body: bytes) -> bool:
    """Return whether a server of the Open Inference Protocol wrote this error: `{"error": ...}`.

    The gateway's own answers are plain text. The type in the header does not tell: Triton leaves it out of some errors.
    """
    try:
        document = json.loads(body)
    except ValueError:
        return False
    return isinstance(document, dict) and "error" in document


class GrpcSender:
    """ModelInfer on one channel, with bodies that are serialized already."""

    def __init__(self, target: Target) -> None:
        self._address = target.address
        self._authority = target.host
        self._timeout = target.timeout
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        """Open the channel; it connects with the first request."""
        authority = () if self._authority is None else (("grpc.default_authority", self._authority),)
        self._channel = grpc.aio.insecure_channel(self._address, options=(*CHANNEL_OPTIONS, *authority))
        self._infer = self._channel.unary_unary(INFER_METHOD)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the channel."""
        if self._channel is not None:
            await self._channel.close()

    async def send(self, payload: Payload) -> Answer:
        """Send one request; the revision is read from initial or trailing metadata."""
        call = self._infer(payload.body, timeout=self._timeout)
        try:
            await call
        except grpc.aio.AioRpcError as failure:
            is_ours = failure.code() not in GATEWAY_CODES
            revision = _revision_in(failure.initial_metadata(), failure.trailing_metadata()) if is_ours else None
            is_late = failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            return Answer(False, TIMEOUT if is_late else failure.code().name, revision)
        except asyncio.CancelledError:
            call.cancel()
            raise
        found = _revision_in(await call.initial_metadata(), await call.trailing_metadata())
        return Answer(True, "OK", found)


def _revision_in(*metadata: "grpc.aio.Metadata | None") -> str | None:
    """Return the first revision that the metadata name."""
    for one in metadata:
        for key, value in one or ():
            if key.lower() == REVISION_HEADER:
                return value if isinstance(value, str) else value.decode()
    return None
