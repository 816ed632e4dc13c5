"""The translation refuses what a CRD cannot say; every refusal names the place."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, create_model

from visionmodel_operator.api.schema import SchemaError, structural_schema, with_defaults

Text = Annotated[str, Field(max_length=8)]


def one_field(annotation: Any, *arguments: Any, **options: Any) -> type[BaseModel]:
    return create_model("Root", field=(annotation, Field(*arguments, description="A field.", **options)))


def translated(annotation: Any, *arguments: Any, **options: Any) -> Any:
    return structural_schema(one_field(annotation, *arguments, **options), defaults=True)["properties"]["field"]


class Inner(BaseModel):
    """An object
    over two lines."""

    size: int = Field(default=3, description="How large.")
    label: Text | None = Field(default=None, description="Its label.")


class Endless(BaseModel):
    child: "Endless | None" = Field(default=None, description="The next.")


@pytest.mark.parametrize(
    ("annotation", "options", "expected"),
    [
        pytest.param(Text, {}, {"type": "string", "maxLength": 8}, id="bounded string"),
        pytest.param(Text | None, {"default": None}, {"type": "string", "maxLength": 8}, id="null is dropped"),
        pytest.param(Literal["a"], {}, {"type": "string", "enum": ["a"]}, id="constant is an enum"),
        pytest.param(
            Literal["a", "b"], {"default": "a"}, {"type": "string", "enum": ["a", "b"], "default": "a"}, id="enum"
        ),
        pytest.param(
            Annotated[float, Field(gt=0, lt=1)],
            {},
            {"type": "number", "minimum": 0, "maximum": 1, "exclusiveMinimum": True, "exclusiveMaximum": True},
            id="open bounds are flags",
        ),
        pytest.param(
            Annotated[int, Field(ge=1, le=2)], {}, {"type": "integer", "minimum": 1, "maximum": 2}, id="closed"
        ),
        pytest.param(
            Annotated[list[Text], Field(max_length=2)],
            {"default": []},
            {
                "type": "array",
                "items": {"type": "string", "maxLength": 8},
                "maxItems": 2,
                "x-kubernetes-list-type": "atomic",
            },
            id="empty list is no default",
        ),
        pytest.param(
            Annotated[dict[str, Text], Field(max_length=2)],
            {"default": {"a": "b"}},
            {
                "type": "object",
                "additionalProperties": {"type": "string", "maxLength": 8},
                "maxProperties": 2,
                "default": {"a": "b"},
            },
            id="map with a default",
        ),
    ],
)
def test_translation(annotation: Any, options: dict[str, Any], expected: Any) -> None:
    assert translated(annotation, **options) == {"description": "A field.", **expected}


def test_references_are_inlined_and_the_field_describes_itself() -> None:
    assert translated(Inner, default=Inner()) == {
        "description": "A field.",
        "type": "object",
        "default": {},
        "properties": {
            "size": {"type": "integer", "default": 3, "description": "How large."},
            "label": {"type": "string", "maxLength": 8, "description": "Its label."},
        },
    }


def test_docstrings_become_one_line() -> None:
    assert (
        translated(Annotated[list[Inner], Field(max_length=1)])["items"]["description"] == "An object over two lines."
    )


@pytest.mark.parametrize(
    ("default", "kept"),
    [
        pytest.param([Inner()], [{}], id="nested defaults say it"),
        pytest.param([Inner(size=4)], [{"size": 4}], id="what differs"),
        pytest.param([Inner(label="x"), Inner()], [{"label": "x"}, {}], id="two"),
    ],
)
def test_default_holds_only_what_nested_defaults_do_not(default: Any, kept: Any) -> None:
    schema = translated(Annotated[list[Inner], Field(max_length=3)], default=default)
    assert schema["default"] == kept
    assert with_defaults(schema, kept) == [m.model_dump(exclude_none=True) for m in default]


def test_status_has_no_defaults() -> None:
    root = one_field(Inner, default=Inner())
    schema = structural_schema(root, defaults=False)
    assert "default" not in schema["properties"]["field"]
    assert "default" not in schema["properties"]["field"]["properties"]["size"]


@pytest.mark.parametrize(
    ("annotation", "complaint"),
    [
        pytest.param(str, "a string needs maxLength", id="free string"),
        pytest.param(list[int], "a list needs maxItems", id="free list"),
        pytest.param(dict[str, Text], "a map needs maxProperties", id="free map"),
        pytest.param(Annotated[list[str], Field(max_length=1)], "a string needs maxLength", id="inside a list"),
        pytest.param(int | Text, "anyOf cannot stand", id="union"),
        pytest.param(tuple[int, int], "prefixItems cannot stand", id="tuple"),
        pytest.param(Annotated[set[int], Field(max_length=3)], "uniqueItems cannot stand", id="set"),
        pytest.param(Annotated[int, Field(multiple_of=2)], "multipleOf cannot stand", id="multiple"),
        pytest.param(Annotated[int, Field(gt=1, ge=1)], "minimum and exclusiveMinimum", id="both bounds"),
        pytest.param(Literal[1], "only strings can be constants", id="numeric constant"),
        pytest.param(Any, "no type", id="anything"),
        pytest.param(Annotated[dict[str, Any], Field(max_length=3)], "preserve-unknown-fields", id="free form"),
        pytest.param(Annotated[bytes, Field(max_length=3)], "format 'binary' is unknown", id="bytes"),
        pytest.param(Annotated[Text, Field(examples=["a"])], "examples cannot stand", id="examples"),
        pytest.param(Endless, "contains itself", id="recursion"),
    ],
)
def test_refusal_names_the_place(annotation: Any, complaint: str) -> None:
    with pytest.raises(SchemaError, match=rf"^Root\.field.*{complaint}"):
        translated(annotation)


def test_field_without_description() -> None:
    with pytest.raises(SchemaError, match=r"^Root\.field: every field needs a description"):
        structural_schema(create_model("Root", field=(int, ...)), defaults=True)


def test_fields_that_pydantic_forbids_are_pruned_by_the_server() -> None:
    root = create_model("Root", __config__=ConfigDict(extra="forbid"), field=(int, Field(description="A field.")))
    assert structural_schema(root, defaults=True) == {
        "type": "object",
        "required": ["field"],
        "properties": {"field": {"type": "integer", "description": "A field."}},
    }


def test_free_form_object_with_its_marker() -> None:
    marker = {"x-kubernetes-preserve-unknown-fields": True}
    schema = translated(dict[str, Any], json_schema_extra=marker)
    assert schema == {"description": "A field.", "type": "object", **marker}


@pytest.mark.parametrize(
    ("value", "filled"),
    [
        pytest.param({}, {"a": {"b": 1}}, id="nested"),
        pytest.param({"a": {}}, {"a": {"b": 1}}, id="inside a given object"),
        pytest.param({"a": {"b": 2}, "other": 3}, {"a": {"b": 2}, "other": 3}, id="given values stay"),
        pytest.param({"list": [{}]}, {"a": {"b": 1}, "list": [{"b": 1}]}, id="inside lists"),
        pytest.param({"map": {"k": {}}}, {"a": {"b": 1}, "map": {"k": {"b": 1}}}, id="inside maps"),
    ],
)
def test_defaults_are_filled_in_as_the_server_does(value: Any, filled: Any) -> None:
    inner = {"type": "object", "properties": {"b": {"type": "integer", "default": 1}}}
    schema = {
        "type": "object",
        "properties": {
            "a": {**inner, "default": {}},
            "list": {"type": "array", "items": inner},
            "map": {"type": "object", "additionalProperties": inner},
        },
    }
    assert with_defaults(schema, value) == filled
