"""The commands. Each reads the cluster, turns what it found into a document or a table, and prints that.

Exit codes, for scripts: 0 as asked, 1 what was asked for does not exist or failed, 2 the words of the call are wrong.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console, RenderableType

from visionmodel_cli.cluster import ClusterError, connect
from visionmodel_cli.comparison import comparison_table
from visionmodel_cli.reports import report_view

FAILED = 1

app = typer.Typer(
    name="kubectl-visionmodel",
    help="Look at VisionModels: what was made of a model, and how well it does.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Output(StrEnum):
    """How an answer is printed."""

    TEXT = "text"
    JSON = "json"
    YAML = "yaml"


Name = Annotated[str, typer.Argument(help="Name of the VisionModel.", show_default=False)]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Its namespace; the context's when unset.")]
Kubeconfig = Annotated[Path | None, typer.Option(help="Kubeconfig file; KUBECONFIG when unset.", dir_okay=False)]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig.")]
Format = Annotated[Output, typer.Option("--output", "-o", help="Form of the answer.")]
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
    with _failures_told(), connect(kubeconfig, context, namespace) as cluster:
        documents = cluster.artifact_documents(name, revision)
        if images is not None:
            pictures = cluster.artifact_pictures(name, revision, documents["report"].get("pictures", {}))
            images.mkdir(parents=True, exist_ok=True)
            for file, data in pictures.items():
                (images / file).write_bytes(data)
    _print(documents, output, lambda: report_view(documents))


@app.command()
def compare(
    name: Name,
    namespace: Namespace = None,
    output: Format = Output.TEXT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Print the table of precisions that the newest conversion measured, and why one was chosen."""
    with _failures_told(), connect(kubeconfig, context, namespace) as cluster:
        rows = cluster.candidates(name)
    _print(
        [row.model_dump(mode="json", by_alias=True, exclude_none=True) for row in rows],
        output,
        lambda: comparison_table(rows),
    )


@contextmanager
def _failures_told() -> Iterator[None]:
    """Print what the cluster could not give, and exit with FAILED."""
    try:
        yield
    except ClusterError as error:
        Console(stderr=True, soft_wrap=True).print(str(error), style="red", markup=False, highlight=False)
        raise typer.Exit(FAILED) from error


def _print(document: Any, output: Output, text: Any) -> None:
    console = Console(soft_wrap=output != Output.TEXT)
    match output:
        case Output.JSON:
            console.print_json(data=document)
        case Output.YAML:
            console.print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), markup=False, end="")
        case Output.TEXT:
            view: RenderableType = text()
            console.print(view)


def main() -> None:
    """Entry point of the `kubectl-visionmodel` script."""
    app()
