"""Where the conversion of a revision stands: a value that the rollout and the status both read."""

from dataclasses import dataclass

from visionmodel_contract.conversion import ArtifactInfo, Failure, GateResult, ReportSummary
from visionmodel_contract.exits import ExitCode
from visionmodel_operator.core.revision import artifact_key, gate_key_of
from visionmodel_operator.core.snapshot import JobState, Snapshot

REMEMBERED_BY_KEY = frozenset({ExitCode.INVALID_MODEL, ExitCode.UNSUPPORTED_MODEL, ExitCode.PARITY_FAILED})
"""Failures that the content alone decides. Others (wrong digest under this URI, a missing file) concern only the
VisionModel that named the source, and must not condemn the key for its neighbours."""


@dataclass(frozen=True)
class Ready:
    """The artifact exists and passed the gates that this spec asks for."""

    key: str
    artifact: ArtifactInfo
    gates: tuple[GateResult, ...]
    summary: ReportSummary


@dataclass(frozen=True)
class Failed:
    """Running the conversion again cannot help."""

    reason: str
    message: str
    exit_code: int | None
    gates: tuple[GateResult, ...] = ()


@dataclass(frozen=True)
class Reported:
    """A Job finished with something that must be recorded before it counts."""

    summary: ReportSummary
    key: str


@dataclass(frozen=True)
class Running:
    """A Job is at work, or waits for a node."""

    job: JobState


@dataclass(frozen=True)
class Missing:
    """Nothing is known and nothing runs."""


Conversion = Ready | Failed | Reported | Running | Missing


def conversion_of(snapshot: Snapshot, job_name: str) -> Conversion:
    """Return the state of the conversion of the spec's revision.

    Recorded artifacts come before Jobs: the same key never runs twice, whoever asked first.
    """
    assert snapshot.spec is not None
    job = snapshot.jobs.get(job_name)
    key = artifact_key(snapshot.spec) or _recorded_key(snapshot)
    known = _from_record(snapshot, key) if key is not None else None
    if known is not None:
        return known
    if job is None:
        return Missing()
    if job.finished is None:
        return Running(job)
    return _from_job(job, key)


def _recorded_key(snapshot: Snapshot) -> str | None:
    recorded = snapshot.status.conversion
    rollout = snapshot.status.rollout
    if recorded is None or rollout is None or recorded.revision != rollout.revision:
        return None
    return recorded.key


def _from_record(snapshot: Snapshot, key: str) -> Ready | Failed | None:
    known = snapshot.artifacts.get(key)
    assert snapshot.spec is not None
    if known is None:
        return None
    if known.summary.failure is not None and known.summary.artifact is None:
        return _failed(known.summary.failure)
    gate_key = gate_key_of(snapshot.spec, key)
    if gate_key in known.gate_failures:
        return _failed(known.gate_failures[gate_key], known.verdicts.get(gate_key, ()))
    if gate_key not in known.verdicts or known.summary.artifact is None:
        return None
    return Ready(key, known.summary.artifact, known.verdicts[gate_key], known.summary)


def _from_job(job: JobState, key: str | None) -> Reported | Failed:
    summary = job.summary
    if summary is not None and summary.artifact is not None:
        return Reported(summary, summary.artifact.key)
    if summary is not None and summary.failure is not None:
        if key is not None and summary.failure.exit_code in REMEMBERED_BY_KEY:
            return Reported(summary, key)
        return _failed(summary.failure, summary.gates)
    detail = job.message or "the Job left no report; its pod's log has the details"
    return Failed("JobFailed", f"The conversion Job {job.name} failed: {detail}", job.exit_code)


def _failed(failure: Failure, gates: tuple[GateResult, ...] = ()) -> Failed:
    return Failed(failure.reason, failure.message, failure.exit_code, gates)
