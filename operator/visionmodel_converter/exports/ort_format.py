"""ORT format: what ONNX Runtime's mobile and web builds load; made and read back by onnxruntime itself."""

from typing import Final

import onnxruntime

from visionmodel_contract.precision import ExportFormat
from visionmodel_contract.runtime import RuntimeOptions
from visionmodel_converter.exports.made import Made, Source, export_failure
from visionmodel_converter.failures import ConversionFailure
from visionmodel_converter.graph.session import load_session, run_of, session_options

FILE: Final = "model.ort"


def export_ort(source: Source) -> Made:
    """Return the file, run by a session that is opened from it. Raises EdgeExportFailed.

    Optimised as far as every CPU can follow: the highest level would fix memory layouts of this machine's processor.
    """
    path = source.folder / FILE
    settings = session_options(RuntimeOptions(source.threads))
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    settings.optimized_model_filepath = str(path)
    settings.add_session_config_entry("session.save_model_format", "ORT")
    shown = f"its {FILE}"
    try:
        load_session(source.model.serialized(), settings, shown="the artifact")
        reader = session_options(RuntimeOptions(source.threads))
        run = run_of(load_session(path.read_bytes(), reader, shown=shown), shown)
        outputs = [run(batch) for batch in source.inputs]
    except ConversionFailure as failure:
        raise export_failure(ExportFormat.ORT, failure.message, "serve another graph") from failure
    return Made({FILE: path}, outputs, f"onnxruntime {onnxruntime.__version__}")
