"""The engine builder against the real bindings of TensorRT 10.16 and 11, imported over stub libraries.

Nothing can be built without a GPU; that every name and every call fits both versions can be known without one.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from visionmodel_converter.engines import engine
from visionmodel_devcluster.wheels import unpacked

pytestmark = pytest.mark.component

HERE = Path(__file__).parent
LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser")
VERSIONS = (10, 11)


@pytest.fixture(scope="module")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Libraries under the names that the bindings of both versions look for."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    assert compiler, "a C compiler is needed for the stub libraries; install gcc"
    folder = tmp_path_factory.mktemp("stubs")
    for major in VERSIONS:
        for library in LIBRARIES:
            name = f"lib{library}.so.{major}"
            command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name)]
            subprocess.run([*command, str(HERE / "bindings" / "stub.c")], check=True, timeout=60)
    return folder


def used(source: Path, major: int, stubs: Path) -> dict[str, Any]:
    """Return the report of api_use in a process with the bindings of one version."""
    bindings = unpacked(HERE / "bindings" / f"tensorrt-{major}.txt")
    done = subprocess.run(
        [sys.executable, str(HERE / "api_use.py"), str(source)],
        env={**os.environ, "LD_LIBRARY_PATH": str(stubs), "PYTHONPATH": str(bindings)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("major", VERSIONS)
def test_every_name_and_call_fits(major: int, stubs: Path) -> None:
    report = used(Path(str(engine.__file__)), major, stubs)
    assert report["faults"] == []
    assert report["version"].startswith(f"{major}.")
    # what it takes to build, load and inspect; the list is read from the source, this only says that it was read
    assert {"Builder.build_serialized_network", "OnnxParser.parse", "IBuilderConfig.set_timing_cache"} <= set(
        report["checked"]
    )
    assert len(report["checked"]) > 30


REMOVED = {
    "flag": ("trt.BuilderFlag.FP16", "BuilderFlag.FP16 does not exist"),
    "property": ("trt.Builder(trt.Logger()).create_builder_config().int8_calibrator", "int8_calibrator does not exist"),
    "one argument too few": (
        "trt.Builder(trt.Logger()).create_builder_config().set_timing_cache(None)",
        "set_timing_cache",
    ),
    "overridden with one parameter too many": (
        "type('M', (), {})\n\nclass M(trt.IProgressMonitor):\n    def phase_finish(self, name, more): ...",
        "phase_finish",
    ),
    "unknown keyword": ("trt.Runtime(trt.Logger()).deserialize_cuda_engine(plan=b'')", "deserialize_cuda_engine"),
}


@pytest.mark.parametrize(("expression", "fault"), REMOVED.values(), ids=REMOVED.keys())
def test_what_version_11_lacks_is_found(expression: str, fault: str, stubs: Path, tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text(f"def build(trt):\n    return {expression}\n")
    faults = used(source, 11, stubs)["faults"]
    assert [line for line in faults if fault in line], faults
