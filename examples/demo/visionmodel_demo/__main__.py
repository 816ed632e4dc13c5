"""`make demo`: tells the whole story on a real cluster and ends with a report; 0 if every promise was kept."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from images.build import build_images
from rich.console import Console
from rich.table import Table

from example_models.build import build
from visionmodel_demo import stories
from visionmodel_demo.model import Followed
from visionmodel_demo.platform import (
    ROOT,
    SYSTEM_NAMESPACE,
    Platform,
    install_operator,
    provide_namespace,
    provide_platform,
)
from visionmodel_demo.store import provide_credentials, provide_store, upload
from visionmodel_demo.stories import Stage, Story

NAMESPACE = "vision"
VERSIONS = ("v1", "v2", "v3-failing", "v3-slow", "v4")
console = Console(highlight=False)


@contextmanager
def chapter(title: str) -> Iterator[None]:
    """Print a heading and, at the end, how long it took."""
    console.print(f"[bold]{title}[/bold]")
    began = time.monotonic()
    yield
    console.print(f"    [dim]{time.monotonic() - began:.0f} s[/dim]")


def prepare(out: Path) -> Stage:
    """Bring up everything that the stories need."""
    with chapter("A Kubernetes cluster (the first time, its programs are built)"):
        platform = provide_platform()
    with chapter("Models, trained here with numpy"):
        models = build(report=lambda line: console.print(f"    {line}"))
    with chapter("Images of operator, converter and Triton"):
        images = build_images(registry=platform.registry, insecure=platform.is_ours)
    with chapter("An S3 server in the cluster, with the models"):
        provide_store(platform)
        provide_namespace(platform, NAMESPACE)
        provide_credentials(platform, NAMESPACE)
        files = {f"shapes/{version}/model.onnx": models / "shapes" / version / "model.onnx" for version in VERSIONS}
        data = {f"shapes/{name}.npz": models / "shapes" / f"{name}.npz" for name in ("evaluation", "calibration")}
        upload(platform, files | data)
    with chapter("Helm installs the operator"):
        install_operator(platform, images, allowHttpSources="true" if platform.is_ours else "false")
    say = console.print
    model = Followed(platform.kube, NAMESPACE, "shapes", say)
    platform.kube.delete("visionmodel", "shapes", NAMESPACE, "--wait=true", "--cascade=foreground")
    return Stage(platform, model, _digests(models), out, say)


def _digests(models: Path) -> dict[str, str]:
    built = {entry["file"]: entry["sha256"] for entry in json.loads((models / "models.json").read_text())["files"]}
    return {version: f"sha256:{built[f'shapes/{version}/model.onnx']}" for version in VERSIONS}


def tell(stage: Stage) -> list[Story]:
    """Run the stories in order."""
    chapters: list[tuple[str, Callable[[], Story]]] = [
        ("Version 1: the first one", lambda: stories.first_version(stage)),
        ("Version 2: better trained, under load", lambda: stories.good_version(stage)),
        (
            "Version 3: an ordinary file whose graph fails for a part of the requests",
            lambda: stories.bad_in_serving(stage, "v3-failing", "Version 3 fails in serving and goes back", True),
        ),
        (
            "Version 3 again: an ordinary file whose graph is slow",
            lambda: stories.bad_in_serving(stage, "v3-slow", "Version 3, slow, goes back", False),
        ),
        ("Version 4: badly trained", lambda: stories.broken_in_conversion(stage)),
    ]
    told = []
    for number, (title, story) in enumerate(chapters, start=1):
        with chapter(title):
            told.append(story())
        keep_status(stage, number)
    return told


def keep_status(stage: Stage, number: int) -> None:
    """Write what the VisionModel says of itself at the end of a story, for those who want to read all of it."""
    status = yaml.safe_dump(stage.model.status(), sort_keys=False, allow_unicode=True)
    (stage.out / f"status-{number}.yaml").write_text(status, encoding="utf-8")


def report(told: list[Story]) -> None:
    """Print what was promised and what happened."""
    table = Table(title="What was served, and how the rollouts went", show_lines=False)
    for column in ("", "what", "value"):
        table.add_column(column, overflow="fold")
    for story in told:
        table.add_section()
        table.add_row("[green]✓[/green]" if story.is_kept else "[red]✗[/red]", f"[bold]{story.title}[/bold]", "")
        for fact in story.facts:
            table.add_row("" if fact.is_kept else "[red]✗[/red]", fact.what, fact.value)
    console.print(table)


def hints(platform: Platform) -> None:
    """Say how to look around and how to clean up."""
    kubectl = f"{platform.kube.kubectl} --kubeconfig {platform.kube.kubeconfig}"
    console.print("The cluster is still running. Look around:", soft_wrap=True)
    console.print(f"    alias k='{kubectl}'", soft_wrap=True)
    console.print(f"    k get vmodel -n {NAMESPACE} -o wide", soft_wrap=True)
    console.print(f"    k describe vmodel shapes -n {NAMESPACE}", soft_wrap=True)
    console.print(f"    k logs -n {SYSTEM_NAMESPACE} deployment/visionmodel-operator", soft_wrap=True)
    clean = "make cluster-down" if platform.is_ours else f"helm uninstall -n {SYSTEM_NAMESPACE} visionmodel-operator"
    console.print(f"Clean up:\n    {clean}", soft_wrap=True)


def main() -> int:
    """Tell the story."""
    parser = argparse.ArgumentParser(prog="visionmodel_demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "demo-out", help="folder for the drawing and the statuses")
    arguments = parser.parse_args()
    began = time.monotonic()
    arguments.out.mkdir(parents=True, exist_ok=True)
    stage = prepare(arguments.out)
    told = tell(stage)
    report(told)
    hints(stage.platform)
    is_kept = all(story.is_kept for story in told)
    minutes = (time.monotonic() - began) / 60
    console.print(f"{'Every promise was kept' if is_kept else 'A promise was broken'}; {minutes:.1f} minutes.")
    return 0 if is_kept else 1


if __name__ == "__main__":
    sys.exit(main())
