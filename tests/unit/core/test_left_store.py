"""Engines of an artifact that lies in a store which the platform has left: it is prepared again, once."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from unit.core import builders, scenarios, walks
from unit.core.simulated_cluster import Cluster
from unit.core.test_conversions import (
    A10,
    A10_JOB,
    AGAIN,
    ENGINES,
    ENGINES_REVISION,
    L4,
    L4_JOB,
    ONNX,
    PREPARED,
    PREPARED_KEY,
    asked,
    build_job,
    made,
    passed,
    said,
    with_engines,
)
from visionmodel_contract.conversion import ConversionRequest
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.report import ReportSummary
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.status import ConversionStatus, VisionModelStatus
from visionmodel_operator.core.actions import StartConversion
from visionmodel_operator.core.conversion_report import noted
from visionmodel_operator.core.conversion_state import (
    Building,
    Conversion,
    Failed,
    Missing,
    Moved,
    Outdated,
    Ready,
    Reported,
    Running,
)
from visionmodel_operator.core.conversions import conversion_of
from visionmodel_operator.core.left_store import present_store, store_of
from visionmodel_operator.core.rollout import decide
from visionmodel_operator.core.snapshot import JobState, KnownArtifact, Snapshot

OLD, DIGEST = "old.example:5000/artifacts", "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "repository", "uri"),
    [
        (f"r.example:5000/a/b@{DIGEST}", "r.example:5000/a/b", None),
        (f"r.example/a@{DIGEST}", "r.example/a:latest", None),
        (f"r.example/a:prepare-0@{DIGEST}", "r.example/a", None),
        ("s3://models/vision/prepare-0", None, "s3://models/vision/"),
        ("s3://models/prepare-0", None, "s3://models"),
        ("abfs://models@account.dfs.core.windows.net/prepare-0", None, "abfs://models@account.dfs.core.windows.net"),
        ("pvc://artifacts/vision/prepare-0", None, "pvc://artifacts/vision"),
    ],
)
def test_a_store_has_one_name(image: str, repository: str | None, uri: str | None) -> None:
    platform = replace(builders.PLATFORM, artifact_repository=repository, artifact_uri=uri)
    assert store_of(builders.artifact("0", image=image)) == present_store(platform)
    assert store_of(builders.artifact("0", image=f"other{image}")) != present_store(platform)


def prepared_in(store: str) -> ReportSummary:
    return PREPARED.model_copy(update={"artifact": builders.artifact(PREPARED_KEY, image=f"{store}@{DIGEST}")})


def left(
    jobs: Mapping[str, JobState] | None = None,
    *engines: KnownArtifact,
    store: str = OLD,
    noted_store: str | None = None,
) -> Snapshot:
    """What a pass sees where the artifact lies in a store that the platform has left."""
    record = replace(ONNX, summary=prepared_in(store))
    status = VisionModelStatus(conversion=ConversionStatus(revision=ENGINES_REVISION, left_store=noted_store))
    return replace(with_engines(jobs, record, *engines), status=status)


def of_another_revision() -> Snapshot:
    other = ConversionStatus(revision="0000000000", left_store="another.example/artifacts")
    return replace(left(), status=VisionModelStatus(conversion=other))


def again(finished: bool | None, summary: ReportSummary | None = None, **fields: Any) -> JobState:
    return JobState(AGAIN, ENGINES_REVISION, finished, summary, **fields)


MOVED = Moved(OLD, None, PREPARED.source_digest)
BUILD_BOTH = Building(((passed(L4), Missing()), (passed(A10), Missing())))
NOT_FOUND = builders.failed(asked(ENGINES), ExitCode.SOURCE_NOT_FOUND)
MISSED = builders.failed(asked(ENGINES), ExitCode.GATE_FAILED)
OF_OTHER_GATES = PREPARED.model_copy(update={"gate_key": "of others"})
JUDGED_TWICE = replace(ONNX, summary=prepared_in(OLD), verdicts={**ONNX.verdicts, "of others": ()})
CASES: dict[str, tuple[Snapshot, Conversion]] = {
    "no Job yet": (left(), MOVED),
    "noted, no Job yet": (left(noted_store=OLD), MOVED),
    "noted of another revision": (of_another_revision(), MOVED),
    "one engine is there": (left({}, made(L4)), replace(MOVED, engines=(L4.request.key,))),
    "one engine is being built where the artifact is": (left({L4_JOB: build_job(None)}), MOVED),
    "at work": (left({AGAIN: again(None)}, noted_store=OLD), replace(MOVED, job=again(None))),
    "prepared again": (left({AGAIN: again(True, PREPARED)}), Reported(PREPARED, PREPARED_KEY, PREPARED.gate_key or "")),
    "recorded": (with_engines({AGAIN: again(True, PREPARED)}), BUILD_BOTH),
    "recorded, the Job is gone": (with_engines(), BUILD_BOTH),
    "recorded, and left since": (left({AGAIN: again(True, prepared_in(OLD))}), BUILD_BOTH),
    "left twice": (left(store="third.example/artifacts", noted_store=OLD), BUILD_BOTH),
    "no source any more": (left({AGAIN: again(False, NOT_FOUND)}), said(NOT_FOUND)),
    "misses a gate this time": (
        left({AGAIN: again(False, MISSED)}),
        Reported(MISSED, PREPARED_KEY, PREPARED.gate_key or ""),
    ),
    "too slow": (
        left({AGAIN: again(False, failure="DeadlineExceeded")}),
        Failed("ConversionDeadline", "", None),
    ),
    "judged by edited gates": (
        left({AGAIN: again(True, OF_OTHER_GATES)}, JUDGED_TWICE),
        Outdated(again(True, OF_OTHER_GATES)),
    ),
    "every engine is at work": (
        left({L4_JOB: build_job(None), A10_JOB: build_job(None, name=A10_JOB)}),
        Building(((passed(L4), Running(build_job(None))), (passed(A10), Running(build_job(None, name=A10_JOB))))),
    ),
}


@pytest.mark.parametrize(("snapshot", "expected"), CASES.values(), ids=CASES.keys())
def test_conversion_of(snapshot: Snapshot, expected: Conversion) -> None:
    found = conversion_of(snapshot, ENGINES_REVISION, 1)
    if isinstance(expected, Failed) and isinstance(found, Failed) and not expected.message:
        found = replace(found, message="")
    assert found == expected


def test_what_needs_no_build_is_served_from_where_it_is() -> None:
    ready = conversion_of(left({}, made(L4), made(A10)), ENGINES_REVISION, 1)
    assert isinstance(ready, Ready)
    assert ready.artifact.image == f"{OLD}@{DIGEST}"


def test_what_is_there_is_kept_and_the_store_noted() -> None:
    moved = replace(MOVED, engines=("a",))
    recorded = noted(ConversionStatus(revision=ENGINES_REVISION, engine_keys=["b"]), moved)
    assert (recorded.left_store, recorded.engine_keys) == (OLD, ["b", "a"])
    assert noted(recorded, moved) == recorded, "once is enough"


def serving_and_left(**sections: Any) -> Cluster:
    cluster = scenarios.serving(**builders.TENSORRT, **sections)
    walks.leave_store(cluster)
    walks.other_accelerators(cluster)
    return cluster


def test_stable_serves_while_the_artifact_is_prepared_again_once() -> None:
    cluster = serving_and_left()
    before, stable = cluster.jobs_started, cluster.recorded.stable
    assert stable is not None
    cluster.advance_to(("Converting", "StoreLeft"))
    while cluster.is_in("Converting"):
        assert cluster.recorded.stable == stable
        assert set(cluster.traffic.split) == {stable.revision}
        assert "registry.example/artifacts" in (cluster.recorded.message or "")
        cluster.advance(1)
        started = [one for one in decide(cluster.snapshot(), cluster.now).actions if isinstance(one, StartConversion)]
        assert started == [], "its Job is there"
    told = [event for event in cluster.events if event.reason == Reason.STORE_LEFT]
    assert [event.message for event in told] == [
        f"Converting: The artifact of revision {cluster.target} lies in registry.example/artifacts, which the platform"
        " has left; it is prepared again, for engines are built where they are kept."
    ]
    cluster.advance_to(walks.PROMOTED)
    assert cluster.recorded.conversion is not None
    assert cluster.recorded.conversion.left_store == "registry.example/artifacts"
    assert cluster.jobs_started == before + 2, "one preparation, and one build of the engine that is missing"


def test_a_store_that_changes_to_and_fro_ends() -> None:
    cluster = serving_and_left()
    first, second = builders.PLATFORM, cluster.platform
    before = cluster.jobs_started
    for platform in (first, second) * 10:
        cluster.advance(1)
        cluster.platform = platform
    cluster.advance_to("Healthy", "Degraded")
    assert cluster.jobs_started <= before + 2


def test_a_source_without_a_digest_is_prepared_again_of_the_same_bytes() -> None:
    cluster = scenarios.with_candidate(pinned=False, **builders.TENSORRT)
    first = cluster.recorded.stable
    assert first is not None
    cluster.advance_to(walks.PROMOTED)
    cluster.advance(5)
    cluster.workloads[first.revision].stored = False
    cluster.artifacts = {key: known for key, known in cluster.artifacts.items() if known.summary.engine is None}
    walks.leave_store(cluster)
    cluster.use_model(1)
    cluster.advance_to(("Converting", "StoreLeft"))
    cluster.settle()
    (request,) = (job.request for job in cluster.jobs.values() if isinstance(job.request, ConversionRequest))
    assert cluster.spec.model.digest is None
    assert request.source.digest == builders.source_digest(1)
    cluster.advance_to(walks.PROMOTED)
