"""Each format once, really: made by its framework, loaded in the sandbox, converted, compared with the framework.

Runs on request (`make test-formats`), because the frameworks are gigabytes. Each framework has an environment that is
made from its image's lock; `walk.py` runs in it and prints one line per case.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.formats, pytest.mark.timeout(1800)]

CONVERTED: dict[str, dict[str, tuple[str, int, list[int], list[int]]]] = {
    "torch": {
        "traced": ("torchscript", 17, [-1, 3, 32, 32], [-1, 5]),
        "frozen": ("torchscript", 17, [-1, 3, 32, 32], [-1, 5]),
        "exported": ("torch-export", 18, [-1, 3, -1, -1], [-1, 5]),
    },
    "tensorflow": {
        "keras": ("keras", 17, [-1, 32, 32, 3], [-1, 5]),
        "hdf5": ("keras", 17, [-1, 32, 32, 3], [-1, 5]),
        "sequential": ("keras", 17, [-1, 32, 32, 3], [-1, 2]),
        "saved-model": ("tensorflow-savedmodel", 17, [-1, 32, 32, 3], [-1, 5]),
        "saved-model-archive": ("tensorflow-savedmodel", 17, [-1, 32, 32, 3], [-1, 5]),
        "tflite": ("tflite", 17, [-1, 32, 32, 3], [-1, 5]),
    },
}
REFUSED: dict[str, dict[str, tuple[str, str]]] = {
    "torch": {
        "wrong-shape": ("LoaderRefuses", "to have 3 channels, but got 4 channels"),
        "static-batch": ("StaticBatch", "'image' has shape [2, 3, 32, 32]"),
        "future": ("UnsupportedProgram", "schema 999"),
        "hostile": ("UnsafePickle", "it was not run"),
        "state-dict": ("NoGraph", "weights without a graph"),
        "untrusted": ("TrustNeeded", "spec.model.trustPickle: true"),
    },
    "tensorflow": {
        "lambda": ("LambdaLayer", "layer 'twice'"),
        "weights-only": ("NoGraph", "no architecture"),
        "traversal": ("UnsafeArchive", "leads out of its folder"),
        "python-function": ("PythonFunction", "EagerPyFunc"),
        "custom-operator": ("CustomOperator", "'BesselI0e'"),
        "truncated-tflite": ("LoaderRefuses", "flatbuffer is truncated"),
    },
}
FRAMEWORKS = sorted(CONVERTED)


@pytest.fixture(scope="session")
def walked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, Any]]]:
    """What every case printed, by framework and case; printed here too, so that a run shows its figures."""
    environments = Path(os.environ["VISIONMODEL_FORMATS_VENVS"])
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for framework in FRAMEWORKS:
        folder = tmp_path_factory.mktemp(framework)
        command: list[str | Path] = [
            environments / framework / "bin/python",
            Path(__file__).with_name("walk.py"),
            framework,
            folder,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"case"')]
        found[framework] = {line["case"]: line for line in lines}
        print(*map(json.dumps, lines), sep="\n")
        assert not (folder / "hostile" / "pwned").exists()
    return found


@pytest.mark.parametrize(
    ("framework", "case"), [(framework, case) for framework in FRAMEWORKS for case in CONVERTED[framework]]
)
def test_converted_and_proven(walked: dict[str, dict[str, dict[str, Any]]], framework: str, case: str) -> None:
    found = walked[framework][case]
    assert found.get("reason") is None, found
    shown = (found["format"], found["opset"], found["inputs"][0][1], found["outputs"][0][1])
    assert shown == CONVERTED[framework][case]
    assert found["difference"] < 1e-5


@pytest.mark.parametrize(
    ("framework", "case"), [(framework, case) for framework in FRAMEWORKS for case in REFUSED[framework]]
)
def test_refused_with_its_own_reason(walked: dict[str, dict[str, dict[str, Any]]], framework: str, case: str) -> None:
    found, (reason, says) = walked[framework][case], REFUSED[framework][case]
    assert (found.get("reason"), says in found.get("message", "")) == (reason, True), found


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_case_is_judged(walked: dict[str, dict[str, dict[str, Any]]], framework: str) -> None:
    assert set(walked[framework]) == CONVERTED[framework].keys() | REFUSED[framework].keys()
