"""Collection from the cluster's lists to the store: what is named anywhere stays, a failed list deletes nothing."""

import asyncio
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_converter.store.collection import Fate, collect, read_kept
from visionmodel_converter.store.folder import FolderStore
from visionmodel_operator.adapters.inventory import ArtifactRecord, KnownModel
from visionmodel_operator.adapters.translation import kept_artifact_keys
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.core.conversion_request import artifact_key
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


@st.composite
def models(draw: st.DrawFn) -> dict[str, Any]:
    """A VisionModel as the API server has it: pinned or not, converting or not, with revisions that it keeps."""
    keys = st.sampled_from(KEYS)
    status: dict[str, Any] = {}
    if draw(st.booleans()):
        running = {"revision": "0123456789", "attempt": 1, "job": "j", "key": draw(keys)}
        status["conversion"] = running
    status["revisions"] = [
        {"revision": f"{number:010x}", **({"artifactKey": draw(keys)} if draw(st.booleans()) else {})}
        for number in range(draw(st.integers(0, 3)))
    ]
    spec = draw(st.sampled_from([*map(spec_of, (None, *DIGESTS)), {"model": "no object"}]))
    return {"metadata": {"name": "m", "namespace": draw(st.sampled_from("ab"))}, "spec": spec, "status": status}


def named_by(model: Mapping[str, Any]) -> set[str]:
    """Every key that stands anywhere in a model, by the look of its text, and the key of its pinned source."""
    text = json.dumps(model)
    return {key for key in ALL_KEYS if key in text} | {key for digest, key in PINNED.items() if digest in text}


@dataclass(frozen=True)
class Lists:
    """What the API server would list."""

    raw: tuple[Mapping[str, Any], ...] = ()
    recorded: tuple[str, ...] = ()
    failing: str = ""

    async def models(self) -> tuple[KnownModel, ...]:
        if self.failing == "models":
            raise Retry("the API server does not answer")
        return tuple(KnownModel(one["metadata"]["namespace"], "m", "1", kept_artifact_keys(one)) for one in self.raw)

    async def artifacts(self) -> tuple[ArtifactRecord, ...]:
        if self.failing == "artifacts":
            raise Retry("the API server does not answer")
        return tuple(ArtifactRecord("a", f"artifact-{key}", key, "u", "1", NOW) for key in self.recorded)


ages = st.dictionaries(st.sampled_from(ALL_KEYS), st.integers(0, 20), min_size=1)


@given(st.lists(models(), max_size=3), st.sets(st.sampled_from(ALL_KEYS), max_size=2), ages)
def test_nothing_goes_that_anything_names_or_that_is_young(
    raw: list[dict[str, Any]], recorded: set[str], days: dict[str, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, file = Path(folder, "store"), Path(folder, "kept.json")
        for key, age in days.items():
            (root / f"prepare-{key}").mkdir(parents=True)
            at = (NOW - timedelta(days=age)).timestamp()
            os.utime(root / f"prepare-{key}", (at, at))
        kept = asyncio.run(kept_artifacts(Lists(tuple(raw), tuple(recorded)), lambda: NOW))
        file.write_text(kept.to_json())
        results = list(collect(FolderStore(root), read_kept(file), minimum_age=WEEK, now=NOW, dry_run=False))
        left = {path.name.removeprefix("prepare-") for path in root.iterdir()}
    named = recorded.union(*map(named_by, raw))
    assert left == {key for key, age in days.items() if key in named or age <= WEEK.days}
    assert {one.name for one in results if one.fate is Fate.REMOVED} == {f"prepare-{key}" for key in days.keys() - left}


@pytest.mark.parametrize("failing", ["models", "artifacts"])
async def test_a_list_that_cannot_be_read_is_no_list(failing: str) -> None:
    with pytest.raises(Retry):
        await kept_artifacts(Lists(failing=failing), lambda: NOW)


async def test_the_list_is_as_old_as_its_beginning() -> None:
    times = iter([NOW, NOW + WEEK])
    assert (await kept_artifacts(Lists(), lambda: next(times))).listed_at == NOW
