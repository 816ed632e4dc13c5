"""Names that others chose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionmodel_converter.sources.names import clash_of, fault_of, shown_name


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("", "is empty"),
        ("/etc/passwd", "absolute"),
        ("../m.onnx", "'..'"),
        ("a/../../m", "'..'"),
        ("a\\..\\m", "backslash"),
        ("C:\\m", "backslash"),
        ("a\nb", "control character"),
        ("a\0b", "control character"),
        ("a\x7f", "control character"),
        ("a\udc80", "UTF-8"),
        ("a//b", "empty or '.'"),
        ("./a", "empty or '.'"),
        ("a/", "empty or '.'"),
        ("a" * 256, "too long"),
        ("ä" * 128, "too long"),
        ("a/" * 512 + "a", "too long"),
    ],
)
def test_faults(name: str, fault: str) -> None:
    assert fault in (fault_of(name) or "")


@pytest.mark.parametrize("name", ["m.onnx", "a/b/c.data", "..a", "a..b", "...", "model v2 (final).onnx", "modèle.onnx"])
def test_plain_names(name: str) -> None:
    assert fault_of(name) is None


@pytest.mark.parametrize(
    ("names", "clash"),
    [
        ((), None),
        (("a", "b/c", "b/d"), None),
        (("a", "a"), "a"),
        (("a/b", "a"), "a"),
        (("a", "a/b/c"), "a"),
        (("ab", "a/b"), None),
    ],
)
def test_clashes(names: tuple[str, ...], clash: str | None) -> None:
    assert clash_of(names) == clash


@given(st.text())
def test_any_name_can_be_shown(name: str) -> None:
    shown = shown_name(name)
    assert shown.isprintable()
    assert len(shown) < 1100
    shown.encode()
