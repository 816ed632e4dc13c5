"""The quoting filters, and that nothing unquoted reaches a template."""

from pathlib import Path

import pytest
from google.protobuf import text_format  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from tritonclient.grpc import model_config_pb2 as triton

from visionmodel_operator.render import text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("plain name_1", '"plain name_1"'),
        ('say "hi"', '"say \\042hi\\042"'),
        ("back\\slash", '"back\\134slash"'),
        ("new\nline", '"new\\012line"'),
        ("é", '"\\303\\251"'),
    ],
)
def test_pbtxt_string(value: str, expected: str) -> None:
    assert text.pbtxt_string(value) == expected


@given(st.text())
def test_pbtxt_string_reads_back(value: str) -> None:
    parsed = text_format.Parse(f"name: {text.pbtxt_string(value)}", triton.ModelConfig())
    assert parsed.name == value


@given(st.text())
def test_promql_string_cannot_end_early(value: str) -> None:
    quoted = text.promql_string(value)
    assert quoted.isascii()
    assert '"' not in quoted[1:-1]
    assert quoted[1:-1].encode().decode("unicode_escape").encode("latin-1").decode() == value


@pytest.mark.parametrize(("value", "kind"), [("90s}", "duration"), ("0s", "duration"), ("TYPE_FP32 }", "enum")])
def test_words_are_of_a_closed_shape(value: str, kind: str) -> None:
    with pytest.raises(ValueError, match=f"is no {kind}"):
        text.word(value, kind)


@pytest.mark.parametrize("value", ["unquoted", True, 1.5, None])
def test_templates_refuse_what_no_filter_quoted(value: object) -> None:
    template = text._ENVIRONMENT.from_string("{{ value }}")
    with pytest.raises(TypeError, match="without a quoting filter"):
        template.render(value=value)


def test_templates_refuse_missing_values() -> None:
    with pytest.raises(UndefinedError):
        text.render_text("config.pbtxt.j2", name="shapes")


def test_templates_are_the_only_text() -> None:
    found = {str(path.relative_to(text.TEMPLATES)) for path in Path(text.TEMPLATES).rglob("*") if path.is_file()}
    assert found == {
        "config.pbtxt.j2",
        "ensemble.pbtxt.j2",
        "tensors.pbtxt.j2",
        "envoy-gateway/buckets.promql.j2",
        "envoy-gateway/requests.promql.j2",
        "envoy-gateway/up.promql.j2",
    }
