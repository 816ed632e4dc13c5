"""ConfigMap `artifact-<key>`: the namespace's memory that an artifact exists, and which gates it met.

Shared by the VisionModels of a namespace, so none of them owns it; the resync deletes it when nobody keeps it.
"""

from dataclasses import replace

from visionmodel_contract.report import ReportSummary
from visionmodel_operator.core import names
from visionmodel_operator.core.actions import ForgetFailure, RecordArtifact
from visionmodel_operator.core.artifact_record import data_from_artifact
from visionmodel_operator.core.conversions import GATE_EXIT_CODES
from visionmodel_operator.core.operations import Apply, Delete, Manifest, Operation
from visionmodel_operator.core.snapshot import KnownArtifact, Snapshot


def record_artifact(action: RecordArtifact, snapshot: Snapshot) -> tuple[Operation, ...]:
    """Return the ConfigMap with this report, and with the verdicts of other gates over the same bytes.

    A missed gate is remembered under its own key alone: the same artifact under other goals is judged anew.
    """
    known = snapshot.artifacts.get(action.key)
    is_judged = known is not None and not _is_other_file(action.summary, known.summary)
    verdicts = dict(known.verdicts) if known and is_judged else {}
    failures = dict(known.gate_failures) if known and is_judged else {}
    failure = action.summary.failure
    is_gate_failure = failure is not None and failure.exit_code in GATE_EXIT_CODES
    if action.gate_key and (failure is None or is_gate_failure):
        # A Job that arrived at a verdict which was known already brings no numbers.
        verdicts[action.gate_key] = action.summary.gates or verdicts.get(action.gate_key, ())
        failures.pop(action.gate_key, None)
        if failure is not None:
            failures[action.gate_key] = failure
    summary = action.summary
    if failure is not None and (is_gate_failure or (known is not None and known.summary.artifact is not None)):
        summary = _report(action.summary, known.summary if known else None)
    summary = _with_exports(summary, known.summary if known else None)
    return (Apply(_config_map(KnownArtifact(action.key, summary, verdicts, failures), snapshot)),)


def forget_failure(action: ForgetFailure, snapshot: Snapshot) -> tuple[Operation, ...]:
    """Return the delete of a failed conversion's record, else the record without the verdict of these gates."""
    known = snapshot.artifacts.get(action.key)
    if known is None or known.failure is not None:
        return (Delete("v1", "ConfigMap", names.artifact_config(action.key)),)
    verdicts, failures = dict(known.verdicts), dict(known.gate_failures)
    verdicts.pop(action.gate_key, None)
    failures.pop(action.gate_key, None)
    return (Apply(_config_map(replace(known, verdicts=verdicts, gate_failures=failures), snapshot)),)


def _config_map(known: KnownArtifact, snapshot: Snapshot) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.artifact_config(known.key),
            "namespace": snapshot.ref.namespace,
            "labels": {
                "app.kubernetes.io/name": "visionmodel",
                "app.kubernetes.io/component": "artifact",
                "app.kubernetes.io/part-of": "visionmodel",
                names.LABEL_MANAGED_BY: names.MANAGED_BY,
                names.LABEL_ARTIFACT_KEY: known.key,
            },
        },
        "data": data_from_artifact(known),
    }


def _is_other_file(new: ReportSummary, old: ReportSummary) -> bool:
    """Whether a Job made other bytes under the same key; where one of the reports has no artifact nothing says so."""
    if new.artifact is None or old.artifact is None:
        return False
    return new.artifact.model_digest != old.artifact.model_digest


def _with_exports(new: ReportSummary, old: ReportSummary | None) -> ReportSummary:
    """Keep the exports that another VisionModel, or another spec, had made of the same file."""
    if old is None or old.artifact is None or new.artifact is None or _is_other_file(new, old):
        return new
    by_format = {export.format: export for export in (*old.exports, *new.exports)}
    return new.model_copy(update={"exports": tuple(by_format[name] for name in sorted(by_format))})


def _report(new: ReportSummary, old: ReportSummary | None) -> ReportSummary:
    """Return the report of an artifact that exists: a missed gate, or data that fails, says nothing against it."""
    made = old if new.artifact is None and old is not None else new
    result = "Succeeded" if made.artifact is not None else made.result
    return made.model_copy(update={"failure": None, "result": result})
