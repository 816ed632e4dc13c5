"""From a pydantic model to the structural schema that a CustomResourceDefinition may hold.

pydantic writes JSON Schema 2020-12, the API server reads a dialect of its own (OpenAPI v3.0 with `x-kubernetes-*`).
Every keyword is either translated here or refused with `SchemaError`: silence would be validation that users
believe in and the API server never does. `api/crd.py` wraps the result into the CRD.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

Schema = dict[str, Any]

_KEPT = frozenset(
    {
        "type",
        "enum",
        "pattern",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "minimum",
        "maximum",
        "required",
        "x-kubernetes-list-type",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    }
)
"""Keywords that mean the same on both sides."""

_TRANSLATED = frozenset(
    {
        "$ref",
        "title",
        "description",
        "const",
        "default",
        "format",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "properties",
        "items",
        "additionalProperties",
    }
)

_ORDER = ("description", "type", "format", "default", "enum", "pattern", "properties", "required", "items")
"""Keywords that come first, in this order; the rest follow by name."""


class SchemaError(TypeError):
    """A model says something that the CRD cannot: the model has to be written differently."""


class StructuralJsonSchema(GenerateJsonSchema):
    """pydantic's generator without the null branch: in a CRD an optional field is one that may be absent."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """Return the schema of the value alone."""
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Titles repeat the field's name."""
        return False


def structural_schema(model: type[BaseModel], *, defaults: bool) -> Schema:
    """Return the structural schema of a model, references inlined.

    Args:
        model: root of the types.
        defaults: write the models' defaults; False for status, whose absent fields are unknown and not default.

    Raises:
        SchemaError: with the path of a keyword, field or bound that a CRD cannot express or that is missing.
    """
    document = model.model_json_schema(by_alias=True, mode="validation", schema_generator=StructuralJsonSchema)
    definitions = document.pop("$defs", {})
    return _Translator(definitions, defaults).node(document, model.__name__, ())


def with_defaults(schema: Schema, value: Any) -> Any:
    """Return `value` with the schema's defaults filled in, as the API server does on every read and write."""
    if isinstance(value, Mapping):
        properties = schema.get("properties")
        if properties is None:
            return {key: with_defaults(schema.get("additionalProperties", {}), item) for key, item in value.items()}
        filled = {key: p["default"] for key, p in properties.items() if "default" in p} | dict(value)
        return {key: with_defaults(properties.get(key, {}), item) for key, item in filled.items()}
    if isinstance(value, list):
        return [with_defaults(schema.get("items", {}), item) for item in value]
    return value


class _Translator:
    """One translation; keeps the definitions and the way down, so that recursion and errors can be told."""

    def __init__(self, definitions: Mapping[str, Schema], defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def node(self, source: Schema, path: str, seen: tuple[str, ...]) -> Schema:
        """Return the translation of one schema node."""
        source, seen = self._inlined(source, path, seen)
        unknown = sorted(source.keys() - _KEPT - _TRANSLATED)
        if unknown:
            raise SchemaError(f"{path}: {', '.join(unknown)} cannot stand in a CRD")
        if "type" not in source and not {"enum", "const"} & source.keys():
            raise SchemaError(f"{path}: no type; write a concrete one")
        out = {key: source[key] for key in source.keys() & _KEPT}
        if "description" in source:
            out["description"] = " ".join(source["description"].split())
        if "const" in source:
            out |= {"enum": [source["const"]], "type": _json_type(source["const"], path)}
        out |= _format(source, path) | _closed_bounds(source, path)
        out |= self._children(source, path, seen)
        _require_bound(out, path)
        if out["type"] == "array":
            out.setdefault("x-kubernetes-list-type", "atomic")
        if self._defaults and source.get("default") is not None:
            default = _minimal(source["default"], out)
            if default != [] and (default != {} or "properties" in out):
                out["default"] = default
        return {key: out[key] for key in sorted(out, key=_rank)}

    def _inlined(self, source: Schema, path: str, seen: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        while "$ref" in source:
            name = source["$ref"].removeprefix("#/$defs/")
            if name in seen:
                raise SchemaError(f"{path}: {name} contains itself; a CRD must be finite")
            seen = (*seen, name)
            siblings = {key: value for key, value in source.items() if key != "$ref"}
            source = {**self._definitions[name], **siblings}
        return source, seen

    def _children(self, source: Schema, path: str, seen: tuple[str, ...]) -> Schema:
        out: Schema = {}
        if "properties" in source:
            out["properties"] = {
                name: self._property(child, f"{path}.{name}", seen) for name, child in source["properties"].items()
            }
        if "items" in source:
            out["items"] = self.node(source["items"], f"{path}[]", seen)
        additional = source.get("additionalProperties", False)
        if isinstance(additional, dict):
            out["additionalProperties"] = self.node(additional, f"{path}{{}}", seen)
        elif additional is True and not source.get("x-kubernetes-preserve-unknown-fields"):
            raise SchemaError(f"{path}: a free-form object needs x-kubernetes-preserve-unknown-fields")
        return out

    def _property(self, source: Schema, path: str, seen: tuple[str, ...]) -> Schema:
        translated = self.node(source, path, seen)
        if not translated.get("description"):
            raise SchemaError(f"{path}: every field needs a description")
        return translated


def _rank(keyword: str) -> tuple[int, str]:
    return (_ORDER.index(keyword) if keyword in _ORDER else len(_ORDER), keyword)


def _json_type(value: Any, path: str) -> str:
    if isinstance(value, str):
        return "string"
    raise SchemaError(f"{path}: only strings can be constants")


def _format(source: Schema, path: str) -> Schema:
    match source.get("format"):
        case None:
            return {}
        case "date-time":
            return {"format": "date-time"}
        case other:
            raise SchemaError(f"{path}: format {other!r} is unknown to the API server")


def _closed_bounds(source: Schema, path: str) -> Schema:
    """OpenAPI 3.0 has a flag beside `minimum` where JSON Schema has a number."""
    out: Schema = {}
    for bound in ("minimum", "maximum"):
        exclusive = f"exclusive{bound.capitalize()}"
        if exclusive in source:
            if bound in source:
                raise SchemaError(f"{path}: {bound} and {exclusive} together")
            out |= {bound: source[exclusive], exclusive: True}
    return out


def _require_bound(schema: Schema, path: str) -> None:
    """Raise where a user could write without limit; CEL's cost estimate and etcd both depend on it."""
    free = schema.get("x-kubernetes-preserve-unknown-fields", False)
    match schema["type"]:
        case "string" if not schema.keys() & {"enum", "format", "maxLength"}:
            raise SchemaError(f"{path}: a string needs maxLength")
        case "array" if "maxItems" not in schema:
            raise SchemaError(f"{path}: a list needs maxItems")
        case "object" if not free and "properties" not in schema and "maxProperties" not in schema:
            raise SchemaError(f"{path}: a map needs maxProperties")
        case _:
            return


def _minimal(default: Any, schema: Schema) -> Any:
    """Return the default without what nested defaults say already; `{}` where they say everything."""
    if isinstance(default, list):
        return [_minimal(item, schema.get("items", {})) for item in default]
    if not isinstance(default, dict) or "properties" not in schema:
        return default
    kept: Schema = {}
    for name, value in default.items():
        child = schema["properties"][name]
        if value is None or (value in ([], {}) and "default" not in child):
            continue
        small = _minimal(value, child)
        if "default" not in child or with_defaults(child, small) != with_defaults(child, child["default"]):
            kept[name] = small
    return kept
