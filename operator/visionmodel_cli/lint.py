"""`lint`: what the API server and the operator would refuse, said before anything is sent. Pure.

Stricter than either in one point: a field that nobody knows is a fault, where the API server only warns.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from typing import Any, Final

from visionmodel_cli.documents import Document
from visionmodel_operator.api.base import API_VERSION, OBJECT_NAME_MAX_LENGTH, OBJECT_NAME_PATTERN
from visionmodel_operator.api.crd import object_schema
from visionmodel_operator.api.v1alpha1 import spec_faults

OBJECT_FIELDS: Final = ("apiVersion", "kind", "metadata", "spec", "status")
UNKNOWN_FIELD: Final = "extra_forbidden"
NO_TEXT: Final = "string_type"


@dataclass(frozen=True)
class Fault:
    """One thing that must be changed; `path` as in spec.rollout.steps[0].setWeight."""

    file: str
    document: int
    name: str
    path: str
    message: str

    def to_document(self) -> dict[str, Any]:
        """Return the fault as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        named = f" ({self.name})" if self.name else ""
        return f"{self.file}, document {self.document}{named}: {self.path}: {self.message}"


def faults_in(documents: Sequence[Document]) -> tuple[Fault, ...]:
    """Return the faults of all documents, in their order."""
    faults: list[Fault] = []
    seen: dict[tuple[Any, str], str] = {}
    for document in documents:
        found = [*_object_faults(document.body), *_spec_faults(document.body)]
        metadata = document.body.get("metadata")
        key = (metadata.get("namespace") if isinstance(metadata, Mapping) else None, document.name)
        if document.name and key in seen:
            found.append(("metadata.name", f"{document.name!r} is there already: {seen[key]}"))
        seen.setdefault(key, document.where)
        faults += [Fault(document.file, document.number, document.name, path, message) for path, message in found]
    return tuple(faults)


def _object_faults(body: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    if body.get("apiVersion") != API_VERSION:
        yield "apiVersion", f"must be {API_VERSION}, not {body.get('apiVersion')!r}"
    for field in body:
        if field not in OBJECT_FIELDS:
            yield str(field), _unknown(str(field), OBJECT_FIELDS)
    metadata = body.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str):
        yield "metadata.name", "must be a text"
    elif len(name) > OBJECT_NAME_MAX_LENGTH or re.fullmatch(OBJECT_NAME_PATTERN, name) is None:
        yield (
            "metadata.name",
            f"{name!r} must begin with a letter, have only a-z, 0-9 and -, not end in -, and be no longer than"
            f" {OBJECT_NAME_MAX_LENGTH}",
        )


def _spec_faults(body: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    spec = body.get("spec")
    if not isinstance(spec, Mapping):
        yield "spec", "must be a map"
        return
    for fault in spec_faults(spec):
        where: tuple[int | str, ...] = ("spec", *fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == UNKNOWN_FIELD:
            message = _unknown(str(where[-1]), _fields_at(where[:-1]))
        elif fault["type"] == NO_TEXT:
            message += f", not {fault['input']!r}: quote it"
        yield path_in_words(where), message


def _unknown(field: str, known: Iterable[str]) -> str:
    near = get_close_matches(field, list(known), n=3, cutoff=0.6)
    by_case = [one for one in known if one.lower() == field.replace("_", "").lower()]
    names = list(dict.fromkeys([*by_case, *near]))
    return f"unknown field; did you mean {' or '.join(names)}?" if names else "unknown field"


def _fields_at(where: Sequence[int | str]) -> tuple[str, ...]:
    """Return the fields that the CRD has at a place; none where it has no such place."""
    schema: Mapping[str, Any] = object_schema()
    for part in where:
        schema = schema.get("items", {}) if isinstance(part, int) else schema.get("properties", {}).get(part, {})
    return tuple(schema.get("properties", ()))


def path_in_words(where: Sequence[int | str]) -> str:
    """Return a place as kubectl writes it: spec.rollout.steps[0].setWeight."""
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)
    return words.removeprefix(".")
