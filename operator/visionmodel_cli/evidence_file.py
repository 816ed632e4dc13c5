"""The file that `judge --input` reads: the counts of a rollout's ticks, from any source; docs/judge.md describes it.

Strict: a field that is not known, a fraction in place of a count, or a count that cannot be, is refused with its path.
What a monitoring system really gives (nothing, null, NaN, several series) is accepted, and is no data.
"""

import json
import math
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from visionmodel_cli.failures import Failure
from visionmodel_operator.api.base import distinct_names

MOST_FAULTS: Final = 5
LARGEST_COUNT: Final = 2**53
"""Larger whole numbers are rounded by most writers of JSON."""


class FileModel(BaseModel):
    """Base of every part of the file."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=False,
        validate_by_alias=True,
    )


def _possible(value: float | None) -> float | None:
    if value is None or not math.isfinite(value):
        return value
    if not 0 <= value <= LARGEST_COUNT:
        raise ValueError("a count lies between 0 and 2^53: take differences of counters, a restart counts from 0")
    if value != int(value):
        raise ValueError("a count is a whole number: take differences of counters, not rate() or increase()")
    return value


Count = Annotated[float | None, AfterValidator(_possible)]
"""A whole number; null, NaN and infinity say that there is none."""


def _refuse_more(events: list[float | None], requests: float | None) -> None:
    for count in events:
        if count is not None and requests is not None and count > requests:
            raise ValueError(f"{count:g} events of {requests:g} requests cannot be")


class Group(FileModel):
    """What one group of pods did in one tick: its answered requests, and the errors among them."""

    requests: Count
    events: Count = None

    @model_validator(mode="after")
    def _within(self) -> Self:
        _refuse_more([self.events], self.requests)
        return self


class TailGroup(FileModel):
    """What one group of pods did in one tick: its answered requests, and those slower than each edge."""

    requests: Count
    events: list[Count]

    @model_validator(mode="after")
    def _within(self) -> Self:
        _refuse_more(self.events, self.requests)
        return self


def _as_list(value: Any) -> Any:
    return [] if value is None else value if isinstance(value, list) else [value]


Series = Annotated[list[Group], BeforeValidator(_as_list)]
"""One group; none where there is no series, several where more answered than were asked for."""
TailSeries = Annotated[list[TailGroup], BeforeValidator(_as_list)]


class Tick(FileModel):
    """One interval, named by its end."""

    time: AwareDatetime


class CountsTick(Tick):
    """`baseline` are stable's pods that are set against the canary, and are not counted in `stable`."""

    canary: Series = []
    stable: Series = []
    baseline: Series = []


class TailTick(Tick):
    """Both sides of one interval."""

    canary: TailSeries = []
    stable: TailSeries = []


class PairsTick(Tick):
    """Requests that both revisions answered, and those whose answers agree."""

    pairs: Count = None
    agree: Count = None

    @model_validator(mode="after")
    def _within(self) -> Self:
        if self.agree is not None and self.pairs is not None and self.agree > self.pairs:
            raise ValueError(f"{self.agree:g} of {self.pairs:g} pairs cannot agree")
        return self


class Method(StrEnum):
    """How errors are compared."""

    COUNTS = "Counts"
    TEMPERED = "Tempered"
    PAIRED = "Paired"


Rate = Annotated[float, Field(gt=0, lt=1)]


class MetricQuestion(FileModel):
    """What every metric has.

    Attributes:
        false_rollback_rate: what this test may spend, in (0, 1); the operator divides a rollout's rate by its tests.
        min_samples: the canary's requests without harm that are a Pass where no proof of safety is asked for.
    """

    name: Annotated[str, Field(min_length=1, max_length=63)]
    false_rollback_rate: Rate = 0.01
    min_samples: Annotated[int, Field(ge=0, le=LARGEST_COUNT)] = 100


class ErrorRateQuestion(MetricQuestion):
    """Does the canary fail more often than stable?

    Attributes:
        tolerate_ratio: risk ratio canary/stable that is still fine.
        max_ratio: a ratio to be excluded by a proof of safety.
        false_promotion_rate: chance that a canary as bad as that is proven safe.
        planned_ticks: the rollout's length; given, faults that begin late are looked for too.
        seed: of the random thinning of groups of unequal size.
    """

    type: Literal["ErrorRate"]
    method: Annotated[Method, Field(strict=False)] = Method.COUNTS
    tolerate_ratio: Annotated[float, Field(gt=0, le=100)] = 1.0
    max_ratio: Annotated[float, Field(gt=1, le=1000)] | None = None
    false_promotion_rate: Rate = 0.05
    planned_ticks: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**53)] = 0
    ticks: list[CountsTick]

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        for field in ("max_ratio", "planned_ticks"):
            if getattr(self, field) is not None and self.method is not Method.COUNTS:
                raise ValueError(
                    f"{to_camel(field)} needs method Counts: no such proof is known under noise that hits one group"
                )
        if self.method is Method.PAIRED and self.tolerate_ratio != 1:
            raise ValueError("method Paired compares equal groups: leave tolerateRatio out")
        if self.method is not Method.COUNTS and self.ticks and not any(tick.baseline for tick in self.ticks):
            raise ValueError(f"method {self.method} needs `baseline` counts in its ticks: a group of stable's pods")
        return self


class LatencyTailQuestion(MetricQuestion):
    """Is the canary's tail heavier? `events` are the requests slower than each of `edges`, in its order.

    Attributes:
        edges: ascending, in any unit; at each of them a test of its own.
        tolerate_ratio: ratio of the shares of slow requests that is still fine.
    """

    type: Literal["LatencyTail"]
    edges: Annotated[list[Annotated[float, Field(gt=0, allow_inf_nan=False)]], Field(min_length=1, max_length=64)]
    tolerate_ratio: Annotated[float, Field(gt=0, le=100)] = 1.0
    ticks: list[TailTick]

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if sorted(set(self.edges)) != self.edges:
            raise ValueError("edges must ascend, each of them once")
        for index, tick in enumerate(self.ticks):
            for group in (*tick.canary, *tick.stable):
                if len(group.events) != len(self.edges):
                    raise ValueError(
                        f"ticks[{index}] has {len(group.events)} events for {len(self.edges)} edges:"
                        " give one count for each"
                    )
                slow = [count for count in group.events if count is not None and math.isfinite(count)]
                if sorted(slow, reverse=True) != slow:
                    raise ValueError(
                        f"ticks[{index}] has more requests slower than a later edge: count all that are slower"
                    )
        return self


class AgreementQuestion(MetricQuestion):
    """Do canary and stable agree in at least `min` of the pairs? `certify_above`: a share to be proven."""

    type: Literal["Agreement"]
    min: Rate
    certify_above: Rate | None = None
    false_promotion_rate: Rate = 0.05
    ticks: list[PairsTick]


class Weights(FileModel):
    """The weights that the route says, in any unit."""

    canary: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    stable: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class SplitQuestion(MetricQuestion):
    """Are requests divided as the weights say?"""

    type: Literal["Split"]
    false_rollback_rate: Rate = 0.001
    min_samples: Annotated[int, Field(ge=0, le=LARGEST_COUNT)] = 200
    weights: Weights
    ticks: list[CountsTick]


Question = ErrorRateQuestion | LatencyTailQuestion | AgreementQuestion | SplitQuestion


class EvidenceFile(FileModel):
    """Everything that is to be judged; each metric by itself."""

    metrics: Annotated[
        list[Annotated[Question, Field(discriminator="type")]],
        Field(min_length=1, max_length=64),
        AfterValidator(distinct_names),
    ]


def questions_from(text: str | bytes) -> tuple[Question, ...]:
    """Return the metrics of a file.

    Raises:
        Failure: no JSON, or not of this format; one line per fault, with its path and what to do.
    """
    try:
        return tuple(EvidenceFile.model_validate_json(text).metrics)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
        if faults[0]["type"] == "json_invalid":
            raise Failure(f"the input is no JSON: {faults[0]['msg']}") from error
        document = json.loads(text)
        lines = [f"{_path(document, fault)}: {_words(fault['msg'])}" for fault in faults[:MOST_FAULTS]]
        more = len(faults) - len(lines)
        lines += [f"and {more} more"] if more else []
        raise Failure("\n".join([*lines, "docs/judge.md describes the format."])) from error


def _words(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return "is not known; correct its name or leave it out" if message == "Extra inputs are not permitted" else message


def _path(document: Any, fault: ErrorDetails) -> str:
    """Return where in the document a fault is; pydantic's names of union members and of a lone group are left out."""
    here, text = document, ""
    for part in fault["loc"]:
        if isinstance(here, list) and isinstance(part, int) and part < len(here):
            here, text = here[part], f"{text}[{part}]"
        elif isinstance(here, dict) and part in here:
            here, text = here[part], f"{text}.{part}"
    if fault["type"] == "missing":
        text = f"{text}.{fault['loc'][-1]}"
    return text.removeprefix(".") or "the document"
