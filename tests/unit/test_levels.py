"""Each level of tests is collected from its own folders, so a marked test elsewhere would never run."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = REPOSITORY / "tests"
# `pytest -q [-s] -m <level> [--timeout N] <folders>`, as the Makefile calls it.
CALL = re.compile(r"pytest -q(?: -s)? -m (\w+)(?: --timeout \d+)?((?: tests/\w+)+)$", re.MULTILINE)
LEVELS = {
    level: [REPOSITORY / folder for folder in folders.split()]
    for level, folders in CALL.findall((REPOSITORY / "Makefile").read_text(encoding="utf-8"))
}


def test_every_level_is_run() -> None:
    assert sorted(LEVELS) == ["apiserver", "component", "e2e", "gpu", "images", "lifecycle", "sources"]


@pytest.mark.parametrize("level", LEVELS)
def test_marked_tests_are_in_the_folders_of_their_level(level: str) -> None:
    mark = re.compile(rf"\bmark\.{level}\b")
    marked = {path for path in TESTS.rglob("*.py") if mark.search(path.read_text(encoding="utf-8"))}
    assert marked
    assert [path for path in marked if not any(folder in path.parents for folder in LEVELS[level])] == []


@pytest.mark.parametrize(
    ("folder", "level"),
    [("component", "component"), ("lifecycle", "lifecycle"), ("e2e", "e2e"), ("converter_images", "images")],
)
def test_every_test_of_a_folder_has_its_mark(folder: str, level: str) -> None:
    """The unit level collects all folders and leaves out what is marked."""
    files = [path for path in (TESTS / folder).rglob("test_*.py") if f"mark.{level}" not in path.read_text("utf-8")]
    by_conftest = {path.parent for path in (TESTS / folder).rglob("conftest.py") if "add_marker" in path.read_text()}
    assert [path for path in files if path.parent not in by_conftest] == []
