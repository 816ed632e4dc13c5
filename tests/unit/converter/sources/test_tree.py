"""Whole folders: the digest anybody can compute, and folders that are hostile or move under us."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from visionmodel_converter.environment import environment_from
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.sources import fetch as fetching
from visionmodel_converter.sources.origin import Access, Entry, Located
from visionmodel_converter.sources.tree import FetchedTree, TreeFile, fetch_tree, tree_digest

FILES = {"saved_model.pb": b"graph", "variables/variables.index": b"index", "variables/variables.data-0": b"data" * 9}
DOCS = Path(__file__).resolve().parents[4] / "docs" / "sources.md"


def claim(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    root = folder / "pvc" / "c" / "model"
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def fetched(
    folder: Path, uri: str = "pvc://c/model", *, max_bytes: int = 10**6, max_files: int = 100, digest: str | None = None
) -> FetchedTree:
    return fetch_tree(
        uri,
        folder / "out",
        environment=environment_from({"VISIONMODEL_PVC_ROOT": str(folder / "pvc")}),
        max_bytes=max_bytes,
        max_files=max_files,
        expected_digest=digest,
    )


def refusal(folder: Path, **options: object) -> ConversionFailure:
    with pytest.raises(ConversionFailure) as caught:
        fetched(folder, **options)  # type: ignore[arg-type]
    assert not (folder / "out").exists()
    assert list(folder.glob("*.part")) == []
    return caught.value


@pytest.mark.parametrize("uri", ["pvc://c/model", "pvc://c/model/"])
def test_a_folder_arrives_whole(tmp_path: Path, uri: str) -> None:
    claim(tmp_path)
    tree = fetched(tmp_path, uri)
    assert {file.name: (tree.path / file.name).read_bytes() for file in tree.files} == FILES
    assert [path for path in tree.path.rglob("*") if path.is_file()] != []
    assert (tree.size_bytes, tree.uri) == (sum(map(len, FILES.values())), "pvc://c/model")


def test_the_digest_is_what_sha256sum_prints(tmp_path: Path) -> None:
    root = claim(tmp_path, FILES | {"name with space": b""})
    (command,) = re.findall(r"```sh\n(.*)\n```", DOCS.read_text())
    printed = subprocess.run(command, shell=True, cwd=root, capture_output=True, text=True, check=True).stdout
    digest = "sha256:" + printed.split()[0]
    assert fetched(tmp_path, digest=digest).digest == digest


def test_the_digest_sees_names_and_contents_and_no_order() -> None:
    a, b = TreeFile("a", "sha256:" + "1" * 64, 1), TreeFile("b", "sha256:" + "2" * 64, 1)
    assert tree_digest([a, b]) == tree_digest([b, a])
    swapped = [TreeFile("a", b.digest, 1), TreeFile("b", a.digest, 1)]
    assert len({tree_digest(files) for files in ([a, b], [a], swapped, [a, TreeFile("c", b.digest, 1)])}) == 4


def test_another_digest_is_refused(tmp_path: Path) -> None:
    claim(tmp_path)
    failure = refusal(tmp_path, digest="sha256:" + "0" * 64)
    assert (failure.reason, "set digest" in failure.message) == (Reason.DIGEST_MISMATCH, True)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"max_files": 2}, "more than 2 files"),
        ({"max_bytes": 45}, "or 45 bytes"),
    ],
)
def test_bounds(tmp_path: Path, options: dict[str, int], says: str) -> None:
    claim(tmp_path)
    failure = refusal(tmp_path, **options)
    assert (failure.reason, says in failure.message) == (Reason.SOURCE_TOO_LARGE, True), failure.message


@pytest.mark.parametrize("make", ["link", "link-to-folder", "pipe"])
def test_links_and_devices_in_a_folder(tmp_path: Path, make: str) -> None:
    root = claim(tmp_path)
    if make == "pipe":
        os.mkfifo(root / "x")
    else:
        (root / "x").symlink_to("/etc/passwd" if make == "link" else "/etc")
    failure = refusal(tmp_path)
    assert (failure.reason, "'x' in it is a link or a device" in failure.message) == (Reason.UNSAFE_PATH, True)


def test_an_empty_or_missing_folder(tmp_path: Path) -> None:
    claim(tmp_path, {"other": b""})
    shutil.rmtree(tmp_path / "pvc" / "c" / "model")
    assert refusal(tmp_path).reason is Reason.SOURCE_NOT_FOUND
    (tmp_path / "pvc" / "c" / "model").mkdir()
    assert "empty folder" in refusal(tmp_path).message


def test_https_has_no_folders(tmp_path: Path) -> None:
    failure = refusal(tmp_path, uri="https://127.0.0.1:9/model/")
    assert (failure.reason, "one archive" in failure.message) == (Reason.UNSUPPORTED_SOURCE, True)


class Moving:
    """An origin whose listings are given one by one, as a store shows them while somebody writes."""

    def __init__(self, *listings: list[Entry], content: bytes = b"12345") -> None:
        self._listings, self._content = list(listings), content

    def shown(self, path: str) -> str:
        return f"s3://b/{path}"

    @contextmanager
    def read(self, path: str) -> Iterator[Iterable[bytes]]:
        yield [self._content]

    def entries(self, folder: str) -> Iterable[Entry]:
        return self._listings.pop(0) if len(self._listings) > 1 else self._listings[0]


def moving(monkeypatch: pytest.MonkeyPatch, origin: Moving) -> None:
    @contextmanager
    def locate(uri: str, access: Access) -> Iterator[Located]:
        yield Located(origin, "model")

    monkeypatch.setitem(fetching.LOCATORS, "s3", locate)


ONE, OTHER = Entry("a", 5, "v1"), Entry("b", 5, "v1")


@pytest.mark.parametrize(
    ("origin", "reason", "says"),
    [
        (Moving([ONE], [ONE, OTHER]), Reason.SOURCE_CHANGED, "new folder"),
        (Moving([ONE, OTHER], [ONE]), Reason.SOURCE_CHANGED, "new folder"),
        (Moving([ONE], [Entry("a", 5, "v2")]), Reason.SOURCE_CHANGED, "new folder"),
        (Moving([ONE], content=b"123456"), Reason.SOURCE_CHANGED, "s3://b/model/a changed"),
        (Moving([ONE], content=b"1234"), Reason.SOURCE_CHANGED, "s3://b/model/a changed"),
        (Moving([Entry("../a", 5)]), Reason.UNSAFE_PATH, "'../a' in it leads out"),
        (Moving([Entry("/a", 5)]), Reason.UNSAFE_PATH, "is absolute"),
        (Moving([Entry("a\nb", 5)]), Reason.UNSAFE_PATH, "control character"),
        (Moving([ONE, ONE]), Reason.UNSAFE_PATH, "twice"),
        (Moving([ONE, Entry("a/b", 5)]), Reason.UNSAFE_PATH, "at once"),
        (Moving([Entry(str(n), None) for n in range(9)], content=b"1" * 200_000), Reason.SOURCE_TOO_LARGE, "larger"),
    ],
    ids=[
        "file-added",
        "file-removed",
        "file-replaced",
        "file-grown",
        "file-shrunk",
        "traversal",
        "absolute",
        "control-character",
        "twice",
        "file-and-folder",
        "sizes-unknown",
    ],
)
def test_listings_that_move_or_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, origin: Moving, reason: Reason, says: str
) -> None:
    moving(monkeypatch, origin)
    failure = refusal(tmp_path, uri="s3://b/model")
    assert (failure.reason, says in failure.message) == (reason, True), failure.message


def test_markers_of_folders_are_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moving(monkeypatch, Moving([Entry("sub", 0), Entry("sub/a", 5)]))
    assert [file.name for file in fetched(tmp_path, "s3://b/model").files] == ["sub/a"]
