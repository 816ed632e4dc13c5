"""The traffic of a VisionModel's last hour, over both of its backends, out of the ticks of the gateway's samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from visionmodel_operator.core import names
from visionmodel_operator.core.counters import JUDGE_LAG, Counts, Slot, Tick, Window
from visionmodel_operator.core.forecast import ExpectedTraffic

LOOK_BACK_SECONDS: Final = 3600.0
MINUTE: Final = 60.0
SLOTS: Final = (Slot(0, 0.0), Slot(1, 0.0))
"""Both backends, whoever has them."""


@dataclass(frozen=True)
class RecentTraffic:
    """What was counted; `minutes` are those that could be."""

    total: Counts
    minutes: int

    @property
    def expected(self) -> ExpectedTraffic | None:
        """Return it as rates; None without a request. Without a single error the share is that of one error."""
        if self.total.requests == 0:
            return None
        share = min(0.5, max(1, self.total.errors) / self.total.requests)
        return ExpectedTraffic(self.total.requests / (self.minutes * MINUTE), share)


def recent_ends(now: float) -> tuple[float, ...]:
    """Return the ends of the hour's minutes before `now` (unix seconds), oldest first."""
    newest = now - JUDGE_LAG
    return tuple(newest - MINUTE * back for back in range(int(LOOK_BACK_SECONDS / MINUTE)))[::-1]


def recent_window(namespace: str, name: str) -> Window:
    """Return how the hour is cut for a VisionModel."""
    return Window(namespace, names.route(name), MINUTE)


def recent_traffic(ticks: Sequence[Tick]) -> RecentTraffic:
    """Add the minutes up; those of which neither backend could be counted are left out."""
    counted = [sides for tick in ticks if (sides := [s for s in (tick.canary, tick.stable) if s is not None])]
    return RecentTraffic(
        Counts(
            sum(side.requests for sides in counted for side in sides),
            sum(side.errors for sides in counted for side in sides),
        ),
        len(counted),
    )
