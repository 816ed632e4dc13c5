"""The keys of the content-addressed cache, computed by both sides from the same bytes.

A key names what goes in (source digest, options, pipeline version), never who asked or where it lay; gate
verdicts have a key of their own, so that changed goals rerun the gates and not the conversion.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from visionmodel_contract.conversion import (
    PIPELINE_VERSION,
    ContractModel,
    ConversionOptions,
    GatesRequest,
    ImageTask,
    SourceInput,
)
from visionmodel_contract.precision import Precision

KEY_HEX_DIGITS = 32
NO_GATES: Final = GatesRequest()
EXACT: Final = (Precision.FP32,)
"""What is made without looking at data; every other precision is searched until the goals are met."""


def canonical_json(value: Any) -> bytes:
    """Return the one byte string that stands for a JSON value: sorted keys, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(value: Any) -> str:
    """Return the SHA-256 of a JSON value's canonical form, as 64 hex digits."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def prepare_key(
    source_digest: str,
    options: ConversionOptions,
    *,
    inputs: Sequence[SourceInput] = (),
    task: ImageTask | None = None,
    gates: GatesRequest = NO_GATES,
) -> str:
    """Return the artifact key of a prepare conversion.

    Declared inputs enter where there are any; the format does not, because the content shows it. Goals and task enter
    with every precision below FP32: which scales are taken and which nodes stay in FP32 is searched on the data until
    the goals are met, so other goals may make another artifact.
    """
    document = {
        "kind": "prepare",
        "pipelineVersion": PIPELINE_VERSION,
        "source": source_digest,
        "options": _wire(options),
    }
    if inputs:
        document["inputs"] = [_wire(declared) for declared in inputs]
    if options.precisions != EXACT:
        document |= {"gates": _wire(gates), "task": _wire(task)}
    return digest_of(document)[:KEY_HEX_DIGITS]


def gate_key(artifact_key: str, gates: GatesRequest, *, task: ImageTask | None = None) -> str:
    """Return the key of a gate verdict over one artifact.

    The dataset enters by URI: like an unpinned model it is read once per verdict, and a dataset that changes
    under the same name needs a new name to be judged again. The task enters, by which odd images are tried too.
    """
    document = {"artifact": artifact_key, "gates": _wire(gates)}
    if task is not None:
        document["task"] = _wire(task)
    return digest_of(document)[:KEY_HEX_DIGITS]


def _wire(model: ContractModel | None) -> Any:
    return None if model is None else model.model_dump(mode="json", by_alias=True)
