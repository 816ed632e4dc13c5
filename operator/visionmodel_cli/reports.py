"""report.json and provenance.json as a person reads them."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.pretty import Pretty
from rich.rule import Rule


def report_view(documents: Mapping[str, Any]) -> RenderableType:
    """Return every document under its name; nothing is left out, because the report is what is asked for."""
    parts: list[RenderableType] = []
    for name, document in documents.items():
        parts += [Rule(name, align="left"), Pretty(document, expand_all=False, max_length=None)]
    return Group(*parts)
