"""What a conversion made and measured, as status shows it and people read it."""

from collections.abc import Sequence

from visionmodel_contract.report import GateResult
from visionmodel_operator.api.status import MAX_ENGINES, ConversionReport, ConversionStatus, EngineStatus
from visionmodel_operator.core.conversion_state import Building, Moved, Ready, Reported
from visionmodel_operator.core.conversions import resolved_verdict


def reported(recorded: ConversionStatus, conversion: Ready) -> ConversionStatus:
    """Return the conversion's status with what was made."""
    made = conversion.artifact
    report = ConversionReport(
        precision=made.precision,
        size_bytes=made.size_bytes,
        nodes_before=made.nodes_before,
        nodes_after=made.nodes_after,
        source_digest=conversion.summary.source_digest,
        calibration_digest=conversion.summary.calibration_digest,
        report_digest=made.report_digest,
        inputs=list(made.inputs),
        outputs=list(made.outputs),
        parity=list(conversion.gates),
        candidates=list(conversion.summary.candidates),
        exports=list(conversion.summary.exports),
        engines=[_engine_status(engine) for engine in conversion.engines],
    )
    done = {"key": conversion.key, "stage": "Done", "progress": 100, "report": report, "message": None}
    return recorded.model_copy(update={**done, "engine_keys": [engine.key for engine in conversion.engines]})


def noted(recorded: ConversionStatus, conversion: Reported | Building | Moved) -> ConversionStatus:
    """Return the conversion's status with the keys whose records must be kept until it is done.

    Those are the key of the record that is about to be written, or of the engines that others wait for. Where the
    artifact must be prepared again, the store that the platform has left is noted too, before that begins.
    """
    if isinstance(conversion, Moved):
        return _with_engines(recorded, conversion.engines).model_copy(update={"left_store": conversion.store})
    if isinstance(conversion, Building):
        return _with_engines(recorded, conversion.engines)
    if conversion.is_engine:
        return _with_engines(recorded, (conversion.key,))
    answered = {"key": conversion.key, "verdict": resolved_verdict(conversion.summary)}
    return recorded.model_copy(update=answered)


def prepared_again_in_words(conversion: ConversionStatus) -> str:
    """Return why an artifact that is known is prepared once more."""
    return (
        f"The artifact of revision {conversion.revision} lies in {conversion.left_store}, which the platform has left;"
        " it is prepared again, for engines are built where they are kept."
    )


def _with_engines(recorded: ConversionStatus, keys: tuple[str, ...]) -> ConversionStatus:
    others = [key for key in recorded.engine_keys if key not in keys]
    return recorded.model_copy(update={"engine_keys": [*others, *keys][-MAX_ENGINES:]})


def _engine_status(engine: Ready) -> EngineStatus:
    found = engine.summary.engine
    assert found is not None, "an engine's record holds what its Job measured"
    return EngineStatus(
        product=found.target.product,
        compute_capability=found.target.compute_capability,
        tensorrt_version=found.target.tensorrt,
        digest=engine.artifact.digest,
        size_bytes=engine.artifact.size_bytes,
        precision_share=found.share.compute,
        p50_ms=found.p50_ms,
        p99_ms=found.p99_ms,
        per_second=found.per_second,
        device_memory_bytes=found.device_memory_bytes,
        gates=list(engine.gates),
    )


def goals_in_words(gates: Sequence[GateResult]) -> str:
    """Return what was measured against which goal, for people."""
    goals = ", ".join(f"{gate.metric} {gate.value:.4g} ({gate.goal} {gate.limit:g})" for gate in gates)
    return goals or "The artifact agrees with its source."
