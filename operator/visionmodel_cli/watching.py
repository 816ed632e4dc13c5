"""`status --watch`: look, show what changed, and end where nothing goes on by itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from visionmodel_cli.cluster import Unreachable
from visionmodel_cli.status_summary import End, Summary

LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True)
class Clock:
    """Time as the watch sees it: seconds that never go back, and a sleep."""

    monotonic: Callable[[], float]
    sleep: Callable[[float], None]


def watch(
    look: Callable[[], Summary],
    show: Callable[[Summary], None],
    told: Callable[[str], None],
    clock: Clock,
    *,
    timeout: float | None,
) -> End:
    """Return how it ended.

    Args:
        look: reads the VisionModel.
        show: gets every picture.
        told: gets why a look failed; an API server that restarts ends no watch.
        clock: the time.
        timeout: seconds after which it ends with TIMEOUT; None: never.

    Raises:
        Failure: the VisionModel is gone, or may not be read.
    """
    began = clock.monotonic()
    while True:
        try:
            summary = look()
        except Unreachable as error:
            told(f"{error}; trying again")
        else:
            show(summary)
            if summary.end is not None:
                return summary.end
        if timeout is not None and clock.monotonic() - began >= timeout:
            return End.TIMEOUT
        clock.sleep(LOOK_SECONDS)
