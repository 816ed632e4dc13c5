"""A document keeps what a person wrote around the measured part."""

from pathlib import Path

from bench.published import publish


def test_only_what_is_between_the_marks_is_replaced(tmp_path: Path) -> None:
    document = tmp_path / "table.md"
    document.write_text("# Title\n\n[old\nfigures]\n\nWords.\n", encoding="utf-8")
    publish(document, "[new]", ("[", "]"))
    publish(document, "[newer]", ("[", "]"))
    assert document.read_text(encoding="utf-8") == "# Title\n\n[newer]\n\nWords.\n"
