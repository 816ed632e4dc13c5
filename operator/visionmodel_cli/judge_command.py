"""`kubectl visionmodel judge`: the operator's judge on counts from a file, or on a rollout that Prometheus still holds.

Exit codes, for scripts: 0 everything passed; 3 a metric failed, 4 none failed and one is undecided, 5 none failed and
one had no data; 6 a replay gives another verdict than the recorded one; 1 there is nothing that can be judged, 2 the
words of the call are wrong.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from visionmodel_cli import replay as replays
from visionmodel_cli.cluster import connect
from visionmodel_cli.evidence_file import questions_from
from visionmodel_cli.failures import Failure
from visionmodel_cli.measured import DEFAULT_GATEWAY, Gateway, Prometheus, history
from visionmodel_cli.offline_judge import Judgement, Outcome, document_of, judged, worst_of
from visionmodel_cli.terminal import Context, Format, Kubeconfig, Namespace, Output, failures_told, print_answer
from visionmodel_operator.core.sequential.logarithms import log_threshold

app = typer.Typer()

MOST_BYTES: Final = 64 * 2**20
EXIT_CODES: Final = {Outcome.PASS: 0, Outcome.FAIL: 3, Outcome.INCONCLUSIVE: 4, Outcome.NO_DATA: 5}
ANOTHER_VERDICT: Final = 6
STYLES: Final = {
    Outcome.PASS: "green",
    Outcome.FAIL: "bold red",
    Outcome.INCONCLUSIVE: "yellow",
    Outcome.NO_DATA: "yellow",
}
TIMES: Final = ["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"]

Input = Annotated[
    typer.FileBinaryRead | None,
    typer.Option("--input", help="JSON file with the counts of each tick (docs/judge.md); - reads standard input."),
]
Replayed = Annotated[
    str | None,
    typer.Option("--replay", metavar="NAME", help="VisionModel whose rollout is judged again; asks Prometheus."),
]
From = Annotated[
    datetime | None,
    typer.Option(
        "--from", formats=TIMES, help="Replay the rollout that was judged then or later; UTC unless it says so."
    ),
]
To = Annotated[datetime | None, typer.Option("--to", formats=TIMES, help="Replay no tick after this time.")]


@app.command()
def judge(
    evidence: Input = None,
    replay: Replayed = None,
    since: From = None,
    until: To = None,
    prometheus: Prometheus = None,
    gateway: Gateway = DEFAULT_GATEWAY,
    namespace: Namespace = None,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Judge counts of a file, or a real rollout once more: the evidence after each tick, and the verdict."""
    if (evidence is None) == (replay is None):
        raise typer.BadParameter("give --input FILE, or --replay NAME with --prometheus URL")
    if evidence is not None:
        _judge_file(evidence, output)
        return
    if prometheus is None:
        raise typer.BadParameter("--replay needs --prometheus URL: the Prometheus that scrapes the gateway")
    with failures_told():
        with connect(kubeconfig, context, namespace) as cluster:
            snapshot = replays.snapshot_of(cluster.visionmodel(str(replay)))
        trial = replays.trial_of(snapshot, _zoned(since), _zoned(until))
        with history(prometheus, gateway) as past:
            found = replays.replayed(trial, past)
    document = replays.document_of(found)
    print_answer(document, output, lambda: replay_view(document))
    code = EXIT_CODES[Outcome(found.name)] if document["same"] else ANOTHER_VERDICT
    if code:
        raise typer.Exit(code)


def _judge_file(evidence: typer.FileBinaryRead, output: Output) -> None:
    with failures_told():
        text = evidence.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise Failure(f"the input has more than {MOST_BYTES // 2**20} MiB: judge its metrics in several files")
        judgements = [judged(question) for question in questions_from(text)]
    print_answer(document_of(judgements), output, lambda: judgements_view(judgements))
    if code := EXIT_CODES[worst_of(judgements)]:
        raise typer.Exit(code)


def _zoned(time: datetime | None) -> datetime | None:
    return time if time is None or time.tzinfo is not None else time.replace(tzinfo=UTC)


def judgements_view(judgements: Sequence[Judgement]) -> RenderableType:
    """Return a row per metric, and each verdict in a sentence."""
    table = _table("METRIC", "VERDICT", "SINCE", numbers=("EVIDENCE", "LIMIT", "TICKS", "SKIPPED"))
    for judgement in judgements:
        question, evidence = judgement.question, judgement.log_evidence
        table.add_row(
            question.name,
            f"[{STYLES[judgement.verdict]}]{judgement.verdict}[/]",
            judgement.reached.isoformat() if judgement.reached else "",
            f"{evidence[-1]:.3f}" if evidence else "",
            f"{log_threshold(question.false_rollback_rate):.3f}",
            str(len(evidence)),
            str(len(judgement.skipped)),
        )
    return Group(table, *(judgement.message for judgement in judgements))


def replay_view(document: Mapping[str, Any]) -> RenderableType:
    """Return a row per tick, the verdict, and whether it is the recorded one."""
    table = _table("TICK", numbers=("CANARY", "STABLE", "EVIDENCE"), last="NOT USED")
    for tick in document["ticks"]:
        sides = (
            "" if side is None else f"{side['events']} of {side['requests']}"
            for side in (tick["canary"], tick["stable"])
        )
        table.add_row(tick["time"], *sides, f"{tick['logEvidence']:.3f}", tick["reason"])
    recorded = ", ".join(f"{key} {value}" for key, value in document["recorded"].items())
    outcome = Outcome(document["verdict"])
    return Group(
        table,
        f"{document['name']}, revision {document['revision']}: [{STYLES[outcome]}]{outcome}[/]. {document['message']}",
        f"Recorded: {recorded}; " + (f"another: {document['difference']}" if document["difference"] else "the same"),
    )


def _table(*words: str, numbers: Sequence[str], last: str = "") -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in words:
        table.add_column(column, no_wrap=True)
    for column in numbers:
        table.add_column(column, justify="right", no_wrap=True)
    if last:
        table.add_column(last, overflow="fold")
    return table
