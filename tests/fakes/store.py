"""Objects in memory with the API server's rules that matter here: versions, generations, ownership, apply."""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from visionmodel_operator.core.names import FIELD_MANAGER

Key = tuple[str, str, str]
"""kind, namespace, name"""
Object = dict[str, Any]


class AlreadyThere(Exception):
    """Create of an object that exists."""


class NotThere(Exception):
    """Read or change of an object that does not exist."""


class ObjectStore:
    """The objects of a cluster. Every change gives a new resourceVersion, an unchanged object keeps its own."""

    def __init__(self) -> None:
        self.objects: dict[Key, Object] = {}
        self._versions = itertools.count(1)
        self._uids = itertools.count(1)
        self._applied: dict[Key, Object] = {}

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """A copy of an object."""
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def select(self, kind: str, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        """Copies of the objects of a kind that carry these labels, by name."""
        return [copy.deepcopy(o) for o in self._of_kind(kind, namespace) if has_labels(o, labels)]

    def _of_kind(self, kind: str, namespace: str) -> Iterator[Object]:
        for key in sorted(self.objects):
            if key[:2] == (kind, namespace):
                yield self.objects[key]

    def create(self, manifest: Mapping[str, Any], manager: str = FIELD_MANAGER, *, created: str = "") -> Object:
        """Store a new object."""
        body: Object = copy.deepcopy(dict(manifest))
        key = key_of(body)
        if key in self.objects:
            raise AlreadyThere(key)
        metadata = body["metadata"]
        metadata.update({"uid": f"uid-{next(self._uids)}", "generation": 1, "creationTimestamp": created})
        metadata["managedFields"] = _managers([], manager, body)
        self.objects[key] = body
        self._touch(body)
        self._applied[key] = copy.deepcopy(dict(manifest))
        return body

    def apply(
        self,
        manifest: Mapping[str, Any],
        manager: str = FIELD_MANAGER,
        *,
        whole: bool = False,
        created: str = "",
        before_change: Callable[[], None] = lambda: None,
    ) -> None:
        """Server-side apply, forced; `before_change` is called only when it changes something, and may raise.

        Args:
            whole: the spec is replaced.
        """
        key = key_of(manifest)
        live = self.objects.get(key)
        if live is None:
            before_change()
            self.create(manifest, manager, created=created)
            return
        merged = _merged(_without_withdrawn(live, self._applied.get(key, {}), manifest), manifest)
        merged["metadata"]["managedFields"] = _managers(live["metadata"].get("managedFields", []), manager, manifest)
        if whole:
            merged["spec"] = copy.deepcopy(manifest["spec"])
        if merged != live:
            before_change()
            self._replace(key, merged)
        self._applied[key] = copy.deepcopy(dict(manifest))

    def edit(self, kind: str, namespace: str, name: str, patch: Mapping[str, Any], manager: str = "kubectl") -> Object:
        """Merge patch by somebody else, who then owns what he changed."""
        key = (kind, namespace, name)
        if key not in self.objects:
            raise NotThere(key)
        live = self.objects[key]
        merged = _merged(live, patch)
        metadata = merged["metadata"]
        if "spec" in patch:
            managers = [m for m in metadata["managedFields"] if "f:spec" not in m["fieldsV1"]]
            metadata["managedFields"] = _managers(managers, manager, patch)
        self._replace(key, merged)
        return self.objects[key]

    def set_status(self, kind: str, namespace: str, name: str, status: Mapping[str, Any]) -> Object:
        """Replace the status."""
        key = (kind, namespace, name)
        if key not in self.objects:
            raise NotThere(key)
        self._replace(key, {**copy.deepcopy(self.objects[key]), "status": copy.deepcopy(dict(status))})
        return self.objects[key]

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object and what it owns."""
        gone = self.objects.pop((kind, namespace, name), None)
        if gone is None:
            raise NotThere((kind, namespace, name))
        self._applied.pop((kind, namespace, name), None)
        uid = gone["metadata"]["uid"]
        for key, child in list(self.objects.items()):
            owners = child["metadata"].get("ownerReferences", [])
            if key in self.objects and any(owner.get("uid") == uid for owner in owners):
                self.delete(*key)

    def orphan(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object alone; what it owned no longer names it."""
        uid = self.objects.pop((kind, namespace, name))["metadata"]["uid"]
        for body in self.objects.values():
            owners = body["metadata"].get("ownerReferences", [])
            if any(owner["uid"] == uid for owner in owners):
                body["metadata"]["ownerReferences"] = [owner for owner in owners if owner["uid"] != uid]
                self._touch(body)

    def _replace(self, key: Key, body: Object) -> None:
        live = self.objects[key]
        if body == live:
            return
        if body.get("spec") != live.get("spec"):
            body["metadata"]["generation"] = live["metadata"]["generation"] + 1
        self.objects[key] = body
        self._touch(body)

    def _touch(self, body: Object) -> None:
        body["metadata"]["resourceVersion"] = str(next(self._versions))


def key_of(manifest: Mapping[str, Any]) -> Key:
    """Where an object is stored."""
    return manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"]


def has_labels(body: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether an object carries these labels."""
    have = body["metadata"].get("labels") or {}
    return all(have.get(label) == value for label, value in labels.items())


def _merged(live: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping) or not isinstance(live, Mapping):
        return copy.deepcopy(patch)
    result = {key: copy.deepcopy(value) for key, value in live.items()}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(live.get(key), value)
    return result


def _without_withdrawn(live: Any, before: Any, now: Any) -> Any:
    """Drop the fields that our last apply set and this one does not."""
    if not all(isinstance(value, Mapping) for value in (live, before, now)):
        return live
    return {
        key: _without_withdrawn(value, before.get(key), now.get(key)) if key in now else value
        for key, value in live.items()
        if key in now or key not in before
    }


def _managers(entries: list[Object], manager: str, manifest: Mapping[str, Any]) -> list[Object]:
    fields: Object = {f"f:{key}": {} for key in manifest if key not in ("apiVersion", "kind", "status")}
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": fields}
    return [*(copy.deepcopy(e) for e in entries if e["manager"] != manager), entry]
