"""The keys of the content-addressed cache, computed by both sides from the same bytes.

A key names what goes in (source digest, options, pipeline version), never who asked or where it lay; gate
verdicts have a key of their own, so that changed goals rerun the gates and not the conversion.
"""

import hashlib
import json
from typing import Any

from visionmodel_contract.conversion import PIPELINE_VERSION, ConversionOptions, ParityRequest

KEY_HEX_DIGITS = 32


def canonical_json(value: Any) -> bytes:
    """Return the one byte string that stands for a JSON value: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a JSON value's canonical form, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def prepare_key(source_digest: str, options: ConversionOptions) -> str:
    """Return the artifact key of a prepare conversion."""
    document = {
        "kind": "prepare",
        "pipelineVersion": PIPELINE_VERSION,
        "source": source_digest,
        "options": options.model_dump(mode="json", by_alias=True),
    }
    return digest_of(document)[:KEY_HEX_DIGITS]


def gate_key(artifact_key: str, parity: ParityRequest) -> str:
    """Return the key of a gate verdict over one artifact.

    The dataset enters by URI: like an unpinned model it is read once per verdict, and a dataset that changes
    under the same name needs a new name to be judged again.
    """
    document = {"artifact": artifact_key, "parity": parity.model_dump(mode="json", by_alias=True)}
    return digest_of(document)[:KEY_HEX_DIGITS]
