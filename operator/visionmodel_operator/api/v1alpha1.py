"""visionmodel.dev/v1alpha1: parsing of what the API server stores."""

import json
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.errors import UserError

__all__ = ["VisionModelSpec", "VisionModelStatus", "parse_spec", "parse_status", "spec_faults"]


def parse_spec(document: Mapping[str, Any]) -> VisionModelSpec:
    """Return the spec of a stored object.

    The API server has validated it already; this catches objects stored before a rule existed.

    Raises:
        UserError: reason InvalidSpec, one line per fault with the field's path.
    """
    try:
        return _validated(document)
    except ValidationError as error:
        faults = "; ".join(f"spec.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise UserError("InvalidSpec", f"{faults}. Correct the VisionModel and apply it again.") from error


def spec_faults(document: Mapping[str, Any]) -> list[ErrorDetails]:
    """Return every fault of a spec before it is sent, unknown fields among them, as pydantic tells them."""
    try:
        _validated(document, extra="forbid")
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def _validated(document: Mapping[str, Any], extra: Literal["ignore", "forbid"] = "ignore") -> VisionModelSpec:
    # by_name=False: only the wire names count here; storage_uri is an unknown field like any other.
    text = json.dumps(_as_stored(document))
    return VisionModelSpec.model_validate_json(text, strict=True, by_alias=True, by_name=False, extra=extra)


def _as_stored(value: Any) -> Any:
    """Return what the API server makes of a value: a field that is null is absent, and 2.0 is the integer 2.

    A null in a list stays, and is refused.
    """
    if isinstance(value, Mapping):
        return {key: _as_stored(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_as_stored(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def parse_status(document: Mapping[str, Any] | None) -> VisionModelStatus:
    """Return the recorded status; an unreadable one is a bug or foreign writing, never silently dropped."""
    return VisionModelStatus.model_validate_json(json.dumps(document or {}))
