"""VisionModelStatus: what was made, where the rollout is, and the memory that cannot be observed again.

The operator records an intent here before it acts on it (decide, write status, look again, act), so every
field that a transition reads is either in this document or can be observed in the cluster.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from visionmodel_contract.precision import ExportFormat, Goal, Precision
from visionmodel_contract.report import CandidateRow, ExportInfo, GateResult, TensorSpec
from visionmodel_operator.api.base import ApiModel
from visionmodel_operator.api.capacity import CapacityStatus
from visionmodel_operator.api.conditions import ConditionType, Outcome, Phase
from visionmodel_operator.api.forecast import ForecastStatus
from visionmodel_operator.api.rollout import OnNewRevision
from visionmodel_operator.api.steps import HeaderMatches

ShortText = Annotated[str, Field(max_length=1024)]
Revision = Annotated[str, Field(max_length=63)]


class ConditionStatus(StrEnum):
    """Value of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(ApiModel):
    """One condition, as metav1.Condition."""

    type: ConditionType = Field(description="What the condition is about.")
    status: ConditionStatus = Field(description="True, False or Unknown.")
    reason: Annotated[str, Field(max_length=128)] = Field(description="CamelCase constant.")
    message: Annotated[str, Field(max_length=4096)] = Field(default="", description="The reason in words.")
    observed_generation: int = Field(default=0, description="Generation of the spec that this is about.")
    last_transition_time: datetime = Field(description="When the value last changed.")


class RevisionStatus(ApiModel):
    """One revision that has or may get traffic."""

    revision: Revision = Field(description="Identity of everything that changes the serving pods.")
    artifact: ShortText | None = Field(default=None, description="Digest reference of the artifact it serves.")
    ready_replicas: int = Field(default=0, description="Pods that are ready.")
    weight: float = Field(default=0, description="Percent of the requests.")
    since: datetime | None = Field(default=None, description="When it became stable, or when its rollout began.")


class CanaryStatus(RevisionStatus):
    """The revision on trial."""

    step: int = Field(default=0, description="Step that is observed, counted from 1.")
    steps: int = Field(default=0, description="Observed steps in the plan.")
    step_started_at: datetime | None = Field(default=None, description="When the current step's weight was in force.")


class TensorStatus(TensorSpec):
    """One input or output of the artifact; bounds follow from the 3 KiB of the conversion's summary."""

    model_config = ConfigDict(from_attributes=True)

    name: Annotated[str, Field(max_length=3072)] = Field(description="Name in the graph.")
    dtype: Annotated[str, Field(max_length=32)] = Field(description="Element type, as ONNX Runtime calls it.")
    dims: Annotated[tuple[int, ...], Field(max_length=1024)] = Field(
        description="Length of each axis; -1: free. The first axis is the batch."
    )


class GateStatus(GateResult):
    """One measured goal; bounds follow from the 3 KiB of the conversion's summary."""

    model_config = ConfigDict(from_attributes=True)

    metric: Annotated[str, Field(max_length=64)] = Field(description="What was measured.")
    goal: Goal = Field(description="threshold: an absolute limit; max-degradation: against the source model.")
    limit: float = Field(description="The limit that was asked for.")
    value: float = Field(description="The artifact's value.")
    source_value: float | None = Field(default=None, description="The source model's value.")
    passed: bool = Field(description="Whether the goal was met.")
    samples: int = Field(description="Samples that were judged.")


class CandidateStatus(CandidateRow):
    """One precision that was tried; bounds follow from the 3 KiB of the conversion's summary."""

    model_config = ConfigDict(from_attributes=True)

    precision: Precision = Field(description="Precision that was made.")
    method: Annotated[str, Field(max_length=32)] | None = Field(default=None, description="Calibration method.")
    size_bytes: int = Field(default=0, description="Size of the model file.")
    nodes: int = Field(default=0, description="Graph nodes.")
    metrics: Annotated[dict[str, float], Field(max_length=16)] = Field(
        default={}, description="Measured values of the goals."
    )
    p50_ms: float | None = Field(default=None, description="Median milliseconds of one sample.")
    p99_ms: float | None = Field(default=None, description="99th percentile of the milliseconds of one sample.")
    per_second: float | None = Field(default=None, description="Samples per second at the largest batch.")
    measured_on: ShortText | None = Field(default=None, description="CPU that was timed.")
    peak_memory_bytes: int | None = Field(default=None, description="Peak memory of loading and running it.")
    chosen: bool = Field(default=False, description="Whether this one serves.")
    refused: ShortText | None = Field(default=None, description="Why it does not serve.")


class ResolvedVerdict(ApiModel):
    """A verdict over a dataset that the spec names without a digest: read once, as it was then."""

    asked: ShortText = Field(description="Key of the gates as the spec names them.")
    key: ShortText = Field(description="Key of the verdict, by the dataset's digest.")
    dataset_digest: ShortText | None = Field(default=None, description="Digest of the dataset that was read.")


class ExportStatus(ExportInfo):
    """One export of the artifact; bounds follow from the 3 KiB of the conversion's summary."""

    model_config = ConfigDict(from_attributes=True)

    format: ExportFormat = Field(description="What was made.")
    image: Annotated[str, Field(max_length=3072)] | None = Field(default=None, description="Where it was published.")
    digest: Annotated[str, Field(max_length=71)] = Field(description="Digest of what was published.")
    size_bytes: int = Field(description="Size of its files.")
    difference: float = Field(description="Largest difference from the artifact, relative to the largest output.")
    runtime: Annotated[str, Field(max_length=128)] = Field(description="What ran it to measure that.")


MAX_ENGINES = 4
"""As many as a spec may name accelerators."""


class EngineStatus(ApiModel):
    """One TensorRT engine of the artifact, and what was measured on its device."""

    product: Annotated[str, Field(max_length=256)] = Field(description="Device that it was built on.")
    compute_capability: Annotated[str, Field(max_length=16)] = Field(description="Of the device, such as 8.9.")
    tensorrt_version: Annotated[str, Field(max_length=32)] = Field(description="TensorRT that built it.")
    digest: ShortText = Field(description="Digest of the engine's image.")
    size_bytes: int = Field(description="Size of the plan file.")
    precision_share: float = Field(description="Share of the multiplications in the promised precision, 0 to 1.")
    p50_ms: float = Field(description="Median milliseconds of one sample, copies to and from the device included.")
    p99_ms: float = Field(description="99th percentile of the milliseconds of one sample.")
    per_second: float = Field(description="Samples per second at the largest batch.")
    device_memory_bytes: int = Field(description="Device memory that loading and running it took.")
    gates: Annotated[list[GateStatus], Field(max_length=256)] = Field(default=[], description="Measured goals.")


class ConversionReport(ApiModel):
    """What the conversion made."""

    precision: ShortText | None = Field(default=None, description="Precision that the artifact really has.")
    size_bytes: int | None = Field(default=None, description="Size of the model file.")
    nodes_before: int | None = Field(default=None, description="Graph nodes of the source.")
    nodes_after: int | None = Field(default=None, description="Graph nodes of the artifact.")
    source_digest: ShortText | None = Field(default=None, description="Digest of the source file.")
    calibration_digest: ShortText | None = Field(default=None, description="Digest of the calibration data.")
    report_digest: ShortText | None = Field(default=None, description="Digest of the full report in the artifact.")
    inputs: Annotated[list[TensorStatus], Field(max_length=256)] = Field(
        default=[], description="Inputs of the artifact."
    )
    outputs: Annotated[list[TensorStatus], Field(max_length=256)] = Field(
        default=[], description="Outputs of the artifact."
    )
    parity: Annotated[list[GateStatus], Field(max_length=256)] = Field(
        default=[], description="Measured goals of the parity gate."
    )
    candidates: Annotated[list[CandidateStatus], Field(max_length=8)] = Field(
        default=[], description="What several precisions measured, where several were asked for."
    )
    exports: Annotated[list[ExportStatus], Field(max_length=3)] = Field(
        default=[], description="Files for other runtimes that were made of the artifact."
    )
    engines: Annotated[list[EngineStatus], Field(max_length=MAX_ENGINES)] = Field(
        default=[], description="TensorRT engines, in the order of the accelerators."
    )


class ConversionStatus(ApiModel):
    """The conversion of the newest revision."""

    revision: Revision | None = Field(default=None, description="Revision that this conversion is for.")
    key: ShortText | None = Field(default=None, description="Content key of the artifact.")
    verdict: ResolvedVerdict | None = Field(
        default=None, description="What the gates' dataset was resolved to, where the spec names it without a digest."
    )
    engine_keys: Annotated[list[ShortText], Field(max_length=MAX_ENGINES)] = Field(
        default=[], description="Keys under which its engines are remembered."
    )
    left_store: ShortText | None = Field(
        default=None,
        description="Store that the platform has left, for which the artifact was prepared again to build engines of.",
    )
    stage: ShortText | None = Field(default=None, description="What the Job is doing.")
    progress: int | None = Field(default=None, description="Percent done, advisory.")
    job: ShortText | None = Field(default=None, description="Name of the Job.")
    started_at: datetime | None = Field(default=None, description="When the conversion was decided on.")
    exit_code: int | None = Field(default=None, description="Exit code of a failed Job.")
    message: Annotated[str, Field(max_length=4096)] | None = Field(default=None, description="Why it failed.")
    report: ConversionReport | None = Field(default=None, description="What was made.")


class HeaderRouteStatus(ApiModel):
    """The requests that go to one revision by a header."""

    revision: Revision = Field(description="Where they go.")
    match: HeaderMatches = Field(default=[], description="A request that fits any of these is one of them.")
    parked: bool | None = Field(
        default=None, description="true: its rule stands in the route and no request fits it, on its way in or out."
    )


class TrafficStatus(ApiModel):
    """The split that is meant to be in force; slots are places in the route's backendRefs."""

    slots: Annotated[list[Revision], Field(max_length=2)] = Field(
        default=[], description="Revision in each of the two fixed backend slots; a revision keeps its slot for life."
    )
    weights_ppm: Annotated[list[int], Field(max_length=2)] = Field(
        default=[], description="Share of each slot in parts per million."
    )
    changed_at: datetime | None = Field(
        default=None, description="When these weights, or at rest another route for them, were decided."
    )
    verified_at: datetime | None = Field(
        default=None, description="When the gateway was first seen to have accepted them."
    )
    corrected_at: datetime | None = Field(
        default=None, description="When a foreign edit of the route was last put right."
    )
    header_route: HeaderRouteStatus | None = Field(
        default=None, description="Requests that go to the canary by a header; unset: none do."
    )


class SwapStage(StrEnum):
    """Sub-states of taking a revision out of traffic; never a jump between 0 and 100."""

    LEAVING = "Leaving"  # 1 of 1,000,000
    ZERO = "Zero"
    DRAINED = "Drained"


class DrainStatus(ApiModel):
    """Evidence that the leaving revision is idle, from its pods' own counters."""

    finished: float = Field(default=0, description="Requests its pods had finished when last seen.")
    flat_since: datetime | None = Field(default=None, description="Since when nothing was finished or pending.")
    started_at: datetime | None = Field(default=None, description="When the draining began.")


class PlanStep(ApiModel):
    """One observed step of the frozen plan."""

    weight_ppm: int = Field(description="Canary's share in parts per million.")
    min_seconds: float | None = Field(default=None, description="Shortest time; unset: until promoted.")
    headers: HeaderMatches | None = Field(
        default=None, description="Headers by which requests reach the canary; unset: as in the step before."
    )
    replicas: int | None = Field(default=None, description="Canary's pods; unset: by a share.")
    scale_ppm: int | None = Field(
        default=None, description="Share of the full scale that the canary's pods are; unset: its share of the traffic."
    )


class HoldStatus(ApiModel):
    """Why the rollout is held and what it was doing."""

    reason: ShortText = Field(description="Reason constant of the hold.")
    message: ShortText = Field(default="", description="The reason in words.")
    since: datetime = Field(description="When the hold began.")


class RolloutStatus(ApiModel):
    """The one rollout under way: its frozen plan and the memory that cannot be observed again; under 4 KiB."""

    revision: Revision = Field(description="The revision on trial.")
    attempt: int = Field(default=1, description="Counts the attempts at this revision; actions name it.")
    previous: Revision | None = Field(default=None, description="The stable revision when the rollout began.")
    started_at: datetime = Field(description="When the rollout began.")
    plan: Annotated[list[PlanStep], Field(max_length=32)] = Field(default=[], description="Frozen steps.")
    plan_digest: ShortText = Field(default="", description="Digest of the frozen steps and analysis.")
    analysis: dict[str, Any] = Field(
        default={},
        description="Frozen analysis.",
        json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    )
    on_new_revision: OnNewRevision = Field(
        default=OnNewRevision.RESTART, description="Frozen: what becomes of a revision that the spec names meanwhile."
    )
    spec: dict[str, Any] = Field(
        default={},
        description="What the spec said of this revision; kept where another revision waits or is refused meanwhile.",
        json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    )
    newer: Revision | None = Field(default=None, description="Revision of the spec that waits or was refused.")
    jump: bool = Field(
        default=False, description="true: one jump back to a revision of the rollback window, without steps."
    )
    step: int = Field(default=0, description="Index of the step in the plan, from 0.")
    phase_started_at: datetime = Field(description="When the current phase or sub-state began.")
    step_started_at: datetime | None = Field(default=None, description="When the step's weight was in force.")
    baseline_at: datetime | None = Field(
        default=None, description="When the canary's weight last left 0; counters before it are not evidence."
    )
    swap: SwapStage | None = Field(default=None, description="Sub-state of promotion or abort.")
    drain: DrainStatus | None = Field(default=None, description="Evidence of draining.")
    hold: HoldStatus | None = Field(default=None, description="Why it is held.")
    forecast: ForecastStatus | None = Field(default=None, description="What it can detect; unset: not asked.")
    capacity: CapacityStatus | None = Field(default=None, description="Where its devices come from; unset: not chosen.")
    ended: ShortText | None = Field(default=None, description="Reason for which the rollout is being turned back.")
    ended_message: Annotated[str, Field(max_length=4096)] | None = Field(
        default=None, description="That reason in words."
    )
    judge: dict[str, Any] = Field(
        default={},
        description="Evidence so far, replayable from Prometheus.",
        json_schema_extra={"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    )


class HistoryEntry(ApiModel):
    """How one rollout ended."""

    revision: Revision = Field(description="The revision on trial.")
    attempt: int = Field(default=1, description="Which attempt it was.")
    outcome: Outcome = Field(description="How it ended.")
    reason: ShortText = Field(description="Why.")
    message: Annotated[str, Field(max_length=2048)] = Field(default="", description="Why, in words.")
    started_at: datetime = Field(description="When it began.")
    finished_at: datetime = Field(description="When it ended.")
    requests: int = Field(default=0, description="Canary requests that were judged.")
    evidence: float = Field(default=0, description="Largest log evidence of harm over the gating metrics.")
    previous: Revision | None = Field(default=None, description="The stable revision when it began.")
    slot: int | None = Field(default=None, description="Its backend slot; with the next three it is judged again.")
    baseline_at: datetime | None = Field(default=None, description="When its weight left 0.")
    judged_to: datetime | None = Field(default=None, description="End of the last tick that was judged.")
    plan_digest: ShortText | None = Field(default=None, description="Digest of the steps and analysis it had.")


class KnownRevision(ApiModel):
    """A revision that is kept: its artifact and pod template stay for going back."""

    revision: Revision = Field(description="The revision.")
    scheme: int = Field(default=1, description="Scheme version of the revision hash.")
    artifact_key: ShortText | None = Field(default=None, description="Key of its artifact.")
    verdict: ResolvedVerdict | None = Field(
        default=None, description="What its gates' dataset was resolved to, where its spec names none by digest."
    )
    engine_keys: Annotated[list[ShortText], Field(max_length=MAX_ENGINES)] = Field(
        default=[], description="Keys of its engines."
    )
    last_served_at: datetime | None = Field(default=None, description="When it last had traffic.")
    replaced_at: datetime | None = Field(
        default=None,
        description="When it stopped being stable because another one was promoted; unset where it never was, or was"
        " turned back since.",
    )


class VisionModelStatus(ApiModel):
    """What was made and where the rollout is."""

    observed_generation: int | None = Field(default=None, description="Generation that was last fully judged.")
    phase: Phase | None = Field(default=None, description="One word: where the object is.")
    reason: ShortText | None = Field(default=None, description="CamelCase constant: why.")
    message: Annotated[str, Field(max_length=4096)] | None = Field(default=None, description="Why, in words.")
    url: ShortText | None = Field(default=None, description="Where the model answers.")
    conditions: Annotated[
        list[Condition],
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = Field(default=[], description="State by aspect.")
    target_revision: Revision | None = Field(default=None, description="Revision of the spec as last judged.")
    stable: RevisionStatus | None = Field(default=None, description="The revision that is trusted.")
    canary: CanaryStatus | None = Field(default=None, description="The revision on trial.")
    conversion: ConversionStatus | None = Field(default=None, description="Conversion of the newest revision.")
    traffic: TrafficStatus | None = Field(default=None, description="The intended split.")
    rollout: RolloutStatus | None = Field(default=None, description="The rollout under way.")
    failed_revision: Revision | None = Field(
        default=None, description="Revision that was turned back or could not be converted; tried again by retry."
    )
    failed_attempt: int | None = Field(default=None, description="The attempt that failed.")
    consumed_actions: Annotated[list[ShortText], Field(max_length=8)] = Field(
        default=[], description="Action annotations that were acted on; each acts once."
    )
    revisions: Annotated[list[KnownRevision], Field(max_length=64)] = Field(
        default=[], description="Revisions that are kept."
    )
    history: Annotated[list[HistoryEntry], Field(max_length=20)] = Field(
        default=[], description="How the last rollouts ended, newest first."
    )
    replicas: int | None = Field(default=None, description="Pods of the stable revision (scale subresource).")
    selector: ShortText | None = Field(default=None, description="Selector of the stable revision's pods.")
    simulated_accelerators: bool | None = Field(
        default=None, description="true: accelerators are simulated on CPUs; for tests and demos only."
    )
