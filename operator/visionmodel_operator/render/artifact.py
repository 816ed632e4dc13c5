"""ConfigMap `artifact-<key>`: the namespace's memory that an artifact exists, and which gates it met.

Shared by the VisionModels of a namespace, so none of them owns it; the resync deletes it when nobody keeps it.

Keys of its data:
    summary.json           the report, without any verdict
    gate-<gate key>.json   {"gates": [...], "failure": {...}} of one verdict; `failure` only where it failed
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from visionmodel_contract.conversion import Failure, GateResult, ReportSummary
from visionmodel_contract.exits import ExitCode
from visionmodel_operator.core import names
from visionmodel_operator.core.actions import ForgetArtifact, RecordArtifact
from visionmodel_operator.core.operations import Apply, Delete, Operation
from visionmodel_operator.core.snapshot import Snapshot

SUMMARY_KEY: Final = "summary.json"
GATE_EXIT_CODES: Final = frozenset({ExitCode.PARITY_FAILED, ExitCode.GATE_FAILED})
"""Failures that judge an artifact and leave it to other gates."""


def verdict_key(gate_key: str) -> str:
    """Return the data key of one verdict."""
    return f"gate-{gate_key}.json"


def record_artifact(action: RecordArtifact, snapshot: Snapshot) -> tuple[Operation, ...]:
    """Return the ConfigMap with this report, and with the verdicts of other gates that were known before.

    A missed gate is remembered under its own key alone: the same artifact under other goals is judged anew.
    """
    known = snapshot.artifacts.get(action.key)
    verdicts = dict(known.verdicts) if known else {}
    failures = dict(known.gate_failures) if known else {}
    failure = action.summary.failure
    is_gate_failure = failure is not None and failure.exit_code in GATE_EXIT_CODES
    if action.gate_key and (failure is None or is_gate_failure):
        verdicts[action.gate_key] = action.summary.gates
        failures.pop(action.gate_key, None)
        if failure is not None:
            failures[action.gate_key] = failure
    data = {SUMMARY_KEY: _text(_report(action.summary, known.summary if known else None, gates_only=is_gate_failure))}
    for gate_key in sorted({*verdicts, *failures}):
        data[verdict_key(gate_key)] = _text(_verdict(verdicts.get(gate_key, ()), failures.get(gate_key)))
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.artifact_config(action.key),
            "namespace": snapshot.ref.namespace,
            "labels": {
                "app.kubernetes.io/name": "visionmodel",
                "app.kubernetes.io/component": "artifact",
                "app.kubernetes.io/part-of": "visionmodel",
                "app.kubernetes.io/managed-by": names.MANAGED_BY,
                names.LABEL_ARTIFACT_KEY: action.key,
            },
        },
        "data": data,
    }
    return (Apply(manifest),)


def forget_artifact(action: ForgetArtifact) -> tuple[Operation, ...]:
    """Return the delete of everything remembered under a key."""
    return (Delete("v1", "ConfigMap", names.artifact_config(action.key)),)


def _report(new: ReportSummary, old: ReportSummary | None, *, gates_only: bool) -> dict[str, Any]:
    """Return the report without its verdict: a missed gate says nothing against the artifact itself."""
    if gates_only and new.artifact is None and old is not None:
        new = old
    document: dict[str, Any] = new.model_dump(mode="json", by_alias=True, exclude_none=True)
    for verdict_field in ("gates", "gateKey"):
        document.pop(verdict_field, None)
    if gates_only:
        document.pop("failure", None)
        if new.artifact is not None:
            document["result"] = "Succeeded"
    return document


def _verdict(results: Sequence[GateResult], failure: Failure | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "gates": [result.model_dump(mode="json", by_alias=True, exclude_none=True) for result in results]
    }
    if failure is not None:
        document["failure"] = failure.model_dump(mode="json", by_alias=True, exclude_none=True)
    return document


def _text(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
