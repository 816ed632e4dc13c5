"""What the commands read from a cluster, through the official client and the user's own kubeconfig."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import yaml
from kubernetes import client, config
from kubernetes.client import ApiClient, ApiException
from kubernetes.config import ConfigException
from kubernetes.stream import stream
from pydantic import ValidationError
from urllib3.exceptions import HTTPError
from websocket import WebSocketException

from visionmodel_cli.failures import Failure
from visionmodel_contract.report import PICTURE_FILES, CandidateRow
from visionmodel_operator.api.base import GROUP, PLURAL, VERSION
from visionmodel_operator.core.names import LABEL_NAME, LABEL_REVISION
from visionmodel_operator.render.artifact_files import ARTIFACT_VOLUME
from visionmodel_operator.render.pods import CONTAINER

REPORT_FILES: Final = ("report.json", "provenance.json")
TIMEOUT_SECONDS: Final = 15
DEFAULT_NAMESPACE: Final = "default"
FIELD_MANAGER: Final = "kubectl-visionmodel"
MERGE_PATCH: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"


class ClusterError(Failure):
    """Something that was asked for is not there, or the cluster cannot be asked; the text says what to do."""


class Unreachable(ClusterError):
    """The API server gives no answer, or says that it cannot; a moment later it may."""


class Cluster:
    """One namespace of a cluster."""

    def __init__(self, api: ApiClient, namespace: str) -> None:
        self._api = api
        self.namespace = namespace

    def visionmodel(self, name: str) -> dict[str, Any]:
        """Return the VisionModel as the API server has it."""
        objects = client.CustomObjectsApi(self._api)
        try:
            found = objects.get_namespaced_custom_object(
                GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=TIMEOUT_SECONDS
            )
        except ApiException as error:
            raise _refused(error, f"VisionModel {name!r} in namespace {self.namespace!r}") from error
        except HTTPError as error:
            raise _unreachable(self._api, error) from error
        assert isinstance(found, dict)  # the client says object
        return found

    def annotate(self, name: str, annotation: str, value: str | None) -> None:
        """Set an annotation of a VisionModel; None takes it away."""
        self._patch(name, {"metadata": {"annotations": {annotation: value}}}, MERGE_PATCH)

    def patch_spec(self, name: str, patch: Sequence[Mapping[str, Any]]) -> None:
        """Send a JSON patch that tests the generation. Raises ClusterError where the spec has changed."""
        self._patch(name, [dict(operation) for operation in patch], JSON_PATCH)

    def _patch(self, name: str, body: Any, content_type: str) -> None:
        objects = client.CustomObjectsApi(self._api)
        what = f"changing VisionModel {name!r} in namespace {self.namespace!r}"
        try:
            objects.patch_namespaced_custom_object(
                GROUP,
                VERSION,
                self.namespace,
                PLURAL,
                name,
                body,
                field_manager=FIELD_MANAGER,
                _content_type=content_type,
                _request_timeout=TIMEOUT_SECONDS,
            )
        except ApiException as error:
            raise _refused(error, what, right="change") from error
        except HTTPError as error:
            raise _unreachable(self._api, error) from error

    def serving_pods(self, name: str) -> list[dict[str, Any]]:
        """Return the pods of all revisions of a VisionModel, oldest first."""
        selector = f"{LABEL_NAME}={name},{LABEL_REVISION},app.kubernetes.io/component=serving"
        found = self._listed(client.CoreV1Api(self._api).list_namespaced_pod, selector, "the pods")
        return sorted(found, key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"]))

    def stored_revisions(self, name: str) -> dict[str, dict[str, str]]:
        """Return what the operator has stored of each revision: data of its ConfigMap, by revision."""
        selector = f"{LABEL_NAME}={name},{LABEL_REVISION},app.kubernetes.io/component=serving"
        found = self._listed(client.CoreV1Api(self._api).list_namespaced_config_map, selector, "the ConfigMaps")
        return {one["metadata"]["labels"][LABEL_REVISION]: one.get("data") or {} for one in found}

    def _listed(self, ask: Callable[..., Any], selector: str, what: str) -> list[dict[str, Any]]:
        try:
            found = ask(self.namespace, label_selector=selector, _request_timeout=TIMEOUT_SECONDS)
        except ApiException as error:
            raise _refused(error, f"{what} in namespace {self.namespace!r}") from error
        except HTTPError as error:
            raise _unreachable(self._api, error) from error
        items: list[dict[str, Any]] = self._api.sanitize_for_serialization(found.items)
        return items

    def nodes_and_pods(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Return all nodes of the cluster and the pods of all its namespaces."""
        core = client.CoreV1Api(self._api)
        try:
            found = [
                self._api.sanitize_for_serialization(ask(_request_timeout=TIMEOUT_SECONDS).items)
                for ask in (core.list_node, core.list_pod_for_all_namespaces)
            ]
        except ApiException as error:
            raise _refused(error, "the list of nodes and pods") from error
        except HTTPError as error:
            raise _unreachable(self._api, error) from error
        return found[0], found[1]

    def candidates(self, name: str) -> tuple[CandidateRow, ...]:
        """Return what several precisions measured in the newest conversion."""
        conversion = self.visionmodel(name).get("status", {}).get("conversion", {})
        rows = conversion.get("report", {}).get("candidates", [])
        if not rows:
            stage = conversion.get("stage") or "not begun"
            raise ClusterError(
                f"VisionModel {name!r} has no comparison (its conversion is {stage}): set conversion.precision to Auto"
                " to have several precisions measured"
            )
        try:
            return tuple(CandidateRow.model_validate(row) for row in rows)
        except ValidationError as error:
            raise ClusterError(
                f"the comparison cannot be read: {error}; use the plugin of the operator's release"
            ) from error

    def artifact_documents(self, name: str, revision: str | None) -> dict[str, Any]:
        """Return report.json and provenance.json of the artifact, read in a pod that serves it."""
        files = self._artifact_files(name, revision, REPORT_FILES)
        documents = {}
        for file, data in files.items():
            try:
                documents[file.removesuffix(".json")] = json.loads(data)
            except ValueError as error:
                said = data.decode(errors="replace").strip()[:300]
                raise ClusterError(f"{file} of VisionModel {name!r} cannot be read: {said}") from error
        return documents

    def artifact_pictures(self, name: str, revision: str | None, digests: Mapping[str, str]) -> dict[str, bytes]:
        """Return the pictures of the worst samples, read as the report is; `digests` are those in the report."""
        known = [file for file in PICTURE_FILES if file in digests]
        if not known:
            raise ClusterError(f"the artifact of VisionModel {name!r} holds no pictures: its samples are no images")
        files = self._artifact_files(name, revision, known)
        for file, data in files.items():
            if f"sha256:{hashlib.sha256(data).hexdigest()}" != digests[file]:
                raise ClusterError(f"{file} arrived otherwise than its report says; ask again")
        return files

    def _artifact_files(self, name: str, revision: str | None, files: Iterable[str]) -> dict[str, bytes]:
        wanted = revision or self.visionmodel(name).get("status", {}).get("stable", {}).get("revision")
        if not wanted:
            raise ClusterError(f"VisionModel {name!r} serves no revision yet; see `kubectl describe vmodel {name}`")
        pod = self._serving_pod(name, wanted)
        folder = _artifact_folder(pod)
        return {file: self._read_file(pod["metadata"]["name"], f"{folder}/{file}") for file in files}

    def _serving_pod(self, name: str, revision: str) -> dict[str, Any]:
        selector = f"{LABEL_NAME}={name},{LABEL_REVISION}={revision}"
        core = client.CoreV1Api(self._api)
        try:
            pods = core.list_namespaced_pod(
                self.namespace,
                label_selector=selector,
                field_selector="status.phase=Running",
                _request_timeout=TIMEOUT_SECONDS,
            )
        except ApiException as error:
            raise _refused(error, f"the pods of revision {revision}") from error
        except HTTPError as error:
            raise _unreachable(self._api, error) from error
        if not pods.items:
            raise ClusterError(
                f"revision {revision} of VisionModel {name!r} has no running pod, and the report is read in one; its"
                " artifact keeps it as report.json in the image of status.stable.artifact"
            )
        pod: dict[str, Any] = self._api.sanitize_for_serialization(pods.items[0])
        return pod

    def _read_file(self, pod: str, path: str) -> bytes:
        core = client.CoreV1Api(self._api)
        try:
            channel = stream(
                core.connect_get_namespaced_pod_exec,
                pod,
                self.namespace,
                container=CONTAINER,
                command=["cat", path],
                stderr=True,
                stdin=False,
                stdout=True,
                tty=False,
                binary=True,
                _preload_content=False,
            )
            try:
                channel.run_forever(timeout=TIMEOUT_SECONDS)
                return bytes(channel.read_all())
            finally:
                channel.sock.shutdown()  # its `close` leaves the connection that the server has ended
        except ApiException as error:
            raise _refused(error, f"reading {path} in pod {pod}") from error
        except (WebSocketException, OSError) as error:
            raise _unreachable(self._api, error) from error


@contextmanager
def connect(kubeconfig: Path | None, context: str | None, namespace: str | None) -> Iterator[Cluster]:
    """Open the cluster of a kubeconfig. Raises ClusterError when there is none."""
    file = None if kubeconfig is None else str(kubeconfig)
    try:
        api = config.new_client_from_config(config_file=file, context=context)
        contexts, active = config.list_kube_config_contexts(config_file=file)
    except (ConfigException, OSError, yaml.YAMLError) as error:
        raise ClusterError(f"no cluster to ask: {error}; name a kubeconfig by --kubeconfig or KUBECONFIG") from error
    chosen = next((one for one in contexts if one["name"] == context), active)
    try:
        yield Cluster(api, namespace or chosen.get("context", {}).get("namespace") or DEFAULT_NAMESPACE)
    finally:
        api.close()
        api.rest_client.pool_manager.clear()  # which `close` leaves open


def _artifact_folder(pod: Mapping[str, Any]) -> str:
    """Return where the artifact is mounted in Triton's container."""
    for container in pod["spec"]["containers"]:
        for mount in container.get("volumeMounts", ()):
            if container["name"] == CONTAINER and mount["name"] == ARTIFACT_VOLUME:
                return str(mount["mountPath"])
    raise ClusterError(f"pod {pod['metadata']['name']} mounts no artifact; it is none of a VisionModel")


def _refused(error: ApiException, what: str, right: str = "read") -> ClusterError:
    if error.status == 404:
        return ClusterError(f"{what} was not found")
    if error.status in (401, 403):
        return ClusterError(f"{what}: access was refused (HTTP {error.status}); ask for the right to {right} it")
    answer = _answer(error)
    # Of a JSON patch whose test has failed the server says no more than that.
    if error.status == 409 or (error.status == 422 and not answer.get("details", {}).get("causes")):
        return ClusterError(f"{what}: it was changed by somebody else meanwhile; look again, and ask again")
    said = answer.get("message") or error.reason
    is_passing = error.status == 429 or (error.status or 0) >= 500
    kind = Unreachable if is_passing else ClusterError
    return kind(f"{what}: the API server answered HTTP {error.status}: {said}")


def _answer(error: ApiException) -> dict[str, Any]:
    """Return the Status object that an API server answers with; empty where something else did."""
    try:
        answer = json.loads(error.body or "{}")
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _unreachable(api: ApiClient, error: Exception) -> Unreachable:
    return Unreachable(f"{api.configuration.host} does not answer: {error}")
