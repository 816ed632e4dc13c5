"""Which names a store, an archive or a model file may give to a file on our disk: plain relative ones, and no others.

Called before anything is written below a folder by a name that somebody else chose.
"""

from collections.abc import Iterable
from typing import Final

MAX_PART_BYTES: Final = 255
MAX_NAME_BYTES: Final = 1024


def fault_of(name: str) -> str | None:
    """Return why a name must not be used below a folder, as the end of a sentence; None for a plain relative one."""
    parts = name.split("/")
    rules = (
        (not name, "is empty"),
        (name.startswith("/"), "is absolute"),
        (".." in parts, "leads out of its folder by '..'"),
        ("\\" in name, "holds a backslash"),
        (any(ord(character) < 32 or ord(character) == 127 for character in name), "holds a control character"),
        (any(0xD800 <= ord(character) <= 0xDFFF for character in name), "is no UTF-8"),
        ("" in parts or "." in parts, "has an empty or '.' part"),
        (_bytes(name) > MAX_NAME_BYTES or any(_bytes(part) > MAX_PART_BYTES for part in parts), "is too long"),
    )
    return next((fault for broken, fault in rules if broken), None)


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))


def clash_of(names: Iterable[str]) -> str | None:
    """Return a name that is there twice, or that is a file and a folder at once; None when all fit side by side."""
    files: set[str] = set()
    for name in names:
        if name in files:
            return name
        files.add(name)
    folders = {name[:index] for name in files for index, character in enumerate(name) if character == "/"}
    return min(files & folders, default=None)


def shown_name(name: str) -> str:
    """Return a foreign name as it may stand in a message: escaped and at most 100 characters."""
    return ascii(name[:100]) if name.isascii() or fault_of(name) else repr(name[:100])
