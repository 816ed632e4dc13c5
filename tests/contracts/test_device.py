"""One body of tests over two devices: the fake, and the first GPU of this machine."""

import numpy as np
import pytest

from fakes.device import FakeDevice
from unit.converter import tiny_models
from visionmodel_contract.build import EngineOptions, ShapeRange
from visionmodel_contract.precision import Precision
from visionmodel_contract.report import TensorSpec
from visionmodel_converter.engines.device import Device
from visionmodel_converter.engines.gpu import first_gpu
from visionmodel_converter.engines.inspection import engine_share
from visionmodel_converter.engines.profiles import profile_of
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.session import Tensors, open_session

MODEL = tiny_models.to_bytes(tiny_models.classifier())
INPUT = TensorSpec(name="x", dtype="float32", dims=(-1, tiny_models.FEATURES))
OPTIONS = EngineOptions(batch=ShapeRange(min=1, opt=2, max=4))
PROFILE = profile_of((INPUT,), OPTIONS)


@pytest.fixture(scope="module", params=["fake", pytest.param("real", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Device:
    if request.param == "fake":
        return FakeDevice()
    try:
        return first_gpu()
    except ConversionFailure as failure:
        pytest.skip(f"{failure.reason}: {failure.message}")


def plan_of(device: Device) -> bytes:
    return device.build(MODEL, PROFILE, OPTIONS, progress=quiet).plan


def quiet(phase: str, done: int, steps: int) -> bool:
    return True


def samples(count: int) -> Tensors:
    return {"x": np.random.default_rng(count).random((count, tiny_models.FEATURES), dtype=np.float32)}


def test_it_says_what_engines_are_bound_to(device: Device) -> None:
    target = device.target
    assert all((target.tensorrt, target.cuda, target.product, target.compute_capability, device.driver))
    assert target.multiprocessors > 0


def test_building_tells_of_its_progress_and_of_its_layers(device: Device) -> None:
    told: list[tuple[str, int, int]] = []

    def progress(phase: str, done: int, steps: int) -> bool:
        told.append((phase, done, steps))
        return True

    engine = device.build(MODEL, PROFILE, OPTIONS, progress=progress)
    assert told
    assert all(phase and 0 < done <= steps for phase, done, steps in told)
    assert engine_share(engine.layers, Precision.FP32, version=engine.version).compute == 1.0
    assert engine.version == device.target.tensorrt


def test_a_build_leaves_timings_that_the_next_one_begins_with(device: Device) -> None:
    first = device.build(MODEL, PROFILE, OPTIONS, progress=quiet)
    assert (first.took_timings, first.timing_cache != b"") == (False, True)
    second = device.build(MODEL, PROFILE, OPTIONS, timing_cache=first.timing_cache, progress=quiet)
    assert second.took_timings
    assert len(second.timing_cache) >= len(first.timing_cache)


def test_a_build_goes_on_without_timings_that_are_refused(device: Device) -> None:
    engine = device.build(MODEL, PROFILE, OPTIONS, timing_cache=b"no timings", progress=quiet)
    assert not engine.took_timings
    assert device.build(MODEL, PROFILE, OPTIONS, timing_cache=engine.timing_cache, progress=quiet).took_timings


@pytest.mark.parametrize("count", [1, 3, 4])
def test_an_engine_computes_what_its_graph_does(device: Device, count: int) -> None:
    expected = open_session(MODEL, shown="the graph", threads=1)(samples(count))
    with device.load(plan_of(device)) as loaded:
        assert loaded.device_memory_bytes > 0
        np.testing.assert_allclose(loaded.run(samples(count))["logits"], expected["logits"], rtol=1e-3, atol=1e-4)


def test_outputs_are_the_callers(device: Device) -> None:
    with device.load(plan_of(device)) as loaded:
        first = loaded.run(samples(2))["logits"]
        before = first.copy()
        loaded.run(samples(4))
        np.testing.assert_array_equal(first, before)


def test_shapes_outside_of_the_profile_are_refused(device: Device) -> None:
    with device.load(plan_of(device)) as loaded, pytest.raises(ConversionFailure) as refusal:
        loaded.run(samples(5))
    assert refusal.value.reason == Reason.ENGINE_REFUSED


def test_what_is_no_graph_is_refused(device: Device) -> None:
    with pytest.raises(ConversionFailure) as refusal:
        device.build(b"no graph", PROFILE, OPTIONS, progress=quiet)
    assert refusal.value.reason == Reason.ENGINE_REFUSED


def test_what_is_no_engine_is_refused(device: Device) -> None:
    with pytest.raises(ConversionFailure) as refusal, device.load(b"no engine"):
        pass
    assert refusal.value.reason == Reason.ENGINE_REFUSED
