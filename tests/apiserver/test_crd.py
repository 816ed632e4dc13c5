"""The real API server and pydantic must give the same verdict and the same defaults on the whole corpus."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from schema.corpus import Case, all_cases
from schema.full_status import FULL_STATUS
from schema.specs import FULL, MINIMAL, spec_schema
from visionmodel_operator.api.base import API_VERSION, GROUP, KIND, OBJECT_NAME_PATTERN, PLURAL, VERSION
from visionmodel_operator.api.schema import with_defaults
from visionmodel_operator.api.v1alpha1 import parse_spec, parse_status
from visionmodel_operator.errors import UserError

pytestmark = pytest.mark.apiserver

NAMESPACE = "default"
REFUSED = (400, 422)

SERVER_ONLY_REFUSALS = {
    "serving.replicas:integral float": "the scale subresource reads its path as int64 before the number is normalised",
    **dict.fromkeys(
        ("conversion.batch.max:integral float", "conversion.dynamicShapes.0.max:integral float"),
        "CEL compares it with an integer before the number is normalised",
    ),
    "rollout.steps.0.setCanaryScale.replicas:integral float": "CEL asks for it before the number is normalised",
}
"""Specs that only the server refuses, with the reason why pydantic need not."""


@dataclass(frozen=True)
class Answer:
    """What the server said to a dry run: the defaulted spec, or why not."""

    spec: Any = None
    refusal: str = ""


DryRun = Callable[..., Answer]


@pytest.fixture(scope="session")
def dry_run(api_client: Any, crd: dict[str, Any]) -> DryRun:
    """Create without storing; the same spec is asked about once."""
    objects: Any = client.CustomObjectsApi(api_client)
    assert crd["spec"]["group"] == GROUP

    @cache
    def answer(name: str, spec: str) -> Answer:
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": json.loads(spec)}
        try:
            made = objects.create_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, body, dry_run="All")
        except ApiException as error:
            if error.status not in REFUSED:
                raise
            return Answer(refusal=json.loads(error.body or "{}")["message"])
        return Answer(spec=made["spec"])

    return lambda spec, name="shapes": answer(name, json.dumps(spec))


def pydantic_refusal(case: Case) -> str:
    try:
        parse_spec(case.spec)
    except UserError as error:
        return str(error)
    return ""


def test_schema_is_structural_and_every_name_is_accepted(crd: dict[str, Any]) -> None:
    conditions = {c["type"]: (c["status"], c.get("message", "")) for c in crd["status"]["conditions"]}
    assert conditions["NamesAccepted"][0] == "True"
    assert "NonStructuralSchema" not in conditions


def test_both_sides_give_the_same_verdict(dry_run: DryRun) -> None:
    differences = []
    for case in all_cases():
        server, ours = dry_run(case.spec).refusal, pydantic_refusal(case)
        if case.name in SERVER_ONLY_REFUSALS:
            assert server
            assert not ours
        elif bool(server) != bool(ours):
            differences.append(f"{case.name}\n    server: {server or 'accepts'}\n    pydantic: {ours or 'accepts'}")
        elif case.accepted is not None and case.accepted == bool(server):
            differences.append(f"{case.name}\n    both: {server or 'accept'}")
    assert differences == []


def test_a_stored_spec_means_the_same_as_the_written_one(dry_run: DryRun) -> None:
    differences = []
    for case in all_cases():
        if pydantic_refusal(case):
            continue
        stored = dry_run(case.spec).spec
        if stored is not None and parse_spec(stored) != parse_spec(case.spec):
            differences.append(f"{case.name}: {stored}")
    assert differences == []


@pytest.mark.parametrize("spec", [pytest.param(MINIMAL, id="minimal"), pytest.param(FULL, id="full")])
def test_server_fills_in_the_defaults_of_the_schema(dry_run: DryRun, spec: Any) -> None:
    assert dry_run(spec).spec == with_defaults(spec_schema(), spec)


def test_the_smallest_spec_comes_back_whole(dry_run: DryRun) -> None:
    stored = dry_run(MINIMAL).spec
    assert stored["serving"]["batching"]["maxBatchSize"] == 8
    assert "replicas" not in stored["serving"]
    assert [metric["name"] for metric in stored["rollout"]["analysis"]["metrics"]] == ["errors", "latency"]
    assert stored["rollout"]["steps"][:2] == [{"setWeight": 5}, {"pause": {"duration": "5m"}}]


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("shapes", True),
        ("a", True),
        ("a-1", True),
        ("a" * 46, True),
        ("a" * 47, False),
        ("1a", False),
        ("a.b", False),
        ("a-", False),
    ],
)
def test_names(dry_run: DryRun, name: str, accepted: bool) -> None:
    assert (not dry_run(MINIMAL, name).refusal) is accepted
    assert (re.search(OBJECT_NAME_PATTERN, name) is not None and len(name) <= 46) is accepted


def test_a_recorded_status_comes_back_as_it_was_written(api_client: Any, crd: dict[str, Any]) -> None:
    objects: Any = client.CustomObjectsApi(api_client)
    assert crd["spec"]["group"] == GROUP
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "status"}, "spec": MINIMAL}
    objects.create_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, body)
    objects.patch_namespaced_custom_object_status(
        GROUP, VERSION, NAMESPACE, PLURAL, "status", {"status": FULL_STATUS.to_wire()}, field_validation="Strict"
    )
    stored = objects.get_namespaced_custom_object(GROUP, VERSION, NAMESPACE, PLURAL, "status")
    assert parse_status(stored["status"]) == FULL_STATUS
    selected = objects.list_namespaced_custom_object(
        GROUP, VERSION, NAMESPACE, PLURAL, field_selector="status.phase=Progressing"
    )
    assert [item["metadata"]["name"] for item in selected["items"]] == ["status"]


def test_a_typing_error_is_refused_under_strict_validation(api_client: Any, crd: dict[str, Any]) -> None:
    assert crd["spec"]["group"] == GROUP
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "typo"}, "spec": {**MINIMAL, "suspended": 1}}
    with pytest.raises(ApiException, match="unknown field"):
        client.CustomObjectsApi(api_client).create_namespaced_custom_object(
            GROUP, VERSION, NAMESPACE, PLURAL, body, dry_run="All", field_validation="Strict"
        )
