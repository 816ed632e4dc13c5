"""visionmodel.dev/v1alpha1: parsing of what the API server stores."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.errors import UserError

__all__ = ["VisionModelSpec", "VisionModelStatus", "parse_spec", "parse_status"]


def parse_spec(document: Mapping[str, Any]) -> VisionModelSpec:
    """Return the spec of a stored object.

    The API server has validated it already; this catches objects stored before a rule existed.

    Raises:
        UserError: reason InvalidSpec, one line per fault with the field's path.
    """
    try:
        return VisionModelSpec.model_validate_json(json.dumps(document), strict=True)
    except ValidationError as error:
        faults = "; ".join(f"spec.{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise UserError("InvalidSpec", f"{faults}. Correct the VisionModel and apply it again.") from error


def parse_status(document: Mapping[str, Any] | None) -> VisionModelStatus:
    """Return the recorded status; an unreadable one is a bug or foreign writing, never silently dropped."""
    return VisionModelStatus.model_validate_json(json.dumps(document or {}))
