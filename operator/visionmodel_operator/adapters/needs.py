"""What the objects of a cluster name of the store; pure, from the look of their text.

A record that this version cannot read, or a workload that an older one rendered, still keeps what it names.
"""

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Self

from visionmodel_contract.keys import KEY_HEX_DIGITS
from visionmodel_operator.adapters.reading import Raw, field_of, label_of
from visionmodel_operator.adapters.translation import kept_artifact_keys
from visionmodel_operator.core.names import LABEL_ARTIFACT_KEY

KEY: Final = re.compile(rf"(?<![0-9a-f])[0-9a-f]{{{KEY_HEX_DIGITS}}}(?![0-9a-f])")
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}(?![0-9a-f])")


@dataclass(frozen=True)
class Needs:
    """Keys and digests of what must stay in the store; some of them name other things, which does no harm."""

    keys: frozenset[str] = frozenset()
    digests: frozenset[str] = frozenset()

    def __or__(self, other: Self) -> "Needs":
        """Return both."""
        return Needs(self.keys | other.keys, self.digests | other.digests)


def needs_of_config(config: Raw) -> Needs:
    """Return what a ConfigMap names: an artifact's record its exports or engine, a revision's its pods' files."""
    return _named_in([field_of(config, "data", default={}), label_of(config, LABEL_ARTIFACT_KEY)])


def needs_of_model(model: Raw) -> Needs:
    """Return what a VisionModel names: what it keeps, and what its newest conversion made."""
    made = field_of(model, "status", "conversion", default={})
    return Needs(kept_artifact_keys(model)) | _named_in([made, field_of(model, "status", "revisions", default=[])])


def _named_in(document: Any) -> Needs:
    text = json.dumps(document, ensure_ascii=False)
    return Needs(frozenset(KEY.findall(text)), frozenset(DIGEST.findall(text)))
