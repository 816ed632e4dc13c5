"""What every API type shares: camelCase on the wire, frozen, documented, and the few scalar types.

Spec values are kept as the user wrote them ("30s", "1Gi"); parsing happens where a number is needed, so that
nothing is ever normalised back into a user's object.
"""

import re
from collections.abc import Hashable
from datetime import timedelta
from typing import Annotated, Any, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

GROUP = "visionmodel.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "VisionModel"
PLURAL = "visionmodels"
OBJECT_NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"
OBJECT_NAME_MAX_LENGTH = 46
"""Names of VisionModels become names of Services, and `<name>-<revision>-prepare` a label value of 63."""


class ApiModel(BaseModel):
    """Base of all spec and status types; unknown fields are ignored (a newer CRD must not stop an older operator)."""

    model_config = ConfigDict(
        frozen=True, alias_generator=to_camel, populate_by_name=True, extra="ignore", allow_inf_nan=False
    )

    def to_wire(self) -> dict[str, Any]:
        """Return the JSON document with the wire names, without unset optionals."""
        document: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return document


DURATION_PATTERN = r"^([0-9]{1,6}(\.[0-9]{1,3})?(us|ms|s|m|h))+$"
DURATION_MAX_LENGTH = 20
"""Two numbers of hours fit, about 230 years: CEL's duration() and timedelta still hold that."""
Duration = Annotated[str, Field(pattern=DURATION_PATTERN, max_length=DURATION_MAX_LENGTH)]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71)]
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
Name = Annotated[str, Field(pattern=NAME_PATTERN, max_length=253)]
LabelledName = Annotated[str, Field(pattern=NAME_PATTERN, max_length=63)]
"""Name of an object that is referred to by a label, whose value is no longer."""
QUANTITY_PATTERN = r"^[0-9]{1,12}(\.[0-9]{1,6})?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"
Quantity = Annotated[str, Field(pattern=QUANTITY_PATTERN, max_length=32)]

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def duration_seconds(text: str) -> float:
    """Return the seconds of a Duration such as "1h30m" or "500us"."""
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|us|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration such as 30s, 5m or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def duration_delta(text: str) -> timedelta:
    """Return a Duration as a timedelta."""
    return timedelta(seconds=duration_seconds(text))


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str:
        """The name."""


_N = TypeVar("_N", bound=Named)


def distinct_names(items: list[_N]) -> list[_N]:
    """Validate a list that the API server treats as a map by `name`."""
    names = [item.name for item in items]
    if doubles := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"duplicate name {', '.join(doubles)}")
    return items


_H = TypeVar("_H", bound=Hashable)


def distinct(items: list[_H]) -> list[_H]:
    """Validate a list that the API server treats as a set."""
    if doubles := sorted({str(item) for item in items if items.count(item) > 1}):
        raise ValueError(f"duplicate {', '.join(doubles)}")
    return items


A_SET: JsonDict = {"x-kubernetes-list-type": "set"}
"""JSON schema of a list whose items are distinct; goes with `distinct`."""
BY_NAME: JsonDict = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
"""JSON schema of a list that is a map by `name`; goes with `distinct_names`."""


def rule(expression: str, message: str, *, field_path: str | None = None) -> JsonDict:
    """Return one CEL validation as it stands in the CRD."""
    entry: JsonDict = {"rule": expression, "message": message}
    return entry if field_path is None else {**entry, "fieldPath": field_path}
