"""Thread counts from cgroup files, seeded inputs, and a runtime that refuses."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from unit.converter import tiny_models
from visionmodel_contract.report import TensorSpec
from visionmodel_contract.runtime import RuntimeOptions
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.session import (
    cpu_model,
    cpu_threads,
    open_served,
    open_session,
    random_inputs,
    refuse_missing_provider,
    session_options,
)


@pytest.mark.parametrize(
    ("files", "online", "threads"),
    [
        ({}, 8, 8),
        ({"cpu.max": "max 100000\n"}, 8, 8),
        ({"cpu.max": "200000 100000\n"}, 8, 2),
        ({"cpu.max": "150000 100000\n"}, 8, 2),
        ({"cpu.max": "10000 100000\n"}, 8, 1),
        ({"cpu.max": "1600000 100000\n"}, 8, 8),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4, 4),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4, 3),
    ],
    ids=["no-cgroup", "v2-unlimited", "v2-two", "v2-rounds-up", "v2-at-least-one", "v2-above", "v1-unlimited", "v1"],
)
def test_threads_follow_the_cpu_limit(tmp_path: Path, files: dict[str, str], online: int, threads: int) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu_threads(tmp_path, online) == threads


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel name\t: AMD  EPYC 9B45\nmodel name\t: other\n", "AMD EPYC 9B45"),
        ("processor\t: 0\nCPU part\t: 0xd4f\n", "aarch64"),
        (None, "aarch64"),
    ],
    ids=["x86", "arm", "no Linux"],
)
def test_the_cpu_has_a_name(tmp_path: Path, cpuinfo: str | None, name: str) -> None:
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert cpu_model(tmp_path / "cpuinfo", "aarch64") == name


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("float32", 0, 1), ("float16", 0, 1), ("uint8", 0, 255), ("int64", 0, 1), ("bool", 0, 1)],
)
def test_random_inputs_are_plausible_and_repeatable(dtype: str, low: int, high: int) -> None:
    specs = (TensorSpec(name="x", dtype=dtype, dims=(-1, 3, -1)),)
    first, second = (random_inputs(specs, batch=2, seed=9)["x"] for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert (first.shape, first.dtype.name) == ((2, 3, 128), dtype)
    assert low <= first.min() < first.max() <= high


def test_refusals_name_the_model_and_the_shapes() -> None:
    run = open_session(tiny_models.to_bytes(tiny_models.classifier()), shown="m.onnx", threads=1)
    with pytest.raises(ConversionFailure) as caught:
        run({"x": np.ones((1, 5), np.float32)})
    assert caught.value.reason is Reason.RUNTIME_REFUSES
    assert "m.onnx" in caught.value.message
    assert "{'x': [1, 5]}" in caught.value.message


def test_served_session_has_the_options_of_the_pod() -> None:
    settings = session_options(RuntimeOptions(threads=3))
    assert (settings.intra_op_num_threads, settings.inter_op_num_threads) == (3, 1)
    assert settings.execution_mode == onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    assert settings.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL


def test_served_session_agrees_with_the_compared_one() -> None:
    model, x = tiny_models.to_bytes(tiny_models.classifier()), {"x": np.ones((2, 4), np.float32)}
    served = open_served(model, shown="m.onnx", options=RuntimeOptions(1))(x)
    np.testing.assert_array_equal(served["logits"], open_session(model, shown="m.onnx", threads=1)(x)["logits"])


def test_gpu_provider_never_becomes_the_cpu() -> None:
    model = tiny_models.to_bytes(tiny_models.classifier())
    with pytest.raises(ConversionFailure) as caught:
        open_served(model, shown="m.onnx", options=RuntimeOptions(1), provider="CUDAExecutionProvider")
    assert caught.value.reason is Reason.PROVIDER_NOT_USED
    assert "CUDAExecutionProvider was asked for" in caught.value.message


@pytest.mark.parametrize(
    ("asked", "found", "passes"),
    [
        ("CPUExecutionProvider", ["CPUExecutionProvider"], True),
        ("CUDAExecutionProvider", ["CUDAExecutionProvider", "CPUExecutionProvider"], True),
        ("CUDAExecutionProvider", ["CPUExecutionProvider"], False),
        ("CUDAExecutionProvider", [], False),
    ],
    ids=["cpu", "gpu with the usual cpu", "fallen back", "nothing"],
)
def test_provider_of_a_session(asked: str, found: list[str], passes: bool) -> None:
    if passes:
        refuse_missing_provider(asked, found, shown="m.onnx")
        return
    with pytest.raises(ConversionFailure, match=r"m\.onnx: CUDAExecutionProvider was asked for"):
        refuse_missing_provider(asked, found, shown="m.onnx")
