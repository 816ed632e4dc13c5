"""What a store of ours holds: the kinds of entry and their names, in one place. A kind in `KINDS` is collected.

Everything of such a kind appears completely or not at all, never changes, is marked whenever it is published or looked
up, and is collected by one rule: nothing in the cluster names it, and it was not used for the minimum age.
"""

import re
from dataclasses import dataclass
from typing import Final

from visionmodel_contract.keys import KEY_HEX_DIGITS
from visionmodel_converter.store.image import ARTIFACT_FILES, ENGINE_FILES


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of entry.

    Attributes:
        prefix: of its names, which end with a dash and a key.
        served: the files that pods load; none where no pod ever gets it.
    """

    prefix: str
    served: tuple[str, ...] = ()

    def name(self, key: str) -> str:
        """Return the name of the entry of a key."""
        return f"{self.prefix}-{key}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A name of ours, read."""

    kind: Kind
    key: str

    @property
    def name(self) -> str:
        """The name in the store."""
        return self.kind.name(self.key)


PREPARED: Final = Kind("prepare", ARTIFACT_FILES)
"""An ONNX artifact, under its prepare key."""
ENGINE: Final = Kind("engine", ENGINE_FILES)
"""A TensorRT engine, under its engine key."""
EXPORT: Final = Kind("export")
"""A model for edge devices, under its export key."""
TIMINGS: Final = Kind("timing")
"""TensorRT's timings for one target: a cache, which is replaced and never marked, and so none of those below."""
KINDS: Final = {kind.prefix: kind for kind in (PREPARED, ENGINE, EXPORT)}
NAME: Final = re.compile(rf"(?P<kind>{'|'.join(KINDS)})-(?P<key>[0-9a-f]{{{KEY_HEX_DIGITS}}})(?=-|$)")


def entry_of(name: str) -> Entry | None:
    """Return what a name stands for; None for whatever else lies in a store, which is nobody's to touch."""
    found = NAME.fullmatch(name)
    return Entry(KINDS[found["kind"]], found["key"]) if found else None


def entry_that_begins(text: str) -> Entry | None:
    """Return the entry whose name a text begins with, as the tags of a registry do."""
    found = NAME.match(text)
    return Entry(KINDS[found["kind"]], found["key"]) if found else None
