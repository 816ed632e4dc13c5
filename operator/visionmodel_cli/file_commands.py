"""lint and render: about files, without a cluster."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
import yaml

from visionmodel_cli.cluster import DEFAULT_NAMESPACE
from visionmodel_cli.documents import documents_in
from visionmodel_cli.lint import Fault, faults_in
from visionmodel_cli.render_files import OPEN_PLATFORM, artifact_in, manifests_of, platform_in
from visionmodel_cli.terminal import FAILED, Files, Format, Output, failures_told, print_answer

app = typer.Typer()

Operator = Annotated[
    Path | None,
    typer.Option(
        help="The operator's Deployment in YAML, whose settings are taken; else they stay open.", dir_okay=False
    ),
]
Summary = Annotated[
    Path | None,
    typer.Option(
        help="summary.json of the artifact's ConfigMap; else what follows from it stays open.", dir_okay=False
    ),
]
RenderNamespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of what names none.")]


@app.command()
def lint(filename: Files, output: Format = Output.TEXT) -> None:
    """Check VisionModels in files as strictly as can be; exit code 1 where something must be changed."""
    with failures_told():
        documents = documents_in(filename)
    faults = faults_in(documents)
    print_answer([fault.to_document() for fault in faults], output, lambda: _said(faults, len(documents)))
    if faults:
        raise typer.Exit(FAILED)


@app.command()
def render(
    filename: Files,
    operator: Operator = None,
    artifact: Summary = None,
    namespace: RenderNamespace = DEFAULT_NAMESPACE,
    output: Format = Output.YAML,
) -> None:
    """Print the manifests that the operator would create; <words in brackets> stand for what is not known here."""
    with failures_told():
        documents = documents_in(filename)
        faults = faults_in(documents)
        if faults:
            typer.echo(_said(faults, len(documents)), err=True)
            raise typer.Exit(FAILED)
        platform = OPEN_PLATFORM if operator is None else platform_in(operator)
        known = None if artifact is None else artifact_in(artifact)
        manifests = [one for document in documents for one in manifests_of(document, platform, namespace, known)]
    if output is Output.JSON:
        typer.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}, indent=2))
    else:
        typer.echo(yaml.safe_dump_all(manifests, sort_keys=False, allow_unicode=True), nl=False)


def _said(faults: Sequence[Fault], count: int) -> str:
    lines = [str(fault) for fault in faults]
    lines.append(
        f"{count} VisionModel{'s' if count != 1 else ''}, {len(faults) or 'no'} fault{'s' if len(faults) != 1 else ''}"
    )
    return "\n".join(lines)
