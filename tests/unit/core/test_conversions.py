"""Where a conversion stands: records before Jobs, each verdict for its own gates."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from unit.core import builders
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.report import Failure, ReportSummary
from visionmodel_operator.api.conditions import ConditionType
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.api.status import (
    Condition,
    ConditionStatus,
    ConversionStatus,
    KnownRevision,
    ResolvedVerdict,
    VisionModelStatus,
)
from visionmodel_operator.core import names
from visionmodel_operator.core.artifact_record import data_from_artifact
from visionmodel_operator.core.build_request import builds_of
from visionmodel_operator.core.conversion_jobs import job_names
from visionmodel_operator.core.conversion_report import noted, reported
from visionmodel_operator.core.conversion_request import artifact_key, conversion_request, gate_key_of
from visionmodel_operator.core.conversion_state import (
    Building,
    Conversion,
    Failed,
    Missing,
    Outdated,
    Ready,
    Reported,
    Running,
)
from visionmodel_operator.core.conversions import (
    conversion_of,
    key_of,
    missed_deadline,
    remembered,
    remembered_failure,
    resolved_verdict,
)
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.snapshot import JobState, KnownArtifact, Snapshot

PINNED, UNPINNED = builders.spec(7), builders.spec(7, pinned=False)
REVISION = revision_of(PINNED)
JOB = names.prepare_job("shapes", REVISION, 1)
OTHER_METRICS = [{"name": "cosine", "goal": "threshold", "value": 0.5}]
OTHER_GATES = {"gates": {"parity": {"metrics": OTHER_METRICS}}}
REGATED = builders.spec(7, conversion=OTHER_GATES)


def asked(spec: VisionModelSpec) -> Any:
    return conversion_request(spec, namespace="v", name="n", revision=REVISION, platform=builders.PLATFORM)


SUCCESS = builders.succeeded(asked(PINNED))
assert SUCCESS.artifact is not None
KEY, GATES = SUCCESS.artifact.key, SUCCESS.gate_key
assert GATES is not None
KNOWN = KnownArtifact(KEY, SUCCESS, {GATES: SUCCESS.gates})
INVALID = builders.failed(asked(PINNED), ExitCode.INVALID_MODEL)
MISSED = builders.failed(asked(PINNED), ExitCode.GATE_FAILED)
INVALID_UNDER_OTHER_GATES = builders.failed(asked(REGATED), ExitCode.INVALID_MODEL)
MISSED_OTHER_GATES = builders.failed(asked(REGATED), ExitCode.GATE_FAILED)
NOT_FOUND = builders.failed(asked(PINNED), ExitCode.SOURCE_NOT_FOUND)


def job(finished: bool | None, summary: ReportSummary | None = None, **fields: Any) -> JobState:
    return JobState(JOB, REVISION, finished, summary, **fields)


def failure(summary: ReportSummary) -> Failure:
    assert summary.failure is not None
    return summary.failure


def said(summary: ReportSummary) -> Failed:
    found = failure(summary)
    return Failed(found.reason, found.message, found.exit_code, summary.gates)


def seen(
    spec: VisionModelSpec,
    jobs: Mapping[str, JobState] | None = None,
    artifact: KnownArtifact | None = None,
    recorded: ConversionStatus | None = None,
) -> Snapshot:
    return Snapshot(
        ref=builders.REF,
        generation=1,
        resource_version="1",
        spec=spec,
        spec_error="",
        annotations={},
        status=VisionModelStatus(conversion=recorded),
        platform=builders.PLATFORM,
        artifacts={} if artifact is None else {artifact.key: artifact},
        jobs=jobs or {},
    )


ADVICE = "raise conversion.deadline, or have the platform team give Jobs more CPU (Helm value jobResources.cpu)"
TOO_MUCH = "Pod ephemeral local storage usage exceeds the total limit of containers 10Gi."
AT_PARITY = ConversionStatus(revision=REVISION, stage="Parity")


def late(how_far: str) -> Failed:
    return Failed("ConversionDeadline", f"Not converted within conversion.deadline (120s); {how_far}; {ADVICE}", None)


def blocked(message: str) -> Snapshot:
    condition = Condition(
        type=ConditionType.STALLED,
        status=ConditionStatus.TRUE,
        reason="BackendUnavailable",
        message=message,
        last_transition_time=builders.START,
    )
    return replace(seen(PINNED), status=VisionModelStatus(conditions=[condition]))


@pytest.mark.parametrize(
    ("snapshot", "job", "expected"),
    [
        pytest.param(
            seen(PINNED),
            job(None, waiting="Unschedulable", waiting_message="0/3 nodes are available"),
            late(f"Job {JOB} waits: Unschedulable 0/3 nodes are available"),
            id="no node for it",
        ),
        pytest.param(
            seen(PINNED, recorded=ConversionStatus(revision=REVISION, stage="Starting")),
            job(None),
            late(f"Job {JOB} had no running pod; its events (kubectl describe job {JOB}) say why"),
            id="a service account that is not there",
        ),
        pytest.param(
            seen(PINNED),
            job(None, evicted="The node was low on resource: memory."),
            late(f"the node evicted a pod of Job {JOB}: The node was low on resource: memory"),
            id="evicted again and again",
        ),
    ],
)
def test_a_deadline_says_what_was_in_the_way(snapshot: Snapshot, job: JobState, expected: Failed) -> None:
    assert missed_deadline(snapshot, job) == expected


def test_a_deadline_without_a_job_says_why_there_was_none() -> None:
    found = missed_deadline(blocked("runtime 24.10 has no OpenVINO backend"), None)
    assert "no Job was started (runtime 24.10 has no OpenVINO backend)" in found.message
    assert "no Job was started;" in missed_deadline(seen(PINNED), None).message


UNPINNED_DATA = builders.spec(
    7, conversion={"gates": {"parity": {"datasetUri": "pvc://data/eval.npz", "metrics": OTHER_METRICS}}}
)
ASKED, GIVEN, DATASET = gate_key_of(UNPINNED_DATA, KEY), "12" * 16, "sha256:" + "d" * 64
BY_DATA = SUCCESS.model_copy(update={"gate_key": GIVEN, "asked_gate_key": ASKED, "dataset_digest": DATASET})
JUDGED = KnownArtifact(KEY, SUCCESS, {GIVEN: SUCCESS.gates})
VERDICT = ResolvedVerdict(asked=ASKED, key=GIVEN, dataset_digest=DATASET)
RESOLVED = ConversionStatus(revision=REVISION, key=KEY, verdict=VERDICT)


def edited_verdict(**changes: Any) -> ConversionStatus:
    return RESOLVED.model_copy(update={"verdict": VERDICT.model_copy(update=changes)})


MINE = ConversionStatus(revision=REVISION, key=KEY)
OTHERS = ConversionStatus(revision="0000000000", key=KEY)
EXPORTING = builders.spec(7, conversion={"exports": ["ORT"]})
EXPORT_GATES = gate_key_of(EXPORTING, KEY)
EXPORTS = tuple(builders.export(name) for name in ("ORT", "OpenVINO"))
WITH_EXPORTS = SUCCESS.model_copy(update={"exports": EXPORTS})
NO_EXPORT = builders.failed(asked(PINNED), ExitCode.EXPORT_FAILED)
READY = Ready(KEY, SUCCESS.artifact, SUCCESS.gates, SUCCESS)
CASES: dict[str, tuple[Snapshot, Conversion]] = {
    "nothing-known": (seen(PINNED), Missing()),
    "job-at-work": (seen(PINNED, {JOB: job(None)}), Running(job(None))),
    "another-attempt's-job": (seen(PINNED, {"other": job(None)}), Missing()),
    "record-comes-before-the-job": (seen(PINNED, {JOB: job(False, INVALID)}, KNOWN), READY),
    "job-succeeded": (seen(PINNED, {JOB: job(True, SUCCESS)}), Reported(SUCCESS, KEY, GATES)),
    "job-found-an-invalid-model": (seen(PINNED, {JOB: job(False, INVALID)}), Reported(INVALID, KEY, GATES)),
    "job-missed-a-gate": (seen(PINNED, {JOB: job(False, MISSED)}), Reported(MISSED, KEY, GATES)),
    "job-found-a-known-artifact's-source-invalid": (
        seen(REGATED, {JOB: job(False, INVALID_UNDER_OTHER_GATES)}, KNOWN),
        said(INVALID_UNDER_OTHER_GATES),
    ),
    "job-missed-other-gates-of-a-known-artifact": (
        seen(REGATED, {JOB: job(False, MISSED_OTHER_GATES)}, KNOWN),
        Reported(MISSED_OTHER_GATES, KEY, gate_key_of(REGATED, KEY)),
    ),
    "job-found-no-source": (seen(PINNED, {JOB: job(False, NOT_FOUND)}), said(NOT_FOUND)),
    "job-left-no-report": (
        seen(PINNED, {JOB: job(False, message="OOMKilled", exit_code=137)}),
        Failed("JobFailed", f"The conversion Job {JOB} failed: OOMKilled", 137),
    ),
    "job-was-too-slow": (
        seen(PINNED, {JOB: job(False, failure="DeadlineExceeded", message="Job was active")}, recorded=AT_PARITY),
        late(f"Job {JOB} was last seen at stage Parity"),
    ),
    "job-was-too-slow-after-a-failed-attempt": (
        seen(PINNED, {JOB: job(False, NOT_FOUND, failure="DeadlineExceeded", exit_code=81)}),
        Failed(
            "ConversionDeadline",
            "Not converted within conversion.deadline (120s); an attempt had failed"
            f" ({failure(NOT_FOUND).reason}: {failure(NOT_FOUND).message}); {ADVICE}",
            81,
        ),
    ),
    "job-was-done-when-its-time-was-up": (
        seen(PINNED, {JOB: job(False, SUCCESS, failure="DeadlineExceeded")}),
        Reported(SUCCESS, KEY, GATES),
    ),
    "job-wrote-too-much": (
        seen(PINNED, {JOB: job(False, evicted=TOO_MUCH, message='{"stage": "Fetch"}', exit_code=137)}),
        Failed(
            "ConversionEvicted",
            f"the node evicted a pod of Job {JOB}: Pod ephemeral local storage usage exceeds the total limit of"
            " containers 10Gi; use a smaller model or fewer samples, or have the platform team raise the Helm value"
            " jobResources.ephemeralStorage",
            137,
        ),
    ),
    "job-was-evicted-for-its-node's-sake": (
        seen(PINNED, {JOB: job(False, evicted="The node was low on resource: memory.")}),
        Failed("ConversionEvicted", f"the node evicted a pod of Job {JOB}: The node was low on resource: memory", None),
    ),
    "evicted-once-but-reported": (
        seen(PINNED, {JOB: job(False, INVALID, evicted=TOO_MUCH)}),
        Reported(INVALID, KEY, GATES),
    ),
    "job-made-another-artifact": (
        seen(builders.spec(8), {JOB: job(True, SUCCESS, exit_code=0)}),
        Failed(
            "KeyMismatch",
            f"The Job made artifact {KEY}, wanted was {artifact_key(builders.spec(8))}:"
            " operator and converter differ in version.",
            0,
        ),
    ),
    "recorded-failure": (seen(PINNED, artifact=KnownArtifact(KEY, INVALID)), said(INVALID)),
    "recorded-missed-gate": (
        seen(PINNED, artifact=KnownArtifact(KEY, SUCCESS, {GATES: MISSED.gates}, {GATES: failure(MISSED)})),
        said(MISSED),
    ),
    "artifact-without-the-export": (seen(EXPORTING, artifact=KNOWN), Missing()),
    "artifact-with-another's-export-too": (
        seen(EXPORTING, artifact=KnownArtifact(KEY, WITH_EXPORTS, {EXPORT_GATES: SUCCESS.gates})),
        Ready(KEY, SUCCESS.artifact, SUCCESS.gates, SUCCESS.model_copy(update={"exports": EXPORTS[:1]})),
    ),
    "job-could-not-export": (seen(PINNED, {JOB: job(False, NO_EXPORT)}), Reported(NO_EXPORT, KEY, GATES)),
    "artifact-under-other-gates": (seen(REGATED, artifact=KNOWN), Missing()),
    "job-judged-by-edited-gates": (seen(REGATED, {JOB: job(True, SUCCESS)}), Reported(SUCCESS, KEY, GATES)),
    "job-judged-by-edited-gates-is-recorded": (
        seen(REGATED, {JOB: job(True, SUCCESS)}, KNOWN),
        Outdated(job(True, SUCCESS)),
    ),
    "gate-missed-by-edited-gates-is-recorded": (
        seen(REGATED, {JOB: job(False, MISSED)}, KnownArtifact(KEY, SUCCESS, {}, {GATES: failure(MISSED)})),
        Outdated(job(False, MISSED)),
    ),
    "report-without-a-gate-key": (
        seen(REGATED, {JOB: job(True, SUCCESS.model_copy(update={"gate_key": None}))}),
        Reported(SUCCESS.model_copy(update={"gate_key": None}), KEY, gate_key_of(REGATED, KEY)),
    ),
    "unpinned-job-succeeded": (seen(UNPINNED, {JOB: job(True, SUCCESS)}), Reported(SUCCESS, KEY, GATES)),
    "unpinned-invalid-is-not-remembered": (seen(UNPINNED, {JOB: job(False, INVALID)}), said(INVALID)),
    "unpinned-key-recorded": (seen(UNPINNED, artifact=KNOWN, recorded=MINE), READY),
    "unpinned-key-of-another-revision": (seen(UNPINNED, artifact=KNOWN, recorded=OTHERS), Missing()),
    "neighbour's-verdict-over-an-unpinned-dataset": (seen(UNPINNED_DATA, artifact=JUDGED), Missing()),
    "job-resolved-the-dataset": (seen(UNPINNED_DATA, {JOB: job(True, BY_DATA)}), Reported(BY_DATA, KEY, GIVEN)),
    "job-resolved-the-dataset-to-a-known-verdict": (
        seen(UNPINNED_DATA, {JOB: job(True, BY_DATA)}, JUDGED),
        Reported(BY_DATA, KEY, GIVEN),
    ),
    "job-resolved-the-dataset-of-edited-gates": (
        seen(REGATED, {JOB: job(True, BY_DATA)}, JUDGED),
        Outdated(job(True, BY_DATA)),
    ),
    "resolved-dataset-recorded": (seen(UNPINNED_DATA, artifact=JUDGED, recorded=RESOLVED), READY),
    "resolved-dataset-of-another-revision": (
        seen(UNPINNED_DATA, artifact=JUDGED, recorded=RESOLVED.model_copy(update={"revision": "0000000000"})),
        Missing(),
    ),
    "resolved-dataset-of-edited-gates": (
        seen(UNPINNED_DATA, artifact=JUDGED, recorded=edited_verdict(asked="ab" * 16)),
        Missing(),
    ),
}


@pytest.mark.parametrize(("snapshot", "expected"), CASES.values(), ids=CASES.keys())
def test_conversion_of(snapshot: Snapshot, expected: Conversion) -> None:
    assert conversion_of(snapshot, REVISION, 1) == expected


def test_what_is_remembered_needs_no_job() -> None:
    assert remembered(seen(PINNED, {JOB: job(True, SUCCESS)}), REVISION) is None
    assert remembered(seen(PINNED, artifact=KNOWN), REVISION) == READY
    assert key_of(seen(UNPINNED), REVISION) is None


def test_kept_revision_keeps_the_verdict_over_its_unpinned_dataset() -> None:
    kept = KnownRevision(revision=REVISION, artifact_key=KEY, verdict=VERDICT)
    snapshot = replace(seen(UNPINNED_DATA, artifact=JUDGED), status=VisionModelStatus(revisions=[kept]))
    assert remembered(snapshot, REVISION) == READY
    assert remembered(snapshot, "0000000000") is None


def test_only_a_dataset_without_a_digest_has_a_resolved_verdict() -> None:
    assert (resolved_verdict(BY_DATA), resolved_verdict(SUCCESS)) == (VERDICT, None)


def test_summary_of_an_artifact_holds_nothing_of_a_verdict() -> None:
    assert data_from_artifact(KnownArtifact(KEY, BY_DATA)) == data_from_artifact(KnownArtifact(KEY, SUCCESS))


ENGINES = builders.spec(7, **builders.TENSORRT)
ENGINES_REVISION = revision_of(ENGINES)
PREPARED = builders.succeeded(asked(ENGINES))
assert PREPARED.artifact is not None
assert PREPARED.gate_key is not None
PREPARED_KEY = PREPARED.artifact.key
BUILDS = builds_of(ENGINES, PREPARED_KEY, ref=builders.REF, revision=ENGINES_REVISION, platform=builders.PLATFORM)
L4, A10 = BUILDS
ONNX = KnownArtifact(PREPARED_KEY, PREPARED, {PREPARED.gate_key: PREPARED.gates})
PREPARE, AGAIN, L4_JOB, A10_JOB = job_names(seen(ENGINES), ENGINES_REVISION, 1)
REFUSED = builders.not_built(L4.request, ExitCode.ENGINE_REFUSED)
MISSED_BY_ENGINE = builders.not_built(L4.request, ExitCode.GATE_FAILED)
NO_DEVICE = builders.not_built(L4.request, ExitCode.DEVICE_MISSING)


def made(build: Any) -> KnownArtifact:
    summary = builders.built(build.request)
    return KnownArtifact(build.request.key, summary, {build.request.gate_key: summary.gates})


def under_other_gates(build: Any) -> KnownArtifact:
    return replace(made(build), verdicts={"0" * 32: ()})


def with_engines(jobs: Mapping[str, JobState] | None = None, *artifacts: KnownArtifact) -> Snapshot:
    known = {artifact.key: artifact for artifact in (ONNX, *artifacts)}
    return replace(seen(ENGINES, jobs), artifacts=known)


def build_job(finished: bool | None, summary: ReportSummary | None = None, name: str = L4_JOB) -> JobState:
    return JobState(name, ENGINES_REVISION, finished, summary)


def passed(build: Any, *others: Any) -> Any:
    """The build as it is asked for once the verdicts of the ONNX artifact and of other engines are known."""
    passing = tuple(sorted((PREPARED.gate_key or "", *(other.request.gate_key for other in others))))
    return replace(build, request=build.request.model_copy(update={"passed_gate_keys": passing}))


L4_REPORT, EDITED = builders.built(L4.request), builders.built(L4.request).model_copy(update={"gate_key": "of others"})
BUILD_CASES: dict[str, tuple[Snapshot, Conversion]] = {
    "the-artifact-first": (seen(ENGINES), Missing()),
    "nothing-built": (with_engines(), Building(((passed(L4), Missing()), (passed(A10), Missing())))),
    "one-at-work": (
        with_engines({L4_JOB: build_job(None)}),
        Building(((passed(L4), Running(build_job(None))), (passed(A10), Missing()))),
    ),
    "one-is-there": (
        with_engines({L4_JOB: build_job(None)}, made(A10)),
        Building(((passed(L4, A10), Running(build_job(None))),), (A10.request.key,)),
    ),
    "one-succeeded": (
        with_engines({L4_JOB: build_job(True, L4_REPORT)}),
        Reported(L4_REPORT, L4.request.key, L4.request.gate_key, is_engine=True),
    ),
    "judged-by-other-gates-or-built-by-another-image": (
        with_engines({L4_JOB: build_job(True, EDITED)}),
        Outdated(build_job(True, EDITED)),
    ),
    "success-is-recorded-before-a-failure-counts": (
        with_engines(
            {L4_JOB: build_job(False, NO_DEVICE), A10_JOB: build_job(True, builders.built(A10.request), A10_JOB)}
        ),
        Reported(builders.built(A10.request), A10.request.key, A10.request.gate_key, is_engine=True),
    ),
    "no-device-concerns-this-cluster-today": (
        with_engines({L4_JOB: build_job(False, NO_DEVICE), A10_JOB: build_job(None, name=A10_JOB)}),
        said(NO_DEVICE),
    ),
    "a-refused-engine-is-remembered": (
        with_engines({L4_JOB: build_job(False, REFUSED)}),
        Reported(REFUSED, L4.request.key, L4.request.gate_key, is_engine=True),
    ),
    "a-known-engine-is-refused-while-other-gates-are-asked": (
        with_engines({L4_JOB: build_job(False, REFUSED)}, under_other_gates(L4)),
        said(REFUSED),
    ),
    "a-known-engine-misses-other-gates": (
        with_engines({L4_JOB: build_job(False, MISSED_BY_ENGINE)}, under_other_gates(L4)),
        Reported(MISSED_BY_ENGINE, L4.request.key, L4.request.gate_key, is_engine=True),
    ),
    "a-failure-before-the-request-was-read": (
        with_engines({L4_JOB: build_job(False, REFUSED.model_copy(update={"gate_key": None}))}),
        said(REFUSED),
    ),
    "neither-an-engine-nor-a-failure": (
        with_engines({L4_JOB: build_job(False, REFUSED.model_copy(update={"failure": None}))}),
        Failed(
            "JobFailed",
            f"The conversion Job {L4_JOB} failed: the Job left no report; its pod's log has the details",
            None,
        ),
    ),
    "left-no-report": (
        with_engines({L4_JOB: build_job(False)}),
        Failed(
            "JobFailed",
            f"The conversion Job {L4_JOB} failed: the Job left no report; its pod's log has the details",
            None,
        ),
    ),
    "given-up-by-the-job-controller": (
        with_engines({L4_JOB: replace(build_job(False), failure="DeadlineExceeded")}),
        missed_deadline(with_engines(), replace(build_job(False), failure="DeadlineExceeded")),
    ),
    "thrown-out-by-the-kubelet": (
        with_engines({L4_JOB: replace(build_job(False), evicted="low on memory")}),
        Failed("ConversionEvicted", f"the node evicted a pod of Job {L4_JOB}: low on memory", None),
    ),
    "recorded-refusal": (with_engines({}, KnownArtifact(L4.request.key, REFUSED)), said(REFUSED)),
}


@pytest.mark.parametrize(("snapshot", "expected"), BUILD_CASES.values(), ids=BUILD_CASES.keys())
def test_conversion_with_engines(snapshot: Snapshot, expected: Conversion) -> None:
    found = conversion_of(snapshot, ENGINES_REVISION, 1)
    assert found == expected


def test_ready_needs_every_engine() -> None:
    assert remembered(with_engines({}, made(L4)), ENGINES_REVISION) is None
    ready = remembered(with_engines({}, made(L4), made(A10)), ENGINES_REVISION)
    assert isinstance(ready, Ready)
    assert ready == conversion_of(with_engines({}, made(A10), made(L4)), ENGINES_REVISION, 1)
    assert ready.artifact == PREPARED.artifact
    assert [engine.key for engine in ready.engines] == [L4.request.key, A10.request.key]
    status = reported(ConversionStatus(revision=ENGINES_REVISION), ready)
    assert status.engine_keys == [L4.request.key, A10.request.key]
    assert status.report is not None
    assert [engine.product for engine in status.report.engines] == ["NVIDIA L4"] * 2


KEPT: dict[str, tuple[list[str], Reported | Building, list[str]]] = {
    "an engine is about to be recorded": (["a"], Reported(SUCCESS, "b", "", is_engine=True), ["a", "b"]),
    "others build": ([], Building((), ("a", "b")), ["a", "b"]),
    "none is there yet": (["a"], Building(()), ["a"]),
    "one of several was noted before": (["b", "c"], Building((), ("a", "b")), ["c", "a", "b"]),
    "those of another image make room": (["w", "x", "y", "z"], Building((), ("a", "b")), ["y", "z", "a", "b"]),
    "all were noted before": (["x", "y", "a", "b"], Building((), ("a", "b")), ["x", "y", "a", "b"]),
}


@pytest.mark.parametrize(("before", "conversion", "after"), KEPT.values(), ids=KEPT.keys())
def test_engines_are_kept_while_others_build(
    before: list[str], conversion: Reported | Building, after: list[str]
) -> None:
    recorded = noted(ConversionStatus(revision=ENGINES_REVISION, engine_keys=before), conversion)
    assert recorded.engine_keys == after
    assert noted(recorded, conversion) == recorded, "once is enough"


def test_the_record_that_a_retry_forgets_is_the_one_that_failed() -> None:
    assert remembered_failure(with_engines({}, made(L4), made(A10)), ENGINES_REVISION) is None
    refused = with_engines({}, KnownArtifact(A10.request.key, builders.not_built(A10.request, ExitCode.ENGINE_REFUSED)))
    assert remembered_failure(refused, ENGINES_REVISION) == (A10.request.key, A10.request.gate_key)
