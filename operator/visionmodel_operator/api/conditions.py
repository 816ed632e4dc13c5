"""Condition types, phases and reasons: one constant and one meaning each.

Reasons are API: users and alerts match on them. A new one is added here, nowhere else.
"""

from enum import StrEnum


class ConditionType(StrEnum):
    """Condition types of a VisionModel, kstatus-shaped; each, once known, stays set."""

    READY = "Ready"  # users are served by stable
    RECONCILING = "Reconciling"  # abnormal-true: something is still moving
    STALLED = "Stalled"  # abnormal-true: nothing moves until somebody acts
    CONVERTED = "Converted"
    PARITY_PASSED = "ParityPassed"
    WORKLOAD_AVAILABLE = "WorkloadAvailable"
    ROUTE_ACCEPTED = "RouteAccepted"
    SPLIT_VERIFIED = "SplitVerified"
    METRICS_AVAILABLE = "MetricsAvailable"
    LATENCY_JUDGEABLE = "LatencyJudgeable"
    CANARY_HEALTHY = "CanaryHealthy"
    PLAN_CHANGE_PENDING = "PlanChangePending"


class Phase(StrEnum):
    """Where a VisionModel is; one word for `kubectl get`."""

    PENDING = "Pending"
    CONVERTING = "Converting"
    PROVISIONING = "Provisioning"
    PROGRESSING = "Progressing"
    HELD = "Held"
    PROMOTING = "Promoting"
    DRAINING = "Draining"
    ABORTING = "Aborting"
    ROLLING_BACK = "RollingBack"
    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    SUSPENDED = "Suspended"


ACTIVE_PHASES = frozenset(
    {
        Phase.CONVERTING,
        Phase.PROVISIONING,
        Phase.PROGRESSING,
        Phase.HELD,
        Phase.PROMOTING,
        Phase.DRAINING,
        Phase.ABORTING,
        Phase.ROLLING_BACK,
    }
)
"""Phases in which a candidate revision is on its way in or out."""


class Reason(StrEnum):
    """Why a VisionModel is in its phase, or a condition has its value."""

    # progress
    NEW_REVISION = "NewRevision"
    CONVERTING = "Converting"
    STORE_LEFT = "StoreLeft"  # the artifact is prepared again in the present store, to build engines of it
    WAITING_FOR_PODS = "WaitingForPods"
    ROUTING = "Routing"
    OBSERVING = "Observing"
    SCALING = "Scaling"
    SWAPPING = "Swapping"
    DRAINING = "Draining"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    SERVING = "Serving"
    SUSPENDED = "Suspended"
    RETRYING = "Retrying"  # something outside was not ready for an effect; it is tried again
    # holds
    PAUSED = "Paused"
    NO_CAPACITY = "NoCapacity"  # no free accelerator for the canary's pods
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    SPLIT_MISMATCH = "SplitMismatch"
    INCONCLUSIVE = "Inconclusive"
    UPSTREAM_INCIDENT = "UpstreamIncident"
    QUEUED = "Queued"  # waits for the end of the rollout of another revision
    AWAITING_APPLY = "AwaitingApply"  # autoApply: false
    ROLLBACK_UNAVAILABLE = "RollbackUnavailable"  # the revision to go back to does not get ready
    # ends of a rollout that was turned back
    HARM_DETECTED = "HarmDetected"
    CANARY_UNHEALTHY = "CanaryUnhealthy"
    PROGRESS_DEADLINE = "ProgressDeadline"
    METRICS_DEADLINE = "MetricsDeadline"
    USER = "User"
    REVERTED = "Reverted"
    REJECTED = "Rejected"  # named during a rollout that refuses others
    SUPERSEDED = "Superseded"
    # failures
    CONVERSION_FAILED = "ConversionFailed"
    CONVERSION_DEADLINE = "ConversionDeadline"
    CONVERSION_EVICTED = "ConversionEvicted"
    INVALID_SPEC = "InvalidSpec"
    UNKNOWN_RUNTIME = "UnknownRuntime"
    BACKEND_UNAVAILABLE = "BackendUnavailable"  # the runtime, or the Jobs' image, has not what executes the model
    STABLE_UNAVAILABLE = "StableUnavailable"
    ROUTE_REJECTED = "RouteRejected"
    ROUTE_CONFLICT = "Conflict"
    GATEWAY_API_MISSING = "GatewayAPIMissing"
    APPLY_REFUSED = "ApplyRefused"
    INTERNAL_ERROR = "InternalError"
    # neutral values of conditions
    NOT_APPLICABLE = "NotApplicable"
    UNKNOWN = "Unknown"
    ARTIFACT_VERIFIED = "ArtifactVerified"
    ACCEPTED = "Accepted"
    VERIFIED = "Verified"
    AVAILABLE = "Available"
    METRIC_SILENT = "MetricSilent"
    NO_USABLE_BUCKETS = "NoUsableBuckets"
    # events alone: news about a rollout beside its phases
    ROLLOUT_CANNOT_DETECT = "RolloutCannotDetect"
    SHRINK_BY_ONE = "ShrinkByOne"
    # events alone: news about a conversion beside those of its phase
    CONVERSION_STARTED = "ConversionStarted"
    CONVERSION_STAGE = "ConversionStage"
    CONVERSION_WAITING = "ConversionWaiting"
    CONVERSION_FINISHED = "ConversionFinished"
    CONVERSION_CANCELLED = "ConversionCancelled"


class Outcome(StrEnum):
    """How a rollout ended, in `status.history`."""

    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"
    ABORTED = "Aborted"
    SUPERSEDED = "Superseded"
    REJECTED = "Rejected"
    CONVERSION_FAILED = "ConversionFailed"
