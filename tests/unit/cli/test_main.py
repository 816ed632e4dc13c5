"""What the commands say and how they end when there is nothing to ask."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from visionmodel_cli.main import app

COMMANDS = ("report", "compare", "status", "history", "promote", "abort", "retry", "pause", "resume", "undo")


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_cluster(command: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [command, "shapes", "--kubeconfig", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert "no cluster to ask" in done.output
    assert "--kubeconfig or KUBECONFIG" in done.output


@pytest.mark.parametrize("words", [["compare"], ["compare", "shapes", "-o", "xml"], ["nonsense"]])
def test_wrong_words(words: list[str]) -> None:
    assert CliRunner().invoke(app, words).exit_code == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_options(command: str) -> None:
    done = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert done.exit_code == 0
    assert all(option in done.output for option in ("--namespace", "--kubeconfig", "--context", "--output"))
