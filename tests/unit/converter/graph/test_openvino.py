"""OpenVINO beside onnxruntime on tiny graphs: same numbers, own refusals, silence on the network."""

import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper

from unit.converter import tiny_models
from visionmodel_contract.runtime import RuntimeOptions
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.openvino import compile_openvino, open_openvino
from visionmodel_converter.graph.session import open_session

CLASSIFIER = tiny_models.to_bytes(tiny_models.classifier())
X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def test_same_numbers_as_onnxruntime() -> None:
    expected = open_session(CLASSIFIER, shown="m.onnx", threads=1)({"x": X})["logits"]
    found = open_openvino(CLASSIFIER, shown="m.onnx", threads=1)({"x": X})
    assert list(found) == ["logits"]
    np.testing.assert_allclose(found["logits"], expected, rtol=1e-6)


def test_a_result_outlives_the_next_run() -> None:
    run = open_openvino(CLASSIFIER, shown="m.onnx", threads=1)
    first = run({"x": X})["logits"]
    kept = first.copy()
    run({"x": X + 1})
    np.testing.assert_array_equal(first, kept)


def test_fp32_stays_fp32() -> None:
    """OpenVINO's own choice is BF16 wherever the processor has it."""
    model = compile_openvino(CLASSIFIER, shown="m.onnx", options=RuntimeOptions(1))
    assert model.compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"
    assert model.compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert model.version.startswith("openvino 20")


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        pytest.param({"x": np.ones((1, 5), np.float32)}, "input 'x' is float32 [1, 5], the model wants", id="shape"),
        pytest.param({"x": np.ones((1, 4), np.float64)}, "input 'x' is float64 [1, 4], the model wants", id="type"),
        pytest.param({"x": np.ones(4, np.float32)}, "input 'x' is float32 [4], the model wants", id="rank"),
        pytest.param({"y": np.ones((1, 4), np.float32)}, "input 'x' is missing", id="name"),
    ],
)
def test_run_that_does_not_fit_is_refused(inputs: dict[str, NDArray[Any]], words: str) -> None:
    run = open_openvino(CLASSIFIER, shown="m.onnx", threads=1)
    with pytest.raises(ConversionFailure) as caught:
        run(inputs)
    assert caught.value.reason is Reason.RUNTIME_REFUSES
    assert caught.value.message.startswith("m.onnx: openvino ")
    assert words in caught.value.message


def test_model_that_is_refused_names_the_operator() -> None:
    unknown = [helper.make_node("Unheard", ["product", "b"], ["logits"], name="odd", domain="nobody")]
    with pytest.raises(ConversionFailure) as caught:
        open_openvino(tiny_models.to_bytes(tiny_models.classifier(extra=unknown)), shown="m.onnx", threads=1)
    assert caught.value.reason is Reason.RUNTIME_REFUSES
    assert "Unheard" in caught.value.message


def test_without_the_wheel_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ConversionFailure) as caught:
        open_openvino(CLASSIFIER, shown="m.onnx", threads=1)
    assert caught.value.reason is Reason.BACKEND_NOT_INSTALLED
    assert "visionmodel-operator[converter,openvino]" in caught.value.message


def test_nothing_is_reported() -> None:
    open_openvino(CLASSIFIER, shown="m.onnx", threads=1)
    assert sys.modules["openvino_telemetry"] is None
