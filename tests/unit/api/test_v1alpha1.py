"""Reading stored objects: faults are the user's with a path, numbers and nulls as the API server takes them."""

import pytest

from schema.full_status import FULL_STATUS
from schema.specs import FULL, MINIMAL, edited
from visionmodel_contract.precision import Goal
from visionmodel_contract.report import GateResult, TensorSpec
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.api.status import ConversionReport, VisionModelStatus
from visionmodel_operator.api.v1alpha1 import parse_spec, parse_status
from visionmodel_operator.errors import UserError


@pytest.mark.parametrize("spec", [pytest.param(MINIMAL, id="minimal"), pytest.param(FULL, id="full")])
def test_spec_survives_the_wire(spec: dict[str, object]) -> None:
    parsed = parse_spec(spec)
    assert parse_spec(parsed.to_wire()) == parsed


def test_fault_names_the_field_and_the_remedy() -> None:
    with pytest.raises(UserError) as caught:
        parse_spec(edited(("serving", "instances"), "2"))
    assert str(caught.value) == (
        "spec.serving.instances: Input should be a valid integer. Correct the VisionModel and apply it again."
    )


def test_null_is_absent() -> None:
    assert parse_spec({**MINIMAL, "serving": None, "suspend": None}) == parse_spec(MINIMAL)


def test_integral_float_is_an_integer() -> None:
    assert parse_spec(edited(("serving", "instances"), 2.0)).serving.instances == 2


def test_only_wire_names_count() -> None:
    with pytest.raises(UserError, match=r"spec\.model\.storageUri: Field required"):
        parse_spec({**MINIMAL, "model": {"storage_uri": "s3://b/k"}})


def test_unknown_field_of_a_newer_crd_is_ignored() -> None:
    assert parse_spec({**MINIMAL, "monitoring": {"alerts": True}}) == parse_spec(MINIMAL)


def test_duplicate_names_are_told() -> None:
    twice = [{"name": "A"}, {"name": "A"}, {"name": "B"}]
    with pytest.raises(UserError, match="duplicate name A"):
        parse_spec(edited(("serving", "pod", "env"), twice))


def test_a_queue_is_named_as_the_value_of_a_label() -> None:
    longest = "q" * 63
    assert parse_spec(edited(("conversion", "queueName"), longest)).conversion.queue_name == longest
    with pytest.raises(UserError, match=r"spec\.conversion\.queueName: String should have at most 63 characters"):
        parse_spec(edited(("conversion", "queueName"), longest + "q"))


def test_spec_cannot_be_changed_by_hand() -> None:
    assert VisionModelSpec.model_config["frozen"]


def test_status_survives_the_wire() -> None:
    assert parse_status(FULL_STATUS.to_wire()) == FULL_STATUS


@pytest.mark.parametrize("stored", [None, {}])
def test_object_without_status(stored: dict[str, object] | None) -> None:
    assert parse_status(stored) == VisionModelStatus()


def test_report_takes_the_contracts_values() -> None:
    gate = GateResult(metric="top1", goal=Goal.THRESHOLD, limit=0.9, value=0.95, passed=True, samples=10)
    tensor = TensorSpec(name="x", dtype="float32", dims=(-1, 3))
    report = ConversionReport.model_validate({"inputs": [tensor], "parity": [gate]})
    assert report.to_wire() == {
        "inputs": [{"name": "x", "dtype": "float32", "dims": [-1, 3]}],
        "outputs": [],
        "parity": [{"metric": "top1", "goal": "threshold", "limit": 0.9, "value": 0.95, "passed": True, "samples": 10}],
        "candidates": [],
        "exports": [],
        "engines": [],
    }
