"""The judgement of a rollout once more, from what Prometheus holds: the operator's evidence must be the same.

The same pure functions, but in one go and with every tick at hand: what an operator with a Prometheus that never
failed would have concluded.
"""

import json
import urllib.parse
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from visionmodel_demo.platform import Platform
from visionmodel_devcluster.direct import open_direct
from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.spec import Analysis
from visionmodel_operator.api.status import RolloutStatus
from visionmodel_operator.core.counters import (
    GatewaySamples,
    Series,
    Slot,
    Window,
    sample_range,
    tick_ends,
    ticks_from_samples,
)
from visionmodel_operator.core.judge import JudgeState, config_from_analysis, initial_state, judge, state_from_dict
from visionmodel_operator.render.promql import gateway_queries

MONITORING = "monitoring"
PROMETHEUS = "prometheus"


def recorded(status: Mapping[str, Any]) -> JudgeState:
    """Return the evidence in a status, without what belongs to the current step alone."""
    return _whole(state_from_dict(status["rollout"]["judge"]))


def judged_again(platform: Platform, namespace: str, name: str, status: Mapping[str, Any]) -> JudgeState:
    """Return what all ticks up to the last one in the status give when they are judged at once."""
    rollout = RolloutStatus.model_validate(status["rollout"])
    known = state_from_dict(rollout.judge)
    assert known.last_tick is not None
    assert rollout.baseline_at is not None
    analysis = Analysis.model_validate(rollout.analysis)
    interval = duration_seconds(analysis.interval)
    ends = tick_ends(known.started, interval, known.last_tick, lag=0.0)
    window = Window(namespace, name, interval)
    index = status["traffic"]["slots"].index(rollout.revision)
    canary, stable = Slot(index, rollout.baseline_at.timestamp()), Slot(1 - index, 0.0)
    start, end = sample_range(ends, window)
    queries = gateway_queries("envoy-gateway", namespace, name, end - start)
    with platform.kube.forward(f"service/{PROMETHEUS}", MONITORING, 9090) as port:
        samples = GatewaySamples(
            *(_samples(port, query, end) for query in (queries.requests, queries.buckets, queries.up))
        )
    ticks = ticks_from_samples(samples, ends, canary, stable, window)
    state, _ = judge(initial_state(known.started), ticks, config_from_analysis(analysis))
    return _whole(state)


def _whole(state: JudgeState) -> JudgeState:
    metrics = tuple(replace(metric, judged=0) for metric in state.metrics)
    return replace(state, step_started=None, step_requests=0, metrics=metrics)


def _samples(port: int, query: str, at: float) -> tuple[Series, ...]:
    asked = urllib.parse.urlencode({"query": query, "time": f"{at:.3f}"})
    with open_direct(f"http://127.0.0.1:{port}/api/v1/query?{asked}", timeout=15) as answer:
        result = json.loads(answer.read())["data"]["result"]
    return tuple(
        Series(found["metric"], tuple((float(time), float(value)) for time, value in found["values"]))
        for found in result
    )
