"""The generated CRD: its shape, its completeness, and that the written files are the ones it gives."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts.generate import CHART_FILE, chart_template, crd_yaml, generated_files, reference, stale_files

from schema.corpus import PATTERNS, Case, all_cases, nodes, rule_messages
from schema.rules import RULES
from schema.specs import FULL, MINIMAL, spec_schema
from visionmodel_operator.api.base import OBJECT_NAME_MAX_LENGTH
from visionmodel_operator.api.crd import CRD_LIMIT_BYTES, crd_document, object_schema
from visionmodel_operator.api.schema import with_defaults
from visionmodel_operator.api.v1alpha1 import parse_spec
from visionmodel_operator.core import names
from visionmodel_operator.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.yaml"))
CRD = crd_document()
VERSION = CRD["spec"]["versions"][0]


def walk(path: str, schema: Any) -> Iterator[tuple[str, Any]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from walk(f"{path}.{name}", child)
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from walk(path + mark, schema[key])


WHOLE = dict(walk("", object_schema()))


def test_document_has_the_names_users_type() -> None:
    assert {**CRD, "spec": {**CRD["spec"], "versions": [VERSION["name"]]}} == {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "visionmodels.visionmodel.dev"},
        "spec": {
            "group": "visionmodel.dev",
            "scope": "Namespaced",
            "names": {
                "kind": "VisionModel",
                "listKind": "VisionModelList",
                "plural": "visionmodels",
                "singular": "visionmodel",
                "shortNames": ["vmodel"],
                "categories": ["vision"],
            },
            "versions": ["v1alpha1"],
        },
    }


def test_version_is_served_stored_and_scaled() -> None:
    assert {key: VERSION[key] for key in ("served", "storage", "subresources", "selectableFields")} == {
        "served": True,
        "storage": True,
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.serving.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "selectableFields": [{"jsonPath": ".status.phase"}],
    }


def test_columns() -> None:
    columns = [(c["name"], c["type"], c.get("priority", 0)) for c in VERSION["additionalPrinterColumns"]]
    assert columns == [
        ("Ready", "string", 0),
        ("Phase", "string", 0),
        ("Stable", "string", 0),
        ("Canary", "string", 0),
        ("Weight", "number", 0),
        ("Age", "date", 0),
        ("Precision", "string", 1),
        ("Backend", "string", 1),
        ("URL", "string", 1),
        ("Reason", "string", 1),
    ]


def test_every_column_and_subresource_path_is_in_the_schema() -> None:
    paths = [c["jsonPath"].split("[")[0] for c in VERSION["additionalPrinterColumns"]]
    paths += [*VERSION["subresources"]["scale"].values(), *(f["jsonPath"] for f in VERSION["selectableFields"])]
    assert [p for p in paths if p not in WHOLE and not p.startswith(".metadata.")] == []


@pytest.mark.parametrize("path", [p for p in WHOLE if "." in p and not p.endswith(("]", "}", ".metadata"))])
def test_field_is_described(path: str) -> None:
    assert WHOLE[path]["description"].endswith(".")


@pytest.mark.parametrize(
    "path", [p for p, s in WHOLE.items() if s["type"] in ("string", "array") and p not in (".apiVersion", ".kind")]
)
def test_text_or_list_is_bounded(path: str) -> None:
    assert {"maxLength", "maxItems", "enum", "format"} & WHOLE[path].keys()


@pytest.mark.parametrize("path", [p for p, s in WHOLE.items() if "additionalProperties" in s])
def test_map_is_bounded(path: str) -> None:
    assert WHOLE[path]["maxProperties"] <= 32


@pytest.mark.parametrize("path", [p for p, s in WHOLE.items() if s["type"] == "array"])
def test_list_says_how_it_is_merged(path: str) -> None:
    assert WHOLE[path]["x-kubernetes-list-type"] in ("atomic", "map", "set")


def test_lists_that_are_maps() -> None:
    maps = {p: s["x-kubernetes-list-map-keys"] for p, s in WHOLE.items() if s.get("x-kubernetes-list-type") == "map"}
    assert maps == {
        ".spec.conversion.dynamicShapes": ["input", "axis"],
        ".spec.serving.pod.env": ["name"],
        ".spec.rollout.analysis.metrics": ["name"],
        ".status.conditions": ["type"],
    }


def test_lists_that_are_sets() -> None:
    assert {p for p, s in WHOLE.items() if s.get("x-kubernetes-list-type") == "set"} == {".spec.conversion.exports"}


def test_numbers_of_the_spec_are_bounded() -> None:
    free = [
        p
        for p, s in WHOLE.items()
        if p.startswith(".spec") and s["type"] in ("integer", "number") and not {"minimum", "maximum"} <= s.keys()
    ]
    metric = ".spec.rollout.analysis.metrics[]"
    assert free == [f"{metric}.thresholdRange.min", f"{metric}.thresholdRange.max"]


def test_status_has_no_defaults_and_replicas_neither() -> None:
    assert [p for p, s in WHOLE.items() if p.startswith(".status") and "default" in s] == []
    assert "default" not in WHOLE[".spec.serving.replicas"]


def test_objects_whose_members_are_all_optional_default_to_empty() -> None:
    empty = {p for p, s in WHOLE.items() if s.get("default") == {}}
    assert empty == {
        ".spec.conversion",
        ".spec.conversion.gates",
        ".spec.conversion.gates.parity",
        ".spec.serving",
        ".spec.serving.resources",
        ".spec.serving.batching",
        ".spec.serving.pod",
        ".spec.traffic",
        ".spec.rollout",
        ".spec.rollout.analysis",
        ".spec.rollbackWindow",
    }


def test_the_smallest_spec_with_the_schemas_defaults_is_pydantics() -> None:
    assert parse_spec(with_defaults(spec_schema(), MINIMAL)) == parse_spec(MINIMAL)


def test_only_keywords_of_the_dialect() -> None:
    known = {
        *("type", "description", "default", "enum", "format", "pattern", "properties", "required", "items"),
        *("minLength", "maxLength", "minItems", "maxItems", "maxProperties", "additionalProperties"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
        *("x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
        "x-kubernetes-preserve-unknown-fields",
    }
    assert set().union(*(schema.keys() for schema in WHOLE.values())) <= known


def test_size() -> None:
    assert len(crd_yaml(CRD).encode()) < CRD_LIMIT_BYTES


@pytest.mark.parametrize("attempt", [1, 2, 999])
@pytest.mark.parametrize("length", [1, 40, 44, OBJECT_NAME_MAX_LENGTH])
def test_name_limit_is_the_one_that_children_need(length: int, attempt: int) -> None:
    """Names of Services and of Jobs, which become labels of their pods, have at most 63 characters."""
    name, other = "a" * length, "a" * (length - 1) + "b"
    job = names.prepare_job(name, "0" * 10, attempt)
    assert len(job) <= 63
    assert len(names.revision_service(name, "0" * 10)) <= 63
    assert job != names.prepare_job(other, "0" * 10, attempt)
    assert job.startswith(name[:30])


def test_corpus_knows_every_pattern_and_rule() -> None:
    assert {node.schema["pattern"] for node in nodes() if "pattern" in node.schema} == PATTERNS.keys()
    assert rule_messages(spec_schema()) == RULES.keys()
    assert all(cases.accepted and cases.refused for cases in RULES.values())
    assert len({case.name for case in all_cases()}) == len(all_cases())


@pytest.mark.parametrize("case", [c for c in all_cases() if c.accepted is not None], ids=lambda case: case.name)
def test_pydantic_gives_the_expected_verdict(case: Case) -> None:
    try:
        parse_spec(case.spec)
    except UserError:
        accepted = False
    else:
        accepted = True
    assert accepted is case.accepted


def test_full_spec_sets_every_field() -> None:
    assert len(list(nodes())) > 90
    assert parse_spec(FULL).to_wire()["serving"] == FULL["serving"]


@pytest.mark.parametrize("path", EXAMPLES or [pytest.param(None, marks=pytest.mark.skip(reason="no examples yet"))])
def test_example_is_valid_and_has_no_unknown_field(path: Path) -> None:
    documents = [d for d in yaml.safe_load_all(path.read_text(encoding="utf-8")) if d["kind"] == "VisionModel"]
    assert documents
    for document in documents:
        parse_spec(document["spec"])
        assert unknown_fields("spec", document["spec"], spec_schema()) == []


def unknown_fields(path: str, value: Any, schema: Any) -> list[str]:
    if isinstance(value, list):
        return [fault for item in value for fault in unknown_fields(f"{path}[]", item, schema["items"])]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    properties = schema["properties"]
    found = [f"{path}.{name}" for name in value if name not in properties]
    return found + [
        fault
        for name, item in value.items()
        if name in properties
        for fault in unknown_fields(f"{path}.{name}", item, properties[name])
    ]


def test_written_files_are_fresh() -> None:
    assert stale_files(REPOSITORY) == []


def test_missing_file_is_stale(tmp_path: Path) -> None:
    assert stale_files(tmp_path) == list(generated_files())


def test_yaml_reads_back_as_the_document() -> None:
    assert yaml.safe_load(crd_yaml(CRD)) == CRD


def rendered(*, keep: bool) -> Any:
    """The chart's template with its few actions carried out by hand; Helm itself does it in the chart's own tests."""
    lines = chart_template(CRD).splitlines()
    guard = lines.index("{{- if .Values.crds.keep }}")
    end = lines.index("{{- end }}")
    kept = lines[:guard] + (lines[guard + 1 : end] if keep else []) + lines[end + 1 :]
    text = "\n".join(line for line in kept if not line.startswith("{{-"))
    return yaml.safe_load(text.replace('{{ "{{" }}', "{{"))


def test_chart_template_is_the_crd() -> None:
    annotated = {**CRD, "metadata": {**CRD["metadata"], "annotations": {"helm.sh/resource-policy": "keep"}}}
    assert (rendered(keep=False), rendered(keep=True)) == (CRD, annotated)


def test_chart_template_asks_the_values() -> None:
    text = (REPOSITORY / CHART_FILE).read_text(encoding="utf-8")
    assert text.count(".Values.") == 2
    assert text.index("{{- if .Values.crds.install }}") < text.index("apiVersion")


def test_reference_has_every_field() -> None:
    text = reference(CRD)
    sections = {p.lstrip(".") for p, s in WHOLE.items() if "properties" in s and p}
    assert {line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")} == sections
    fields = sum(len(s["properties"]) for p, s in WHOLE.items() if "properties" in s and p)
    assert sum(line.startswith("| `") for line in text.splitlines()) == fields
