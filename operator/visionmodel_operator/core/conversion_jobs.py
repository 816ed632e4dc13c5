"""The Jobs of one attempt at a conversion."""

from visionmodel_operator.core import names
from visionmodel_operator.core.build_request import build_keys
from visionmodel_operator.core.snapshot import JobState, Snapshot


def job_names(snapshot: Snapshot, revision: str, attempt: int) -> tuple[str, ...]:
    """Return the names of the Jobs of an attempt, in the order in which they run."""
    assert snapshot.spec is not None
    name = snapshot.ref.name
    engines = len(build_keys(snapshot.spec, "", snapshot.platform))
    builds = tuple(names.build_job(name, revision, index, attempt) for index in range(engines))
    again = (names.prepare_again_job(name, revision, attempt),) if builds else ()
    return (names.prepare_job(name, revision, attempt), *again, *builds)


def current_job(snapshot: Snapshot, revision: str, attempt: int) -> JobState | None:
    """Return the Job that an attempt waits for: the first one that is at work, else the last one there is."""
    there = [snapshot.jobs[name] for name in job_names(snapshot, revision, attempt) if name in snapshot.jobs]
    return next((job for job in there if job.finished is None), there[-1] if there else None)
