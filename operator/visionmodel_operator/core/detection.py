"""Whether a rollout can detect a doubling of the error rate, by the planning formula; said once, when it begins."""

import math
from typing import Final

from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.conditions import Phase
from visionmodel_operator.api.forecast import ForecastStatus
from visionmodel_operator.api.spec import Analysis
from visionmodel_operator.api.status import PlanStep, VisionModelStatus
from visionmodel_operator.core import memory
from visionmodel_operator.core.forecast import ExpectedTraffic, step_times
from visionmodel_operator.core.judge_config import ErrorRate, alpha_per_test, config_from_analysis
from visionmodel_operator.core.routes import is_split
from visionmodel_operator.core.sequential.planning import median_requests
from visionmodel_operator.core.snapshot import Snapshot
from visionmodel_operator.core.view import View
from visionmodel_operator.core.weights import TRACE, WHOLE

DOUBLING: Final = 2.0
SURELY_MISSED: Final = 0.8
"""Share of the formula's median below which fewer than half are found: simulated medians are 0.80 to 0.98 of it."""


def is_forecast_due(snapshot: Snapshot) -> bool:
    """Return whether this pass must know the traffic so far."""
    spec, status = snapshot.spec, snapshot.status
    rollout = status.rollout
    if spec is None or rollout is None or status.stable is None or status.phase is not Phase.PROVISIONING:
        return False
    return is_split(spec.traffic, snapshot.platform) and bool(rollout.plan) and rollout.forecast is None


def forecasted(view: View) -> VisionModelStatus | None:
    """Return the status with what the rollout can detect at today's traffic; None where that is not asked now.

    Without data nothing is said, and it is recorded that nothing is: the question is asked once.
    """
    measured = view.snapshot.recent_traffic
    if measured is None or not is_forecast_due(view.snapshot):
        return None
    traffic = measured.expected
    if traffic is None:
        return memory.with_rollout(view.status, forecast=ForecastStatus())
    forecast = ForecastStatus(
        requests_per_second=round(traffic.requests_per_second, 3),
        error_rate=round(traffic.error_rate, 6),
        blind_spot=blind_spot(view.rollout.plan, view.analysis, traffic),
    )
    return memory.with_rollout(view.status, forecast=forecast)


def blind_spot(plan: list[PlanStep], analysis: Analysis, traffic: ExpectedTraffic) -> str | None:
    """Return why fewer than half of the canaries that fail twice as often as stable are found; None where they are.

    Also None where no error rate has a test, or where a step is open until somebody promotes: nobody knows how long.
    """
    config = config_from_analysis(analysis)
    tolerated = [m.tolerate_ratio for m in config.metrics if isinstance(m, ErrorRate) and m.gating]
    judged = [step for step in plan if TRACE < step.weight_ppm < WHOLE - TRACE]
    if not tolerated or any(step.min_seconds is None for step in judged):
        return None
    requests = judged_requests(plan, analysis, traffic)
    ratio = DOUBLING / min(tolerated)
    needed = median_requests(alpha_per_test(config), traffic.error_rate, ratio) if ratio > 1 else math.inf
    if requests >= SURELY_MISSED * needed:
        return None
    half = "none of such canaries is found" if math.isinf(needed) else f"half of them are found after {needed:,.0f}"
    rates = f"{traffic.requests_per_second:.3g} requests per second of which {100 * traffic.error_rate:.2g} % fail"
    return (
        f"This rollout cannot detect a doubling of the error rate: at {rates}, its steps judge as much as"
        f" {requests:,.0f} requests of a small canary, and {half}. Longer steps, larger weights or more traffic find"
        " more."
    )


def judged_requests(plan: list[PlanStep], analysis: Analysis, traffic: ExpectedTraffic) -> float:
    """Return the canary requests that the steps judge, in requests of a canary with a small share.

    The difference of two rates has the variance of 1/n + 1/m: of two equal halves a request tells half as much.
    """
    total, begins = 0.0, None
    for step in step_times(plan, analysis, traffic):
        if begins is None and step.weight_ppm > 0:
            begins = step.start + duration_seconds(analysis.warmup)
        if TRACE < step.weight_ppm < WHOLE - TRACE and begins is not None:
            share = step.weight_ppm / WHOLE
            seconds = max(0.0, step.end - max(step.start, begins))
            total += seconds * traffic.requests_per_second * share * (1 - share)
    return total
