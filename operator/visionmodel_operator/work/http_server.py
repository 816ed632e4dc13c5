"""/healthz, /readyz and /metrics on one port."""

from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from visionmodel_operator.work.health import Health
from visionmodel_operator.work.telemetry import Telemetry


class HttpServer:
    """Serves probes and metrics.

    Attributes:
        refresh: called before metrics are shown, for values that nobody pushes.
        host: address to listen on, every one when None.
        port: where it listens; with 0 the one it was given, once started.
    """

    def __init__(
        self,
        health: Health,
        telemetry: Telemetry,
        port: int,
        refresh: Callable[[], None] = lambda: None,
        host: str | None = None,
    ) -> None:
        self._health = health
        self._telemetry = telemetry
        self.refresh = refresh
        self.host = host
        self.port = port
        application = web.Application()
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Listen."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Close every connection."""
        await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        # Proves that the event loop turns, which is what a restart can mend.
        return web.Response(text="ok\n")

    async def _readyz(self, _: web.Request) -> web.Response:
        troubles = self._health.troubles()
        text = "".join(f"{trouble}\n" for trouble in troubles) or "ok\n"
        return web.Response(text=text, status=503 if troubles else 200)

    async def _metrics(self, _: web.Request) -> web.Response:
        self.refresh()
        body = generate_latest(self._telemetry.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
