"""What a candidate's row and its sensitivity may hold: JSON has neither NaN nor infinity."""

import io
import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from unit.converter import tiny_models
from visionmodel_contract.conversion import (
    ConversionOptions,
    ConversionRequest,
    GatesRequest,
    MetricGoal,
    ParityRequest,
    PublishTarget,
    SourceRequest,
)
from visionmodel_contract.precision import Goal, Precision
from visionmodel_converter.candidates import Bench, Candidate, tried
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.onnx_model import checked
from visionmodel_converter.graph.session import open_session
from visionmodel_converter.journal import Journal
from visionmodel_converter.report import row_of
from visionmodel_converter.trials import try_precisions

CLASSIFIER = checked(tiny_models.classifier(), "the classifier")


def bench(*goals: MetricGoal, **options: Any) -> Bench:
    request = ConversionRequest(
        namespace="n",
        name="m",
        revision="r",
        source=SourceRequest(uri="s3://a/m.onnx"),
        options=ConversionOptions(**options),
        gates=GatesRequest(parity=ParityRequest(metrics=goals)),
        publish=PublishTarget(repository="r"),
    )
    run = open_session(CLASSIFIER.serialized(), shown="source", threads=1)
    return Bench(request, CLASSIFIER, run, None, None, threads=1, seed=1)


def test_fp32_agrees_with_itself_and_is_proven() -> None:
    found = tried(bench(), Precision.FP32)
    assert isinstance(found, Candidate)
    assert (found.failure, found.result.refused) == (None, None)
    assert [gate.metric for gate in found.result.gates] == ["maxRelativeError"]
    assert found.result.share is not None
    assert (found.result.share.compute, found.result.share.precision) == (1.0, Precision.FP32)
    assert {case.outcome for case in found.edge_cases} == {"answered"}


def test_missed_goal_refuses_the_candidate_and_keeps_its_numbers() -> None:
    found = tried(bench(MetricGoal(name="cosine", goal=Goal.THRESHOLD, value=1.5)), Precision.FP32)
    assert isinstance(found, Candidate)
    assert found.failure is not None
    assert found.failure.reason is Reason.PARITY_FAILED
    assert found.result.refused == found.failure.message
    assert [(gate.metric, gate.passed) for gate in found.result.gates] == [("cosine", False)]
    assert row_of(found.result).metrics["cosine"] == pytest.approx(1.0)


def test_missing_samples_are_the_conversions_failure_and_no_precisions() -> None:
    with pytest.raises(ConversionFailure) as raised:
        tried(bench(precisions=("fp32", "int8")), Precision.INT8)
    assert raised.value.reason is Reason.CALIBRATION_MISSING


def test_table_of_several_survives_its_own_json() -> None:
    journal = Journal(io.StringIO(), lambda: datetime.now(UTC))
    outcome = try_precisions(bench(precisions=("fp32", "fp16")), journal)
    assert [row.precision for row in outcome.results] == ["fp32", "fp16"]
    assert [row.precision for row in outcome.results if row.chosen] == [outcome.chosen.variant.precision]
    for result in outcome.results:
        document = json.loads(result.to_json())
        assert type(result).model_validate(document) == result
        assert all(math.isfinite(gate["value"]) for gate in document["gates"])
