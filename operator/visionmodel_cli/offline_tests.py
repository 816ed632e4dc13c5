"""One running test per kind of metric, in front of `core.sequential`; used by `offline_judge` alone.

Each is a frozen value; `after` returns the next one, or raises Unusable with the reason for which a tick says nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, assert_never

from visionmodel_cli.evidence_file import (
    AgreementQuestion,
    CountsTick,
    ErrorRateQuestion,
    Group,
    LatencyTailQuestion,
    Method,
    PairsTick,
    Question,
    SplitQuestion,
    TailGroup,
    TailTick,
)
from visionmodel_operator.core.counters import NO_SERIES, NOT_FINITE, SEVERAL_SERIES
from visionmodel_operator.core.sequential import (
    certificate,
    dispersion,
    late_fault,
    latency,
    proportion,
    ratio,
    sign,
    split,
)


class Unusable(Exception):
    """A tick that says nothing; the text is the side and the reason, in the words of the operator's status."""


class Test(Protocol):
    """What the judge of a file asks of a test."""

    @property
    def harm(self) -> float:
        """Return the log evidence of harm."""

    @property
    def proof(self) -> float | None:
        """Return the log evidence of safety, None where no proof was asked for."""

    @property
    def doubt(self) -> float | None:
        """Return the rate at which that proof may be false."""

    @property
    def samples(self) -> int:
        """Return how many of the canary's requests, or pairs, were seen."""

    @property
    def told(self) -> str:
        """Return the counts in words."""

    def after(self, tick: Any) -> "Test":
        """Return the test after one more tick. Raises Unusable."""


def test_of(question: Question) -> Test:
    """Return a metric's test before its first tick."""
    match question:
        case ErrorRateQuestion(method=Method.PAIRED):
            return PairedTest(question, sign.no_evidence(question.seed))
        case ErrorRateQuestion():
            return RatioTest(
                question,
                ratio.no_evidence(),
                dispersion.Dispersion(),
                certificate.no_evidence(question.max_ratio) if question.max_ratio is not None else None,
                late_fault.no_evidence(question.planned_ticks) if question.planned_ticks is not None else None,
            )
        case LatencyTailQuestion():
            edges = [latency.EdgePair(edge, edge) for edge in question.edges]
            return TailTest(question, latency.no_evidence(edges))
        case AgreementQuestion():
            return AgreementTest(question)
        case SplitQuestion():
            return SplitTest(question)
        case _:
            assert_never(question)


@dataclass(frozen=True)
class Tally:
    """Requests of one group so far, and the events among them."""

    requests: int = 0
    events: int = 0

    def plus(self, requests: int, events: int) -> "Tally":
        """Return the tally with one tick more."""
        return Tally(self.requests + requests, self.events + events)

    def __str__(self) -> str:
        share = f" ({100 * self.events / self.requests:.3g} %)" if self.requests else ""
        return f"{self.events} of {self.requests}{share}"


@dataclass(frozen=True)
class RatioTest:
    """Errors against stable's, tick by tick: methods Counts and Tempered."""

    question: ErrorRateQuestion
    evidence: ratio.RatioEvidence
    noise: dispersion.Dispersion
    safety: certificate.SafetyEvidence | None = None
    late: late_fault.LateFaultEvidence | None = None
    canary: Tally = Tally()
    stable: Tally = Tally()

    @property
    def harm(self) -> float:
        """As `Test.harm`."""
        return (
            ratio.log_evidence(self.evidence) if self.late is None else late_fault.log_average(self.evidence, self.late)
        )

    @property
    def proof(self) -> float | None:
        """As `Test.proof`."""
        return None if self.safety is None else certificate.log_evidence(self.safety)

    @property
    def doubt(self) -> float | None:
        """As `Test.doubt`."""
        return self.question.false_promotion_rate

    @property
    def samples(self) -> int:
        """As `Test.samples`."""
        return self.canary.requests

    @property
    def told(self) -> str:
        """As `Test.told`."""
        noise = (
            f", noise factor {dispersion.estimate(self.noise):.3g}" if self.question.method is Method.TEMPERED else ""
        )
        return f"canary {self.canary}, stable {self.stable}{noise}"

    def after(self, tick: CountsTick) -> "RatioTest":
        """As `Test.after`; the noise of this tick tempers the next."""
        canary, stable = _counts("canary", tick.canary), _counts("stable", tick.stable)
        tolerated = self.question.tolerate_ratio
        noise, exponent = self.noise, 1.0
        if self.question.method is Method.TEMPERED:
            exponent = 1 / dispersion.estimate(noise)
            noise = dispersion.update(noise, *_counts("baseline", tick.baseline), *stable)
        return replace(
            self,
            evidence=ratio.update(self.evidence, *canary, *stable, tolerate_ratio=tolerated, exponent=exponent),
            safety=None if self.safety is None else certificate.update(self.safety, *canary, *stable),
            late=None
            if self.late is None
            else late_fault.update(self.late, *canary, *stable, tolerate_ratio=tolerated),
            noise=noise,
            canary=self.canary.plus(*canary),
            stable=self.stable.plus(*stable),
        )


@dataclass(frozen=True)
class _Unproven:
    """A test that proves no safety."""

    @property
    def proof(self) -> float | None:
        """As `Test.proof`."""
        return None

    @property
    def doubt(self) -> float | None:
        """As `Test.doubt`."""
        return None


@dataclass(frozen=True)
class PairedTest(_Unproven):
    """Errors against those of an equal group of stable's pods, by the sign of their difference."""

    question: ErrorRateQuestion
    evidence: sign.SignEvidence
    canary: Tally = Tally()
    baseline: Tally = Tally()

    @property
    def harm(self) -> float:
        """As `Test.harm`."""
        return sign.log_evidence(self.evidence)

    @property
    def samples(self) -> int:
        """As `Test.samples`."""
        return self.canary.requests

    @property
    def told(self) -> str:
        """As `Test.told`."""
        return f"canary {self.canary}, baseline {self.baseline}"

    def after(self, tick: CountsTick) -> "PairedTest":
        """As `Test.after`."""
        canary, baseline = _counts("canary", tick.canary), _counts("baseline", tick.baseline)
        return replace(
            self,
            evidence=sign.update(self.evidence, *canary, *baseline),
            canary=self.canary.plus(*canary),
            baseline=self.baseline.plus(*baseline),
        )


@dataclass(frozen=True)
class TailTest(_Unproven):
    """Slow requests against stable's, at each edge."""

    question: LatencyTailQuestion
    evidence: latency.TailEvidence
    canary: tuple[Tally, ...] = ()
    stable: tuple[Tally, ...] = ()

    @property
    def harm(self) -> float:
        """As `Test.harm`."""
        return latency.log_evidence(self.evidence)

    @property
    def samples(self) -> int:
        """As `Test.samples`."""
        return self.canary[0].requests if self.canary else 0

    @property
    def told(self) -> str:
        """As `Test.told`."""
        edges = zip(self.question.edges, self.canary, self.stable, strict=False)
        return "; ".join(f"above {edge:g}: canary {canary}, stable {stable}" for edge, canary, stable in edges)

    def after(self, tick: TailTick) -> "TailTest":
        """As `Test.after`."""
        (requests, slow), (of_stable, stable_slow) = _tail("canary", tick.canary), _tail("stable", tick.stable)
        return replace(
            self,
            evidence=latency.update(
                self.evidence,
                self._buckets(requests, slow),
                self._buckets(of_stable, stable_slow),
                tolerate_ratio=self.question.tolerate_ratio,
            ),
            canary=self._tallies(self.canary, requests, slow),
            stable=self._tallies(self.stable, of_stable, stable_slow),
        )

    def _buckets(self, requests: int, slow: Sequence[int]) -> tuple[tuple[float, int], ...]:
        below = zip(self.question.edges, slow, strict=True)
        return (*((edge, requests - count) for edge, count in below), (math.inf, requests))

    def _tallies(self, before: Sequence[Tally], requests: int, slow: Sequence[int]) -> tuple[Tally, ...]:
        known = before or (Tally(),) * len(slow)
        return tuple(tally.plus(requests, count) for tally, count in zip(known, slow, strict=True))


@dataclass(frozen=True)
class AgreementTest:
    """Pairs of answers that agree."""

    question: AgreementQuestion
    pairs: Tally = Tally()

    @property
    def harm(self) -> float:
        """As `Test.harm`."""
        return proportion.log_disagreement(self.pairs.requests, self.pairs.events, self.question.min)

    @property
    def proof(self) -> float | None:
        """As `Test.proof`."""
        above = self.question.certify_above
        return None if above is None else proportion.log_agreement(self.pairs.requests, self.pairs.events, above)

    @property
    def doubt(self) -> float | None:
        """As `Test.doubt`."""
        return self.question.false_promotion_rate

    @property
    def samples(self) -> int:
        """As `Test.samples`."""
        return self.pairs.requests

    @property
    def told(self) -> str:
        """As `Test.told`."""
        return f"{self.pairs} pairs agree"

    def after(self, tick: PairsTick) -> "AgreementTest":
        """As `Test.after`."""
        pairs, agree = _known("pairs", tick.pairs), _known("agree", tick.agree)
        return replace(self, pairs=self.pairs.plus(pairs, agree))


@dataclass(frozen=True)
class SplitTest(_Unproven):
    """Requests of both sides against the written weights."""

    question: SplitQuestion
    canary: int = 0
    stable: int = 0

    @property
    def harm(self) -> float:
        """As `Test.harm`."""
        return split.log_evidence(self.canary, self.stable, self._share)

    @property
    def samples(self) -> int:
        """As `Test.samples`; both sides count."""
        return self.canary + self.stable

    @property
    def told(self) -> str:
        """As `Test.told`."""
        total = Tally(self.canary + self.stable, self.canary)
        return f"the canary got {total} requests, written are {100 * self._share:.3g} %"

    def after(self, tick: CountsTick) -> "SplitTest":
        """As `Test.after`."""
        canary, stable = (_requests(*side) for side in (("canary", tick.canary), ("stable", tick.stable)))
        baseline = _requests("baseline", tick.baseline) if tick.baseline else 0
        return replace(self, canary=self.canary + canary, stable=self.stable + stable + baseline)

    @property
    def _share(self) -> float:
        weights = self.question.weights
        return weights.canary / (weights.canary + weights.stable)


def _counts(side: str, series: Sequence[Group]) -> tuple[int, int]:
    group = _only(side, series)
    return _known(side, group.requests), _known(side, group.events)


def _requests(side: str, series: Sequence[Group]) -> int:
    return _known(side, _only(side, series).requests)


def _tail(side: str, series: Sequence[TailGroup]) -> tuple[int, list[int]]:
    group = _only(side, series)
    return _known(side, group.requests), [_known(side, count) for count in group.events]


def _only(side: str, series: Sequence[Any]) -> Any:
    if len(series) != 1:
        raise Unusable(f"{side} {SEVERAL_SERIES if series else NO_SERIES}")
    return series[0]


def _known(side: str, count: float | None) -> int:
    if count is None or not math.isfinite(count):
        raise Unusable(f"{side} {NO_SERIES if count is None else NOT_FINITE}")
    return int(count)
