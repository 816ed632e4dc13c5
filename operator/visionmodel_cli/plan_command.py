"""`kubectl visionmodel plan`: what a rollout can find out, how long it takes and what it needs, before it begins."""

import random  # noqa: TID251 - the edge: the simulation gets its source as an argument
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from visionmodel_cli.actions import status_in
from visionmodel_cli.cluster import DEFAULT_NAMESPACE, ClusterError, connect
from visionmodel_cli.devices import capacity, device_needs, free_by_accelerator
from visionmodel_cli.documents import Document, documents_in
from visionmodel_cli.failures import Failure
from visionmodel_cli.measured import DEFAULT_GATEWAY, Gateway, Prometheus, history, measured_traffic
from visionmodel_cli.rollout_plan import RolloutPlan, document_of, has_error_test, notes_of
from visionmodel_cli.terminal import Context, Format, Kubeconfig, Namespace, Output, failures_told, print_answer
from visionmodel_operator.api.v1alpha1 import VisionModelSpec, parse_spec
from visionmodel_operator.core.devices import Free
from visionmodel_operator.core.forecast import RUNS, ExpectedTraffic, forecast
from visionmodel_operator.core.plan import plan_of
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.window import revisions_in_window
from visionmodel_operator.errors import UserError

app = typer.Typer()

SEED: Final = 20260301
"""Fixed, so that the same question gets the same answer."""
NOTHING: Final = "-"

File = Annotated[
    Path, typer.Option("--filename", "-f", help="YAML or JSON file with one VisionModel; - reads standard input.")
]
PerSecond = Annotated[float | None, typer.Option("--requests-per-second", min=0.001, help="Requests to expect.")]
ErrorShare = Annotated[
    float | None, typer.Option("--error-rate", help="Share of stable's requests that fail, for example 0.005.")
]
Runs = Annotated[int, typer.Option(min=20, max=100_000, help="Simulated rollouts per ratio; more are more exact.")]
Local = Annotated[
    bool, typer.Option("--offline", help="Ask no cluster which devices are free, and what was stable lately.")
]
FreeGpus = Annotated[
    int | None, typer.Option("--free-gpus", min=0, help="Free devices of each accelerator, in place of the cluster's.")
]


@app.command()
def plan(
    filename: File,
    requests_per_second: PerSecond = None,
    error_rate: ErrorShare = None,
    prometheus: Prometheus = None,
    gateway: Gateway = DEFAULT_GATEWAY,
    runs: Runs = RUNS,
    offline: Local = False,
    free_gpus: FreeGpus = None,
    namespace: Namespace = None,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Say what the rollout of a VisionModel would find out, when, and which devices it needs."""
    with failures_told():
        document = _only(documents_in([filename]))
        spec = _spec_of(document)
        where = document.body["metadata"].get("namespace") or namespace or DEFAULT_NAMESPACE
        traffic, source = _traffic(requests_per_second, error_rate, prometheus, gateway, (where, document.name))
        free, unknown_because = _free(spec, free_gpus, not offline, kubeconfig, context)
        steps = plan_of(spec.rollout)
        analysis = spec.rollout.analysis
        found = RolloutPlan(
            document.name,
            spec,
            traffic,
            source,
            forecast(steps, analysis, traffic, random.Random(SEED), runs=runs) if has_error_test(analysis) else None,
            device_needs(spec, free),
            capacity(spec, free),
            unknown_because,
            is_in_one_jump=not offline and _was_stable_lately(spec, where, document.name, kubeconfig, context),
        )
    print_answer(document_of(found), output, lambda: plan_view(found))


def plan_view(plan: RolloutPlan) -> RenderableType:
    """Return the steps, the canaries that are found, the devices, and what must not be missed."""
    traffic = plan.traffic
    parts: list[RenderableType] = [
        f"{plan.name}: {traffic.requests_per_second:.4g} requests per second, {100 * traffic.error_rate:.3g} % fail"
        f" ({plan.traffic_source})"
    ]
    document = document_of(plan)
    if plan.forecast is not None:
        parts += [_steps_table(document), _ratios_table(document)]
    if plan.devices:
        parts.append(_devices_table(document))
    return Group(*parts, *notes_of(plan))


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), caption_justify="left")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _steps_table(document: Mapping[str, Any]) -> Table:
    steps = document["steps"]
    ratios = list(steps[0]["foundByEnd"]) if steps else []
    table = _table("STEP", "WEIGHT", "UNTIL", "PODS", "DETECTS", *(f"x{ratio}" for ratio in ratios))
    table.caption = "xN: share of canaries N times worse that are sent back by the end of the step"
    for step in steps:
        end = _time(step["endsAfter"])
        table.add_row(
            str(step["step"]),
            f"{step['weight']:g} %",
            "never" if step["undecided"] else f"≥{end}" if step["untilPromoted"] else end,
            str(step["canaryPods"]),
            NOTHING if step["detectsRatio"] is None else f"x{step['detectsRatio']:g}",
            *(_percent(step["foundByEnd"][ratio]) for ratio in ratios),
        )
    return table


def _ratios_table(document: Mapping[str, Any]) -> Table:
    table = _table("WORSE", "FOUND", "MEDIAN", "9 OF 10 BY", "FAILED UNTIL THEN")
    for ratio in document["ratios"]:
        table.add_row(
            f"x{ratio['ratio']:g}",
            _percent(ratio["found"]),
            *(NOTHING if ratio[key] is None else _time(ratio[key]) for key in ("medianSeconds", "p90Seconds")),
            f"{ratio['medianFailedRequests']:,}",
        )
    return table


def _devices_table(document: Mapping[str, Any]) -> Table:
    table = _table("DEVICE", "PRODUCT", "STABLE", "CANARY", "AT MOST", "FREE")
    for need in document["devices"]:
        numbers = (str(need[key]) for key in ("stable", "canary", "largest", "free"))
        table.add_row(need["resource"], need["product"] or NOTHING, *numbers)
    return table


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%" if share < 0.1 else f"{100 * share:.0f}%"


def _only(documents: Sequence[Document]) -> Document:
    if len(documents) > 1:
        raise Failure(f"{len(documents)} VisionModels are in the file; plan one at a time")
    return documents[0]


def _spec_of(document: Document) -> VisionModelSpec:
    try:
        return parse_spec(document.body.get("spec") or {})
    except UserError as error:
        raise Failure(f"{document.where}: {error}") from error


def _traffic(
    per_second: float | None,
    error_rate: float | None,
    url: str | None,
    gateway: str,
    where: tuple[str, str],
) -> tuple[ExpectedTraffic, str]:
    """Return what the options say, and for what they do not say what Prometheus measured."""
    if per_second is not None and error_rate is not None:
        source = "as given"
    elif url is None:
        raise Failure("give --requests-per-second and --error-rate, or --prometheus to have them measured")
    else:
        with history(url, gateway) as past:
            measured, source = measured_traffic(past, *where, now=datetime.now(UTC).timestamp())  # noqa: TID251
        per_second = measured.requests_per_second if per_second is None else per_second
        error_rate = measured.error_rate if error_rate is None else error_rate
    try:
        return ExpectedTraffic(per_second, error_rate), source
    except ValueError as error:
        raise Failure(f"{error}") from error


def _free(
    spec: VisionModelSpec, given: int | None, asked: bool, kubeconfig: Path | None, context: str | None
) -> tuple[tuple[Free, ...] | None, str]:
    """Return what is free for each accelerator, or None and why that is not known."""
    if given is not None:
        return tuple(Free(given // one.count * one.count) for one in spec.accelerators), ""
    if not spec.accelerators or not asked:
        return None, "no cluster was asked"
    try:
        with connect(kubeconfig, context, None) as cluster:
            return free_by_accelerator(spec, *cluster.nodes_and_pods()), ""
    except ClusterError as error:
        return None, str(error)


def _was_stable_lately(
    spec: VisionModelSpec, namespace: str, name: str, kubeconfig: Path | None, context: str | None
) -> bool:
    """Return whether the cluster has the VisionModel and would go back to this revision; False where none answers."""
    try:
        with connect(kubeconfig, context, namespace) as cluster:
            status = status_in(cluster.visionmodel(name))
    except ClusterError:
        return False
    now = datetime.now(UTC)  # noqa: TID251 - the edge: this is the clock
    return revision_of(spec) in revisions_in_window(status, spec.rollback_window, now)
