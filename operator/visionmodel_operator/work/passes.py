"""One pass as the queue runs it: the reconcile, its log line and its numbers."""

import logging
import time
from collections.abc import Awaitable, Callable

from visionmodel_operator.errors import Retry, UserError
from visionmodel_operator.reconcile import Outcome, World
from visionmodel_operator.work.schedule import Key
from visionmodel_operator.work.telemetry import Telemetry

Reconcile = Callable[[World, str, str], Awaitable[Outcome]]

_log = logging.getLogger(__name__)


class Passes:
    """Callable that the queue takes."""

    def __init__(self, reconcile: Reconcile, world: World, telemetry: Telemetry) -> None:
        self._reconcile = reconcile
        self._world = world
        self._telemetry = telemetry

    async def __call__(self, key: Key) -> float | None:
        """Run one pass; returns the seconds until the next look."""
        started = time.perf_counter()
        self._telemetry.passes.inc()
        try:
            outcome = await self._reconcile(self._world, *key)
        except Retry:
            self._telemetry.errors.labels("retry").inc()
            raise
        except UserError:
            self._telemetry.errors.labels("user").inc()
            raise
        except Exception:
            self._telemetry.errors.labels("bug").inc()
            raise
        finally:
            self._telemetry.duration.observe(time.perf_counter() - started)
        _log.info(
            "pass",
            extra={
                "context": {
                    "namespace": key[0],
                    "name": key[1],
                    "revision": outcome.revision,
                    "phase": outcome.phase,
                    "reason": outcome.reason,
                    "wakeAfter": outcome.wake_after,
                    "seconds": round(time.perf_counter() - started, 3),
                }
            },
        )
        return outcome.wake_after
