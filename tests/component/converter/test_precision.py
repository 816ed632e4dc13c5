"""Lower precisions of the trained models: what each costs in the task's own metric, and that ORT really runs it.

`pytest -s` prints the table. The metric is the gates'; calibration images are drawn apart from the evaluation set.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from example_models import digits, shapes
from visionmodel_contract.precision import CalibrationMethod
from visionmodel_converter.gates.dataset import load_samples
from visionmodel_converter.gates.parity import measure
from visionmodel_converter.gates.samples import Samples
from visionmodel_converter.graph.limits import limits_of
from visionmodel_converter.graph.onnx_model import CheckedModel, load_checked
from visionmodel_converter.graph.session import Tensors, open_session
from visionmodel_converter.precision.fp16 import fp16_variant
from visionmodel_converter.precision.int8 import calibrated, int8_variants
from visionmodel_converter.precision.layout import Layout
from visionmodel_converter.precision.overflow import overflowing_nodes
from visionmodel_converter.precision.sensitivity import int8_within, sensitivity
from visionmodel_converter.precision.sparsity import pruned_2_4, sparsity_of
from visionmodel_converter.precision.variant import Variant

MIN_MAX, PERCENTILE, ENTROPY = CalibrationMethod.MIN_MAX, CalibrationMethod.PERCENTILE, CalibrationMethod.ENTROPY
MODELS = {"shapes": "shapes/v2", "digits": "digits/v1"}
BATCH = 64
LIMIT = 0.01


@dataclass(frozen=True)
class Network:
    """A trained model with calibration samples and its evaluation set."""

    family: str
    model: CheckedModel
    samples: tuple[Tensors, ...]
    evaluation: Samples

    def metric(self, model: CheckedModel) -> float:
        """mAP50 of the detector, top-1 of the classifier."""
        run = open_session(model.serialized(), shown="candidate", threads=1)
        name = "map50" if self.family == "shapes" else "top1"
        measured = measure(run, run, self.evaluation, (), inputs=model.inputs, outputs=model.outputs, seed=1)
        return measured[name].value


def load(trained: Path, family: str) -> Network:
    rng = np.random.default_rng(77)
    images = (shapes.dataset(rng, 256, bright_share=0.2) if family == "shapes" else digits.dataset(rng, 256)).images
    path = trained / MODELS[family] / "model.onnx"
    model = load_checked(path, shown=family, limits=limits_of(onnxruntime.__version__))
    samples = tuple({"images": images[start : start + BATCH]} for start in range(0, len(images), BATCH))
    evaluation = load_samples(
        trained / family / "evaluation.npz", model.inputs, task=None, shown="evaluation", max_bytes=2**30
    )
    return Network(family, model, samples, evaluation)


@pytest.fixture(scope="module", params=MODELS)
def network(request: pytest.FixtureRequest, trained: Path) -> Network:
    return load(trained, request.param)


@pytest.fixture(scope="module")
def variants(network: Network) -> dict[str, Variant]:
    """Every variant of a network, by a short name."""
    made = {"FP16": fp16_variant(network.model)}
    for layout, fp16 in ((Layout.CPU, False), (Layout.TENSORRT, False), (Layout.TENSORRT, True)):
        kind = f"INT8{'+FP16' if fp16 else ''} {layout}"
        found = int8_variants(
            network.model, network.samples, list(CalibrationMethod), layout=layout, threads=1, fp16=fp16
        )
        made |= {f"{kind} {variant.method}": variant for variant in found}
    return made


def executed(model: CheckedModel, folder: Path) -> Counter[str]:
    """Operators of the graph that onnxruntime really executes on the CPU."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "executed.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(model.serialized(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "executed.onnx").graph.node)


def median_ms(model: CheckedModel, images: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> float:
    run = open_session(model.serialized(), shown="candidate", threads=1)

    def timed() -> Iterator[float]:
        for _ in range(200):
            start = time.perf_counter()
            run({"images": images})
            yield 1000 * (time.perf_counter() - start)

    return float(np.median(list(timed())))


def test_table(network: Network, variants: dict[str, Variant]) -> None:
    source = network.metric(network.model)
    metrics = {name: network.metric(variant.model) for name, variant in variants.items()}
    images = next(network.evaluation.batches(BATCH)).tensors["images"]
    models = {"FP32": network.model, **{name: variant.model for name, variant in variants.items()}}
    for name, model in models.items():
        cells = (
            network.family,
            name,
            f"{metrics.get(name, source):.4f}",
            len(model.serialized()),
            model.nodes,
            f"{median_ms(model, images[:1]):.3f}",
            f"{median_ms(model, images[:8]):.3f}",
        )
        print("|", *(f"{cell} |" for cell in cells))
    assert metrics["FP16"] == pytest.approx(source, abs=1e-3)
    for kind in ("INT8 CPU", "INT8 TensorRT", "INT8+FP16 TensorRT"):
        assert max(metrics[f"{kind} {MIN_MAX}"], metrics[f"{kind} {PERCENTILE}"]) > source - LIMIT
        if network.family == "shapes":  # the default of other tools clips what the detector needs
            assert metrics[f"{kind} {ENTROPY}"] < metrics[f"{kind} {MIN_MAX}"] - 0.003


def test_sizes(network: Network, variants: dict[str, Variant]) -> None:
    full = len(network.model.serialized())
    assert len(variants["FP16"].model.serialized()) < 0.52 * full
    assert len(variants[f"INT8 CPU {MIN_MAX}"].model.serialized()) < 0.32 * full


def test_cpu_really_runs_eight_bits(network: Network, variants: dict[str, Variant], tmp_path: Path) -> None:
    promised = int(variants[f"INT8 CPU {MIN_MAX}"].notes[0].split()[0])
    operators = executed(variants[f"INT8 CPU {MIN_MAX}"].model, tmp_path)
    assert operators["QLinearConv"] + operators["QGemm"] == promised
    assert promised >= len([node for node in network.model.proto.graph.node if node.op_type == "Conv"]) - 1


def test_layout_for_tensorrt_is_no_layout_for_the_cpu(variants: dict[str, Variant], tmp_path: Path) -> None:
    """The finding that made two layouts: should this fail, onnxruntime has learnt to fuse it and one is enough."""
    assert executed(variants[f"INT8 TensorRT {MIN_MAX}"].model, tmp_path)["QLinearConv"] == 0


def test_every_pair_for_tensorrt_is_signed_and_unshifted(variants: dict[str, Variant]) -> None:
    for name in (f"INT8 TensorRT {MIN_MAX}", f"INT8+FP16 TensorRT {PERCENTILE}"):
        proto = variants[name].model.proto
        stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        pairs = [node for node in proto.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
        assert pairs
        for node in pairs:
            assert stored[node.input[2]].dtype == np.int8
            assert not stored[node.input[2]].any()


def test_nothing_overflows_fp16(network: Network) -> None:
    assert overflowing_nodes(network.model, network.samples, threads=1) == frozenset()


def test_repair_gives_back_what_entropy_lost(trained: Path) -> None:
    network = load(trained, "shapes")
    floor = network.metric(network.model) - LIMIT
    ready = calibrated(network.model, network.samples, ENTROPY, layout=Layout.CPU, threads=1)
    losses = sensitivity(ready, network.samples)
    assert {found.node for found in losses} == set(ready.plan.weighted)
    repaired = int8_within(ready, losses, lambda variant: network.metric(variant.model) > floor)
    assert repaired is not None
    assert 1 <= len(repaired.kept_fp32) - len(ready.plan.reasons) < len(ready.plan.weighted)


def test_one_shot_pruning_destroys_the_detector(trained: Path) -> None:
    network = load(trained, "shapes")
    pruned = pruned_2_4(network.model)
    assert sparsity_of(network.model).share == 0.0
    assert sparsity_of(pruned).share > 0.95
    assert network.metric(pruned) < network.metric(network.model) - 0.3


PROGRAM = """
import hashlib, sys
from pathlib import Path
import component.converter.test_precision as here
network = here.load(Path(sys.argv[1]), "shapes")
digest = hashlib.sha256(here.fp16_variant(network.model).model.serialized())
for layout, fp16 in ((here.Layout.CPU, False), (here.Layout.TENSORRT, True)):
    methods = [here.MIN_MAX, here.PERCENTILE]
    for variant in here.int8_variants(network.model, network.samples, methods, layout=layout, threads=1, fp16=fp16):
        digest.update(variant.model.serialized())
print(digest.hexdigest())
"""


def test_same_bytes_in_another_process(trained: Path) -> None:
    """Sets of names have another order with every hash seed; the bytes must not."""
    command = [sys.executable, "-c", PROGRAM, str(trained)]
    paths = os.pathsep.join(path for path in sys.path if path)
    digests = {
        subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    (only,) = digests
    assert len(only) == 65  # a digest and a newline: nothing else reached stdout
