"""From actions to manifests and text; pure: the same action and snapshot give the same operations, byte for byte."""

from typing import assert_never

from visionmodel_operator.core.actions import (
    Action,
    CreateRevision,
    DeleteJob,
    DeleteRevision,
    DeleteRoute,
    EnsureDisruptionBudget,
    EnsureFront,
    EnsureRoute,
    ForgetFailure,
    RecordArtifact,
    ScaleRevision,
    StartBuild,
    StartConversion,
)
from visionmodel_operator.core.operations import Operation
from visionmodel_operator.core.snapshot import Snapshot
from visionmodel_operator.render.artifact import forget_failure, record_artifact
from visionmodel_operator.render.build_job import start_build
from visionmodel_operator.render.conversion_job import delete_job, start_conversion
from visionmodel_operator.render.serving import create_revision, delete_revision, disruption_budget, scale_revision
from visionmodel_operator.render.traffic import delete_route, ensure_front, ensure_route

__all__ = ["operations"]


def operations(action: Action, snapshot: Snapshot) -> tuple[Operation, ...]:
    """Return what an action becomes, in the order in which it must happen.

    Raises:
        UserError: the spec cannot be rendered (unknown runtime, no image for its engines, batching that does not fit
            the model).
        Retry: the snapshot lacks what the action needs.
    """
    match action:
        case StartConversion() | StartBuild() | DeleteJob():
            return _job_operations(action, snapshot)
        case RecordArtifact():
            return record_artifact(action, snapshot)
        case ForgetFailure():
            return forget_failure(action, snapshot)
        case CreateRevision():
            return create_revision(action, snapshot)
        case ScaleRevision():
            return scale_revision(action, snapshot)
        case DeleteRevision():
            return delete_revision(action, snapshot)
        case EnsureDisruptionBudget():
            return disruption_budget(action, snapshot)
        case EnsureFront():
            return ensure_front(action, snapshot)
        case EnsureRoute():
            return ensure_route(action, snapshot)
        case DeleteRoute():
            return delete_route(snapshot)
        case _:
            assert_never(action)


def _job_operations(action: StartConversion | StartBuild | DeleteJob, snapshot: Snapshot) -> tuple[Operation, ...]:
    match action:
        case StartConversion():
            return start_conversion(action, snapshot)
        case StartBuild():
            return start_build(action, snapshot)
        case DeleteJob():
            return delete_job(action)
