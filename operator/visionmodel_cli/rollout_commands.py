"""status, history, and the requests by which a person steers a rollout."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.live import Live
from rich.text import Text

from visionmodel_cli import actions
from visionmodel_cli.cluster import Cluster, ClusterError, Unreachable, connect
from visionmodel_cli.failures import Failure
from visionmodel_cli.history import history_rows, history_table
from visionmodel_cli.status_summary import End, Summary, summary_of
from visionmodel_cli.status_view import change_line, status_view
from visionmodel_cli.terminal import (
    Context,
    Format,
    Kubeconfig,
    Name,
    Namespace,
    Output,
    failures_told,
    print_answer,
)
from visionmodel_cli.undo import revision_to_go_back_to, undo
from visionmodel_cli.watching import Clock, watch
from visionmodel_operator.api.base import duration_seconds

app = typer.Typer()

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end; the exit code says which.")]
Timeout = Annotated[str | None, typer.Option(help="With --watch: longest time, such as 30m; no limit when unset.")]
Full = Annotated[bool, typer.Option("--full", help="Past all steps that are left.")]
To = Annotated[str | None, typer.Option("--to", help="Revision, or the beginning of one; else the one before.")]


@app.command()
def status(
    name: Name,
    namespace: Namespace = None,
    follow: Watch = False,
    timeout: Timeout = None,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Print where a VisionModel is, and what it waits for; --watch follows it.

    Exit codes of --watch: 0 Healthy, 3 Degraded, 4 Suspended, 5 --timeout passed, 1 it cannot be read.
    """
    with failures_told(), connect(kubeconfig, context, namespace) as cluster:
        if not follow:
            summary = _look(cluster, name)
            print_answer(summary.document(), output, lambda: status_view(summary))
            return
        end = _followed(cluster, name, output, _seconds(timeout))
    raise typer.Exit(int(end))


@app.command()
def history(
    name: Name,
    namespace: Namespace = None,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Print how the last rollouts ended, and which revisions can be put back."""
    with failures_told(), connect(kubeconfig, context, namespace) as cluster:
        rows = history_rows(cluster.visionmodel(name), cluster.stored_revisions(name), _now())
    print_answer([row.document() for row in rows], output, lambda: history_table(rows))


@app.command()
def promote(
    name: Name,
    namespace: Namespace = None,
    full: Full = False,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """End the current step of the rollout, or with --full all that are left."""
    with failures_told(), connect(kubeconfig, context, namespace) as cluster:
        _ask(cluster, name, output, lambda model: actions.promotion(model, full=full))


@app.command()
def abort(
    name: Name,
    namespace: Namespace = None,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Turn the rollout back to the stable revision."""
    with failures_told(), connect(kubeconfig, context, namespace) as cluster:
        _ask(cluster, name, output, actions.abortion)


@app.command()
def retry(
    name: Name,
    namespace: Namespace = None,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Try the revision that has failed once more."""
    with failures_told(), connect(kubeconfig, context, namespace) as cluster:
        _ask(cluster, name, output, actions.another_try)


@app.command()
def pause(
    name: Name,
    namespace: Namespace = None,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Hold the rollout, or the next one, at its weights; harm still turns it back."""
    with failures_told(), connect(kubeconfig, context, namespace) as cluster:
        _ask(cluster, name, output, actions.pause)


@app.command()
def resume(
    name: Name,
    namespace: Namespace = None,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Let a paused rollout go on."""
    with failures_told(), connect(kubeconfig, context, namespace) as cluster:
        _ask(cluster, name, output, actions.resumption)


@app.command("undo")
def put_back(
    name: Name,
    namespace: Namespace = None,
    to: To = None,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Put the stored spec of an older revision back: one jump where it was stable lately, else a rollout."""
    with failures_told(), connect(kubeconfig, context, namespace) as cluster:
        model = cluster.visionmodel(name)
        revision = revision_to_go_back_to(model, to)
        request = undo(model, revision, cluster.stored_revisions(name).get(revision), _now())
        cluster.patch_spec(name, request.patch)
        print_answer(request.document(), output, lambda: "\n".join((request.said, *request.warnings)))


def _ask(
    cluster: Cluster, name: str, output: Output, request_for: Callable[[Mapping[str, Any]], actions.Request]
) -> None:
    request = request_for(cluster.visionmodel(name))
    cluster.annotate(name, request.annotation, request.value)
    print_answer(request.document(), output, lambda: request.said)


def _look(cluster: Cluster, name: str) -> Summary:
    model = cluster.visionmodel(name)
    try:
        pods = cluster.serving_pods(name)
    except Unreachable:
        raise
    except ClusterError:
        pods = None  # who may not list pods is told so in the view
    return summary_of(model, pods, _now())


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 - the edge: this is the clock


def _followed(cluster: Cluster, name: str, output: Output, timeout: float | None) -> End:
    clock = Clock(time.monotonic, time.sleep)
    errors = Console(stderr=True, soft_wrap=True)

    def told(text: str) -> None:
        errors.print(text, style="yellow", markup=False, highlight=False)

    if output is Output.TEXT and sys.stdout.isatty():
        with Live(console=Console(), auto_refresh=False, vertical_overflow="visible") as live:
            return watch(
                lambda: _look(cluster, name),
                lambda summary: live.update(status_view(summary), refresh=True),
                lambda text: live.update(Text(text, style="yellow"), refresh=True),
                clock,
                timeout=timeout,
            )
    return watch(lambda: _look(cluster, name), changes_printed(output), told, clock, timeout=timeout)


def changes_printed(output: Output) -> Callable[[Summary], None]:
    """Return what prints a picture that differs from the last one: a line, or a whole JSON or YAML document."""
    last: list[str] = []

    def show(summary: Summary) -> None:
        match output:
            case Output.TEXT:
                text = change_line(summary)
            case Output.JSON:
                text = json.dumps(summary.document(), ensure_ascii=False)
            case Output.YAML:
                text = "---\n" + yaml.safe_dump(summary.document(), sort_keys=False, allow_unicode=True).rstrip()
        if last != [text]:
            last[:] = [text]
            typer.echo(text)

    return show


def _seconds(timeout: str | None) -> float | None:
    try:
        return None if timeout is None else duration_seconds(timeout)
    except ValueError as error:
        raise Failure(f"--timeout: {error}") from error
