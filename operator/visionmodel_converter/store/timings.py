"""TensorRT's timings of kernels in any store: one cache for each target, under `timing-<key>`, shared by its builds.

No artifact: it is replaced as it grows, nothing refers to it, and a build without it only takes longer. So whatever is
wrong with it is told and never fails a build. It begins with its own digest, since stores do not verify what they may
replace; what is damaged does not reach TensorRT. Of two builds at once the larger cache stays, or the later one where
both write in the same moment: what the other has timed is timed again some day.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from visionmodel_contract.build import EngineTarget
from visionmodel_contract.keys import timing_key
from visionmodel_converter.failures import ConversionFailure, Reason, first_line
from visionmodel_converter.store.entries import TIMINGS
from visionmodel_converter.store.image import sha256_of
from visionmodel_converter.store.port import ArtifactStore
from visionmodel_converter.store.published import MAX_CACHE_BYTES

SEAL_BYTES: Final = len(sha256_of(b"")) + 1
"""A digest and the end of its line, before the timings."""


@dataclass(frozen=True, slots=True)
class Timings:
    """What a store has for a target.

    Attributes:
        content: for TensorRT; empty where there is nothing that can be used.
        trouble: why not, where there is something.
        may_be_replaced: it is known what would be lost.
    """

    content: bytes = b""
    trouble: str | None = None
    may_be_replaced: bool = True


def find_timings(store: ArtifactStore, target: EngineTarget, work: Path) -> Timings:
    """Return the timings of earlier builds for a target."""
    name = TIMINGS.name(timing_key(target))
    try:
        sealed = store.read_cache(name, work)
    except (ConversionFailure, OSError) as error:
        reason = _reason(error)
        return Timings(trouble=f"{name} was not read ({reason})", may_be_replaced=reason == Reason.ARTIFACT_CORRUPT)
    if sealed is None:
        return Timings()
    seal, content = sealed[:SEAL_BYTES], sealed[SEAL_BYTES:]
    if seal != _seal(content):
        return Timings(trouble=f"{name} was not used (it is not what was written)")
    return Timings(content)


def keep_timings(
    store: ArtifactStore, target: EngineTarget, left: bytes, *, refused: bytes = b"", work: Path
) -> str | None:
    """Keep what a build has left, where it is more than the store has by then; returns why not, where that is trouble.

    What TensorRT has `refused` makes room for whatever there is.
    """
    name = TIMINGS.name(timing_key(target))
    if len(left) > MAX_CACHE_BYTES - SEAL_BYTES:
        return f"{name} was not kept ({len(left)} bytes are too many)"
    there = find_timings(store, target, work / "there")
    if not there.may_be_replaced:
        return there.trouble
    is_refused = bool(refused) and there.content == refused
    if len(left) <= len(there.content) and not is_refused:
        return None
    try:
        store.write_cache(name, _seal(left) + left, work)
    except (ConversionFailure, OSError) as error:
        return f"{name} was not kept ({_reason(error)})"
    return None


def _seal(content: bytes) -> bytes:
    return f"{sha256_of(content)}\n".encode()


def _reason(error: ConversionFailure | OSError) -> str:
    return error.reason if isinstance(error, ConversionFailure) else first_line(error)
