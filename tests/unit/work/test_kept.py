"""Collection from the cluster's lists to the store: what is named anywhere stays, a failed list deletes nothing."""

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.store.collection import Fate, collect, read_kept
from visionmodel_converter.store.entries import KINDS
from visionmodel_converter.store.folder import USED, FolderStore
from visionmodel_converter.store.image import sha256_of
from visionmodel_converter.store.index import INDEX_FILE
from visionmodel_operator.adapters.needs import Needs, needs_of_config, needs_of_model
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.core.conversion_request import artifact_key
from visionmodel_operator.core.names import LABEL_ARTIFACT_KEY
from visionmodel_operator.errors import Retry
from visionmodel_operator.work.kept import kept_artifacts

NOW = datetime(2030, 1, 8, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
KEYS = tuple(f"a{number:031x}" for number in range(6))
DIGESTS = tuple(f"sha256:{digit * 64}" for digit in "789")


def spec_of(digest: str | None) -> dict[str, Any]:
    model: dict[str, Any] = {"storageUri": "s3://models/net.onnx"}
    return {"model": model if digest is None else {**model, "digest": digest}, "task": {"type": "Tensor"}}


PINNED = {digest: str(artifact_key(VisionModelSpec.model_validate(spec_of(digest)))) for digest in DIGESTS}
ALL_KEYS = (*KEYS, *PINNED.values())
NAMES = tuple(f"{kind}-{key}" for kind in KINDS for key in ALL_KEYS)
INDEXES = {name: sha256_of(name.encode()) for name in NAMES}
"""The digest by which each entry of the store is named: its index is its own name."""


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    """A VisionModel as the API server has it: pinned or not, converting or not, with revisions that it keeps."""
    keys, digests = st.sampled_from(KEYS), st.sampled_from(sorted(INDEXES.values()))
    status: dict[str, Any] = {}
    if draw(st.booleans()):
        running = {
            "revision": "0123456789",
            "job": "j",
            "key": draw(keys),
            "engineKeys": draw(st.lists(keys, max_size=2)),
        }
        made = {"exports": [{"digest": draw(digests)}], "engines": [{"digest": draw(digests)}]}
        status["conversion"] = {**running, **({"report": made} if draw(st.booleans()) else {})}
    status["revisions"] = [
        {"revision": f"{number:010x}", **({"artifactKey": draw(keys)} if draw(st.booleans()) else {})}
        for number in range(draw(st.integers(0, 3)))
    ]
    spec = draw(st.sampled_from([*map(spec_of, (None, *DIGESTS)), {"model": "no object"}]))
    return {"metadata": {"name": "m", "namespace": draw(st.sampled_from("ab"))}, "spec": spec, "status": status}


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """A ConfigMap of ours: an artifact's record, read or not by this version, or what a revision's pods are made of."""
    key, name = draw(st.sampled_from(ALL_KEYS)), draw(st.sampled_from(NAMES))
    place = draw(st.sampled_from([f"s3://models/{name}", f"r.example/models@{INDEXES[name]}"]))
    if draw(st.booleans()):
        data = {"workload.json": json.dumps([{"args": ["fetch-artifact", place]}])}
        return {"metadata": {"name": "m-0123456789"}, "data": data}
    summary = {"result": "Succeeded", "artifact": {"key": key}, "exports": [{"image": place}]}
    text = draw(st.sampled_from([json.dumps(summary, indent=2), f"of a later version: {key}, {place}"]))
    return {
        "metadata": {"labels": {LABEL_ARTIFACT_KEY: draw(st.sampled_from(ALL_KEYS))}},
        "data": {"summary.json": text},
    }


def named_by(document: Mapping[str, Any]) -> set[str]:
    """Return the entries whose key or digest stands anywhere in a document, and those of its pinned source."""
    text = json.dumps(document)
    keys = {key for key in ALL_KEYS if key in text} | {key for digest, key in PINNED.items() if digest in text}
    return {name for name in NAMES if name.rpartition("-")[2] in keys or INDEXES[name] in text}


@dataclass(frozen=True)
class Lists:
    """What the API server would list."""

    raw: tuple[Mapping[str, Any], ...] = ()
    recorded: tuple[Mapping[str, Any], ...] = ()
    failing: str = ""

    async def needs_of_models(self) -> Needs:
        if self.failing == "models":
            raise Retry("the API server does not answer")
        return reduce(or_, map(needs_of_model, self.raw), Needs())

    async def needs_of_configs(self) -> Needs:
        if self.failing == "configs":
            raise Retry("the API server does not answer")
        return reduce(or_, map(needs_of_config, self.recorded), Needs())


ages = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 20), min_size=1)


@given(st.lists(models(), max_size=3), st.lists(configs(), max_size=3), ages)
def test_nothing_goes_that_anything_names_or_that_is_young(
    raw: list[dict[str, Any]], recorded: list[dict[str, Any]], days: dict[str, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, file = Path(folder, "store"), Path(folder, "kept.json")
        for name, age in days.items():
            (root / name).mkdir(parents=True)
            (root / name / INDEX_FILE).write_text(name)
            (root / name / USED).touch()
            at = (NOW - timedelta(days=age)).timestamp()
            for path in (root / name / USED, root / name):
                os.utime(path, (at, at))
        kept = asyncio.run(kept_artifacts(Lists(tuple(raw), tuple(recorded)), lambda: NOW))
        file.write_text(kept.to_json())
        results = list(collect(FolderStore(root), read_kept(file), minimum_age=WEEK, now=NOW, dry_run=False))
        left = {path.name for path in root.iterdir()}
    named = set().union(*map(named_by, (*raw, *recorded)))
    assert left == {name for name, age in days.items() if name in named or age <= WEEK.days}
    assert {one.name for one in results if one.fate is Fate.REMOVED} == days.keys() - left


def test_a_list_that_knew_nothing_of_engines_deletes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    file.write_text(json.dumps({"formatVersion": 1, "keys": [], "listedAt": NOW.isoformat()}))
    with pytest.raises(ConversionFailure, match="list-kept") as refusal:
        read_kept(file)
    assert refusal.value.reason is Reason.BAD_REQUEST


@pytest.mark.parametrize("failing", ["models", "configs"])
async def test_a_list_that_cannot_be_read_is_no_list(failing: str) -> None:
    with pytest.raises(Retry):
        await kept_artifacts(Lists(failing=failing), lambda: NOW)


async def test_the_list_is_as_old_as_its_beginning() -> None:
    times = iter([NOW, NOW + WEEK])
    assert (await kept_artifacts(Lists(), lambda: next(times))).listed_at == NOW
