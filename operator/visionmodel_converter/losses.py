"""What a loss of an engine counts from: the model as it came, where the report of its ONNX artifact has the value."""

from dataclasses import replace

from visionmodel_contract.conversion import MetricGoal
from visionmodel_contract.precision import Goal
from visionmodel_converter.data import Data
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.goals import LABELLED_METRICS, Measured
from visionmodel_converter.report import FullReport
from visionmodel_converter.store.entries import PREPARED


def against_source(measured: dict[str, Measured], report: FullReport, data: Data | None) -> dict[str, Measured]:
    """Return labelled metrics beside the value of the model as it came, where the artifact's report has it.

    Otherwise a loss in the artifact and one in the engine would each be allowed in full. The same data only: another
    dataset has another value.
    """
    known = _source_values(report, data)
    return {name: replace(one, source_value=known[name]) if name in known else one for name, one in measured.items()}


def refuse_unknown_source(goals: tuple[MetricGoal, ...], report: FullReport, data: Data | None) -> None:
    """Raise MetricNotApplicable for a goal that allows a loss of a pruned artifact whose source's value nobody knows.

    Beside the artifact alone, what pruning has cost already would be allowed once more.
    """
    known = _source_values(report, data)
    relative = [goal.name for goal in goals if goal.name in LABELLED_METRICS and goal.goal is not Goal.THRESHOLD]
    unknown = [name for name in relative if name not in known]
    if report.pruning is None or not unknown:
        return
    judged = "no dataset" if report.dataset_uri is None else f"{report.dataset_uri} ({report.dataset_digest})"
    raise ConversionFailure(
        Reason.METRIC_NOT_APPLICABLE,
        f"gates.parity.metrics: {', '.join(unknown)} may lose so much of the source's value, which is not known here:"
        f" the artifact is pruned, and {PREPARED.name(report.key)} was judged on {judged}; give the goal as a"
        " threshold, or name the same data and metrics",
    )


def _source_values(report: FullReport, data: Data | None) -> dict[str, float]:
    """Return the labelled metrics of the model as it came on these data, as far as the artifact's report has them."""
    if data is None or data.file.digest != report.dataset_digest:
        return {}
    return {
        gate.metric: gate.source_value
        for gate in report.gates
        if gate.metric in LABELLED_METRICS and gate.source_value is not None
    }
