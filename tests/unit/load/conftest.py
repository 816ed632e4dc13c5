"""A small inference server on loopback that misbehaves on purpose, over HTTP and gRPC."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import grpc
import grpc.aio
import pytest
from aiohttp import web

from load.sender import INFER_METHOD

HEADER = "x-visionmodel-revision"
OK, FAIL, FAIL_AFTER_HEADERS, RESET, HANG, GATHER = "ok", "fail", "fail after headers", "reset", "hang", "gather"
GATEWAY = "gateway"
"""What the gateway answers when it has no server to ask: with the revision's header, but in plain text."""


@dataclass
class Behaviour:
    """What the server does with request i, and what it saw.

    `gather` makes every such request wait until that many are there at once.
    """

    script: Callable[[int], tuple[str, str | None]] = lambda index: (OK, None)
    gather: int = 0
    arrived: int = 0
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    connections: set[int] = field(default_factory=set)
    all_here: asyncio.Event = field(default_factory=asyncio.Event)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def next(self) -> tuple[str, str | None]:
        """Return what to do with the request that just came, after its wait."""
        index = self.arrived
        self.arrived += 1
        kind, revision = self.script(index)
        if kind == GATHER:
            if self.arrived >= self.gather:
                self.all_here.set()
            await self.all_here.wait()
        if kind == HANG:
            await self.closing.wait()
        return kind, revision


@dataclass
class Server:
    """A running server: its address as host:port, and its behaviour."""

    address: str
    behaviour: Behaviour


@pytest.fixture
async def http_server() -> AsyncIterator[Server]:
    behaviour = Behaviour()

    async def infer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        behaviour.connections.add(id(request.transport))
        behaviour.bodies.append(await request.read())
        behaviour.headers.append(dict(request.headers))
        behaviour.paths.append(request.path)
        kind, revision = await behaviour.next()
        headers = {} if revision is None else {HEADER: revision}
        if kind == RESET:
            request.transport.abort()
        if kind == FAIL_AFTER_HEADERS:
            stream = web.StreamResponse(headers={**headers, "Content-Length": "100"})
            await stream.prepare(request)
            await stream.write(b"some")
            request.transport.abort()
            return stream
        if kind == FAIL:
            return web.Response(status=500, headers=headers, body=b'{"error":"broken"}')
        if kind == GATEWAY:
            return web.Response(status=503, headers=headers, text="no healthy upstream")
        return web.Response(headers=headers, body=b"answer")

    app = web.Application()
    app.router.add_post("/v2/models/{model}/infer", infer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    yield Server(f"{host}:{port}", behaviour)
    behaviour.closing.set()
    await runner.cleanup()


@pytest.fixture
async def grpc_server() -> AsyncIterator[Server]:
    behaviour = Behaviour()

    async def infer(request: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        behaviour.bodies.append(request)
        behaviour.headers.append({key: str(value) for key, value in context.invocation_metadata() or ()})
        kind, revision = await behaviour.next()
        named = () if revision is None else ((HEADER, revision),)
        if kind == FAIL:
            await context.abort(grpc.StatusCode.INTERNAL, "broken", trailing_metadata=named)
        if kind == GATEWAY:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "no healthy upstream", trailing_metadata=named)
        if kind == FAIL_AFTER_HEADERS:
            await context.send_initial_metadata(named)
            await context.abort(grpc.StatusCode.UNKNOWN, "broken later")
        if revision is not None and behaviour.arrived % 2:
            context.set_trailing_metadata(named)
        else:
            await context.send_initial_metadata(named)
        return b""

    service, method = INFER_METHOD.lstrip("/").split("/")
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(infer)}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield Server(f"127.0.0.1:{port}", behaviour)
    behaviour.closing.set()
    await server.stop(None)
