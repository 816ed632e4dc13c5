"""The data of ConfigMap `artifact-<key>`: written by render, read by the adapters, spelled here only.

summary.json           the report, without any verdict
gate-<gate key>.json   {"gates": [...], "failure": {...}} of one verdict; `failure` only where it failed
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from visionmodel_contract.report import Failure, GateResult, ReportSummary
from visionmodel_operator.core.snapshot import KnownArtifact

SUMMARY_KEY: Final = "summary.json"
_PREFIX, _SUFFIX = "gate-", ".json"


def verdict_key(gate_key: str) -> str:
    """Return the data key of one verdict."""
    return f"{_PREFIX}{gate_key}{_SUFFIX}"


def data_from_artifact(known: KnownArtifact) -> dict[str, str]:
    """Return the data that remembers an artifact and its verdicts; pretty, because people read it."""
    of_a_verdict = {"gates": (), "gate_key": None, "asked_gate_key": None, "dataset_digest": None}
    summary = known.summary.model_copy(update=of_a_verdict)
    report = summary.model_dump(mode="json", by_alias=True, exclude_none=True)
    del report["gates"]
    for optional in ("candidates", "exports"):
        if not report[optional]:
            del report[optional]
    data = {SUMMARY_KEY: _text(report)}
    for gate_key in sorted({*known.verdicts, *known.gate_failures}):
        verdict: dict[str, Any] = {"gates": [_wire(gate) for gate in known.verdicts.get(gate_key, ())]}
        if gate_key in known.gate_failures:
            verdict["failure"] = _wire(known.gate_failures[gate_key])
        data[verdict_key(gate_key)] = _text(verdict)
    return data


def artifact_from_data(key: str, data: Mapping[str, str]) -> KnownArtifact | None:
    """Return what the data says; None when it cannot be read, and the artifact is then looked up again by a Job."""
    verdicts: dict[str, tuple[GateResult, ...]] = {}
    failures: dict[str, Failure] = {}
    try:
        summary = ReportSummary.model_validate_json(data.get(SUMMARY_KEY, ""))
        for name, text in data.items():
            if name.startswith(_PREFIX) and name.endswith(_SUFFIX):
                gate_key = name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
                document = json.loads(text)
                verdicts[gate_key] = tuple(GateResult.model_validate(gate) for gate in document["gates"])
                if "failure" in document:
                    failures[gate_key] = Failure.model_validate(document["failure"])
    except (ValueError, KeyError, TypeError):
        return None
    return KnownArtifact(key=key, summary=summary, verdicts=verdicts, gate_failures=failures)


def _wire(model: GateResult | Failure) -> dict[str, Any]:
    document: dict[str, Any] = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    return document


def _text(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False)
