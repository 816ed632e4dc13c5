"""`render`: the manifests that the operator would create for a VisionModel, from the same functions, without a cluster.

What only a conversion finds out is left open: without its summary the artifact's place is a word in angle brackets and
config.pbtxt, which follows from the network's tensors, is missing. Owners are left out, as nobody is there to own.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from visionmodel_cli.documents import Document
from visionmodel_cli.failures import Failure
from visionmodel_contract.precision import Precision
from visionmodel_contract.report import ArtifactInfo, ReportSummary
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.api.v1alpha1 import parse_spec
from visionmodel_operator.core import names
from visionmodel_operator.core.actions import (
    Action,
    CreateRevision,
    EnsureDisruptionBudget,
    EnsureFront,
    EnsureRoute,
    StartConversion,
)
from visionmodel_operator.core.conversion_request import artifact_key, conversion_request
from visionmodel_operator.core.operations import Apply, ApplyWhole, Create, Manifest
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.snapshot import ObjectRef, Platform, Runtime, Snapshot
from visionmodel_operator.core.weights import WHOLE
from visionmodel_operator.errors import UserError
from visionmodel_operator.render import operations
from visionmodel_operator.render.platform import FIRST_SERVER_WITH_IMAGE_VOLUMES, platform_from
from visionmodel_operator.render.serving import revision_workload
from visionmodel_operator.settings import PREFIX, SettingsError, settings_from

Json = dict[str, Any]
ARTIFACT: Final = "<artifact>"
NO_DIGEST: Final = "sha256:" + "0" * 64
OPEN_PLATFORM: Final = Platform(
    runtimes={"<runtime>": Runtime("<runtime>", "<triton image>", "2.71.0", "<triton image>", "<converter image>")},
    default_runtime="<runtime>",
    converter_image="<converter image>",
    artifact_repository="<artifact repository>",
)
"""Stands for the platform team's decisions where they are not given."""


def platform_in(file: Path) -> Platform:
    """Return what an operator's Deployment was installed with: `helm template` or `kubectl get deployment -o yaml`.

    Raises:
        Failure: the file has no such Deployment, or its settings are wrong.
    """
    try:
        bodies = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise Failure(f"{file} cannot be read: {error}") from error
    for body in bodies:
        environment = _environment(body)
        if environment:
            try:
                settings = settings_from(environment)
            except SettingsError as error:
                raise Failure(f"{file}: {error}") from error
            return platform_from(settings, FIRST_SERVER_WITH_IMAGE_VOLUMES, route_kinds=names.ROUTE_KINDS)
    raise Failure(f"{file} has no Deployment with {PREFIX}... variables: give the operator's, by `helm template`")


def _environment(body: Any) -> dict[str, str]:
    if not isinstance(body, Mapping) or body.get("kind") != "Deployment":
        return {}
    containers = body["spec"]["template"]["spec"]["containers"]
    variables = (variable for container in containers for variable in container.get("env", ()))
    return {one["name"]: one["value"] for one in variables if one["name"].startswith(PREFIX) and "value" in one}


def artifact_in(file: Path) -> ArtifactInfo:
    """Return the artifact that a conversion's summary names: `summary.json` of ConfigMap `artifact-<key>`.

    Raises:
        Failure: the file is none, or its conversion made no artifact.
    """
    try:
        summary = ReportSummary.model_validate_json(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise Failure(f"{file} is no summary of a conversion: {error}") from error
    if summary.artifact is None:
        raise Failure(f"{file}: that conversion made no artifact")
    return summary.artifact


def manifests_of(
    document: Document, platform: Platform, namespace: str, artifact: ArtifactInfo | None
) -> tuple[Manifest, ...]:
    """Return the manifests of one VisionModel in the order in which they are created.

    Raises:
        Failure: the spec is wrong, or asks for what the platform does not have.
    """
    try:
        spec = parse_spec(document.body["spec"])
        found = tuple(_manifests(document, spec, platform, namespace, artifact))
    except UserError as error:
        raise Failure(f"{document.where}: {error.reason}: {error}") from error
    return tuple(_without_owner(manifest) for manifest in found)


def _manifests(
    document: Document, spec: VisionModelSpec, platform: Platform, namespace: str, artifact: ArtifactInfo | None
) -> Iterator[Manifest]:
    ref = ObjectRef(document.body["metadata"].get("namespace", namespace), document.name, "")
    revision, runtime = revision_of(spec), spec.serving.runtime_version
    if platform is OPEN_PLATFORM and runtime is not None:
        runtimes = {runtime: replace(platform.runtimes[platform.default_runtime], version=runtime)}
        platform = replace(platform, runtimes=runtimes, default_runtime=runtime)
    picture = _picture(ref, spec, platform)
    request = conversion_request(spec, namespace=ref.namespace, name=ref.name, revision=revision, platform=platform)
    yield from _rendered(StartConversion(names.prepare_job(ref.name, revision, 1), request, spec), picture)
    replicas = 1 if spec.serving.replicas is None else spec.serving.replicas
    served = artifact or _open_artifact(spec, platform)
    create = CreateRevision(revision, spec, served, replicas)
    if artifact is not None:
        yield from _rendered(create, picture)
    else:
        yield from revision_workload(create, picture)
    yield from _rendered(EnsureDisruptionBudget(revision), picture)
    yield from _rendered(EnsureFront(revision), picture)
    yield from _rendered(EnsureRoute((revision,), (WHOLE,), spec), picture)


def _picture(ref: ObjectRef, spec: VisionModelSpec, platform: Platform) -> Snapshot:
    return Snapshot(
        ref=ref,
        generation=1,
        resource_version="",
        spec=spec,
        spec_error="",
        annotations={},
        status=VisionModelStatus(),
        platform=platform,
    )


def _open_artifact(spec: VisionModelSpec, platform: Platform) -> ArtifactInfo:
    return ArtifactInfo(
        key=artifact_key(spec) or ARTIFACT,
        image=f"{platform.artifact_repository or platform.artifact_uri}/{ARTIFACT}",
        digest=NO_DIGEST,
        model_digest=NO_DIGEST,
        report_digest=NO_DIGEST,
        precision=Precision.FP32,
        size_bytes=0,
        nodes_before=0,
        nodes_after=0,
        inputs=(),
        outputs=(),
        opset=17,
    )


def _rendered(action: Action, picture: Snapshot) -> Iterable[Manifest]:
    for operation in operations(action, picture):
        if isinstance(operation, Apply | ApplyWhole | Create):
            yield operation.manifest


def _without_owner(manifest: Manifest) -> Manifest:
    plain: Json = json.loads(json.dumps(manifest))
    plain["metadata"].pop("ownerReferences", None)
    return plain
