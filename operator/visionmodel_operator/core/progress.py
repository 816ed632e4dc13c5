"""What a step of a rollout is doing and what it waits for, in words for `status.message`."""

from datetime import timedelta

from visionmodel_operator.api.conditions import Phase, Reason
from visionmodel_operator.core import memory
from visionmodel_operator.core.header_route import in_words
from visionmodel_operator.core.judge import config_from_analysis, verdict_of
from visionmodel_operator.core.verdict import Harm, NoData
from visionmodel_operator.core.view import View
from visionmodel_operator.core.weights import TRACE, WHOLE


def progress_message(view: View) -> str | None:
    """Return the message of a step under way; in every other phase, what was recorded with it."""
    status, rollout = view.status, view.status.rollout
    if rollout is None or status.phase is not Phase.PROGRESSING:
        return status.message
    share = memory.share_of(status, rollout.revision)
    where = f"Step {rollout.step + 1} of {len(rollout.plan)} at {share * 100 / WHOLE:g} %{_by_header(view)}"
    if status.reason == Reason.ROUTING:
        return f"{where}: {_routing(view)}"
    if not TRACE < share < WHOLE - TRACE:
        return f"{where}: {_timed(view)}"
    return f"{where}: {_judged(view)}"


def _by_header(view: View) -> str:
    header_route = view.traffic.header_route
    if header_route is None or header_route.parked:
        return ""
    return f" and for {in_words(header_route.match)}"


def _routing(view: View) -> str:
    ready = view.ready(view.rollout.revision)
    if ready < view.step_replicas:
        return f"waiting for pods, {ready} of {view.step_replicas} are ready"
    return "waiting for the gateway"


def _timed(view: View) -> str:
    """Nothing is compared at such a share: the step is a matter of time."""
    step, started = view.step, view.rollout.step_started_at
    if step is None or started is None or step.min_seconds is None:
        return "waiting for promotion"
    until = started + timedelta(seconds=step.min_seconds)
    return f"waiting until {until:%Y-%m-%d %H:%M:%S} UTC"


def _judged(view: View) -> str:
    state = memory.judge_state(view.rollout)
    if state is None:
        return "warming up"
    verdict = verdict_of(state, config_from_analysis(view.analysis))
    totals = verdict.totals
    if isinstance(verdict, NoData):
        return f"no data ({verdict.reason})"
    seen = "harm seen" if isinstance(verdict, Harm) else "no harm seen"
    return (
        f"{totals.canary_requests:,} canary requests, {seen} (evidence {totals.evidence:.1f} of {totals.threshold:.1f})"
    )
