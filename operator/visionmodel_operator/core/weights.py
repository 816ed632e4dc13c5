"""From shares of the traffic to weights by backend slot and to replica counts. Pure arithmetic.

Weights are parts per million, because Gateway API weights are integers up to 1,000,000. Neither side of a
split ever jumps between 0 and everything in one write (the gateway would name a backend that it is just
removing): a revision that leaves is first set to one part per million.
"""

from collections.abc import Sequence
from math import ceil

WHOLE = 1_000_000
TRACE = 1
"""Share of a revision that is leaving or still arriving: it has a cluster in the gateway and hardly any traffic."""


def ppm_from_percent(percent: float) -> int:
    """Return a share in parts per million."""
    return round(percent * WHOLE / 100)


def canary_replicas(full: int, weight_ppm: int) -> int:
    """Return the pods that a canary needs for a share of the traffic: its share of the full scale, at least one."""
    return max(1, min(full, ceil(full * weight_ppm / WHOLE)))


def slots_with(slots: Sequence[str], stable: str | None, candidate: str) -> tuple[str, ...]:
    """Return the backend slots with a place for the candidate: the one it has, or the one stable does not hold.

    The gateway names its counters by slot, so a revision keeps its slot for life.
    """
    if candidate in slots:
        return tuple(slots)
    if stable is None or stable not in slots:
        return (candidate, *slots[1:])
    free = 1 - tuple(slots).index(stable)
    return (candidate, stable) if free == 0 else (stable, candidate)


def weights_with(slots: Sequence[str], candidate: str, weight_ppm: int) -> tuple[int, ...]:
    """Return the weights by slot that give the candidate its share and the other slot the rest."""
    return tuple(weight_ppm if revision == candidate else WHOLE - weight_ppm for revision in slots)


def weight_of(slots: Sequence[str], weights_ppm: Sequence[int], revision: str) -> int:
    """Return the recorded share of a revision in parts per million; 0 when it has no slot."""
    return next((w for r, w in zip(slots, weights_ppm, strict=True) if r == revision), 0)
