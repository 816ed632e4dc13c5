"""What a run of load says: every request is answered, lost, or the canary's own failure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_LAG: Final = 1.0
"""Seconds: a generator that was this late did not offer the load it claims, so its run proves nothing."""

EXAMPLES: Final = 10


class Outcome(StrEnum):
    """How a request ended, for the one question that the tests ask."""

    ANSWERED = "Answered"
    LOST = "Lost"  # a user's request that the system dropped
    OWN = "Own"  # the canary itself failed; what a canary is for


@dataclass(frozen=True)
class Record:
    """One finished request; times in seconds since the run began, latency in seconds.

    `status` is the HTTP code, the gRPC status name, "timeout" or the class of the network error.
    """

    index: int
    scheduled: float
    sent: float
    latency: float
    is_ok: bool
    status: str
    revision: str | None

    @property
    def lag(self) -> float:
        """Return how late the request left."""
        return max(0.0, self.sent - self.scheduled)


@dataclass(frozen=True)
class Counters:
    """Live numbers of a run; `failed` is not yet told apart, because only the caller knows the canary."""

    sent: int
    answered: int
    failed: int

    @property
    def pending(self) -> int:
        """Return how many requests have no answer yet."""
        return self.sent - self.answered - self.failed


@dataclass(frozen=True)
class LoadReport:
    """The result of a run or of a part of it: sent = answered + lost + own + pending, pending 0 once stopped.

    Attributes:
        seconds: length of the run so far.
        max_lag: worst lateness of a request's departure in seconds; `p99_lag` likewise.
        p50: median latency of the answered requests in seconds, `p99` likewise; 0 without any.
        statuses: requests by how they ended.
        revisions: answered requests by the revision their header named, "" for none.
        losses: the first few lost requests.
    """

    sent: int
    answered: int
    lost: int
    own: int
    pending: int
    seconds: float
    max_lag: float
    p99_lag: float
    p50: float
    p99: float
    statuses: Mapping[str, int]
    revisions: Mapping[str, int]
    losses: tuple[Record, ...]

    @property
    def void(self) -> bool:
        """Return whether the run proves nothing: the generator was late, or nothing was sent."""
        return self.max_lag > MAX_LAG or self.sent == 0

    def __str__(self) -> str:
        """Return one line for people."""
        text = (
            f"sent {self.sent} in {self.seconds:.1f} s: answered {self.answered}, lost {self.lost},"
            f" canary's own {self.own}" + (f", pending {self.pending}" if self.pending else "")
        )
        text += f"; p50 {1000 * self.p50:.1f} ms, p99 {1000 * self.p99:.1f} ms"
        text += f"; lag p99 {1000 * self.p99_lag:.1f} ms, max {1000 * self.max_lag:.1f} ms"
        if self.void:
            text += "; VOID: the generator was late" if self.sent else "; VOID: nothing was sent"
        return text


def outcome_of(record: Record, canary: str | None) -> Outcome:
    """Return how a request ended; a failure is the canary's own only if its header names the canary.

    A failure without a revision, or with stable's, is lost: a user's request that the change cost.
    """
    if record.is_ok:
        return Outcome.ANSWERED
    return Outcome.OWN if canary is not None and record.revision == canary else Outcome.LOST


def report_of(
    records: Iterable[Record], *, canary: str | None, seconds: float, pending: int = 0, pending_lag: float = 0.0
) -> LoadReport:
    """Return the report over finished requests and `pending` ones, with the lag of those yet to end."""
    finished = list(records)
    outcomes = Counter(outcome_of(record, canary) for record in finished)
    lags = sorted(record.lag for record in finished)
    latencies = sorted(record.latency for record in finished if record.is_ok)
    return LoadReport(
        sent=len(finished) + pending,
        answered=outcomes[Outcome.ANSWERED],
        lost=outcomes[Outcome.LOST],
        own=outcomes[Outcome.OWN],
        pending=pending,
        seconds=seconds,
        max_lag=max(pending_lag, percentile(lags, 1.0)),
        p99_lag=percentile(lags, 0.99),
        p50=percentile(latencies, 0.5),
        p99=percentile(latencies, 0.99),
        statuses=dict(Counter(record.status for record in finished)),
        revisions=dict(Counter(record.revision or "" for record in finished if record.is_ok)),
        losses=tuple(one for one in finished if outcome_of(one, canary) is Outcome.LOST)[:EXAMPLES],
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of sorted values, 0 without any."""
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
