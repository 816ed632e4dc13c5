"""The closed list of things the operator can do to the cluster, as values; `render` turns them into manifests.

Every action is idempotent and derived from recorded status alone, so a pass that was killed half-way is
completed by the next one. Order within a decision is the order of effects.
"""

from dataclasses import dataclass

from visionmodel_contract.build import BuildRequest
from visionmodel_contract.conversion import ConversionRequest
from visionmodel_contract.report import ArtifactInfo, ReportSummary
from visionmodel_operator.api.spec import Accelerator, VisionModelSpec
from visionmodel_operator.api.status import HeaderRouteStatus


@dataclass(frozen=True)
class StartConversion:
    """Create the prepare Job once; never re-applied (Kueue may own parts of it)."""

    job: str
    request: ConversionRequest
    spec: VisionModelSpec


@dataclass(frozen=True)
class StartBuild:
    """Create the Job that builds the engine for one accelerator; as StartConversion otherwise."""

    job: str
    request: BuildRequest
    spec: VisionModelSpec
    accelerator: Accelerator


@dataclass(frozen=True)
class RecordArtifact:
    """Write what a finished Job reported to ConfigMap `artifact-<key>`, so that the Job is never needed again."""

    key: str
    summary: ReportSummary
    gate_key: str


@dataclass(frozen=True)
class ForgetFailure:
    """Forget, for a retry, that this conversion failed for good, or that its artifact missed these gates.

    What is remembered beside it is the neighbours' too: an artifact, and the verdicts of other gates, stay.
    """

    key: str
    gate_key: str


@dataclass(frozen=True)
class DeleteJob:
    """Delete a recorded or superseded Job with its pods."""

    job: str


@dataclass(frozen=True)
class CreateRevision:
    """Write the revision's ConfigMap (config.pbtxt and pod template) once, then its Service and Deployments.

    Only for a revision whose ConfigMap does not exist; afterwards ScaleRevision re-applies what is stored. Where there
    are `engines`, one for each accelerator, they are served in place of the artifact.
    """

    revision: str
    spec: VisionModelSpec
    artifact: ArtifactInfo
    replicas: int
    engines: tuple[ArtifactInfo, ...] = ()


@dataclass(frozen=True)
class ScaleRevision:
    """Re-apply what is stored of a revision with this many pods in all.

    They are `pods` by Deployment where there are any, else an even split.
    """

    revision: str
    replicas: int
    pods: tuple[int, ...] = ()


@dataclass(frozen=True)
class DeleteRevision:
    """Delete a revision's Deployments, Service, ConfigMap and disruption budget."""

    revision: str


@dataclass(frozen=True)
class EnsureFront:
    """Front Service, selecting the stable revision."""

    revision: str


@dataclass(frozen=True)
class EnsureRoute:
    """The routes with the recorded slots and weights (parts per million), and who reaches the canary by a header."""

    slots: tuple[str, ...]
    weights_ppm: tuple[int, ...]
    spec: VisionModelSpec
    header_route: HeaderRouteStatus | None = None


@dataclass(frozen=True)
class DeleteRoute:
    """Delete the routes, since the spec names no gateway any more."""


@dataclass(frozen=True)
class EnsureDisruptionBudget:
    """PodDisruptionBudget over the pods of a serving revision."""

    revision: str


Action = (
    StartConversion
    | StartBuild
    | RecordArtifact
    | ForgetFailure
    | DeleteJob
    | CreateRevision
    | ScaleRevision
    | DeleteRevision
    | EnsureFront
    | EnsureRoute
    | DeleteRoute
    | EnsureDisruptionBudget
)


def takes_away(action: Action) -> bool:
    """Return whether an action removes what may still be needed while another one could not be carried out."""
    is_removal = isinstance(action, DeleteRevision | DeleteJob | ForgetFailure)
    return is_removal or (isinstance(action, ScaleRevision) and action.replicas == 0)
