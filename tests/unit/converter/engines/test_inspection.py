"""The share of a precision from what TensorRT's inspector prints, in the words of 10.x and of 11."""

import json
from typing import Any

import pytest

from visionmodel_contract.precision import Precision
from visionmodel_converter.engines.inspection import EngineLayer, engine_share, multiplying_layers
from visionmodel_converter.failures import ConversionFailure, Reason

HALF_10 = "Two wide channel vectorized row major FP16 format"
INT8_10 = "Thirty-two wide channel vectorized row major Int8 format"
FLOAT_10 = "Row major linear FP32"


def old(name: str, form: str) -> dict[str, Any]:
    return {"Name": name, "Location": "Device", "Dimensions": [-1, 16, 32, 32], "Format/Datatype": form}


def new(name: str, kind: str) -> dict[str, Any]:
    return {"Name": name, "Dimensions": [-1, 16, 32, 32], "DataType": kind, "Format": "Row major linear (kLINEAR)"}


def convolution(name: str, tensor: dict[str, Any], weights: int = 432) -> dict[str, Any]:
    return {
        "Name": name,
        "LayerType": "CaskConvolution",
        "Inputs": [tensor],
        "Outputs": [{**tensor, "Name": f"{name}:0"}],
        "ParameterType": "Convolution",
        "Weights": {"Type": "Half", "Count": weights},
    }


REFORMAT = {"Name": "r", "LayerType": "Reformat", "Inputs": [old("x", FLOAT_10)], "Outputs": [old("y", HALF_10)]}


def information(*layers: Any) -> str:
    return json.dumps({"Layers": layers, "Bindings": ["x", "y"]})


@pytest.mark.parametrize(
    ("tensor", "precision"),
    [
        (old("x", HALF_10), Precision.FP16),
        (old("x", INT8_10), Precision.INT8),
        (old("x", FLOAT_10), Precision.FP32),
        (new("x", "Half"), Precision.FP16),
        (new("x", "Int8"), Precision.INT8),
        (new("x", "Float"), Precision.FP32),
        (new("x", "BFloat16"), None),
        (new("x", "FP8"), None),
    ],
)
def test_precision_of_a_layer(tensor: dict[str, Any], precision: Precision | None) -> None:
    assert multiplying_layers(information(REFORMAT, convolution("c", tensor))) == (
        EngineLayer("c", precision, 432 * 32 * 32),
    )


def test_product_of_matrices() -> None:
    layer = {
        "Name": "fc",
        "LayerType": "gemm",
        "Inputs": [{**new("x", "Half"), "Dimensions": [8, 128]}],
        "Outputs": [{**new("y", "Half"), "Dimensions": [8, 10]}],
        "ParameterType": "MatrixMultiply",
    }
    assert multiplying_layers(information(layer)) == (EngineLayer("fc", Precision.FP16, 8 * 10 * 128),)


def test_share_by_layers_and_by_compute() -> None:
    text = information(
        convolution("a", new("x", "Half"), weights=100),
        convolution("b", new("x", "Float"), weights=300),
        convolution("c", new("x", "Int8"), weights=600),
    )
    shares = {one: engine_share(text, one, version="11.2.1.2") for one in Precision}
    assert [share.layers for share in shares.values()] == pytest.approx([1.0, 2 / 3, 1 / 3])
    assert [share.compute for share in shares.values()] == pytest.approx([1.0, 0.7, 0.6])
    assert shares[Precision.FP16].runtime == "tensorrt 11.2.1.2"


def test_silent_fp32_engine_has_no_share() -> None:
    text = information(convolution("a", new("x", "Float")), REFORMAT)
    share = engine_share(text, Precision.FP16, version="11.2.1.2")
    assert (share.layers, share.compute) == (0.0, 0.0)


def test_engine_without_products_is_fp32() -> None:
    shares = {one: engine_share(information(REFORMAT), one, version="11.2.1.2") for one in Precision}
    assert {one: (share.layers, share.compute) for one, share in shares.items()} == {
        Precision.FP32: (1.0, 1.0),
        Precision.FP16: (0.0, 0.0),
        Precision.INT8: (0.0, 0.0),
    }


@pytest.mark.parametrize("text", ["", "{}", '{"Layers": ["conv1", "conv2"]}', "null"])
def test_missing_detail_fails_closed(text: str) -> None:
    with pytest.raises(ConversionFailure) as refusal:
        multiplying_layers(text)
    assert refusal.value.reason == Reason.PRECISION_NOT_REACHED
