"""What the judge is asked: the metrics of one rollout with their limits, frozen when the rollout starts."""

from dataclasses import dataclass
from math import ceil
from typing import Final, assert_never

from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.spec import Analysis, Gate, Method, MetricType
from visionmodel_operator.api.spec import Metric as MetricSpec
from visionmodel_operator.core.sequential import budget

DEFAULT_MIN_SAMPLES: Final = 100
DEFAULT_INTERVAL: Final = 15.0
DEFAULT_PLANNED_SECONDS: Final = 3600.0


@dataclass(frozen=True)
class ErrorRate:
    """Errors of the canary against stable, by an always-valid test.

    Attributes:
        tolerate_ratio: risk ratio canary / stable that is still fine.
        slo_max: error share that the canary must not exceed whatever stable does, in (0, 1); None: no floor.
        gating: False reports and never acts.
        max_ratio: risk ratio that a certificate of safety must exclude, above 1.
    """

    name: str
    tolerate_ratio: float = 1.0
    slo_max: float | None = None
    gating: bool = True
    max_ratio: float = 3.0

    def __post_init__(self) -> None:
        """Refuse limits that no test can judge: ValueError."""
        if not self.tolerate_ratio > 0 or (self.slo_max is not None and not 0 < self.slo_max < 1):
            raise ValueError(f"{self.name}: need tolerate_ratio > 0 and slo_max in (0, 1), got {self!r}")


@dataclass(frozen=True)
class LatencyRatio:
    """A quantile of the canary's latency against stable's in the same tick; no guarantee claimed.

    Attributes:
        quantile: in (0, 1).
        max_ratio: how many times stable's quantile is still fine.
        floor_ms: a canary at or below this many milliseconds is never slow.
        min_tick_requests: with fewer requests on either side the tick says nothing.
        failure_limit: bad ticks in a row that mean harm.
    """

    name: str
    quantile: float = 0.9
    max_ratio: float = 3.0
    floor_ms: float = 10.0
    min_tick_requests: int = 5
    failure_limit: int = 3
    gating: bool = True


@dataclass(frozen=True)
class LatencyTail:
    """The canary's share of slow requests against stable's, at edges of the gateway's buckets, by an always-valid test.

    Attributes:
        quantile: in (0, 1); edges near it are judged.
        tolerate_ratio: how many times slower is still fine, at least 1.
        gating: False reports and never acts.
    """

    name: str
    quantile: float = 0.9
    tolerate_ratio: float = 1.0
    gating: bool = True


@dataclass(frozen=True)
class Threshold:
    """The value of a user's query against a closed range; no guarantee claimed.

    Attributes:
        minimum: smallest good value, None: unbounded.
        maximum: largest good value, None: unbounded.
        failure_limit: bad ticks in a row that mean harm.
    """

    name: str
    minimum: float | None = None
    maximum: float | None = None
    failure_limit: int = 3
    gating: bool = True


Metric = ErrorRate | LatencyRatio | LatencyTail | Threshold


@dataclass(frozen=True)
class JudgeConfig:
    """Everything the judge needs besides the ticks.

    Attributes:
        metrics: with distinct names; findings of the same tick rank in this order.
        false_rollback_rate: chance over the whole rollout that an equally good canary is found worse.
        min_requests: canary requests a step needs before it may pass; None: the default of 100.
        interval: length of a tick in seconds.
        method: how ErrorRate metrics are compared.
        gate: what a step needs to pass.
        false_promotion_rate: chance that a canary at `max_ratio` or worse is ever proven safe.
        planned_seconds: how long faults may begin anew, for the test of late faults.
    """

    metrics: tuple[Metric, ...]
    false_rollback_rate: float = 0.01
    min_requests: int | None = None
    interval: float = DEFAULT_INTERVAL
    method: Method = Method.COUNTS
    gate: Gate = Gate.NO_HARM
    false_promotion_rate: float = 0.05
    planned_seconds: float = DEFAULT_PLANNED_SECONDS

    def __post_init__(self) -> None:
        """Refuse two metrics of one name: ValueError."""
        if len({metric.name for metric in self.metrics}) != len(self.metrics):
            raise ValueError("two metrics have the same name")


def min_samples(config: JudgeConfig) -> int:
    """Return the canary requests that a step needs before it may end."""
    return DEFAULT_MIN_SAMPLES if config.min_requests is None else config.min_requests


def alpha_per_test(config: JudgeConfig) -> float:
    """Return each test's share of the false-rollback rate: one per gating ErrorRate, its sloMax, and LatencyTail."""
    rates = [metric for metric in config.metrics if isinstance(metric, ErrorRate) and metric.gating]
    tails = sum(isinstance(metric, LatencyTail) and metric.gating for metric in config.metrics)
    tests = len(rates) + sum(metric.slo_max is not None for metric in rates) + tails
    return budget.alpha_per_test(config.false_rollback_rate, tests)


def planned_ticks(config: JudgeConfig) -> int:
    """Return how many ticks the rollout is meant to be judged for, at least one."""
    return max(1, ceil(config.planned_seconds / config.interval))


def config_from_analysis(analysis: Analysis) -> JudgeConfig:
    """Return the judge's question for a `spec.rollout.analysis`."""
    return JudgeConfig(
        tuple(_metric_from_spec(metric) for metric in analysis.metrics),
        analysis.false_rollback_rate,
        analysis.min_samples,
        duration_seconds(analysis.interval),
        analysis.method,
        analysis.gate,
        analysis.false_promotion_rate,
    )


def _metric_from_spec(spec: MetricSpec) -> Metric:
    match spec.type:
        case MetricType.ERROR_RATE:
            slo_max = spec.slo_max if spec.slo_max is not None and spec.slo_max < 1 else None
            return ErrorRate(spec.name, spec.tolerate_ratio, slo_max, spec.gating, spec.max_ratio)
        case MetricType.LATENCY_RATIO:
            return LatencyRatio(
                spec.name,
                spec.quantile,
                spec.max_ratio,
                duration_seconds(spec.floor) * 1000,
                failure_limit=spec.failure_limit,
                gating=spec.gating,
            )
        case MetricType.LATENCY_TAIL:
            return LatencyTail(spec.name, spec.quantile, spec.tolerate_ratio, spec.gating)
        case MetricType.THRESHOLD:
            limits = spec.threshold_range
            return Threshold(
                spec.name,
                limits.min if limits else None,
                limits.max if limits else None,
                spec.failure_limit,
                spec.gating,
            )
        case _:
            assert_never(spec.type)
