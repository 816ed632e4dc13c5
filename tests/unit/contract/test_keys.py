"""What has a key keeps it when the contract grows, and everything that makes another file makes another key."""

from itertools import permutations

import pytest

from visionmodel_contract.build import EngineOptions, EngineTarget, ShapeRange
from visionmodel_contract.conversion import CalibrationOptions, ConversionOptions, GatesRequest
from visionmodel_contract.keys import build_key, engine_key, export_key, gate_key, prepare_key
from visionmodel_contract.precision import ExportFormat, Precision, PruningPattern, Quantizer

SOURCE, ARTIFACT = "sha256:" + "0a" * 32, "ab" * 16


def test_keys_of_before_pruning_and_exports_stay() -> None:
    assert prepare_key(SOURCE, ConversionOptions()) == "25323eb73e74b4bdb74412f20a9c38d9"
    assert gate_key(ARTIFACT, GatesRequest()) == "75491765b08fc58ea32582aed9dd4615"


def test_keys_of_before_modelopt_stay_and_it_makes_another_artifact() -> None:
    """The first key was made before there was a choice of quantisers."""
    by = {
        quantizer: prepare_key(
            SOURCE,
            ConversionOptions(
                precisions=(Precision.INT8,),
                calibration=CalibrationOptions(
                    dataset_uri="s3://b/c.npz", digest="sha256:" + "0c" * 32, quantizer=quantizer
                ),
            ),
        )
        for quantizer in Quantizer
    }
    assert by[Quantizer.ONNX_RUNTIME] == "c922347f2e46f6c66b7350938e1b938c"
    assert by[Quantizer.MODEL_OPT] != by[Quantizer.ONNX_RUNTIME]


def test_engines_of_before_refit_stay_and_a_refittable_one_is_another() -> None:
    target = EngineTarget(
        tensorrt="11.2.1.2", cuda="13.0", product="NVIDIA L4", compute_capability="8.9", multiprocessors=58
    )
    keys = {
        refittable: (
            engine_key(SOURCE, options, target),
            build_key(ARTIFACT, options, product="NVIDIA-L4", resource_name="gpu", node_selector={}, image="i"),
        )
        for refittable in (False, True)
        for options in (EngineOptions(batch=ShapeRange(min=1, opt=4, max=8), refittable=refittable),)
    }
    assert keys[False] == ("b82ea1c1b4875a9f70589e4c62fc6db9", "9422db91033a74bc2eba0b70722b3209")
    assert not set(keys[True]) & set(keys[False])


def test_pruning_makes_another_artifact() -> None:
    pruned = ConversionOptions(pruning=PruningPattern.TWO_OF_FOUR)
    assert prepare_key(SOURCE, pruned) != prepare_key(SOURCE, ConversionOptions())


def test_exports_ask_for_another_verdict_in_any_order() -> None:
    plain = gate_key(ARTIFACT, GatesRequest())
    one = gate_key(ARTIFACT, GatesRequest(), exports=(ExportFormat.ORT,))
    both = {gate_key(ARTIFACT, GatesRequest(), exports=order) for order in permutations(list(ExportFormat)[:2])}
    assert len({plain, one, *both}) == 3


@pytest.mark.parametrize("wanted", ExportFormat)
def test_export_key_is_of_the_file_and_the_format(wanted: ExportFormat) -> None:
    keys = {export_key(SOURCE, one) for one in ExportFormat} | {export_key("sha256:" + "0b" * 32, wanted)}
    assert len(keys) == len(ExportFormat) + 1
    assert ARTIFACT not in keys
