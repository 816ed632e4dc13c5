"""Questions for Prometheus: raw counter samples of one route's backend slots, and the user's own Threshold queries.

Raw samples, because the judge takes exact differences: `rate()` and `increase()` extrapolate and give fractions.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Final

from visionmodel_operator.api.base import duration_seconds
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.spec import Metric
from visionmodel_operator.core import names
from visionmodel_operator.core.counters import GRPC_HARM, GRPC_METRICS, GRPC_TOTAL, REQUESTS_METRIC
from visionmodel_operator.core.snapshot import Snapshot
from visionmodel_operator.errors import UserError
from visionmodel_operator.render.text import render_text

PROFILES: Final = ("envoy-gateway",)
TARGET_MEMORY_SECONDS: Final = 900
"""How long a proxy that stopped answering is still missed; after that it is taken for gone."""

_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_PLACEHOLDER: Final = re.compile(r"\{\{\s*([A-Za-z_]*)\s*\}\}")


@dataclass(frozen=True)
class GatewayQueries:
    """Range-vector selectors to be evaluated at the end of the window.

    Attributes:
        requests: request counters by slot, over HTTP by response class and over gRPC by status.
        buckets: latency buckets by slot, in milliseconds.
        up: whether each proxy that carries the route was scraped.
    """

    requests: str
    buckets: str
    up: str


def gateway_queries(
    profile: str, namespace: str, name: str, window_seconds: float, scrape_interval: float = 5.0
) -> GatewayQueries:
    """Return the queries whose samples cover at least this window.

    `up` knows no route, so it is joined with a gauge that every proxy of the route has from the moment it carries
    it. The join looks back a while, so that a proxy that is down is still asked about; it needs no label but
    `instance` and `job`, whatever the scrape configuration adds.

    Raises:
        UserError: the platform's gateway profile is not known.
    """
    if profile not in PROFILES:
        raise UserError(Reason.INVALID_SPEC, f"gateway profile {profile!r} is unknown; known: {', '.join(PROFILES)}")
    kinds = (names.envoy_cluster(_label(namespace), names.route(_label(name)), 0, kind) for kind in names.ROUTE_KINDS)
    clusters = "|".join(kind.removesuffix("0") + "[01]" for kind in kinds)
    statuses = "|".join((GRPC_TOTAL, *GRPC_HARM))
    values = {
        "counters": f"{REQUESTS_METRIC}|{GRPC_METRICS}({statuses})",
        "clusters": clusters,
        # a range selector leaves its left end out, and the samples there are needed
        "window": f"{ceil(window_seconds) + 1}s",
        "memory": f"{TARGET_MEMORY_SECONDS}s",
        "resolution": f"{max(1, ceil(scrape_interval))}s",
    }
    requests, buckets, up = (
        render_text(f"{profile}/{question}.promql.j2", **values).strip() for question in ("requests", "buckets", "up")
    )
    return GatewayQueries(requests, buckets, up)


def threshold_query(metric: Metric, snapshot: Snapshot) -> str:
    """Return a Threshold metric's PromQL with its placeholders replaced.

    Replaced by hand, not by a template engine: the text is the user's and must not reach one.

    Raises:
        UserError: an unknown placeholder, or one that has no value in this rollout.
    """
    values = _placeholder_values(snapshot)

    def value_of(match: re.Match[str]) -> str:
        placeholder = match.group(1)
        if placeholder not in values:
            known = ", ".join("{{" + name + "}}" for name in values)
            raise UserError(
                Reason.INVALID_SPEC,
                f"rollout.analysis.metrics[{metric.name}].query has {match.group(0)}; known are {known}",
            )
        return values[placeholder]()

    return _PLACEHOLDER.sub(value_of, metric.query or "")


def _placeholder_values(snapshot: Snapshot) -> dict[str, Callable[[], str]]:
    status = snapshot.status
    return {
        "namespace": lambda: _label(snapshot.ref.namespace),
        "name": lambda: _label(snapshot.ref.name),
        "canary": lambda: _label(status.rollout.revision if status.rollout else ""),
        "stable": lambda: _label(status.stable.revision if status.stable else ""),
        "interval": lambda: _interval(snapshot),
    }


def _interval(snapshot: Snapshot) -> str:
    """Return the tick's length; the frozen analysis comes before the spec, which may have moved on."""
    rollout = snapshot.status.rollout
    frozen = rollout.analysis.get("interval") if rollout is not None else None
    if isinstance(frozen, str):
        return f"{max(1, ceil(duration_seconds(frozen)))}s"
    if snapshot.spec is None:
        raise UserError(Reason.INVALID_SPEC, "{{interval}} has no value without a valid spec")
    return f"{max(1, ceil(duration_seconds(snapshot.spec.rollout.analysis.interval)))}s"


def _label(value: str) -> str:
    """Return a name that is safe inside quotes and regular expressions alike; anything else is refused."""
    if _LABEL.fullmatch(value) is None:
        raise UserError(Reason.INVALID_SPEC, f"{value!r} cannot stand in a query; it is empty or no DNS label")
    return value
