"""Which stages a prepare or build Job runs, in which order, and how far along each one is: pure."""

from enum import StrEnum
from typing import Final


class Stage(StrEnum):
    """One visible step of the Job; the name is what the operator shows while it runs."""

    FETCH = "Fetch"
    LOOKUP = "Lookup"
    LOAD = "Load"
    CHECK = "Check"
    SIMPLIFY = "Simplify"
    PRUNE = "Prune"
    BUILD = "Build"
    PARITY = "Parity"
    SPEED = "Speed"
    GATE = "Gate"
    PUBLISH = "Publish"
    EXPORT = "Export"


FIRST_STAGES: Final = (Stage.FETCH, Stage.LOOKUP)
"""What every Job does: the key needs the source's digest, and the registry may know the key already."""

STARTS_AT: Final[dict[Stage, int]] = {
    Stage.FETCH: 0,
    Stage.LOOKUP: 30,
    Stage.LOAD: 32,
    Stage.CHECK: 35,
    Stage.SIMPLIFY: 50,
    Stage.BUILD: 40,
    Stage.PRUNE: 53,
    Stage.PARITY: 55,
    Stage.SPEED: 75,
    Stage.GATE: 85,
    Stage.PUBLISH: 90,
    Stage.EXPORT: 94,
}
"""Progress in percent at which a stage starts; skipped stages make it jump, it never falls."""
DONE: Final = 100


def stages_after_lookup(
    *,
    published: bool,
    gate_passed: bool,
    simplify: bool,
    is_onnx: bool = True,
    prunes: bool = False,
    exports: bool = False,
) -> tuple[Stage, ...]:
    """Return the stages left once the key and the registry's answer are known.

    A published artifact is not made again: with a known verdict nothing is left, with changed goals only the
    gates are. Gates come before Publish, so that what misses a goal never becomes visible. A source that is no ONNX
    file is loaded whenever its graph is needed. Exports are made of what was published, and belong to the verdict.
    """
    reading = (Stage.CHECK,) if is_onnx else (Stage.LOAD, Stage.CHECK)
    last = (Stage.EXPORT,) if exports else ()
    if published:
        return () if gate_passed else (*reading, Stage.PARITY, Stage.GATE, *last)
    graph = (*((Stage.SIMPLIFY,) if simplify else ()), *((Stage.PRUNE,) if prunes else ()))
    return (*reading, *graph, Stage.PARITY, Stage.GATE, Stage.PUBLISH, *last)


def stages_of_build(*, published: bool, gate_passed: bool) -> tuple[Stage, ...]:
    """Return the stages of a build Job left once the registry's answer is known: as for a prepare Job."""
    proving = (Stage.PARITY, Stage.SPEED, Stage.GATE)
    if published:
        return () if gate_passed else proving
    return (Stage.BUILD, *proving, Stage.PUBLISH)
