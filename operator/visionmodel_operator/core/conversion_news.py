"""What people are told about a conversion beside its phase: pure, from what a pass saw and the status it wrote.

A failure is not among it: the move to Degraded tells it with its reason. The text of an event is its identity, and
names the Job, whose name holds revision and attempt: whatever is told again counts up the first event of its kind.
"""

from collections.abc import Iterator

from visionmodel_contract.report import byte_size
from visionmodel_operator.api.conditions import Phase, Reason
from visionmodel_operator.api.status import ConversionReport, ConversionStatus, VisionModelStatus
from visionmodel_operator.core.conversion_report import goals_in_words
from visionmodel_operator.core.operations import Event
from visionmodel_operator.core.snapshot import SUSPENDED_JOB, Snapshot


def conversion_news(snapshot: Snapshot, written: VisionModelStatus) -> tuple[Event, ...]:
    """Return the events of one pass: started, at another stage, waiting, finished, cancelled."""
    return (*_progress(snapshot, written), *_end(snapshot.status, written))


def conversion_ended(before: VisionModelStatus, after: VisionModelStatus) -> bool:
    """Whether this write is the first that shows what the conversion of this revision made."""
    if after.conversion is None or after.conversion.report is None:
        return False
    was = before.conversion
    return was is None or was.report is None or was.revision != after.conversion.revision


def _progress(snapshot: Snapshot, written: VisionModelStatus) -> Iterator[Event]:
    after = written.conversion
    job = snapshot.jobs.get(after.job or "") if after is not None else None
    if after is None or job is None:
        return
    before = snapshot.status.conversion
    told = before if before is not None and before.job == after.job else None
    if told is None:
        yield Event(Reason.CONVERSION_STARTED, f"Job {job.name} converts revision {after.revision}.")
    if job.finished is not None or after.stage is None or (told is not None and told.stage == after.stage):
        return
    if after.stage == job.progress_stage:
        yield Event(Reason.CONVERSION_STAGE, f"Job {job.name} is at stage {after.stage}.")
    elif after.stage == job.waiting:
        why = f"{job.waiting}: {job.waiting_message}" if job.waiting_message else job.waiting
        yield Event(Reason.CONVERSION_WAITING, f"Job {job.name} waits: {why}", job.waiting != SUSPENDED_JOB)


def _end(before: VisionModelStatus, after: VisionModelStatus) -> Iterator[Event]:
    conversion = after.conversion
    if conversion is None:
        return
    if conversion.report is not None and conversion_ended(before, after):
        yield Event(Reason.CONVERSION_FINISHED, _finished(conversion, conversion.report))
    has_left = before.phase is Phase.CONVERTING and after.phase is Phase.ABORTING
    if has_left and conversion.job is not None:
        yield Event(Reason.CONVERSION_CANCELLED, f"Job {conversion.job} is deleted: {after.message}")


def _finished(conversion: ConversionStatus, report: ConversionReport) -> str:
    by = f"by Job {conversion.job}" if conversion.job else f"before: artifact {conversion.key}"
    among = ", ".join(row.precision for row in report.candidates)
    chosen = f", chosen among {among}" if among else ""
    size = "" if report.size_bytes is None else f", {byte_size(report.size_bytes)}"
    return (
        f"Revision {conversion.revision} was converted {by}; {report.precision}{chosen}{size}; "
        f"{goals_in_words(report.parity)}"
    )
