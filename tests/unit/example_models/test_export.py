"""Written graphs against the numpy networks, and the two variants against their origin.

Random weights do: what is tested is the graph, not what it has learnt.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import onnxslim
import pytest

from example_models import classifier, detector, digits, shapes
from example_models.export import IR_VERSION, OPSET, classifier_model, detector_model
from example_models.variants import SLOW_TURNS, STOPS, TABLE_LENGTH, failing_variant, slow_variant
from example_models.verification import run

FEW_TURNS = 3


def _session(model: onnx.ModelProto) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def good() -> onnx.ModelProto:
    return detector_model(detector.NETWORK.initial_parameters(np.random.default_rng(0)))


def _slimmed(model: onnx.ModelProto) -> onnx.ModelProto:
    slim = onnxslim.slim(model)
    assert isinstance(slim, onnx.ModelProto)
    return slim


def _dim(count: int) -> shapes.Pixels:
    return shapes.dataset(np.random.default_rng(1), count, bright_share=0).images


def _bright(count: int) -> shapes.Pixels:
    return shapes.dataset(np.random.default_rng(2), count, bright_share=1).images


@pytest.mark.parametrize("count", [1, 3])
def test_detector_graph_equals_numpy(count: int) -> None:
    parameters = detector.NETWORK.initial_parameters(np.random.default_rng(3))
    images = _dim(count)
    boxes, scores = run(_session(detector_model(parameters)), images)
    expected_boxes, expected_scores = detector.predict(parameters, images)
    assert (boxes.shape, scores.shape) == ((count, 64, 4), (count, 64, 3))
    np.testing.assert_allclose(boxes, expected_boxes, atol=1e-3)
    np.testing.assert_allclose(scores, expected_scores, atol=1e-5)


@pytest.mark.parametrize("count", [1, 3])
def test_classifier_graph_equals_numpy(count: int) -> None:
    parameters = classifier.NETWORK.initial_parameters(np.random.default_rng(4))
    images = digits.dataset(np.random.default_rng(5), count).images
    (logits,) = run(_session(classifier_model(parameters)), images)
    assert logits.shape == (count, 10)
    np.testing.assert_allclose(logits, classifier.predict(parameters, images), atol=1e-4)


def test_graphs_have_the_promised_interface(good: onnx.ModelProto) -> None:
    for model in (good, failing_variant(good), slow_variant(good)):
        assert model.ir_version == IR_VERSION
        assert [entry.version for entry in model.opset_import] == [OPSET]
        dims = {
            value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            for value in (*model.graph.input, *model.graph.output)
        }
        assert dims == {
            "images": ["N", 3, 64, 64],
            "boxes": ["N", 64, 4],
            "scores": ["N", 64, 3],
        }


def test_surgery_leaves_the_origin_alone(good: onnx.ModelProto) -> None:
    before = good.SerializeToString()
    failing_variant(good)
    slow_variant(good)
    assert good.SerializeToString() == before


@pytest.mark.parametrize("simplify", [False, True], ids=["as-written", "slimmed"])
def test_failing_variant_fails_on_bright_images_only(good: onnx.ModelProto, simplify: bool) -> None:
    model = failing_variant(good)
    session = _session(_slimmed(model) if simplify else model)
    dim, bright = _dim(8), _bright(4)
    for got, want in zip(run(session, dim), run(_session(good), dim), strict=True):
        np.testing.assert_array_equal(got, want)
    for image in bright:
        with pytest.raises(Exception, match="out of data bounds"):
            run(session, image[None])
    # One bright request takes the whole batch with it.
    with pytest.raises(Exception, match="out of data bounds"):
        run(session, np.concatenate([dim, bright[:1]]))


def test_failing_threshold_lies_in_the_gap_with_a_step_to_spare() -> None:
    threshold = TABLE_LENGTH / STOPS
    assert shapes.DIM_LIMIT + 1 / STOPS < threshold < shapes.BRIGHT_LIMIT - 1 / STOPS


@pytest.mark.parametrize("simplify", [False, True], ids=["as-written", "slimmed"])
def test_slow_variant_answers_exactly_as_its_origin(good: onnx.ModelProto, simplify: bool) -> None:
    model = slow_variant(good, FEW_TURNS)
    session = _session(_slimmed(model) if simplify else model)
    images = np.concatenate([_dim(3), _bright(2)])
    for got, want in zip(run(session, images), run(_session(good), images), strict=True):
        np.testing.assert_array_equal(got, want)


def test_no_optimiser_drops_the_loop_or_shortens_it(good: onnx.ModelProto, tmp_path: Path) -> None:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    slim = _slimmed(slow_variant(good))
    ort.InferenceSession(slim.SerializeToString(), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(tmp_path / "optimised.onnx").graph
    (loop,) = [node for node in graph.node if node.op_type == "Loop"]
    (turns,) = [value for value in graph.initializer if value.name == loop.input[0]]
    assert int(onnx.numpy_helper.to_array(turns)) == SLOW_TURNS
    (body,) = [attribute.g for attribute in loop.attribute if attribute.name == "body"]
    assert any("Conv" in node.op_type for node in body.node)
