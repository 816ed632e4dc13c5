"""OpenVINO IR: a graph as XML and its weights beside it, made and read back by OpenVINO."""

from typing import Final

from visionmodel_contract.precision import ExportFormat
from visionmodel_contract.runtime import RuntimeOptions
from visionmodel_converter.exports.made import Made, Source, export_failure
from visionmodel_converter.failures import ConversionFailure
from visionmodel_converter.graph.openvino import compile_ir, save_ir

GRAPH, WEIGHTS = "model.xml", "model.bin"
FILES: Final = (WEIGHTS, GRAPH)


def export_openvino(source: Source) -> Made:
    """Return the two files, run by OpenVINO on the CPU. Raises EdgeExportFailed or BackendNotInstalled."""
    graph = source.folder / GRAPH
    try:
        save_ir(source.model.serialized(), graph, shown="the artifact")
        opened = compile_ir(
            graph, source.model.proto.graph, shown=f"its {GRAPH}", options=RuntimeOptions(source.threads)
        )
        outputs = [opened.run(batch) for batch in source.inputs]
    except ConversionFailure as failure:
        raise export_failure(ExportFormat.OPENVINO, failure.message, "serve another graph") from failure
    return Made({name: source.folder / name for name in FILES}, outputs, opened.version)
