"""What a cluster needs of its store: listed by the operator's image, read by the converter that deletes the rest."""

from datetime import datetime
from typing import Final, Literal

from visionmodel_contract.conversion import ContractModel

KEPT_VERSION: Final = 2
"""The first version knew nothing of engines and exports: whoever deletes those must not read it."""


class KeptArtifacts(ContractModel):
    """What must stay, of every namespace that shares the store; an entry does if either names it.

    Attributes:
        keys: of artifacts, engines and exports; everything that a store has under one of them stays.
        digests: by which pods and people were given an entry, whether or not anybody remembers its key.
        listed_at: before the first list was read. What was published or looked up since is not judged by it.
    """

    format_version: Literal[2] = KEPT_VERSION
    keys: frozenset[str]
    digests: frozenset[str] = frozenset()
    listed_at: datetime
