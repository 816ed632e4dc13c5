"""What is refused before a framework runs, and what its result has to prove."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from unit.converter import tiny_models
from visionmodel_contract.conversion import SourceInput, SourceRequest
from visionmodel_contract.formats import SourceFormat
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.formats.child import MODEL_FILE, REFERENCES_FILE
from visionmodel_converter.formats.confinement import Limits
from visionmodel_converter.formats.load import Surroundings, load_as_onnx, loader_limits, prove
from visionmodel_converter.formats.loaded import LOADERS, Loaded
from visionmodel_converter.formats.references import BATCHES, make_references, write_references
from visionmodel_converter.graph.limits import limits_of

from . import files

INPUT = SourceInput(name="x", dims=(-1, 4))
MODEL = tiny_models.to_bytes(tiny_models.classifier())


def around(folder: Path) -> Surroundings:
    return Surroundings(folder, Limits(), 1, limits_of(onnxruntime.__version__))


def framework(factor: float = 1.0) -> Loaded:
    """The classifier in numpy, as a framework would run it; another factor gives wrong answers."""
    shift = np.arange(tiny_models.CLASSES, dtype=np.float32) / 10
    return Loaded(MODEL, lambda arrays: [(arrays[0] @ tiny_models.weights() + shift) * np.float32(factor)])


def left_by(loaded: Loaded, folder: Path) -> Path:
    out = folder / "out"
    out.mkdir()
    (out / MODEL_FILE).write_bytes(loaded.model)
    write_references(make_references(loaded), out / REFERENCES_FILE)
    return out


def test_a_faithful_graph_is_proven(tmp_path: Path) -> None:
    found = prove(left_by(framework(), tmp_path), around(tmp_path), "m.pt2")
    assert found.difference < 1e-6
    assert found.path == tmp_path / "out" / MODEL_FILE
    assert [spec.dims for spec in found.model.inputs] == [(-1, 4)]


@pytest.mark.parametrize("factor", [1.01, float("nan")], ids=["one percent off", "NaN"])
def test_an_unfaithful_graph_is_not(tmp_path: Path, factor: float) -> None:
    with pytest.raises(ConversionFailure, match=r"m\.pt2: .*'logits' differs.*batch of 1") as caught:
        prove(left_by(framework(factor), tmp_path), around(tmp_path), "m.pt2")
    assert caught.value.reason is Reason.LOADER_DISAGREES


def truncate_references(out: Path) -> None:
    path = out / REFERENCES_FILE
    path.write_bytes(path.read_bytes()[:100])


def pickle_references(out: Path) -> None:
    with (out / REFERENCES_FILE).open("wb") as file:
        np.savez(file, np.array([files.Attack()], dtype=object))


def link_model(out: Path) -> None:
    (out / MODEL_FILE).unlink()
    (out / MODEL_FILE).symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("tamper", "says"),
    [
        (truncate_references, "reference outputs cannot be read"),
        (pickle_references, "reference outputs cannot be read"),
        (link_model, "no regular file"),
        (lambda out: (out / REFERENCES_FILE).unlink(), "not what a loader writes"),
        (lambda out: (out / MODEL_FILE).write_bytes(b""), "0 bytes"),
    ],
    ids=["truncated", "pickled", "linked", "missing", "empty"],
)
def test_results_are_not_believed(tmp_path: Path, tamper: Callable[[Path], object], says: str) -> None:
    out = left_by(framework(), tmp_path)
    tamper(out)
    with pytest.raises(ConversionFailure) as caught:
        prove(out, around(tmp_path), "m.pt2")
    assert (caught.value.reason, says in caught.value.message) == (Reason.LOADER_RESULT_INVALID, True)


def test_a_hostile_graph_meets_the_usual_checks(tmp_path: Path) -> None:
    node = helper.make_node("Steal", ["product", "b"], ["logits"], name="steal", domain="com.example")
    model = tiny_models.classifier(extra=[node])
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    out = left_by(framework(), tmp_path)
    (out / MODEL_FILE).write_bytes(tiny_models.to_bytes(model))
    with pytest.raises(ConversionFailure, match="converted to ONNX: node 'steal'") as caught:
        prove(out, around(tmp_path), "m.pt2")
    assert caught.value.reason is Reason.CUSTOM_OPERATOR


def test_references_cover_each_batch_and_known_sizes() -> None:
    model = tiny_models.model_of(
        [helper.make_node("Relu", ["x"], ["y"])],
        {},
        inputs={"x": ["batch", 3, "height", "width"]},
        outputs={"y": ["batch", 3, "height", "width"]},
    )
    seen: list[tuple[int, ...]] = []

    def run(arrays):  # type: ignore[no-untyped-def]
        seen.append(arrays[0].shape)
        return arrays

    loaded = Loaded(tiny_models.to_bytes(model), run, {"x": (2, 3, 32, 40)})
    assert [reference.batch for reference in make_references(loaded)] == list(BATCHES)
    assert seen == [(batch, 3, 32, 40) for batch in BATCHES]


def test_a_source_that_does_not_run_says_with_what() -> None:
    def run(arrays):  # type: ignore[no-untyped-def]
        raise ValueError("expected batch 8")

    with pytest.raises(ConversionFailure, match=r"batch of 1 and inputs \[\[1, 4\]\]: expected batch 8") as caught:
        make_references(Loaded(MODEL, run))
    assert caught.value.reason is Reason.LOADER_REFUSES


def test_a_fixed_batch_gives_no_references() -> None:
    fixed = tiny_models.to_bytes(tiny_models.classifier(batch=1))
    assert make_references(Loaded(fixed, lambda arrays: arrays)) == ()


@pytest.mark.parametrize("found", [SourceFormat.TORCHSCRIPT, SourceFormat.TORCH_EXPORT])
def test_programs_that_may_run_code_need_permission(tmp_path: Path, found: SourceFormat) -> None:
    request = SourceRequest(uri="s3://m/a", inputs=(INPUT,))
    with pytest.raises(ConversionFailure, match=r"trustPickle: true together with spec\.model\.digest") as caught:
        load_as_onnx(tmp_path / "absent", found, request, around(tmp_path), shown="s3://m/a")
    assert caught.value.reason is Reason.TRUST_NEEDED


def test_torchscript_needs_shapes(tmp_path: Path) -> None:
    request = SourceRequest(uri="s3://m/a", trust_pickle=True)
    with pytest.raises(ConversionFailure, match=r"spec\.model\.inputs, for example") as caught:
        load_as_onnx(tmp_path / "absent", SourceFormat.TORCHSCRIPT, request, around(tmp_path), shown="s3://m/a")
    assert caught.value.reason is Reason.INPUT_SHAPES_NEEDED


@pytest.mark.skipif(importlib.util.find_spec("tf2onnx") is not None, reason="this environment has the loaders")
@pytest.mark.parametrize("found", [SourceFormat.KERAS, SourceFormat.TFLITE, SourceFormat.SAVED_MODEL])
def test_a_missing_loader_names_the_helm_value(tmp_path: Path, found: SourceFormat) -> None:
    with pytest.raises(ConversionFailure) as caught:
        load_as_onnx(tmp_path / "absent", found, SourceRequest(uri="s3://m/a"), around(tmp_path), shown="s3://m/a")
    assert caught.value.reason is Reason.LOADER_NOT_INSTALLED
    assert f"converter.images.{found.value}" in caught.value.message
    assert "converter-tensorflow" in caught.value.message


def test_every_format_has_a_loader() -> None:
    assert set(LOADERS) == set(SourceFormat) - {SourceFormat.ONNX}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2147483648\n", 1610612736), ("max\n", Limits().memory_bytes), (None, Limits().memory_bytes)],
    ids=["limited", "unlimited", "no cgroup v2"],
)
def test_the_loader_fits_into_the_container(tmp_path: Path, text: str | None, expected: int) -> None:
    if text is not None:
        (tmp_path / "memory.max").write_text(text)
    assert loader_limits(tmp_path).memory_bytes == expected
