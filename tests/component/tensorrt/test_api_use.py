"""The engine builder and runner against the real bindings of TensorRT 10.16 and 11, imported over stub libraries.

Nothing can be built without a GPU; that every name and every call fits both versions can be known without one, and so
can how a build Job ends there.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from visionmodel_contract.build import BuildRequest, EngineOptions, ShapeRange
from visionmodel_contract.conversion import PublishTarget
from visionmodel_contract.exits import PERMANENT_EXIT_CODES, ExitCode
from visionmodel_contract.report import ReportSummary
from visionmodel_converter.engines import engine, gpu
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


def with_bindings(major: int, stubs: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the bindings of one version, Polygraphy and CUDA's bindings."""
    packages = [unpacked(HERE / "bindings" / name) for name in (f"tensorrt-{major}.txt", "gpu.txt")]
    path = os.pathsep.join([*map(str, packages), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "LD_LIBRARY_PATH": str(stubs), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def used(source: Path, major: int, stubs: Path, *modules: str) -> dict[str, Any]:
    """Return the report of api_use in a process with the bindings of one version."""
    done = with_bindings(major, stubs, str(HERE / "api_use.py"), str(source), *modules)
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


OTHERS = ("cuda=cuda.bindings.runtime", "polygraphy=polygraphy.backend.trt")


@pytest.mark.parametrize("major", VERSIONS)
def test_every_name_of_the_runner_is_there(major: int, stubs: Path) -> None:
    report = used(Path(str(gpu.__file__)), major, stubs, *OTHERS)
    assert report["faults"] == []
    assert {
        "TrtRunner.infer",
        "cuda.bindings.runtime.cudaMemGetInfo",
        "cudaDeviceProp.multiProcessorCount",
        "polygraphy.exception.PolygraphyException",
    } <= set(report["checked"])


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("def f(cuda):\n    return cuda.cudaMemoryInfo()\n", "cudaMemoryInfo does not exist"),
        ("def f(found: 'cuda.cudaDeviceProp'):\n    return found.smCount\n", "smCount does not exist"),
        ("def f(runner: 'polygraphy.TrtRunner'):\n    return runner.run()\n", "TrtRunner.run does not exist"),
        ("def f():\n    from polygraphy.backend.trt import Runner\n", "polygraphy.backend.trt.Runner does not exist"),
    ],
    ids=["function", "field", "method", "import"],
)
def test_what_the_other_packages_lack_is_found(source: str, fault: str, stubs: Path, tmp_path: Path) -> None:
    (tmp_path / "source.py").write_text(source)
    faults = used(tmp_path / "source.py", 11, stubs, *OTHERS)["faults"]
    assert [line for line in faults if fault in line], faults


@pytest.mark.skipif(os.path.exists("/dev/nvidia0"), reason="this machine has the device that is missing here")
def test_a_build_without_a_device_ends_for_good_and_says_what_to_do(stubs: Path, tmp_path: Path) -> None:
    request = BuildRequest(
        namespace="vision",
        name="shapes",
        revision="r",
        key="b" * 32,
        gate_key="c" * 32,
        prepare_key="a" * 32,
        options=EngineOptions(batch=ShapeRange(min=1, opt=1, max=1)),
        publish=PublishTarget(repository="registry.example/artifacts"),
    )
    (tmp_path / "request.json").write_text(request.to_json())
    program = (
        "import sys, tensorrt_bindings\n"
        "sys.modules['tensorrt'] = tensorrt_bindings\n"
        "from visionmodel_converter.__main__ import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    files = {"--request": "request.json", "--work": "work", "--termination-message": "message"}
    arguments = [word for option, name in files.items() for word in (option, str(tmp_path / name))]
    done = with_bindings(11, stubs, "-c", program, "build", *arguments)
    assert done.returncode == ExitCode.DEVICE_MISSING, done.stderr
    assert ExitCode.DEVICE_MISSING in PERMANENT_EXIT_CODES
    summary = ReportSummary.model_validate_json((tmp_path / "message").read_text())
    assert summary.gate_key == "c" * 32
    assert summary.failure is not None
    assert summary.failure.reason == "NoTensorRTDevice"
    assert "container toolkit" in summary.failure.message


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
