"""What a rollout can find out, said before it begins: its steps are simulated and judged by the judge itself.

Requests come at a steady rate and fail independently; stable fails at the given rate, the canary `ratio` times as
often. Ticks, warm-up, lag, `minSamples` and the steps' lengths are the rollout's own. Used by the command `plan`;
the source of random numbers is an argument.

Two things are simplified. A rollout of more than `MOST_LOOKS` ticks is looked at every few ticks, so harm is found up
to one look later than it would be. Counts of more than `NORMAL_VARIANCE` are drawn from the normal distribution of
their mean and variance. Chances are shares of `RUNS` rollouts: their standard error is at most 1.6 percentage points.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.spec import Analysis, OnInconclusive
from visionmodel_operator.api.status import PlanStep
from visionmodel_operator.core.counters import JUDGE_LAG, Counts, Tick
from visionmodel_operator.core.judge import Harm, config_from_analysis, initial_state, judge
from visionmodel_operator.core.weights import TRACE, WHOLE

RATIOS: Final = (1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
"""How many times as often as stable the simulated canaries fail; 1 is a good one."""
RUNS: Final = 1000
MOST_LOOKS: Final = 120
NORMAL_VARIANCE: Final = 200.0
LOOKS_AT_ONCE: Final = 12
"""Ticks that are drawn before the judge is asked; a canary that is found early saves the rest."""
SURE: Final = 0.9
"""Chance from which a ratio counts as one that a step detects."""


class Randomness(Protocol):
    """A seeded source, such as `random.Random`."""

    def random(self) -> float:
        """Return a number uniform on [0, 1)."""

    def gauss(self, mu: float, sigma: float) -> float:
        """Return a number of the normal distribution."""


@dataclass(frozen=True)
class ExpectedTraffic:
    """Requests per second of both revisions together, and the share of stable's that fail, in (0, 1)."""

    requests_per_second: float
    error_rate: float

    def __post_init__(self) -> None:
        """Refuse traffic about which nothing can be said: ValueError."""
        if not (self.requests_per_second > 0 and math.isfinite(self.requests_per_second)):
            raise ValueError(f"the requests per second must be positive, got {self.requests_per_second!r}")
        if not 0 < self.error_rate < 1:
            raise ValueError(f"the error rate must lie between 0 and 1, got {self.error_rate!r}")


@dataclass(frozen=True)
class StepTimes:
    """One step as the rollout would take it.

    Attributes:
        start: seconds since the rollout's first step began.
        end: when it may end at the earliest.
        is_open: it ends by promotion only.
        is_undecided: `minSamples` are not there in time; `onInconclusive` decides.
    """

    weight_ppm: int
    start: float
    end: float
    is_open: bool
    is_undecided: bool


@dataclass(frozen=True)
class RatioForecast:
    """What becomes of canaries that fail `ratio` times as often as stable.

    Attributes:
        found_by_step: share of them that is sent back by the end of each step.
        median_seconds: time after which half of all are found, since the canary's first request; None: never half.
        p90_seconds: likewise for nine of ten.
        median_failures: failed requests of the canary until it is found, or until the last step ends.
    """

    ratio: float
    found_by_step: tuple[float, ...]
    median_seconds: float | None
    p90_seconds: float | None
    median_failures: int

    @property
    def found(self) -> float:
        """Share that is sent back before the promotion."""
        return self.found_by_step[-1] if self.found_by_step else 0.0


@dataclass(frozen=True)
class Forecast:
    """The steps that the rollout would reach, and what they find."""

    steps: tuple[StepTimes, ...]
    ratios: tuple[RatioForecast, ...]

    def detected(self, step: int) -> float | None:
        """Return the smallest simulated ratio that is found by the end of a step in at least `SURE`; None: none."""
        return next((r.ratio for r in self.ratios if r.found_by_step[step] >= SURE), None)


def step_times(plan: Sequence[PlanStep], analysis: Analysis, traffic: ExpectedTraffic) -> tuple[StepTimes, ...]:
    """Return the steps in order; nothing after one that would be held or turned back for want of requests."""
    longest = duration_seconds(analysis.max_step_duration)
    found: list[StepTimes] = []
    start = 0.0
    blind_until: float | None = None
    for step in plan:
        if blind_until is None and step.weight_ppm > 0:
            blind_until = start + duration_seconds(analysis.warmup)
        shortest = start + (step.min_seconds or 0.0)
        end, late = shortest, False
        if TRACE < step.weight_ppm < WHOLE - TRACE:
            sampled = _sampled_at(step.weight_ppm, max(start, blind_until or start), analysis, traffic)
            latest = max(shortest, blind_until or start) + longest
            end, late = min(max(shortest, sampled), latest), sampled > latest
        found.append(StepTimes(step.weight_ppm, start, end, step.min_seconds is None, late))
        if late and analysis.on_inconclusive is not OnInconclusive.PROMOTE:
            break
        start = end
    return tuple(found)


def forecast(
    plan: Sequence[PlanStep],
    analysis: Analysis,
    traffic: ExpectedTraffic,
    randomness: Randomness,
    ratios: Sequence[float] = RATIOS,
    runs: int = RUNS,
) -> Forecast:
    """Simulate `runs` rollouts per ratio. Raises ValueError when there is no step."""
    steps = step_times(plan, analysis, traffic)
    looks = _looks(steps, analysis, traffic)
    return Forecast(
        steps,
        tuple(_ratio_forecast(ratio, (steps, looks), analysis, traffic, randomness, runs) for ratio in ratios),
    )


def _sampled_at(weight_ppm: int, begin: float, analysis: Analysis, traffic: ExpectedTraffic) -> float:
    """Return when `minSamples` are judged: at the end of a whole tick that began with the step, plus the lag."""
    per_second = traffic.requests_per_second * weight_ppm / WHOLE
    interval = duration_seconds(analysis.interval)
    ticks = max(1, math.ceil(analysis.min_samples / per_second / interval))
    return begin + ticks * interval + JUDGE_LAG


@dataclass(frozen=True)
class _Look:
    """One or several ticks in a row: the canary's requests and stable's; `is_judged` is False during the warm-up."""

    end: float
    canary: int
    stable: int
    is_judged: bool = True


def _looks(steps: Sequence[StepTimes], analysis: Analysis, traffic: ExpectedTraffic) -> tuple[_Look, ...]:
    """Cut the time from the canary's first request to the end of the last step."""
    first = next((step.start for step in steps if step.weight_ppm > 0), None)
    if first is None:
        return ()
    begin, end = first + duration_seconds(analysis.warmup), steps[-1].end
    interval = duration_seconds(analysis.interval)
    ticks = math.floor(max(0.0, end - begin) / interval)
    length = interval * max(1, math.ceil(ticks / MOST_LOOKS))
    bounds = [first, begin, *(begin + length * (index + 1) for index in range(math.ceil(ticks * interval / length)))]
    reached = [(_requests_until(bound, steps, traffic)) for bound in bounds]
    looks = []
    for index in range(1, len(bounds)):
        canary, stable = (now - before for now, before in zip(reached[index], reached[index - 1], strict=True))
        looks.append(_Look(bounds[index] - first, canary, stable, index > 1))
    return tuple(looks)


def _requests_until(time: float, steps: Sequence[StepTimes], traffic: ExpectedTraffic) -> tuple[int, int]:
    """Return the whole requests of canary and stable from the first step to a time; past the end the last weight."""
    per_second, canary = traffic.requests_per_second, 0.0
    for index, step in enumerate(steps):
        end = time if index == len(steps) - 1 else min(time, step.end)
        canary += max(0.0, end - step.start) * per_second * step.weight_ppm / WHOLE
    return math.floor(canary), math.floor(time * per_second) - math.floor(canary)


def _ratio_forecast(
    ratio: float,
    course: tuple[Sequence[StepTimes], Sequence[_Look]],
    analysis: Analysis,
    traffic: ExpectedTraffic,
    randomness: Randomness,
    runs: int,
) -> RatioForecast:
    steps, looks = course
    rates = (min(1.0, traffic.error_rate * ratio), traffic.error_rate)
    ends = [_simulated(looks, analysis, rates, randomness) for _ in range(runs)]
    first = next((step.start for step in steps if step.weight_ppm > 0), 0.0)
    times = sorted(time for time, _ in ends)
    return RatioForecast(
        ratio,
        tuple(sum(time <= step.end - first for time in times) / runs for step in steps),
        _finite(times[math.ceil(0.5 * runs) - 1]),
        _finite(times[math.ceil(0.9 * runs) - 1]),
        sorted(failures for _, failures in ends)[runs // 2],
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _simulated(
    looks: Sequence[_Look], analysis: Analysis, rates: tuple[float, float], randomness: Randomness
) -> tuple[float, int]:
    """Return when one canary is found, infinity for never, and its failed requests until then."""
    config, state, failures = config_from_analysis(analysis), initial_state(0.0), 0
    for begin in range(0, len(looks), LOOKS_AT_ONCE):
        ticks, failed = [], {}
        for look in looks[begin : begin + LOOKS_AT_ONCE]:
            canary = Counts(look.canary, binomial(look.canary, rates[0], randomness))
            stable = Counts(look.stable, binomial(look.stable, rates[1], randomness))
            failures += canary.errors
            failed[look.end] = failures
            if look.is_judged:
                ticks.append(Tick(look.end, canary, stable))
        state, verdict = judge(state, ticks, config)
        if isinstance(verdict, Harm):
            return verdict.tick + JUDGE_LAG, failed[verdict.tick]
    return math.inf, failures


def binomial(trials: int, chance: float, randomness: Randomness) -> int:
    """Return how many of independent trials succeed.

    Few are counted by the gaps between them, which are geometric (Devroye, Non-Uniform Random Variate Generation,
    section X.4.3); many are drawn from the normal distribution.
    """
    if chance > 0.5:
        return trials - binomial(trials, 1 - chance, randomness)
    variance = trials * chance * (1 - chance)
    if variance > NORMAL_VARIANCE:
        drawn = round(randomness.gauss(trials * chance, math.sqrt(variance)))
        return min(trials, max(0, drawn))
    if chance == 0:
        return 0
    log_failure, position, successes = math.log1p(-chance), 0, 0
    while True:
        gap = math.log(1 - randomness.random()) / log_failure
        if gap >= trials - position:
            return successes
        position += 1 + math.floor(gap)
        successes += 1
