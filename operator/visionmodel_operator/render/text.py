"""The only text templates of the project: config.pbtxt and PromQL.

Every string that enters a template must have gone through a quoting filter: a plain one is refused while
rendering, so that a tensor or label name with a quote in it can never become syntax.
"""

import re
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES: Final = Path(__file__).parent / "templates"
_PLAIN: Final = re.compile(r"[ !#-&(-\[\]-~]")
"""Printable ASCII without quotes and backslash."""


class Literal(str):
    """Text that is safe as it stands in the language of the template."""

    __slots__ = ()


def pbtxt_string(value: str) -> Literal:
    """Return a string literal of protobuf's text format; all but plain ASCII as octal bytes of its UTF-8."""
    encoded = "".join(
        character if _PLAIN.fullmatch(character) else "".join(f"\\{byte:03o}" for byte in character.encode())
        for character in value
    )
    return Literal(f'"{encoded}"')


def promql_string(value: str) -> Literal:
    """Return a double-quoted PromQL string; all but plain ASCII as escapes of its UTF-8 bytes."""
    encoded = "".join(
        character if _PLAIN.fullmatch(character) else "".join(f"\\x{byte:02x}" for byte in character.encode())
        for character in value
    )
    return Literal(f'"{encoded}"')


_WORDS: Final = {
    "enum": re.compile(r"[A-Z][A-Z0-9_]*"),
    "duration": re.compile(r"[1-9][0-9]*(ms|s)"),
}


def word(value: str, kind: str) -> Literal:
    """Return an unquoted word of a closed shape: `enum` (TYPE_FP32) or `duration` (90s). Raises ValueError."""
    if _WORDS[kind].fullmatch(value) is None:
        raise ValueError(f"{value!r} is no {kind}")
    return Literal(value)


def _only_safe(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | Literal):
        raise TypeError(f"{value!r} reached a template without a quoting filter")
    return value


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # neither language is HTML; `finalize` refuses what no filter quoted
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_only_safe,
    )
    environment.filters.update(pbtxt=pbtxt_string, promql=promql_string, word=word)
    return environment


_ENVIRONMENT: Final = _environment()


def render_text(template: str, **values: Any) -> str:
    """Return one rendered template of the `templates` folder."""
    return _ENVIRONMENT.get_template(template).render(**values)
