"""The events of a conversion: each once, in words that name the Job."""

from dataclasses import replace
from typing import Any

import pytest

from unit.core import builders
from visionmodel_contract.precision import Goal, Precision
from visionmodel_contract.report import CandidateRow, GateResult
from visionmodel_operator.api.conditions import Phase
from visionmodel_operator.api.status import ConversionReport, ConversionStatus, VisionModelStatus
from visionmodel_operator.core.conversion_news import conversion_news
from visionmodel_operator.core.operations import Event
from visionmodel_operator.core.snapshot import JobState, Snapshot

JOB = "shapes-r1-prepare"
GATE = GateResult(metric="map50", goal=Goal.MAX_DEGRADATION, limit=0.01, value=0.9498, passed=True, samples=40)
REPORT = ConversionReport(
    precision=Precision.INT8,
    size_bytes=404_480,
    parity=[GATE],
    candidates=[CandidateRow(precision=Precision.FP32), CandidateRow(precision=Precision.INT8, chosen=True)],
)
PLAIN = ConversionReport(precision=Precision.FP32, size_bytes=404_480)


def status(phase: Phase = Phase.CONVERTING, message: str = "", **conversion: Any) -> VisionModelStatus:
    return VisionModelStatus(
        phase=phase, message=message, conversion=ConversionStatus(revision="r1", key="k1", **conversion)
    )


def seen(before: VisionModelStatus, job: JobState | None = None) -> Snapshot:
    spec = builders.spec()
    return Snapshot(
        ref=builders.REF,
        generation=1,
        resource_version="1",
        spec=spec,
        spec_error="",
        annotations={},
        status=before,
        platform=builders.PLATFORM,
        jobs={} if job is None else {job.name: job},
    )


RUNNING = JobState(JOB, "r1", None, progress_stage="Parity", progress_percent=60)
UNSCHEDULABLE = JobState(JOB, "r1", None, waiting="Unschedulable", waiting_message="0/3 nodes are available")
QUEUED = JobState(JOB, "r1", None, waiting="Suspended")
STARTED = Event("ConversionStarted", f"Job {JOB} converts revision r1.")
AT_PARITY = Event("ConversionStage", f"Job {JOB} is at stage Parity.")


@pytest.mark.parametrize(
    ("before", "job", "after", "expected"),
    [
        pytest.param(status(), None, status(), (), id="no Job yet"),
        pytest.param(
            status(), replace(RUNNING, progress_stage=None), status(job=JOB, stage="Starting"), (STARTED,), id="started"
        ),
        pytest.param(
            status(), RUNNING, status(job=JOB, stage="Parity"), (STARTED, AT_PARITY), id="started and seen at a stage"
        ),
        pytest.param(
            status(job=JOB, stage="Check"), RUNNING, status(job=JOB, stage="Parity"), (AT_PARITY,), id="another stage"
        ),
        pytest.param(
            status(job=JOB, stage="Parity", progress=55),
            RUNNING,
            status(job=JOB, stage="Parity", progress=60),
            (),
            id="further at the same stage",
        ),
        pytest.param(
            status(job=JOB, stage="Parity"),
            replace(RUNNING, finished=True, progress_stage=None),
            status(job=JOB, stage="Recording"),
            (),
            id="recording is the operator's own work",
        ),
        pytest.param(
            status(job="shapes-r1-prepare-1", stage="Parity"),
            RUNNING,
            status(job=JOB, stage="Parity"),
            (STARTED, AT_PARITY),
            id="the same stage of another attempt",
        ),
        pytest.param(
            status(job=JOB, stage="Starting"),
            UNSCHEDULABLE,
            status(job=JOB, stage="Unschedulable"),
            (Event("ConversionWaiting", f"Job {JOB} waits: Unschedulable: 0/3 nodes are available", warning=True),),
            id="no node",
        ),
        pytest.param(
            status(job=JOB, stage="Unschedulable"),
            replace(UNSCHEDULABLE, waiting_message="0/4 nodes are available"),
            status(job=JOB, stage="Unschedulable"),
            (),
            id="still no node, in other words",
        ),
        pytest.param(
            status(job=JOB, stage="Starting"),
            QUEUED,
            status(job=JOB, stage="Suspended"),
            (Event("ConversionWaiting", f"Job {JOB} waits: Suspended"),),
            id="a queue is no fault",
        ),
        pytest.param(
            status(job=JOB, stage="Recording"),
            None,
            status(Phase.PROVISIONING, job=JOB, stage="Done", report=REPORT),
            (
                Event(
                    "ConversionFinished",
                    f"Revision r1 was converted by Job {JOB}; int8, chosen among fp32, int8, 395 KiB; "
                    "map50 0.9498 (max-degradation 0.01)",
                ),
            ),
            id="finished",
        ),
        pytest.param(
            status(),
            None,
            status(Phase.PROVISIONING, stage="Done", report=PLAIN),
            (
                Event(
                    "ConversionFinished",
                    "Revision r1 was converted before: artifact k1; fp32, 395 KiB; "
                    "The artifact agrees with its source.",
                ),
            ),
            id="no Job was needed",
        ),
        pytest.param(
            status(Phase.PROVISIONING, job=JOB, report=PLAIN),
            None,
            status(Phase.PROGRESSING, job=JOB, report=PLAIN),
            (),
            id="long finished",
        ),
        pytest.param(
            status(job=JOB, stage="Parity"),
            RUNNING,
            status(Phase.ABORTING, "Revision r2 replaces r1.", job=JOB, stage="Parity"),
            (Event("ConversionCancelled", f"Job {JOB} is deleted: Revision r2 replaces r1."),),
            id="the spec moved on",
        ),
        pytest.param(
            status(),
            None,
            status(Phase.ABORTING, "Revision r2 replaces r1."),
            (),
            id="the spec moved on before the Job",
        ),
        pytest.param(
            VisionModelStatus(phase=Phase.HEALTHY), None, VisionModelStatus(phase=Phase.HEALTHY), (), id="none at all"
        ),
    ],
)
def test_conversion_news(
    before: VisionModelStatus, job: JobState | None, after: VisionModelStatus, expected: tuple[Event, ...]
) -> None:
    assert conversion_news(seen(before, job), after) == expected
