"""The status as a person reads it: phase, steps, weights, evidence, pods, and what comes next."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from visionmodel_cli.status_summary import EVIDENCE, MetricLine, Revision, Step, StepState, Summary

BAR_WIDTH = 24
PHASE_STYLES = {
    "Healthy": "bold green",
    "Degraded": "bold red",
    "Aborting": "bold red",
    "Held": "bold yellow",
    "RollingBack": "bold yellow",
}
STEP_MARKS = {StepState.DONE: ("✓", "green"), StepState.CURRENT: ("▶", "bold cyan"), StepState.AHEAD: ("·", "dim")}


def status_view(summary: Summary) -> RenderableType:
    """Return the whole picture; parts about which nothing is known are left out."""
    parts: list[RenderableType] = [_head(summary)]
    if summary.steps:
        parts.append(_steps(summary.steps))
    if summary.metrics:
        parts.append(_metrics(summary.metrics))
    if summary.revisions:
        parts.append(_revisions(summary.revisions))
    if summary.devices is not None:
        parts.append(Text.assemble(("Devices    ", "bold"), summary.devices))
    if summary.waits_for is not None:
        parts.append(Text.assemble(("Waits for  ", "bold"), summary.waits_for))
    return Group(*parts)


def change_line(summary: Summary) -> str:
    """Return what a log that is no terminal gets for each change: one line."""
    waiting = f" | waits for {summary.waits_for}" if summary.waits_for else ""
    return f"{summary.phase} ({summary.reason}): {summary.message}{waiting}"


def _head(summary: Summary) -> RenderableType:
    style = PHASE_STYLES.get(summary.phase, "bold")
    attempt = f"  attempt {summary.attempt}" if summary.attempt is not None and summary.attempt > 1 else ""
    reason = f" ({summary.reason})" if summary.reason else ""
    title = Text.assemble(
        (f"{summary.namespace}/{summary.name}", "bold"), "  ", (summary.phase, style), reason, attempt
    )
    return Group(title, Text(summary.message)) if summary.message else title


def _grid(*columns: str) -> Table:
    table = Table.grid(padding=(0, 2))
    for column in columns:
        table.add_column(justify="right" if column == "number" else "left", overflow="fold")
    return table


def _steps(steps: tuple[Step, ...]) -> RenderableType:
    line = Text.assemble(("Steps      ", "bold"))
    for index, step in enumerate(steps):
        mark, style = STEP_MARKS[step.state]
        line.append("  " if index else "")
        beside = f" and {step.by_header}" if step.by_header else ""
        line.append(f"{mark} {step.weight:g} %{beside}{_time(step)}", style=style)
    return line


def _time(step: Step) -> str:
    if step.at_least is None:
        return " until promoted"
    return f" {duration(step.at_least)}" if step.at_least else ""


def duration(seconds: float) -> str:
    """Return seconds as 45s, 5m or 1h30m."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (rest, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def _metrics(metrics: tuple[MetricLine, ...]) -> RenderableType:
    table = _grid("label", "name", "bar", "number", "text")
    for index, metric in enumerate(metrics):
        label = Text("Evidence" if index == 0 else "", style="bold")
        name = metric.name if metric.gating else f"{metric.name} (not gating)"
        table.add_row(label, name, evidence_bar(metric), _numbers(metric), Text(_saying(metric), style="dim"))
    return table


def _numbers(metric: MetricLine) -> str:
    digits = 1 if metric.unit == EVIDENCE else 0
    return f"{metric.value:.{digits}f} of {metric.limit:.{digits}f} {metric.unit}"


def _saying(metric: MetricLine) -> str:
    """Return the judge's words without what stands beside them already: the name and the evidence."""
    return metric.message.removeprefix(f"{metric.name}: ").partition("; evidence ")[0]


def evidence_bar(metric: MetricLine) -> Text:
    """Return how much of the way to harm is gone; full is harm."""
    share = 1.0 if metric.harmful else min(1.0, metric.value / metric.limit) if metric.limit > 0 else 0.0
    filled = BAR_WIDTH if metric.harmful else min(BAR_WIDTH - 1, round(share * BAR_WIDTH))
    style = "red" if metric.harmful else "yellow" if share >= 0.5 else "green"
    return Text.assemble(("█" * filled, style), ("░" * (BAR_WIDTH - filled), "dim"))


def _revisions(revisions: tuple[Revision, ...]) -> RenderableType:
    table = _grid("label", "revision", "role", "number", "pods")
    for index, one in enumerate(revisions):
        label = Text("Revisions" if index == 0 else "", style="bold")
        table.add_row(label, one.revision, one.role, f"{one.weight:.4g} %", _pods(one))
    return table


def _pods(revision: Revision) -> Text:
    if revision.pods is None:
        return Text("pods not listed: the right to list pods is missing", style="dim")
    ready = sum(pod.ready for pod in revision.pods)
    text = Text(f"{ready} of {len(revision.pods)} pods ready")
    for pod in revision.pods:
        restarts = f", {pod.restarts} restarts" if pod.restarts else ""
        waiting = f"  {pod.waiting}" if pod.waiting else ""
        mark, style = ("✓", "green") if pod.ready else ("…", "yellow")
        text.append(f"\n{mark} ", style=style).append(f"{pod.name}{restarts}{waiting}")
    return text
