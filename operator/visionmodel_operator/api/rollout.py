"""How a new revision takes over from the stable one, and what sends it back.

Part of `VisionModelSpec`; `api/spec.py` re-exports every name.
"""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from visionmodel_operator.api.base import BY_NAME, ApiModel, Duration, distinct_names, duration_seconds, rule
from visionmodel_operator.api.blue_green import BlueGreen
from visionmodel_operator.api.capacity import WhenFull
from visionmodel_operator.api.steps import Pause, Step


class Strategy(StrEnum):
    """How a new revision takes over."""

    CANARY = "Canary"
    BLUE_GREEN = "BlueGreen"


class OnNewRevision(StrEnum):
    """What becomes of a revision that the spec names while another one is rolled out."""

    RESTART = "Restart"
    QUEUE = "Queue"
    REJECT = "Reject"


class MetricType(StrEnum):
    """How a metric is judged."""

    ERROR_RATE = "ErrorRate"
    LATENCY_RATIO = "LatencyRatio"
    LATENCY_TAIL = "LatencyTail"
    THRESHOLD = "Threshold"


class ThresholdRange(ApiModel):
    """Closed range that a Threshold metric must stay in."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule("has(self.min) || has(self.max)", "a range needs min, max or both"),
                rule("!has(self.min) || !has(self.max) || self.min <= self.max", "min must not exceed max"),
            ]
        },
    )

    min: float | None = Field(default=None, description="Smallest good value.")
    max: float | None = Field(default=None, description="Largest good value.")

    @model_validator(mode="after")
    def _some_range(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError("a range needs min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("min must not exceed max")
        return self


class Metric(ApiModel):
    """One measured reason to go back."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "self.type != 'Threshold' || (has(self.query) && has(self.thresholdRange))",
                    "a Threshold metric needs query and thresholdRange",
                ),
                rule("self.type == 'Threshold' || !has(self.query)", "query belongs to Threshold metrics only"),
            ]
        },
    )

    name: Annotated[str, Field(pattern="^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=63)] = Field(
        description="Name of the metric in status and events."
    )
    type: MetricType = Field(
        description="ErrorRate: canary against stable by an always-valid test. LatencyRatio: a quantile against"
        " stable's, no guarantee claimed. LatencyTail: the share of slow requests against stable's by an always-valid"
        " test on the gateway's histogram. Threshold: any PromQL against a range, no guarantee claimed."
    )
    gating: bool = Field(default=True, description="false: judged and reported, never acted on.")
    tolerate_ratio: Annotated[float, Field(ge=1, le=100)] = Field(
        default=1.0,
        description="ErrorRate: risk ratio canary/stable that is still fine. LatencyTail: how many times slower is"
        " still fine, rounded up to the histogram's next bucket.",
    )
    slo_max: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="ErrorRate: absolute error share that the canary must not exceed."
    )
    quantile: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.9,
        description="LatencyRatio: the quantile that is compared. LatencyTail: bucket edges near it are judged.",
    )
    max_ratio: Annotated[float, Field(gt=1, le=1000)] = Field(
        default=3.0,
        description="LatencyRatio: canary's quantile may be this many times stable's. ErrorRate: with gate Certificate"
        " the canary must be proven to fail less than this many times as often as stable.",
    )
    floor: Duration = Field(default="10ms", description="LatencyRatio: a canary faster than this is never slow.")
    query: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        default=None,
        description="Threshold: PromQL that gives one number; {{namespace}}, {{name}}, {{canary}}, {{stable}}"
        " and {{interval}} are replaced.",
    )
    threshold_range: ThresholdRange | None = Field(default=None, description="Threshold: the good range.")
    failure_limit: Annotated[int, Field(ge=1, le=100)] = Field(
        default=3, description="LatencyRatio and Threshold: bad ticks in a row that mean harm."
    )

    @model_validator(mode="after")
    def _threshold_fields(self) -> Self:
        if self.type is MetricType.THRESHOLD and (self.query is None or self.threshold_range is None):
            raise ValueError("a Threshold metric needs query and thresholdRange")
        if self.type is not MetricType.THRESHOLD and self.query is not None:
            raise ValueError("query belongs to Threshold metrics only")
        return self


class Method(StrEnum):
    """How the errors of canary and stable are compared."""

    AUTO = "Auto"
    COUNTS = "Counts"
    TEMPERED = "Tempered"
    PAIRED = "Paired"


class Gate(StrEnum):
    """What a step needs to pass."""

    NO_HARM = "NoHarm"
    CERTIFICATE = "Certificate"


class OnInconclusive(StrEnum):
    """What to do when a step's longest time passes without enough evidence."""

    HOLD = "Hold"
    ABORT = "Abort"
    PROMOTE = "Promote"


class OnMissingMetrics(StrEnum):
    """What to do when metrics stay away longer than the deadline."""

    HOLD = "Hold"
    ABORT = "Abort"


UNPAIRED_MESSAGE = "methods Auto and Paired compare equal numbers of requests: a tolerateRatio needs Counts or Tempered"

DEFAULT_METRICS: list[Any] = [
    {"name": "errors", "type": "ErrorRate"},
    {"name": "latency", "type": "LatencyRatio"},
]


def _one_second_at_least(text: str) -> str:
    if duration_seconds(text) < 1:
        raise ValueError("must be 1s or more")
    return text


Interval = Annotated[
    Duration,
    Field(
        json_schema_extra={"x-kubernetes-validations": [rule("duration(self) >= duration('1s')", "must be 1s or more")]}
    ),
    AfterValidator(_one_second_at_least),
]
"""Duration of a tick; a shorter one would ask Prometheus more often than it can know anything new."""


class Analysis(ApiModel):
    """How the canary is judged."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!has(self.method) || !(self.method in ['Auto', 'Paired']) || !has(self.metrics)"
                    " || self.metrics.all(m, m.type != 'ErrorRate' || !has(m.tolerateRatio) || m.tolerateRatio == 1.0)",
                    UNPAIRED_MESSAGE,
                )
            ]
        },
    )

    interval: Interval = Field(default="15s", description="Length of one tick of evidence.")
    false_rollback_rate: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        default=0.01, description="Chance, over the whole rollout, that an equally good canary is sent back."
    )
    method: Method = Field(
        default=Method.COUNTS,
        description="How ErrorRate metrics are compared. Counts: every request counts alone; finds faults soonest."
        " Tempered: the same, divided by the noise seen between canary and stable, with an eye for faults that begin"
        " late. Paired: only which side has more errors in equal numbers of requests; holds its rate under bursts,"
        " needs more requests. Auto: Paired, because no second group of stable pods exists whose noise could be"
        " measured.",
    )
    gate: Gate = Field(
        default=Gate.NO_HARM,
        description="What a step needs to pass. NoHarm: enough requests and no harm found. Certificate: also a proof,"
        " per gating ErrorRate metric, that the canary fails less than maxRatio times as often as stable.",
    )
    false_promotion_rate: Annotated[float, Field(gt=0, lt=0.5)] = Field(
        default=0.05, description="Certificate: chance that a canary at maxRatio or worse is ever proven safe."
    )
    min_samples: Annotated[int, Field(ge=0, le=100_000_000)] = Field(
        default=100, description="Canary requests that a step needs before it may end."
    )
    warmup: Duration = Field(default="30s", description="Time after the first weight that is not judged.")
    metrics_grace: Duration = Field(default="5m", description="Time without metrics before the rollout holds.")
    metrics_deadline: Duration = Field(
        default="30m", description="Time without metrics before onMissingMetrics decides."
    )
    max_step_duration: Duration = Field(
        default="30m", description="Longest wait for a verdict once a step's own pauses and the warm-up are over."
    )
    on_inconclusive: OnInconclusive = Field(
        default=OnInconclusive.HOLD, description="What to do when a step stays undecided."
    )
    on_missing_metrics: OnMissingMetrics = Field(
        default=OnMissingMetrics.HOLD, description="What to do when metrics stay away; never promote."
    )
    max_restarts: Annotated[int, Field(ge=0, le=100)] = Field(
        default=3, description="Container restarts of canary pods beyond which the rollout is aborted."
    )
    metrics: Annotated[
        list[Metric],
        Field(
            max_length=8,
            json_schema_extra=BY_NAME,
        ),
        AfterValidator(distinct_names),
    ] = Field(
        default=[Metric.model_validate(m) for m in DEFAULT_METRICS],
        description="Reasons to go back; default: errors and latency against the stable revision.",
    )

    @model_validator(mode="after")
    def _equal_sides(self) -> Self:
        is_paired = self.method in (Method.AUTO, Method.PAIRED)
        if is_paired and any(m.type is MetricType.ERROR_RATE and m.tolerate_ratio != 1 for m in self.metrics):
            raise ValueError(UNPAIRED_MESSAGE)
        return self


STEP_LENGTH = "5m"
DEFAULT_WEIGHTS = (5.0, 25.0, 50.0)
"""The canary of those who do not say otherwise."""
STEPS_MESSAGE = "steps belong to strategy Canary: leave them out"
SETTINGS_MESSAGE = "blueGreen belongs to strategy BlueGreen"

_ARE_DEFAULT_STEPS = (
    f"self.steps.map(s, has(s.setWeight) ? s.setWeight : 0.0)"
    f" == {[share for weight in DEFAULT_WEIGHTS for share in (weight, 0.0)]}"
    f" && self.steps.map(s, has(s.pause) && has(s.pause.duration) ? s.pause.duration : '')"
    f" == {['', STEP_LENGTH] * len(DEFAULT_WEIGHTS)}"
)
"""In CEL, which sees the defaults that the API server has filled in: nobody wrote other steps."""


def _default_steps() -> list[Step]:
    return [
        step
        for weight in DEFAULT_WEIGHTS
        for step in (Step(set_weight=weight), Step(pause=Pause(duration=STEP_LENGTH)))
    ]


class Rollout(ApiModel):
    """How a new revision takes over from the stable one."""

    model_config = ConfigDict(
        **ApiModel.model_config,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule("!has(self.blueGreen) || self.strategy == 'BlueGreen'", SETTINGS_MESSAGE),
                rule(f"!has(self.strategy) || self.strategy == 'Canary' || {_ARE_DEFAULT_STEPS}", STEPS_MESSAGE),
            ]
        },
    )

    strategy: Strategy = Field(
        default=Strategy.CANARY,
        description="Canary: weights step by step. BlueGreen: a preview, then everybody at once, with a way back.",
    )
    steps: Annotated[list[Step], Field(max_length=32)] = Field(
        default=_default_steps(),
        description="What happens in order; after the last step the canary is promoted. Strategy Canary only.",
    )
    blue_green: BlueGreen | None = Field(
        default=None, description="What happens before and after the switch; strategy BlueGreen only."
    )
    on_new_revision: OnNewRevision = Field(
        default=OnNewRevision.RESTART,
        description="When the spec names another revision during a rollout. Restart: it replaces the one on trial."
        " Queue: the newest one waits until the rollout is over. Reject: it is refused, then begun by retry only.",
    )
    when_full: WhenFull = Field(
        default=WhenFull.WAIT,
        description="Without free devices for the canary beside stable. Wait: hold until there are. ShrinkByOne: stable"
        " gives one pod at a time, so that no more than one pod is missing until the canary is promoted.",
    )
    paused: bool = Field(default=False, description="true: hold the rollout where it is; harm still aborts.")
    drain: Duration = Field(default="30s", description="How long a leaving revision must be idle before it stops.")
    drain_max: Duration = Field(default="5m", description="Longest wait for a leaving revision to become idle.")
    route_timeout: Duration = Field(default="60s", description="Time for the gateway to accept a change of weight.")
    analysis: Analysis = Field(default=Analysis(), description="How the canary is judged.")

    @model_validator(mode="after")
    def _fields_of_the_strategy(self) -> Self:
        if self.blue_green is not None and self.strategy is not Strategy.BLUE_GREEN:
            raise ValueError(SETTINGS_MESSAGE)
        if self.strategy is not Strategy.CANARY and self.steps != _default_steps():
            raise ValueError(STEPS_MESSAGE)
        return self
