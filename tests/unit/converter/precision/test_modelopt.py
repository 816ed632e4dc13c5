"""Which methods ModelOpt has, and that its absence and its failures are told with the remedy."""

import json
import stat
import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unit.converter import tiny_models
from visionmodel_contract.exits import PERMANENT_EXIT_CODES
from visionmodel_contract.precision import CalibrationMethod
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.graph.onnx_model import checked
from visionmodel_converter.graph.session import Tensors
from visionmodel_converter.precision.modelopt import modelopt_methods, modelopt_variants, refuse_missing_modelopt
from visionmodel_converter.precision.variant import Variant
from visionmodel_converter.storage import Storage

MODEL = checked(tiny_models.classifier(), "the classifier")
SAMPLES = [{"x": np.random.default_rng(1).random((8, 4), np.float32)}]


@pytest.mark.parametrize(
    ("asked", "methods"), [("Auto", ("MinMax", "Entropy")), ("MinMax", ("MinMax",)), ("Entropy", ("Entropy",))]
)
def test_methods(asked: str, methods: tuple[str, ...]) -> None:
    assert modelopt_methods(CalibrationMethod(asked)) == methods


def test_percentile_is_refused() -> None:
    with pytest.raises(ConversionFailure, match="no calibration method Percentile; use MinMax, Entropy or Auto"):
        modelopt_methods(CalibrationMethod.PERCENTILE)


def test_absence_names_the_helm_value() -> None:
    with pytest.raises(ConversionFailure, match=r"converter\.modeloptImage") as refusal:
        refuse_missing_modelopt(Path("/nonexistent/python"))
    assert refusal.value.reason is Reason.QUANTIZER_NOT_INSTALLED


def program(folder: Path, lines: str) -> Path:
    """A stand-in for the other Python, which is given `-I SCRIPT FOLDER METHOD`."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def variants(
    python: Path,
    samples: Sequence[Tensors] = SAMPLES,
    *,
    methods: Sequence[CalibrationMethod] = (CalibrationMethod.MIN_MAX,),
    storage: Storage | None = None,
) -> list[Variant]:
    return modelopt_variants(MODEL, samples, methods, python=python, threads=1, storage=storage or Storage())


def test_what_it_says_is_passed_on(tmp_path: Path) -> None:
    python = program(tmp_path, 'echo noise\necho "method $4 failed: no such node" >&2\nexit 1')
    with pytest.raises(ConversionFailure, match="ModelOpt failed: method entropy failed: no such node") as refusal:
        variants(python, methods=[CalibrationMethod.ENTROPY])
    assert refusal.value.reason is Reason.PRECISION_IMPOSSIBLE


def test_being_killed_is_not_held_against_the_model(tmp_path: Path) -> None:
    with pytest.raises(ConversionFailure, match="ModelOpt was ended by signal SIGKILL") as refusal:
        variants(program(tmp_path, "kill -KILL $$"))
    assert refusal.value.exit_code not in PERMANENT_EXIT_CODES


def test_what_it_makes_is_checked_like_any_graph(tmp_path: Path) -> None:
    (tmp_path / "made.onnx").write_bytes(tiny_models.to_bytes(tiny_models.detector()))
    copy = f'/bin/cp {tmp_path}/made.onnx "$3/quantised.onnx"; echo 1.2.3 > "$3/version.txt"'
    with pytest.raises(ConversionFailure, match=r"ModelOpt's graph: onnxruntime .* could not run") as refusal:
        variants(program(tmp_path, copy))
    assert refusal.value.reason is Reason.PRECISION_IMPOSSIBLE


def test_samples_that_do_not_fit_are_refused_first(tmp_path: Path) -> None:
    nan = [{"x": np.full((8, 4), np.nan, np.float32)}]
    with pytest.raises(ConversionFailure) as refusal:
        variants(tmp_path / "none", nan)
    assert refusal.value.reason is Reason.CALIBRATION_INVALID


BATCHES, ROWS = 64, 4096
"""4 MiB of samples, 64 KiB at a time."""


class Stream(Sequence[Tensors]):
    """Batches that are made when they are read, as those of images are."""

    def __len__(self) -> int:
        return BATCHES

    def __getitem__(self, index: Any) -> Any:
        return {"x": np.full((ROWS, tiny_models.FEATURES), index, np.float32)}

    def __iter__(self) -> Iterator[Tensors]:
        return map(self.__getitem__, range(BATCHES))


def test_samples_reach_it_once_for_all_methods_and_never_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "made.onnx").write_bytes(MODEL.serialized())
    python = program(
        tmp_path,
        f'/bin/cp {tmp_path}/made.onnx "$3/quantised.onnx"; echo 1.2.3 > "$3/version.txt"\n'
        f'/bin/cp "$3"/calibration* {tmp_path}; echo "$4" >> {tmp_path}/methods',
    )
    tracemalloc.start()
    try:
        made = variants(python, Stream(), methods=[CalibrationMethod.MIN_MAX, CalibrationMethod.ENTROPY])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [variant.method for variant in made] == [CalibrationMethod.MIN_MAX, CalibrationMethod.ENTROPY]
    assert (tmp_path / "methods").read_text().split() == ["max", "entropy"]
    files = json.loads((tmp_path / "calibration.json").read_text())
    found = np.load(tmp_path / files["x"], mmap_mode="r")
    np.testing.assert_array_equal(found, np.concatenate([batch["x"] for batch in Stream()]))
    assert peak < found.nbytes / 2


def test_samples_that_do_not_fit_onto_the_disk_are_refused_first(tmp_path: Path) -> None:
    python = program(tmp_path, "exit 1")
    full = Storage((tmp_path,), limit_bytes=Storage((tmp_path,)).used_bytes() + 2**20)
    with pytest.raises(ConversionFailure, match="262144 calibration samples for ModelOpt would take more") as refusal:
        variants(python, Stream(), storage=full)
    assert refusal.value.reason is Reason.STORAGE_EXCEEDED
