"""The last line of a pod's log, for progress only: never an error, never more often than every 15 seconds."""

from collections.abc import Callable

from visionmodel_operator.adapters.connection import Connection
from visionmodel_operator.adapters.resources import object_path
from visionmodel_operator.errors import Error

MIN_SECONDS = 15.0
MAX_REMEMBERED = 1024
LIMIT_BYTES = 4096


class PodLogs:
    """Reads log lines.

    Attributes:
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(self, connection: Connection, monotonic: Callable[[], float]) -> None:
        self._connection = connection
        self.monotonic = monotonic
        self._last: dict[tuple[str, str], tuple[float, str | None]] = {}

    async def last_line(self, namespace: str, pod: str, container: str) -> str | None:
        """Return the last line as of at most 15 s ago, None when there is none."""
        key, now = (namespace, pod), self.monotonic()
        read = self._last.get(key)
        if read is not None and now - read[0] < MIN_SECONDS:
            return read[1]
        line = await self._read(namespace, pod, container)
        self._last.pop(key, None)
        self._last[key] = (now, line)
        if len(self._last) > MAX_REMEMBERED:
            del self._last[next(iter(self._last))]
        return line

    async def _read(self, namespace: str, pod: str, container: str) -> str | None:
        path = f"{object_path('v1', 'Pod', namespace, pod)}/log"
        query = {"container": container, "tailLines": "1", "limitBytes": str(LIMIT_BYTES)}
        try:
            answer = await self._connection.request("GET", path, query=query, accept="*/*")
        except Error:
            return None
        return answer.raw.decode(errors="replace").strip() or None
