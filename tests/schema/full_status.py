"""A status with every field set, as a rollout in the middle of its second step has it."""

from datetime import UTC, datetime, timedelta

from visionmodel_contract.precision import ExportFormat, Goal, Precision
from visionmodel_operator.api.capacity import CapacityStatus
from visionmodel_operator.api.conditions import ConditionType, Outcome, Phase
from visionmodel_operator.api.forecast import ForecastStatus
from visionmodel_operator.api.spec import HeaderMatch
from visionmodel_operator.api.status import (
    CanaryStatus,
    CandidateStatus,
    Condition,
    ConditionStatus,
    ConversionReport,
    ConversionStatus,
    DrainStatus,
    EngineStatus,
    ExportStatus,
    GateStatus,
    HeaderRouteStatus,
    HistoryEntry,
    HoldStatus,
    KnownRevision,
    PlanStep,
    ResolvedVerdict,
    RevisionStatus,
    RolloutStatus,
    SwapStage,
    TensorStatus,
    TrafficStatus,
    VisionModelStatus,
)

BEGAN = datetime(2026, 7, 1, 12, 0, 0, 250_000, tzinfo=UTC)
LATER = BEGAN + timedelta(minutes=5)
HEADER = HeaderMatch.model_validate({"headerName": "x-canary", "headerValue": {"exact": "1"}})
STABLE, CANARY = "7c9f2a41d0", "91be04c7aa"

FULL_STATUS = VisionModelStatus(
    observed_generation=4,
    phase=Phase.PROGRESSING,
    reason="Observing",
    message="Step 2 of 3 at 25 %: no harm seen",
    url="http://models.example/v2/models/shapes",
    conditions=[
        Condition(
            type=kind, status=ConditionStatus.TRUE, reason="Serving", observed_generation=4, last_transition_time=BEGAN
        )
        for kind in ConditionType
    ],
    target_revision=CANARY,
    stable=RevisionStatus(revision=STABLE, artifact="sha256:" + "a" * 64, ready_replicas=2, weight=75, since=BEGAN),
    canary=CanaryStatus(
        revision=CANARY, ready_replicas=1, weight=12.5, since=BEGAN, step=2, steps=3, step_started_at=LATER
    ),
    conversion=ConversionStatus(
        revision=CANARY,
        key="ab" * 16,
        verdict=ResolvedVerdict(asked="01" * 16, key="02" * 16, dataset_digest="sha256:" + "e" * 64),
        engine_keys=["ef" * 16],
        stage="Publishing",
        progress=100,
        job="shapes-91be04c7aa-prepare",
        started_at=BEGAN,
        exit_code=0,
        message="",
        report=ConversionReport(
            precision="fp32",
            size_bytes=4096,
            nodes_before=40,
            nodes_after=31,
            source_digest="sha256:" + "b" * 64,
            calibration_digest="sha256:" + "d" * 64,
            report_digest="sha256:" + "c" * 64,
            inputs=[TensorStatus(name="images", dtype="float32", dims=(-1, 3, 64, 64))],
            outputs=[TensorStatus(name="grid", dtype="float32", dims=(-1, 8, 8, 8))],
            parity=[
                GateStatus(
                    metric="top1",
                    goal=Goal.MAX_DEGRADATION,
                    limit=0.01,
                    value=0.97,
                    source_value=0.975,
                    passed=True,
                    samples=200,
                )
            ],
            candidates=[
                CandidateStatus(
                    precision=Precision.INT8,
                    method="MinMax",
                    size_bytes=1024,
                    nodes=60,
                    metrics={"top1": 0.97},
                    p50_ms=0.5,
                    p99_ms=1.5,
                    per_second=2400.5,
                    peak_memory_bytes=1_000_000,
                    chosen=False,
                    refused="3.0 % slower than fp32; 5 % faster is asked for",
                )
            ],
            exports=[
                ExportStatus(
                    format=ExportFormat.TFLITE,
                    image="registry.example/artifacts@sha256:" + "d" * 64,
                    digest="sha256:" + "d" * 64,
                    size_bytes=2048,
                    difference=2.5e-6,
                    runtime="tensorflow lite 2.19.0",
                )
            ],
            engines=[
                EngineStatus(
                    product="NVIDIA L4",
                    compute_capability="8.9",
                    tensorrt_version="11.2.1.2",
                    digest="sha256:" + "d" * 64,
                    size_bytes=8192,
                    precision_share=0.96,
                    p50_ms=0.25,
                    p99_ms=0.75,
                    per_second=4000.5,
                    device_memory_bytes=64_000_000,
                    gates=[
                        GateStatus(
                            metric="p99Ms[batch=1]", goal=Goal.THRESHOLD, limit=1, value=0.75, passed=True, samples=1000
                        )
                    ],
                )
            ],
        ),
    ),
    traffic=TrafficStatus(
        slots=[STABLE, CANARY],
        weights_ppm=[875_000, 125_000],
        changed_at=BEGAN,
        verified_at=LATER,
        corrected_at=LATER,
        header_route=HeaderRouteStatus(revision=CANARY, match=[HEADER], parked=True),
    ),
    rollout=RolloutStatus(
        revision=CANARY,
        attempt=2,
        previous=STABLE,
        started_at=BEGAN,
        plan=[
            PlanStep(weight_ppm=50_000, min_seconds=60.5, headers=[HEADER], replicas=2),
            PlanStep(weight_ppm=125_000, scale_ppm=500_000),
        ],
        plan_digest="0123456789abcdef",
        jump=True,
        analysis={"interval": "5s", "metrics": [{"name": "errors"}]},
        step=1,
        phase_started_at=BEGAN,
        step_started_at=LATER,
        baseline_at=BEGAN,
        swap=SwapStage.LEAVING,
        drain=DrainStatus(finished=1204.0, flat_since=LATER, started_at=BEGAN),
        hold=HoldStatus(reason="Paused", message="until resumed", since=LATER),
        forecast=ForecastStatus(requests_per_second=20.0, error_rate=0.005, blind_spot="This rollout cannot detect it"),
        capacity=CapacityStatus(choice="ShrinkByOne", message="Needs 2 NVIDIA-L4, 0 free of 4", beside=[0, 1], pods=2),
        ended="HarmDetected",
        ended_message="errors: 12 of 100 against 1 of 1900",
        judge={"errors": {"evidence": [0.4, 0.25], "ticks": 3}},
    ),
    failed_revision="00112233aa",
    failed_attempt=1,
    consumed_actions=["promote:91be04c7aa/1"],
    revisions=[
        KnownRevision(
            revision=STABLE,
            scheme=1,
            artifact_key="cd" * 16,
            engine_keys=["01" * 16],
            verdict=ResolvedVerdict(asked="03" * 16, key="04" * 16, dataset_digest="sha256:" + "f" * 64),
            last_served_at=LATER,
            replaced_at=LATER,
        )
    ],
    history=[
        HistoryEntry(
            revision="00112233aa",
            attempt=1,
            outcome=Outcome.ABORTED,
            reason="HarmDetected",
            message="errors",
            started_at=BEGAN,
            finished_at=LATER,
            requests=480,
            evidence=5.25,
        )
    ],
    replicas=2,
    selector="visionmodel.dev/name=shapes",
    simulated_accelerators=True,
)
