"""What `store.port.ArtifactStore` promises: one body of tests for every store, real or in memory.

Each store comes with a kit that stops it at any one of its writes, damages what it keeps and lists it.
"""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from visionmodel_contract.build import EngineOptions, EngineTarget, ShapeRange
from visionmodel_contract.precision import Precision
from visionmodel_contract.report import PrecisionShare, TensorSpec
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.report import EngineReport, FullReport
from visionmodel_converter.store.engines import find_engine, publish_engine
from visionmodel_converter.store.image import sha256_of
from visionmodel_converter.store.port import ArtifactStore
from visionmodel_converter.store.published import Published, StoredFiles

MODEL = b"a network"
KEY, OTHER = "0123456789abcdef0123456789abcdef", "f" * 32
EXPORT, EXPORTED = f"export-{KEY}", ("a.bin", "b.json")
CACHE = f"timing-{KEY}"
FILES = ("model.onnx", "report.json", "provenance.json")
PICTURES = {"worst.png": b"a sheet", "worst.html": b"a page"}


A = TypeVar("A")
R = TypeVar("R")


class Killed(BaseException):
    """The end of a process: nothing that handles errors sees it."""


def kill() -> None:
    raise Killed


@dataclass
class Gate:
    """Called before and after each write of a store; the step at which it acts is counted through both."""

    stop_at: int
    act: Callable[[], Any]
    step: int = 0
    acting: bool = False
    acted: Any = None

    def pass_through(self) -> None:
        if self.acting:
            return
        self.step += 1
        if self.step == self.stop_at:
            self.acting = True
            try:
                self.acted = self.act()
            finally:
                self.acting = False


@dataclass
class Gates:
    """The gate of each thread, so that one of two publishers can be held."""

    by_thread: threading.local = field(default_factory=threading.local)

    def pass_through(self) -> None:
        gate = getattr(self.by_thread, "gate", None)
        if gate is not None:
            gate.pass_through()

    def stopped(self, stop_at: int, act: Callable[[], A], run: Callable[[], R]) -> tuple[R, A] | None:
        """Run, and act at a step; returns both results, None where the run has fewer steps."""
        gate = self.by_thread.gate = Gate(stop_at, act)
        try:
            result = run()
        finally:
            self.by_thread.gate = None
        return (result, gate.acted) if gate.step >= stop_at else None

    def killed(self, stop_at: int, run: Callable[[], Any]) -> bool:
        """Run and be killed at a step; returns whether it came to it."""
        try:
            self.stopped(stop_at, kill, run)
        except Killed:
            return True
        return False


class Kit(Protocol):
    """A store, and what tests do to it."""

    gates: Gates
    has_conditional_put: bool
    """The first of two publishers wins; without it both find their own artifact by digest."""

    def store(self) -> ArtifactStore:
        """A client of its own, as another Job has it."""

    def damage(self, key: str, file: str) -> None:
        """Change a byte of a file."""

    def content(self) -> list[str]:
        """Names of everything that is there."""

    def unmark(self) -> None:
        """Take every mark of use away, as versions of ours left engines and exports that knew none."""

    def fetchable(self, published: Published, target: Path) -> bytes:
        """The model of an artifact, as serving pods get it: by what was reported, not by its key."""


def report(key: str = KEY, model: bytes = MODEL) -> FullReport:
    tensor = TensorSpec(name="x", dtype="float32", dims=(-1, 4))
    return FullReport(
        key=key,
        pipeline_version=2,
        source_uri="s3://models/net.onnx",
        source_digest=sha256_of(b"source"),
        precision=Precision.FP32,
        model_digest=sha256_of(model),
        size_bytes=len(model),
        opset=17,
        parameters=16,
        nodes_before=3,
        nodes_after=2,
        inputs=(tensor,),
        outputs=(tensor,),
        simplification="3 nodes became 2",
        gates=(),
        agreement={},
    )


def publish_with_pictures(store: ArtifactStore, folder: Path) -> Published:
    (folder / "made.onnx").write_bytes(MODEL)
    shown = report().model_copy(update={"pictures": {name: sha256_of(data) for name, data in PICTURES.items()}})
    made, _ = store.publish(model=folder / "made.onnx", report=shown, provenance={}, work=folder, pictures=PICTURES)
    return made


def publish(
    store: ArtifactStore, folder: Path, model: bytes = MODEL, key: str = KEY, **statement: Any
) -> tuple[Published, bool]:
    folder.mkdir(exist_ok=True)
    file = folder / "made.onnx"
    file.write_bytes(model)
    return store.publish(model=file, report=report(key, model), provenance=statement, work=folder)


def publish_files(store: ArtifactStore, folder: Path, content: str, name: str = EXPORT) -> StoredFiles:
    files = {file: folder / file for file in EXPORTED}
    for path in files.values():
        path.write_text(content)
    return store.publish_files(name, files, folder)


def publish_built(store: ArtifactStore, folder: Path, plan: bytes, key: str = KEY) -> tuple[Published, bool]:
    """Publish an engine, unless told otherwise under the same key that the tests' artifact has."""
    (folder / "made.plan").write_bytes(plan)
    engine = EngineReport(
        prepare_key=KEY,
        model_digest=sha256_of(MODEL),
        options=EngineOptions(batch=ShapeRange(min=1, opt=4, max=8)),
        target=EngineTarget(
            tensorrt="11.2.1.2", cuda="13.0", product="NVIDIA L4", compute_capability="8.9", multiprocessors=58
        ),
        driver="13.0",
        share=PrecisionShare(precision=Precision.FP32, layers=1.0, compute=1.0, runtime="tensorrt"),
        speed=(),
        device_memory_bytes=1,
    )
    built = report(key, plan).model_copy(update={"engine": engine})
    return publish_engine(store, plan=folder / "made.plan", report=built, provenance={}, work=folder)


@pytest.fixture
def folders(tmp_path: Path) -> Callable[[], Path]:
    """Give a new empty folder."""
    numbers = iter(range(100_000))

    def new() -> Path:
        folder = tmp_path / f"work-{next(numbers)}"
        folder.mkdir()
        return folder

    return new


New = Callable[[], Path]


def steps() -> Iterator[int]:
    return iter(range(1, 1000))


class ArtifactStoreContract:
    """Inherited by the tests of each store, which give the fixture `kit`."""

    def test_what_is_published_is_found(self, kit: Kit, folders: New) -> None:
        store = kit.store()
        assert store.find(KEY, folders()) is None
        made, was_there = publish(store, folders(), maker="me")
        found = kit.store().find(KEY, folders())
        assert not was_there
        assert found is not None
        assert (found.info, found.report) == (made.info, made.report)
        assert found.model.read_bytes() == MODEL
        assert json.loads((found.model.parent / "provenance.json").read_text()) == {"maker": "me"}
        assert sha256_of((found.model.parent / "report.json").read_bytes()) == found.info.report_digest
        assert kit.fetchable(made, folders()) == MODEL
        assert found.info.image.startswith(store.shown) or found.info.image.startswith("file://")

    def test_lookup_of_nothing_writes_nothing(self, kit: Kit, folders: New) -> None:
        assert kit.store().find(KEY, folders()) is None
        assert kit.content() == []

    def test_first_one_stays(self, kit: Kit, folders: New) -> None:
        first, _ = publish(kit.store(), folders(), maker="first")
        second, was_there = publish(kit.store(), folders(), b"other bytes", maker="second")
        assert was_there
        assert second.info == first.info
        assert kit.fetchable(second, folders()) == MODEL

    def test_files_under_another_name(self, kit: Kit, folders: New) -> None:
        assert kit.store().find_files(EXPORT, EXPORTED, folders()) is None
        first = publish_files(kit.store(), folders(), "first")
        assert {name: path.read_text() for name, path in first.files.items()} == {"a.bin": "first", "b.json": "first"}
        second = publish_files(kit.store(), folders(), "second")
        found = kit.store().find_files(EXPORT, EXPORTED, folders())
        assert found is not None
        assert (found.image, found.digest) == (second.image, second.digest) == (first.image, first.digest)
        assert found.files["a.bin"].read_text() == "first"
        with pytest.raises(ConversionFailure) as refusal:
            kit.store().find_files(EXPORT, ("a.bin", "c.bin"), folders())
        assert refusal.value.reason is Reason.ARTIFACT_CORRUPT

    def test_files_killed_at_any_write_are_there_or_not(self, kit: Kit, folders: New) -> None:
        for step in steps():
            name = f"export-{step:032x}"
            was_killed = kit.gates.killed(step, partial(publish_files, kit.store(), folders(), "first", name))
            found = kit.store().find_files(name, EXPORTED, folders())
            assert found is None or found.files["b.json"].read_text() == "first"
            assert publish_files(kit.store(), folders(), "second", name).files["a.bin"].read_text() == (
                "second" if found is None else "first"
            )
            if not was_killed:
                return

    def test_a_cache_is_replaced(self, kit: Kit, folders: New) -> None:
        assert kit.store().read_cache(CACHE, folders()) is None
        for content in (b"first", b"", b"third, and longer"):
            kit.store().write_cache(CACHE, content, folders())
            assert kit.store().read_cache(CACHE, folders()) == content
        assert len([name for name in kit.content() if CACHE in name]) == 1, "one, however often it was replaced"
        assert kit.store().read_cache(f"{CACHE}0", folders()) is None
        assert list(kit.store().entries()) == []

    def test_a_cache_killed_at_any_write_is_the_old_or_the_new_one(self, kit: Kit, folders: New) -> None:
        seen = set()
        for step in steps():
            kit.store().write_cache(CACHE, b"old", folders())
            was_killed = kit.gates.killed(step, partial(kit.store().write_cache, CACHE, b"new", folders()))
            found = kit.store().read_cache(CACHE, folders())
            assert found in (b"old", b"new")
            seen.add(found)
            if not was_killed:
                break
        assert (seen, found) == ({b"old", b"new"}, b"new")

    def test_of_two_writers_of_a_cache_one_stays(self, kit: Kit, folders: New) -> None:
        for step in steps():
            both = kit.gates.stopped(
                step,
                partial(kit.store().write_cache, CACHE, b"theirs", folders()),
                partial(kit.store().write_cache, CACHE, b"mine", folders()),
            )
            assert kit.store().read_cache(CACHE, folders()) in (b"theirs", b"mine")
            if both is None:
                break
        assert step > 1

    def test_engine_lies_beside_the_artifact_of_its_key(self, kit: Kit, folders: New) -> None:
        publish(kit.store(), folders())
        assert find_engine(kit.store(), KEY, folders()) is None
        made, was_there = publish_built(kit.store(), folders(), b"a plan")
        assert not was_there
        assert made.model_file == "model.plan"
        assert kit.fetchable(made, folders()) == b"a plan"
        found = find_engine(kit.store(), KEY, folders())
        assert found is not None
        assert (found.info, found.report) == (made.info, made.report)
        second, was_there = publish_built(kit.store(), folders(), b"another plan")
        assert was_there
        assert second.info == made.info
        artifact = kit.store().find(KEY, folders())
        assert artifact is not None
        assert artifact.model.read_bytes() == MODEL

    def test_keys_are_apart(self, kit: Kit, folders: New) -> None:
        publish(kit.store(), folders())
        publish(kit.store(), folders(), b"another", OTHER)
        found = kit.store().find(OTHER, folders())
        assert found is not None
        assert found.model.read_bytes() == b"another"
        assert [entry.name for entry in kit.store().entries()] == [f"prepare-{KEY}", f"prepare-{OTHER}"]

    def test_pictures_are_kept_beside_the_report(self, kit: Kit, folders: New) -> None:
        made = publish_with_pictures(kit.store(), folders())
        found = kit.store().find(KEY, folders())
        assert found is not None
        assert (found.info, found.report.pictures) == (made.info, made.report.pictures)
        assert {name: (found.model.parent / name).read_bytes() for name in PICTURES} == PICTURES

    @pytest.mark.parametrize("name", PICTURES)
    def test_a_changed_picture_is_damage(self, kit: Kit, folders: New, name: str) -> None:
        publish_with_pictures(kit.store(), folders())
        kit.damage(KEY, name)
        with pytest.raises(ConversionFailure) as refusal:
            kit.store().find(KEY, folders())
        assert refusal.value.reason is Reason.ARTIFACT_CORRUPT

    @pytest.mark.parametrize("file", FILES)
    def test_damage_is_told(self, kit: Kit, folders: New, file: str) -> None:
        publish(kit.store(), folders(), maker="me")
        kit.damage(KEY, file)
        with pytest.raises(ConversionFailure, match="delete") as refusal:
            kit.store().find(KEY, folders())
        assert refusal.value.reason is Reason.ARTIFACT_CORRUPT

    def test_killed_at_any_write_it_is_there_or_not(self, kit: Kit, folders: New) -> None:
        seen = set()
        for step in steps():
            key = f"{step:032x}"
            was_killed = kit.gates.killed(step, partial(publish, kit.store(), folders(), key=key))
            found = kit.store().find(key, folders())
            assert found is None or found.model.read_bytes() == MODEL
            seen.add(found is None)
            again, was_there = publish(kit.store(), folders(), b"made anew", key)
            assert was_there is (found is not None)
            assert kit.fetchable(again, folders()) == (MODEL if was_there else b"made anew")
            if not was_killed:
                break
        assert seen == {True, False}
        assert step > 8, "each write is stopped before and after"

    def test_of_two_publishers_at_any_point_each_has_what_it_reports(self, kit: Kit, folders: New) -> None:
        for step in steps():
            key = f"{step:032x}"
            both = kit.gates.stopped(
                step,
                partial(publish, kit.store(), folders(), b"theirs", key),
                partial(publish, kit.store(), folders(), b"mine", key),
            )
            if both is None:
                break
            (first, first_was_there), (second, second_was_there) = both
            found = kit.store().find(key, folders())
            assert found is not None
            assert found.info in (first.info, second.info)
            for published in (first, second):
                assert sha256_of(kit.fetchable(published, folders())) == published.info.model_digest
            if kit.has_conditional_put:
                assert first.info == second.info
                assert first_was_there is not second_was_there
