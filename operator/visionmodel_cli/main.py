"""The commands. Each reads the cluster, turns what it found into a document or a table, and prints that.

Exit codes, for scripts: 0 as asked, 1 what was asked for does not exist or failed, 2 the words of the call are wrong;
`status --watch` (docs/cli.md) and `judge` (docs/judge.md) have more of them.
"""

from pathlib import Path
from typing import Annotated

import typer

from visionmodel_cli import file_commands, judge_command, plan_command, rollout_commands
from visionmodel_cli.cluster import connect
from visionmodel_cli.comparison import comparison_table
from visionmodel_cli.reports import report_view
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

app = typer.Typer(
    name="kubectl-visionmodel",
    help="Look at VisionModels and steer their rollouts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

app.add_typer(rollout_commands.app)
app.add_typer(file_commands.app)
app.add_typer(judge_command.app)
app.add_typer(plan_command.app)

Images = Annotated[Path | None, typer.Option(help="Folder to save pictures of the worst samples in.", file_okay=False)]
Revision = Annotated[str | None, typer.Option(help="Revision; the stable one when unset.")]


@app.command()
def report(
    name: Name,
    namespace: Namespace = None,
    revision: Revision = None,
    images: Images = None,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Print the conversion report and the provenance of the artifact that a revision serves."""
    with failures_told(), connect(kubeconfig, context, namespace) as cluster:
        documents = cluster.artifact_documents(name, revision)
        if images is not None:
            pictures = cluster.artifact_pictures(name, revision, documents["report"].get("pictures", {}))
            images.mkdir(parents=True, exist_ok=True)
            for file, data in pictures.items():
                (images / file).write_bytes(data)
    print_answer(documents, output, lambda: report_view(documents))


@app.command()
def compare(
    name: Name,
    namespace: Namespace = None,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Print the table of precisions that the newest conversion measured, and why one was chosen."""
    with failures_told(), connect(kubeconfig, context, namespace) as cluster:
        rows = cluster.candidates(name)
    print_answer(
        [row.model_dump(mode="json", by_alias=True, exclude_none=True) for row in rows],
        output,
        lambda: comparison_table(rows),
    )


def main() -> None:
    """Entry point of the `kubectl-visionmodel` script."""
    app()
