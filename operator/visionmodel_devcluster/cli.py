"""The command line: `python -m visionmodel_devcluster programs`, `... cluster up|down|status|kubeconfig|load-image`.

Thin on purpose: everything it does is one call into `api`.
"""

import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from visionmodel_devcluster.api import DEFAULT_NAME, Cluster, ClusterOptions, binary, provide_programs
from visionmodel_devcluster.controlplane import ControlPlane
from visionmodel_devcluster.errors import DevClusterError
from visionmodel_devcluster.gpus import PRODUCTS
from visionmodel_devcluster.images import load_image
from visionmodel_devcluster.paths import default_state_dir

app = typer.Typer(help="A real single-node Kubernetes for development.", no_args_is_help=True)
cluster = typer.Typer(help="Start, stop and look at the cluster.", no_args_is_help=True)
app.add_typer(cluster, name="cluster")

Name = Annotated[str, typer.Option(help="Name of the cluster.")]
StateDir = Annotated[Path | None, typer.Option(help="State directory; by default one per name.")]


@contextmanager
def _polite() -> Iterator[None]:
    """Expected refusals are one message, not a traceback."""
    try:
        yield
    except DevClusterError as refusal:
        typer.echo(str(refusal), err=True)
        raise typer.Exit(1) from None


@app.command("binary")
def show_binary(name: str) -> None:
    """Print the path of a pinned program, building it first if needed."""
    with _polite():
        try:
            typer.echo(str(binary(name)))
        except KeyError as unknown:
            raise DevClusterError(str(unknown)) from unknown


@app.command()
def programs() -> None:
    """Install and build everything that cluster and tests run; root is needed only where packages are missing."""
    with _polite():
        provide_programs()


@cluster.command()
def up(
    name: Name = DEFAULT_NAME,
    state_dir: StateDir = None,
    fake_gpus: Annotated[int, typer.Option(min=0, help="GPUs that the node pretends to have.")] = 0,
    gpu_product: Annotated[str, typer.Option(help=f"One of {', '.join(PRODUCTS)}.")] = "NVIDIA-L4",
    control_plane_only: Annotated[bool, typer.Option(help="etcd and API server only; needs no root.")] = False,
    controller_manager: Annotated[bool, typer.Option(help="With --control-plane-only: also the controllers.")] = False,
) -> None:
    """Start the cluster, or what is missing of it, and wait until it is ready."""
    with _polite():
        if control_plane_only:
            folder = state_dir or default_state_dir(f"{name}-control-plane")
            plane = ControlPlane(folder.absolute(), controller_manager=controller_manager, detached=True)
            typer.echo(str(plane.start()))
            return
        if gpu_product not in PRODUCTS:
            raise DevClusterError(f"unknown GPU {gpu_product!r}; known: {', '.join(PRODUCTS)}")
        options = ClusterOptions(name, state_dir, fake_gpus, gpu_product)
        info = Cluster(options).up()
        typer.echo(json.dumps(dataclasses.asdict(info), default=str, indent=1))


@cluster.command()
def down(
    name: Name = DEFAULT_NAME,
    state_dir: StateDir = None,
    purge: Annotated[bool, typer.Option(help="Remove the kept images too.")] = False,
    control_plane_only: Annotated[bool, typer.Option(help="Stop one that was started with this option.")] = False,
) -> None:
    """Stop the cluster and undo every change to the host."""
    with _polite():
        if control_plane_only:
            folder = state_dir or default_state_dir(f"{name}-control-plane")
            ControlPlane(folder.absolute()).stop()
            return
        Cluster(ClusterOptions(name, state_dir)).down(purge=purge)


@cluster.command()
def status(name: Name = DEFAULT_NAME, state_dir: StateDir = None) -> None:
    """Print each component; exit with 1 when one is not well."""
    components = Cluster(ClusterOptions(name, state_dir)).status()
    for component in components:
        mark = "healthy" if component.healthy else "NOT HEALTHY"
        typer.echo(f"{component.name:<26}{component.pid or '-':<10}{mark:<14}{component.detail}")
    if not all(component.healthy for component in components):
        raise typer.Exit(1)


@cluster.command()
def kubeconfig(
    name: Name = DEFAULT_NAME,
    state_dir: StateDir = None,
    content: Annotated[bool, typer.Option("--print", help="Print the content, not the path.")] = False,
) -> None:
    """Print where the administrator's kubeconfig is."""
    with _polite():
        path = Cluster(ClusterOptions(name, state_dir)).info().kubeconfig
        typer.echo(path.read_text(encoding="utf-8") if content else str(path))


@cluster.command("load-image")
def load(source: Annotated[str, typer.Argument(help="An archive, or an image of buildah's storage.")]) -> None:
    """Push an image to the cluster's registry; print the reference for pods."""
    with _polite():
        typer.echo(load_image(source))


def main() -> None:
    """Entry point of the console script."""
    app(prog_name=Path(sys.argv[0]).name if sys.argv else None)
