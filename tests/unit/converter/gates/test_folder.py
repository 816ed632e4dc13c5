"""The files of a folder: plain names, bounded reads, and nothing that leads elsewhere."""

import os
from pathlib import Path

import pytest

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.folder import common_root, open_folder


def test_files_by_their_plain_names(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "c.txt").write_bytes(b"12345")
    (tmp_path / "d.txt").write_bytes(b"")
    folder = open_folder(tmp_path, shown="set")
    assert folder.sizes == {"a/b/c.txt": 5, "d.txt": 0}
    assert (folder.read("a/b/c.txt", 100), folder.read("a/b/c.txt", 2)) == (b"12345", b"12")


@pytest.mark.parametrize("kind", ["file-link", "folder-link", "broken-link", "pipe"])
def test_links_and_pipes_are_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    odd = tmp_path / "set" / "odd"
    if kind == "pipe":
        os.mkfifo(odd)
    else:
        odd.symlink_to({"file-link": tmp_path / "secret", "folder-link": tmp_path}.get(kind, tmp_path / "absent"))
    with pytest.raises(ConversionFailure, match="'odd' is a link or no regular file") as caught:
        open_folder(tmp_path / "set", shown="set")
    assert caught.value.reason is Reason.DATASET_INVALID


@pytest.mark.parametrize(
    ("names", "root"),
    [
        (["set/a", "set/b/c"], "set/"),
        (["set/a", "b"], ""),
        (["a"], ""),
        (["x/a", "y/b"], ""),
        ([], ""),
    ],
)
def test_root(names: list[str], root: str) -> None:
    assert common_root(names) == root
