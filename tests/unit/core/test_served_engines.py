"""Which record stands for an engine of a revision that comes back."""

from dataclasses import replace
from typing import Any

import pytest

from unit.core import builders
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.keys import gate_key
from visionmodel_contract.report import Failure
from visionmodel_operator.api.status import KnownRevision, VisionModelStatus
from visionmodel_operator.core import names
from visionmodel_operator.core.build_request import builds_of
from visionmodel_operator.core.served_engines import served_builds
from visionmodel_operator.core.snapshot import KnownArtifact, Snapshot, WorkloadState

SPEC = builders.spec(**builders.TENSORRT)
BUILDS = builds_of(SPEC, "0" * 32, ref=builders.REF, revision="r", platform=builders.PLATFORM)
L4, A10 = (build.request for build in BUILDS)
OLD = ("1" * 32, "2" * 32)
SUMMARY = builders.built(L4)
ASKED = tuple(gate_key(key, L4.gates, task=L4.task) for key in OLD)
MISSED = Failure(reason="GateFailed", message="cosine is 0.4", exit_code=ExitCode.GATE_FAILED)
STORED = {names.WORKLOAD_FILE: '[{"kind": "Deployment"}]'}


def record(index: int, *passed: str, missed: tuple[str, ...] = ()) -> KnownArtifact:
    verdicts: dict[str, Any] = {given: SUMMARY.gates for given in (*missed, *passed)}
    return KnownArtifact(OLD[index], SUMMARY, verdicts, dict.fromkeys(missed, MISSED))


def seen(*records: KnownArtifact, engine_keys: tuple[str, ...] = OLD, stored: bool = True) -> Snapshot:
    known = KnownRevision(revision="r", engine_keys=list(engine_keys))
    return Snapshot(
        ref=builders.REF,
        generation=1,
        resource_version="1",
        spec=SPEC,
        spec_error="",
        annotations={},
        status=VisionModelStatus(revisions=[known]),
        platform=builders.PLATFORM,
        artifacts={one.key: one for one in records},
        workloads={"r": WorkloadState("r", 0, 0, STORED if stored else {})},
    )


BOTH = (record(0, ASKED[0]), record(1, ASKED[1]))
TODAYS = tuple((request.key, request.gate_key) for request in (L4, A10))
THEIRS = tuple(zip(OLD, ASKED, strict=True))
UNMADE = KnownArtifact(OLD[0], builders.not_built(L4, ExitCode.ENGINE_REFUSED))
CASES: dict[str, tuple[Snapshot, tuple[tuple[str, str], ...]]] = {
    "stored": (seen(*BOTH), THEIRS),
    "not stored": (seen(*BOTH, stored=False), TODAYS),
    "never made": (replace(seen(*BOTH), workloads={}), TODAYS),
    "never converted": (seen(*BOTH, engine_keys=()), TODAYS),
    "not known": (replace(seen(*BOTH), status=VisionModelStatus()), TODAYS),
    "of the image of today": (seen(record(1, ASKED[1]), engine_keys=(L4.key, OLD[1])), (TODAYS[0], THEIRS[1])),
    "one record was lost": (seen(BOTH[1]), (TODAYS[0], THEIRS[1])),
    "one record says that it was never made": (seen(UNMADE, BOTH[1]), (TODAYS[0], THEIRS[1])),
    "gates edited since": (seen(record(0, "before", missed=("stricter",)), BOTH[1]), ((OLD[0], "before"), THEIRS[1])),
    "failed by these gates": (seen(record(0, "before", missed=(ASKED[0],)), BOTH[1]), THEIRS),
    "never passed": (seen(record(0, missed=("stricter",)), BOTH[1]), (TODAYS[0], THEIRS[1])),
}


@pytest.mark.parametrize(("snapshot", "expected"), CASES.values(), ids=CASES.keys())
def test_served_builds(snapshot: Snapshot, expected: tuple[tuple[str, str], ...]) -> None:
    found = served_builds(snapshot, "r", BUILDS)
    assert tuple((build.request.key, build.request.gate_key) for build in found) == expected
    assert [(build.index, build.accelerator) for build in found] == [(one.index, one.accelerator) for one in BUILDS]
