"""Every child's name, label and annotation, and the limits behind them. One home, so that nothing is spelled twice."""

from visionmodel_contract.keys import digest_of
from visionmodel_operator.api.base import GROUP

FIELD_MANAGER = "visionmodel-operator"
MANAGED_BY = "visionmodel-operator"
ROUTE_COMPONENT = "route"

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_NAME = f"{GROUP}/name"
LABEL_REVISION = f"{GROUP}/revision"
LABEL_TRACK = f"{GROUP}/track"
LABEL_ARTIFACT_KEY = f"{GROUP}/artifact-key"
LABEL_QUEUE = "kueue.x-k8s.io/queue-name"
"""Kueue's: the LocalQueue that admits a Job."""

ANNOTATION_PROMOTE = f"{GROUP}/promote"
ANNOTATION_ABORT = f"{GROUP}/abort"
ANNOTATION_RETRY = f"{GROUP}/retry"
ANNOTATION_PAUSE = f"{GROUP}/pause"
ANNOTATION_TEMPLATE_DIGEST = f"{GROUP}/template-digest"

MAX_LABEL_LENGTH = 63
DIGEST_DIGITS = 6

REVISION_HEADER = "x-visionmodel-revision"
PARKED_HEADER = "x-visionmodel-parked"
"""Request header by which a rule is matched that is meant to get no request."""

HTTP_ROUTE = "HTTPRoute"
GRPC_ROUTE = "GRPCRoute"
ROUTE_KINDS = (HTTP_ROUTE, GRPC_ROUTE)
"""Kinds of route that the operator owns; never more than one object of each for a VisionModel."""

HTTP_PORT = 8000
GRPC_PORT = 8001
METRICS_PORT = 8002

WORKLOAD_FILE = "workload.json"
"""Key of a revision's ConfigMap: a JSON list of its Service and its Deployments as they were first rendered."""

SPEC_FILE = "spec.json"
"""Key of a revision's ConfigMap: the sections of the spec that the revision was made of, for going back to it."""


def revision_service(name: str, revision: str) -> str:
    """Name of the Service of one revision."""
    return f"{name}-{revision}"


def revision_config(name: str, revision: str) -> str:
    """Name of the ConfigMap with one revision's config.pbtxt and pod template."""
    return f"{name}-{revision}"


def deployment(name: str, revision: str, index: int) -> str:
    """Name of the Deployment of one revision on one accelerator (index 0 for CPU)."""
    return f"{name}-{revision}-{index}"


def prepare_job(name: str, revision: str, attempt: int) -> str:
    """Name of the prepare Job; a retry is a new Job, so that a failed one stays readable until it is recorded.

    It becomes a label of the Job's pods, so a long name of a VisionModel is cut and told apart by its digest.
    """
    suffix = f"-{revision}-prepare" if attempt <= 1 else f"-{revision}-prepare-{attempt}"
    return _fitted(name, MAX_LABEL_LENGTH - len(suffix)) + suffix


def prepare_again_job(name: str, revision: str, attempt: int) -> str:
    """Name of the Job that prepares a recorded artifact in another store; otherwise as `prepare_job`."""
    suffix = f"-{revision}-prepare-again" if attempt <= 1 else f"-{revision}-prepare-again-{attempt}"
    return _fitted(name, MAX_LABEL_LENGTH - len(suffix)) + suffix


def build_job(name: str, revision: str, index: int, attempt: int) -> str:
    """Name of the Job that builds the engine for one accelerator; otherwise as `prepare_job`."""
    suffix = f"-{revision}-build-{index}" if attempt <= 1 else f"-{revision}-build-{index}-{attempt}"
    return _fitted(name, MAX_LABEL_LENGTH - len(suffix)) + suffix


def _fitted(name: str, length: int) -> str:
    if len(name) <= length:
        return name
    digest = digest_of(name)[:DIGEST_DIGITS]
    return f"{name[: length - DIGEST_DIGITS - 1].rstrip('-')}-{digest}"


def artifact_config(key: str) -> str:
    """Name of the ConfigMap by which the operator knows that an artifact exists."""
    return f"artifact-{key}"


def front_service(name: str) -> str:
    """Name of the Service that selects the stable revision."""
    return name


def route(name: str) -> str:
    """Name of the HTTPRoute and of the GRPCRoute."""
    return name


def envoy_cluster(namespace: str, route_name: str, slot: int, kind: str = HTTP_ROUTE) -> str:
    """Name under which Envoy Gateway counts one backend slot of a route's first rule."""
    return f"{kind.lower()}/{namespace}/{route_name}/rule/0/backend/{slot}"


def child_labels(name: str) -> dict[str, str]:
    """Labels by which the children of a VisionModel are found; the name alone may stand on anybody's objects."""
    return {LABEL_MANAGED_BY: MANAGED_BY, LABEL_NAME: name}


def object_labels(name: str, component: str, revision: str | None = None) -> dict[str, str]:
    """Labels of every child; never `app.kubernetes.io/instance` of the parent (Argo CD would adopt it)."""
    labels = {
        "app.kubernetes.io/name": "visionmodel",
        LABEL_COMPONENT: component,
        "app.kubernetes.io/part-of": "visionmodel",
        **child_labels(name),
    }
    if revision is not None:
        labels[LABEL_REVISION] = revision
    return labels


def revision_selector(name: str, revision: str) -> dict[str, str]:
    """Labels that select the pods of one revision."""
    return {LABEL_NAME: name, LABEL_REVISION: revision}
