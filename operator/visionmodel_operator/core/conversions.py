"""Where the conversion of a revision stands: a value that the rollout and the status both read.

A conversion has one step, which prepares an ONNX artifact, and for TensorRT one more for each accelerator, which
builds an engine of it. Every step is a Job whose answer is remembered under the step's own key.
"""

from dataclasses import replace
from typing import Final

from visionmodel_contract.exits import ExitCode
from visionmodel_contract.report import Failure, GateResult, ReportSummary
from visionmodel_operator.api.conditions import ConditionType, Reason
from visionmodel_operator.api.status import (
    ConditionStatus,
    ConversionStatus,
    ResolvedVerdict,
)
from visionmodel_operator.core import names
from visionmodel_operator.core.build_request import Build, DataRead, builds_of
from visionmodel_operator.core.conversion_request import artifact_key, gate_key_of, names_verdict
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
    Step,
)
from visionmodel_operator.core.left_store import left_store
from visionmodel_operator.core.memory import known_key, known_revision
from visionmodel_operator.core.served_engines import served_builds
from visionmodel_operator.core.snapshot import JobState, Snapshot

GATE_EXIT_CODES: Final = frozenset({ExitCode.PARITY_FAILED, ExitCode.GATE_FAILED, ExitCode.EXPORT_FAILED})
"""Failures that judge an artifact and leave it to other gates."""

REMEMBERED_BY_KEY = GATE_EXIT_CODES | {ExitCode.INVALID_MODEL, ExitCode.UNSUPPORTED_MODEL}
"""Failures that the content decides, alone or with the gates. Others (wrong digest under this URI, a missing file)
concern only the VisionModel that named the source, and must not condemn the key for its neighbours."""

REMEMBERED_OF_ENGINES = REMEMBERED_BY_KEY | {ExitCode.ENGINE_REFUSED, ExitCode.PRECISION_NOT_REACHED}
"""An engine's key holds the device and TensorRT's image too, so what these two refuse is refused for good."""


STARTING: Final = "Starting"
"""Stage of a Job whose pod is not there, or not running yet."""
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"
"""The Job controller's reason for a Job that was active for longer than it may."""


def conversion_of(snapshot: Snapshot, revision: str, attempt: int) -> Conversion:
    """Return the state of the conversion of the spec's revision.

    Recorded artifacts come before Jobs: the same key never runs twice, whoever asked first. What a finished Job says
    is recorded before a failure of another one ends the conversion.
    """
    prepared = _prepared(snapshot, revision, names.prepare_job(snapshot.ref.name, revision, attempt))
    if not isinstance(prepared, Ready):
        return prepared
    steps = [(build, _built(snapshot, build, attempt)) for build in _builds(snapshot, revision, prepared)]
    for ending in (Reported | Outdated, Failed):
        found = next((step for _, step in steps if isinstance(step, ending)), None)
        if found is not None:
            return found
    missing = tuple((build, step) for build, step in steps if isinstance(step, Running | Missing))
    engines = tuple(step for _, step in steps if isinstance(step, Ready))
    if missing:
        keys = tuple(engine.key for engine in engines)
        is_waiting = any(isinstance(step, Missing) for _, step in missing)
        again = _prepared_again(snapshot, revision, attempt, prepared, keys) if is_waiting else None
        return again or Building(missing, keys)
    return replace(prepared, engines=engines)


def _prepared_again(
    snapshot: Snapshot, revision: str, attempt: int, prepared: Ready, engines: tuple[str, ...]
) -> Moved | Reported | Outdated | Failed | None:
    """Return where preparing the artifact anew in the platform's present store stands; None where it need not be."""
    store = left_store(snapshot, revision, prepared.artifact)
    if store is None:
        return None
    job = snapshot.jobs.get(names.prepare_again_job(snapshot.ref.name, revision, attempt))
    if job is None or job.finished is None:
        return Moved(store, job, prepared.summary.source_digest, engines)
    made = None if job.summary is None else job.summary.artifact
    is_recorded = made is not None and made.image == prepared.artifact.image
    return None if is_recorded else _from_job(snapshot, job, key_of(snapshot, revision))


def _prepared(snapshot: Snapshot, revision: str, job_name: str) -> Step:
    known = _remembered_artifact(snapshot, revision)
    if known is not None:
        return known
    job = snapshot.jobs.get(job_name)
    if job is None:
        return Missing()
    if job.finished is None:
        return Running(job)
    return _from_job(snapshot, job, key_of(snapshot, revision))


def _built(snapshot: Snapshot, build: Build, attempt: int) -> Step:
    known = _remembered(snapshot, build.request.key, build.request.gate_key)
    if known is not None:
        return known
    job = snapshot.jobs.get(names.build_job(snapshot.ref.name, build.request.revision, build.index, attempt))
    if job is None:
        return Missing()
    return Running(job) if job.finished is None else _from_build(snapshot, job, build)


def _builds(snapshot: Snapshot, revision: str, prepared: Ready) -> tuple[Build, ...]:
    """Return what is to be built of an artifact, and judged by the very data that the artifact was judged by.

    Of a stored revision those are the engines that it serves, whatever image builds engines by now.
    """
    assert snapshot.spec is not None
    resolved = _resolved(snapshot, revision, gate_key_of(snapshot.spec, prepared.key))
    builds = builds_of(
        snapshot.spec,
        prepared.key,
        read=DataRead(None if resolved is None else resolved.dataset_digest, prepared.summary.calibration_digest),
        ref=snapshot.ref,
        revision=revision,
        platform=snapshot.platform,
        passed_gate_keys=passed_gate_keys(snapshot),
    )
    return served_builds(snapshot, revision, builds)


def key_of(snapshot: Snapshot, revision: str) -> str | None:
    """Return the key of the revision's artifact; of unpinned source or data it is known once the Job has reported."""
    assert snapshot.spec is not None
    recorded = _recorded(snapshot, revision)
    return artifact_key(snapshot.spec) or (recorded.key if recorded is not None else None)


def _recorded(snapshot: Snapshot, revision: str) -> ConversionStatus | None:
    recorded = snapshot.status.conversion
    return recorded if recorded is not None and recorded.revision == revision else None


def remembered_key(snapshot: Snapshot, revision: str) -> str | None:
    """Return the key under which the revision's artifact may be remembered.

    A kept revision has its artifact, whatever lies at its address by now: an unpinned source is resolved once.
    """
    return key_of(snapshot, revision) or known_key(snapshot.status, revision)


def resolved_gate_key(snapshot: Snapshot, revision: str, key: str) -> str:
    """Return the key of the verdict that the spec's gates have over the artifact `key`.

    A dataset without a digest is resolved once for a revision and its gates; until a Job has done so the key is that
    of the question alone, under which no verdict is kept.
    """
    assert snapshot.spec is not None
    asked = gate_key_of(snapshot.spec, key)
    if names_verdict(snapshot.spec):
        return asked
    resolved = _resolved(snapshot, revision, asked)
    return asked if resolved is None else resolved.key


def _resolved(snapshot: Snapshot, revision: str, asked: str) -> ResolvedVerdict | None:
    """Return what a dataset without a digest was resolved to for a revision, under the gates of this key."""
    known = (_recorded(snapshot, revision), known_revision(snapshot.status, revision))
    verdicts = (one.verdict for one in known if one is not None and one.verdict is not None)
    return next((verdict for verdict in verdicts if verdict.asked == asked), None)


def resolved_verdict(summary: ReportSummary) -> ResolvedVerdict | None:
    """Return what a Job has resolved the gates' dataset to; None where the request had its digest, or none was read."""
    if summary.asked_gate_key is None or summary.gate_key is None:
        return None
    return ResolvedVerdict(asked=summary.asked_gate_key, key=summary.gate_key, dataset_digest=summary.dataset_digest)


def remembered(snapshot: Snapshot, revision: str) -> Ready | Failed | None:
    """Return what the records of the artifact and its engines say under the gates of the spec, None if not enough."""
    prepared = _remembered_artifact(snapshot, revision)
    if not isinstance(prepared, Ready):
        return prepared
    engines = [
        _remembered(snapshot, one.request.key, one.request.gate_key) for one in _builds(snapshot, revision, prepared)
    ]
    failed = next((engine for engine in engines if isinstance(engine, Failed)), None)
    if failed is not None:
        return failed
    ready = tuple(engine for engine in engines if isinstance(engine, Ready))
    return replace(prepared, engines=ready) if len(ready) == len(engines) else None


def remembered_failure(snapshot: Snapshot, revision: str) -> tuple[str, str] | None:
    """Return the key and the gate key of the record that says why the revision cannot be had, None without one."""
    key = remembered_key(snapshot, revision)
    if key is None:
        return None
    gate_key = resolved_gate_key(snapshot, revision, key)
    prepared = _remembered(snapshot, key, gate_key)
    if not isinstance(prepared, Ready):
        return None if prepared is None else (key, gate_key)
    engines = ((build.request.key, build.request.gate_key) for build in _builds(snapshot, revision, prepared))
    return next((record for record in engines if isinstance(_remembered(snapshot, *record), Failed)), None)


def _remembered_artifact(snapshot: Snapshot, revision: str) -> Ready | Failed | None:
    key = remembered_key(snapshot, revision)
    return None if key is None else _remembered(snapshot, key, resolved_gate_key(snapshot, revision, key))


def _remembered(snapshot: Snapshot, key: str, gate_key: str) -> Ready | Failed | None:
    known = snapshot.artifacts.get(key)
    if known is None:
        return None
    if known.failure is not None:
        return _failed(known.failure)
    if gate_key in known.gate_failures:
        return _failed(known.gate_failures[gate_key], known.verdicts.get(gate_key, ()))
    if gate_key not in known.verdicts or known.summary.artifact is None:
        return None
    assert snapshot.spec is not None
    wanted = snapshot.spec.conversion.exports
    made = tuple(export for export in known.summary.exports if export.format in wanted)
    summary = known.summary.model_copy(update={"exports": made})
    return Ready(key, known.summary.artifact, known.verdicts[gate_key], summary)


def passed_gate_keys(snapshot: Snapshot) -> tuple[str, ...]:
    """Return the verdicts that need no second judgement, should the Job arrive at one of these artifacts again."""
    return tuple(
        sorted(
            gate_key
            for known in snapshot.artifacts.values()
            for gate_key in known.verdicts
            if gate_key not in known.gate_failures and known.summary.artifact is not None
        )
    )


def _from_job(snapshot: Snapshot, job: JobState, key: str | None) -> Reported | Outdated | Failed:
    summary = job.summary
    if summary is not None and summary.artifact is not None:
        made = summary.artifact.key
        if key not in (None, made):
            message = f"The Job made artifact {made}, wanted was {key}: operator and converter differ in version."
            return Failed("KeyMismatch", message, job.exit_code)
        return _reported(snapshot, job, summary, made)
    if job.failure == DEADLINE_EXCEEDED:
        return missed_deadline(snapshot, job)
    if summary is not None and summary.failure is not None:
        if key is not None and _is_recorded(snapshot, summary.failure, key, REMEMBERED_BY_KEY):
            return _reported(snapshot, job, summary, key)
        return _failed(summary.failure, summary.gates)
    return _silent(job)


def _from_build(snapshot: Snapshot, job: JobState, build: Build) -> Reported | Outdated | Failed:
    """Return what a finished build Job says; one that was asked under another image or other gates makes room."""
    summary = job.summary
    if job.failure == DEADLINE_EXCEEDED and (summary is None or summary.artifact is None):
        return missed_deadline(snapshot, job)
    if summary is None or (summary.artifact is None and summary.failure is None):
        return _silent(job)
    if summary.gate_key not in (None, build.request.gate_key):
        return Outdated(job)
    if summary.failure is not None and (
        summary.gate_key is None
        or not _is_recorded(snapshot, summary.failure, build.request.key, REMEMBERED_OF_ENGINES)
    ):
        return _failed(summary.failure, summary.gates)
    return Reported(summary, build.request.key, build.request.gate_key, is_engine=True)


def _is_recorded(snapshot: Snapshot, failure: Failure, key: str, codes: frozenset[ExitCode]) -> bool:
    """Whether a failure goes into the record of its key: where that holds an artifact only what judges it does."""
    known = snapshot.artifacts.get(key)
    is_made = known is not None and known.summary.artifact is not None
    return failure.exit_code in (GATE_EXIT_CODES if is_made else codes)


def _silent(job: JobState) -> Failed:
    if job.evicted:
        return Failed(Reason.CONVERSION_EVICTED, _eviction_in_words(job), job.exit_code)
    detail = job.message or "the Job left no report; its pod's log has the details"
    return Failed("JobFailed", f"The conversion Job {job.name} failed: {detail}", job.exit_code)


def missed_deadline(snapshot: Snapshot, job: JobState | None) -> Failed:
    """Return the failure of a conversion that took too long, with what is known of how far it came."""
    recorded, spec = snapshot.status.conversion, snapshot.spec
    assert spec is not None
    words = [f"Not converted within conversion.deadline ({spec.conversion.deadline})"]
    if job is None:
        stalled = next((c for c in snapshot.status.conditions if c.type is ConditionType.STALLED), None)
        told = stalled.message if stalled is not None and stalled.status is ConditionStatus.TRUE else ""
        words.append(f"no Job was started{f' ({told})' if told else ''}")
    elif job.waiting:
        words.append(f"Job {job.name} waits: {job.waiting} {job.waiting_message}".rstrip())
    elif recorded is not None and recorded.stage == STARTING:
        words.append(f"Job {job.name} had no running pod; its events (kubectl describe job {job.name}) say why")
    elif recorded is not None and recorded.stage:
        words.append(f"Job {job.name} was last seen at stage {recorded.stage}")
    if job is not None and job.summary is not None and job.summary.failure is not None:
        words.append(f"an attempt had failed ({job.summary.failure.reason}: {job.summary.failure.message})")
    if job is not None and job.evicted:
        words.append(_eviction_in_words(job))
    advice = "raise conversion.deadline, or have the platform team give Jobs more CPU (Helm value jobResources.cpu)"
    return Failed(Reason.CONVERSION_DEADLINE, "; ".join((*words, advice)), None if job is None else job.exit_code)


def _eviction_in_words(job: JobState) -> str:
    advice = ""
    if any(word in job.evicted for word in ("ephemeral", "EmptyDir")):
        advice = (
            "; use a smaller model or fewer samples, or have the platform team raise the Helm value"
            " jobResources.ephemeralStorage"
        )
    return f"the node evicted a pod of Job {job.name}: {job.evicted.rstrip('. ')}{advice}"


def _reported(snapshot: Snapshot, job: JobState, summary: ReportSummary, key: str) -> Reported | Outdated:
    """A verdict counts for the gates it was given under, which may have been edited while the Job ran."""
    assert snapshot.spec is not None
    wanted = gate_key_of(snapshot.spec, key)
    given = summary.gate_key or wanted
    known = snapshot.artifacts.get(key)
    if (
        (summary.asked_gate_key or given) != wanted
        and known is not None
        and (given in known.verdicts or given in known.gate_failures)
    ):
        return Outdated(job)
    return Reported(summary, key, given)


def _failed(failure: Failure, gates: tuple[GateResult, ...] = ()) -> Failed:
    return Failed(failure.reason, failure.message, failure.exit_code, gates)
