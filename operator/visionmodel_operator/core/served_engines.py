"""The engines of a revision that is stored: its template names them, and is never rendered again.

What another image of today would build in their place is not what comes back, and must not hold it up.
"""

from dataclasses import replace

from visionmodel_contract.keys import gate_key
from visionmodel_operator.core.build_request import Build
from visionmodel_operator.core.memory import known_revision
from visionmodel_operator.core.snapshot import KnownArtifact, Snapshot


def served_builds(snapshot: Snapshot, revision: str, builds: tuple[Build, ...]) -> tuple[Build, ...]:
    """Return the builds of a revision, each under the record of the engine that a stored workload serves.

    An engine whose record was lost is built as any other.
    """
    workload, known = snapshot.workloads.get(revision), known_revision(snapshot.status, revision)
    if workload is None or not workload.stored or known is None or len(known.engine_keys) != len(builds):
        return builds
    return tuple(
        _served(build, snapshot.artifacts.get(key)) for build, key in zip(builds, known.engine_keys, strict=True)
    )


def _served(build: Build, engine: KnownArtifact | None) -> Build:
    """Return the build under an engine's record, whose verdict is there: no Job is ever started for it."""
    request = build.request
    if engine is None or engine.summary.artifact is None or engine.key == request.key:
        return build
    asked = gate_key(engine.key, request.gates, task=request.task)
    # Edited gates cannot be asked any more: only the TensorRT that built an engine can run it.
    passed = [given for given in engine.verdicts if given not in engine.gate_failures]
    verdict = asked if asked in engine.verdicts or asked in engine.gate_failures else next(iter(passed), None)
    if verdict is None:
        return build
    return replace(build, request=request.model_copy(update={"key": engine.key, "gate_key": verdict}))
