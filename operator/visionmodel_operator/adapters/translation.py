"""From the API server's objects to the core's `Snapshot`; pure, so that the fake of the tests uses it too."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from visionmodel_operator.adapters.job_translation import job_states
from visionmodel_operator.adapters.ownership import is_child
from visionmodel_operator.adapters.reading import Raw, field_of, label_of, name_of
from visionmodel_operator.adapters.route_conflicts import winner_over
from visionmodel_operator.adapters.serving_translation import is_settled, pod_states, routes_state, workload_states
from visionmodel_operator.api.conditions import ACTIVE_PHASES
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.api.v1alpha1 import parse_spec, parse_status
from visionmodel_operator.core.artifact_record import artifact_from_data
from visionmodel_operator.core.build_request import build_keys
from visionmodel_operator.core.conversion_request import artifact_key
from visionmodel_operator.core.memory import known_key, known_revision
from visionmodel_operator.core.names import LABEL_ARTIFACT_KEY, artifact_config
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.snapshot import KnownArtifact, ObjectRef, Platform, Snapshot
from visionmodel_operator.errors import UserError


@dataclass(frozen=True)
class Observed:
    """What one look at the API server returned, before anybody reads it.

    Attributes:
        children: Deployments, Services, ConfigMaps and Jobs with the labels of its children; `kind` is set on each.
        pods: pods of the revisions and of the Jobs, as far as they were asked for.
        artifacts: ConfigMaps `artifact-<key>`.
        routes: those of its name, one of a kind at most.
        progress: last line of the log, by Job.
        rivals: other routes that may ask for the same requests.
    """

    model: Raw
    children: tuple[Raw, ...] = ()
    pods: tuple[Raw, ...] = ()
    routes: tuple[Raw, ...] = ()
    artifacts: tuple[Raw, ...] = ()
    progress: Mapping[str, str] = field(default_factory=dict)
    rivals: tuple[Raw, ...] = ()

    def of_kind(self, kind: str) -> tuple[Raw, ...]:
        """Children of a kind."""
        return tuple(child for child in self.children if child["kind"] == kind)


def ref_of(model: Raw) -> ObjectRef:
    """Identity of a VisionModel."""
    metadata = model["metadata"]
    return ObjectRef(namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"])


def parsed_spec(model: Raw) -> tuple[VisionModelSpec | None, str]:
    """Return the spec, or None and what is wrong with it."""
    try:
        return parse_spec(field_of(model, "spec", default={})), ""
    except UserError as error:
        return None, str(error)


def snapshot_from(observed: Observed, platform: Platform) -> Snapshot:
    """Return the frozen picture; evidence and the pods' own counters are left to others."""
    model = observed.model
    metadata = model["metadata"]
    spec, spec_error = parsed_spec(model)
    known = (known_artifact(config) for config in observed.artifacts)
    ref = ref_of(model)
    routes = [route for route in observed.routes if is_child(route, ref)]
    return Snapshot(
        ref=ref,
        generation=int(metadata.get("generation") or 0),
        resource_version=str(metadata["resourceVersion"]),
        spec=spec,
        spec_error=spec_error,
        annotations=dict(metadata.get("annotations") or {}),
        status=parse_status(model.get("status")),
        platform=platform,
        artifacts={artifact.key: artifact for artifact in known if artifact is not None},
        jobs=job_states(observed.of_kind("Job"), observed.pods, observed.progress),
        workloads=workload_states(observed.of_kind("Deployment"), observed.of_kind("ConfigMap")),
        pods=pod_states(observed.pods),
        route=routes_state([(route, winner_over(route, observed.rivals)) for route in routes]),
        deleting=metadata.get("deletionTimestamp") is not None,
    )


def needs_serving_pods(model: Raw, deployments: Iterable[Raw]) -> bool:
    """Whether a pass must list the serving pods: a rollout is under way, or not every pod is ready."""
    status = field_of(model, "status", default={})
    if status.get("rollout") is not None or status.get("phase") in ACTIVE_PHASES:
        return True
    return not all(is_settled(deployment) for deployment in deployments)


def wanted_artifact_keys(spec: VisionModelSpec | None, status: VisionModelStatus, platform: Platform) -> frozenset[str]:
    """Return the keys whose ConfigMaps a pass reads: of the spec's artifact, its engines and the recorded conversion.

    Without all digests in the spec also those of its revision and of the stable one: its artifact may be one of them.
    Engines that its revision was given before are read too, by whatever image they were built.
    """
    recorded = status.conversion.key if status.conversion else None
    if spec is None:
        return frozenset(key for key in (recorded,) if key)
    wanted, served = artifact_key(spec), known_revision(status, revision_of(spec))
    if wanted is not None:
        known: tuple[str | None, ...] = (wanted, recorded)
    else:
        candidates = (revision_of(spec), status.stable.revision if status.stable else "")
        known = (recorded, *(known_key(status, one) for one in candidates))
    prepared = frozenset(key for key in known if key)
    engines = () if served is None else served.engine_keys
    return prepared.union(engines, *(build_keys(spec, key, platform) for key in prepared))


def kept_artifact_keys(model: Raw) -> frozenset[str]:
    """Return the keys that a VisionModel keeps from being collected: wanted ones and those of kept revisions.

    Reads the raw status, because one unreadable VisionModel must not stop the collection of the others.
    """
    spec, _ = parsed_spec(model)
    status = field_of(model, "status", default={})
    recorded = field_of(status, "conversion", "key")
    revisions = field_of(status, "revisions", default=[])
    prepared = (field_of(revision, "artifactKey") for revision in revisions)
    engines = (
        key
        for owner in (field_of(status, "conversion", default={}), *revisions)
        for key in field_of(owner, "engineKeys", default=[])
    )
    wanted = None if spec is None else artifact_key(spec)
    return frozenset(str(key) for key in (wanted, recorded, *prepared, *engines) if key)


def reported_keys(observed: Observed) -> frozenset[str]:
    """Return the keys that finished Jobs report; another VisionModel may have recorded the artifact already."""
    states = job_states(observed.of_kind("Job"), observed.pods, {}).values()
    summaries = (state.summary for state in states if state.summary is not None)
    return frozenset(
        summary.artifact.key if summary.engine is None else summary.engine.build_key
        for summary in summaries
        if summary.artifact is not None
    )


def known_artifact(config: Raw) -> KnownArtifact | None:
    """Return what an artifact's ConfigMap says; None when it cannot be read, and the artifact is made again."""
    data: Mapping[str, str] = field_of(config, "data", default={})
    key = label_of(config, LABEL_ARTIFACT_KEY) or name_of(config).removeprefix(artifact_config(""))
    return artifact_from_data(key, data)
