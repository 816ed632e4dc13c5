"""What the commands share: their options, the forms of an answer, and how a failure is told."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console, RenderableType

from visionmodel_cli.failures import Failure

FAILED = 1


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
Files = Annotated[
    list[Path],
    typer.Option("--filename", "-f", help="YAML or JSON file with VisionModels; - reads standard input."),
]


@contextmanager
def failures_told() -> Iterator[None]:
    """Print what could not be done, and exit with FAILED."""
    try:
        yield
    except Failure as failure:
        Console(stderr=True, soft_wrap=True).print(str(failure), style="red", markup=False, highlight=False)
        raise typer.Exit(FAILED) from failure


def print_answer(document: Any, output: Output, text: Callable[[], RenderableType]) -> None:
    """Print a document as JSON or YAML, or what `text` makes for a person; plain text as it is, however long."""
    console = Console(soft_wrap=output != Output.TEXT)
    match output:
        case Output.JSON:
            console.print_json(data=document)
        case Output.YAML:
            console.print(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), markup=False, end="")
        case Output.TEXT:
            view = text()
            if isinstance(view, str):
                typer.echo(view)
            else:
                console.print(view)
