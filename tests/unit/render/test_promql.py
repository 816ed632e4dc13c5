"""Queries: exact selectors of one route, and placeholders that cannot break out of a user's query."""

from typing import Any

import pytest

from unit.render.samples import CANARY, REVISION, snapshot, spec, status
from visionmodel_operator.api.spec import Metric
from visionmodel_operator.core.counters import BUCKETS_METRIC, GRPC_METRICS, REQUESTS_METRIC
from visionmodel_operator.core.names import ROUTE_KINDS, envoy_cluster
from visionmodel_operator.core.snapshot import ObjectRef, Snapshot
from visionmodel_operator.errors import UserError
from visionmodel_operator.render.promql import GatewayQueries, gateway_queries, threshold_query

STARTED = "2026-01-01T00:00:00Z"
BACKENDS = "vision/shapes/rule/0/backend/[01]"
CLUSTERS = f'envoy_cluster_name=~"httproute/{BACKENDS}|grpcroute/{BACKENDS}"'
COUNTERS = "envoy_cluster_upstream_rq_xx|envoy_cluster_grpc_ModelInfer_(total|2|4|13|14|15)"


def test_gateway_queries() -> None:
    assert gateway_queries("envoy-gateway", "vision", "shapes", 24.2) == GatewayQueries(
        requests=f'{{__name__=~"{COUNTERS}", {CLUSTERS}}}[26s]',
        buckets=f"envoy_cluster_upstream_rq_time_bucket{{{CLUSTERS}}}[26s]",
        up=(f"(up and on (instance, job) last_over_time(envoy_cluster_membership_total{{{CLUSTERS}}}[900s]))[26s:5s]"),
    )


def test_queries_ask_for_what_the_judge_reads() -> None:
    found = gateway_queries("envoy-gateway", "vision", "shapes", 15)
    assert f'__name__=~"{REQUESTS_METRIC}|{GRPC_METRICS}(' in found.requests
    assert found.buckets.startswith(BUCKETS_METRIC + "{")
    clusters = [envoy_cluster("vision", "shapes", slot, kind) for slot in (0, 1) for kind in ROUTE_KINDS]
    assert all(cluster[:-1] + "[01]" in found.requests for cluster in clusters)


@pytest.mark.parametrize(
    ("profile", "namespace", "words"),
    [("nginx", "vision", "profile 'nginx' is unknown"), ("envoy-gateway", 'x"}', "cannot stand in a query")],
)
def test_what_cannot_be_asked(profile: str, namespace: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        gateway_queries(profile, namespace, "shapes", 15)


def metric(query: str) -> Metric:
    return Metric.model_validate(
        {"name": "confidence", "type": "Threshold", "query": query, "thresholdRange": {"min": 0.5}}
    )


def rolling(**rollout: Any) -> Snapshot:
    return snapshot(
        status=status(
            stable={"revision": REVISION},
            rollout={"revision": CANARY, "startedAt": STARTED, "phaseStartedAt": STARTED, **rollout},
        ),
        spec=spec(rollout={"analysis": {"interval": "1m30s"}}),
    )


@pytest.mark.parametrize(
    ("query", "picture", "expected"),
    [
        pytest.param(
            'avg(x{namespace="{{namespace}}",name="{{ name }}",revision="{{canary}}"}[{{interval}}])',
            rolling(),
            f'avg(x{{namespace="vision",name="shapes",revision="{CANARY}"}}[90s])',
            id="all names",
        ),
        pytest.param("a{r='{{stable}}'}", rolling(), f"a{{r='{REVISION}'}}", id="stable"),
        pytest.param("x[{{interval}}]", rolling(analysis={"interval": "5s"}), "x[5s]", id="frozen interval wins"),
        pytest.param("up{a=~'.{2}'}", snapshot(), "up{a=~'.{2}'}", id="nothing to replace"),
        pytest.param("x{a='{% raw %}'}", snapshot(), "x{a='{% raw %}'}", id="no template language"),
    ],
)
def test_threshold_query(query: str, picture: Snapshot, expected: str) -> None:
    assert threshold_query(metric(query), picture) == expected


@pytest.mark.parametrize(
    ("query", "picture", "words"),
    [
        pytest.param("x{{self}}", rolling(), "has {{self}}; known are {{namespace}}", id="unknown"),
        pytest.param("x{{canary}}", snapshot(), "cannot stand in a query", id="no canary"),
        pytest.param(
            "x{{name}}",
            snapshot(ref=ObjectRef("vision", 'a"} or vector(1) #', "uid")),
            "cannot stand in a query",
            id="hostile name",
        ),
        pytest.param("x[{{interval}}]", snapshot(spec=None), "no value without a valid spec", id="no interval"),
    ],
)
def test_threshold_queries_that_cannot_be_asked(query: str, picture: Snapshot, words: str) -> None:
    with pytest.raises(UserError) as refused:
        threshold_query(metric(query), picture)
    assert words in str(refused.value)
