"""From options of the command line to the request that a Job would get."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from visionmodel_contract.conversion import CalibrationOptions, MetricGoal
from visionmodel_contract.precision import Backend, CalibrationMethod, ExportFormat, Goal, Precision, PruningPattern
from visionmodel_converter.command_line import add_arguments, request_of, uri_of
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.gates.tasks import DECODERS_OF, TaskKind, kind_of
from visionmodel_pipeline.settings import OutputSettings, output_settings


def options(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_smallest() -> None:
    request = request_of(options("s3://bucket/net.onnx"))
    assert (request.name, request.source.uri) == ("net", "s3://bucket/net.onnx")
    assert request.options.precisions == (Precision.FP32,)
    assert (request.options.simplify, request.options.calibration, request.options.backend) == (
        True,
        None,
        Backend.ONNX_RUNTIME,
    )


def test_everything(tmp_path: Path) -> None:
    request = request_of(
        options(
            *(str(tmp_path / "net.onnx"), "--precision", "int8", "--calibration", str(tmp_path), "--samples", "64"),
            *("--method", "Entropy", "--dataset", "https://h/d.npz", "--goal", "map50:max-degradation:0.01"),
            *(
                "--goal",
                "cosine:threshold:0.9",
                "--backend",
                "OpenVINO",
                "--no-simplify",
                "--digest",
                f"sha256:{64 * 'a'}",
            ),
        )
    )
    assert request.source.uri == f"{tmp_path.as_uri()}/net.onnx"
    assert request.source.digest == f"sha256:{64 * 'a'}"
    assert request.options.calibration == CalibrationOptions(
        dataset_uri=f"{tmp_path.as_uri()}/", samples=64, method=CalibrationMethod.ENTROPY
    )
    assert (request.options.backend, request.options.simplify) == (Backend.OPENVINO, False)
    assert request.gates.parity.dataset_uri == "https://h/d.npz"
    assert request.gates.parity.metrics == (
        MetricGoal(name="map50", goal=Goal.MAX_DEGRADATION, value=0.01),
        MetricGoal(name="cosine", goal=Goal.THRESHOLD, value=0.9),
    )


@pytest.mark.parametrize(("extra", "precisions"), [((), "fp32 fp16"), (("--calibration", "a.npz"), "fp32 fp16 int8")])
def test_auto_tries_what_can_be_made(extra: tuple[str, ...], precisions: str) -> None:
    request = request_of(options("m.onnx", "--precision", "auto", *extra))
    assert [one.value for one in request.options.precisions] == precisions.split()


@pytest.mark.parametrize("kind", DECODERS_OF)
def test_every_decoder_has_the_defaults_of_serving(kind: TaskKind) -> None:
    for decoder in DECODERS_OF[kind]:
        task = request_of(options("m.onnx", "--dataset", "d.zip", "--decoder", decoder, "--color-space", "Gray")).task
        assert task is not None
        assert task.preprocess["color_space"] == "Gray"
        settings: OutputSettings = output_settings(task.postprocess | {"height": "8", "width": "8"})
        defaults: dict[str, Any] = {"height": 8, "width": 8} if kind is TaskKind.SEGMENTATION else {}
        assert settings == type(settings)(decoder, **defaults)
        assert kind_of(task, ()) is kind


def test_exports_each_once_and_pruning() -> None:
    request = request_of(options("m.onnx", *("--export", "TFLite") * 2, "--export", "ORT", "--prune", "2:4"))
    assert request.exports == (ExportFormat.TFLITE, ExportFormat.ORT)
    assert request.options.pruning is PruningPattern.TWO_OF_FOUR


def test_whole_request(tmp_path: Path) -> None:
    wanted = request_of(options("s3://bucket/net.onnx", "--precision", "fp16"))
    path = tmp_path / "request.json"
    path.write_text(wanted.to_json())
    assert request_of(options(str(path))) == wanted


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("m.onnx", "--goal", "map50"), "NAME:WORD:VALUE"),
        (("m.onnx", "--goal", "map50:best:1"), "max-degradation"),
        (("m.onnx", "--goal", "map50:threshold:much"), "NAME:WORD:VALUE"),
        (("m.onnx", "--digest", "md5:1"), "digest"),
        (("none.json",), "cannot be read"),
    ],
)
def test_refused(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConversionFailure, match=said) as refusal:
        request_of(options(*words))
    assert refusal.value.reason is Reason.BAD_REQUEST


def test_broken_request(tmp_path: Path) -> None:
    path = tmp_path / "request.json"
    path.write_text('{"name": 1}')
    with pytest.raises(ConversionFailure, match="is no ConversionRequest"):
        request_of(options(str(path)))


def test_uri_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a b").mkdir()
    cases: dict[str, Any] = {
        "s3://b/k": "s3://b/k",
        "m.onnx": f"{tmp_path.as_uri()}/m.onnx",
        "a b": f"{tmp_path.as_uri()}/a%20b/",
    }
    assert {text: uri_of(text) for text in cases} == cases
