"""Which artifacts a cluster needs: listed by the operator's image, read by the converter that deletes the rest."""

from datetime import datetime
from typing import Literal

from visionmodel_contract.conversion import FORMAT_VERSION, ContractModel


class KeptArtifacts(ContractModel):
    """The keys that must stay, of every namespace that shares the store.

    Attributes:
        keys: prepare keys; everything that a store has under one of them stays.
        listed_at: before the first list was read. What was published or looked up since is not judged by it.
    """

    format_version: Literal[1] = FORMAT_VERSION
    keys: frozenset[str]
    listed_at: datetime
