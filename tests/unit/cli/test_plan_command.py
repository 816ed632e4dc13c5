"""`plan`: the document, the sentences that must not be missed, and what it needs to be told."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from unit.core import builders
from visionmodel_cli.main import app

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
RATES = ("--requests-per-second", "20", "--error-rate", "0.005")
STEPS = [{"setWeight": 50}, {"pause": {"duration": "1m"}}]


def plan(spec: Any, *words: str, rates: tuple[str, ...] = RATES, **environment: str) -> Result:
    body = {
        "apiVersion": "visionmodel.dev/v1alpha1",
        "kind": "VisionModel",
        "metadata": {"name": "shapes"},
        "spec": spec,
    }
    text = spec if isinstance(spec, str) else yaml.safe_dump(body)
    environment = {"COLUMNS": "100", "KUBECONFIG": "/nowhere/config"} | environment
    return CliRunner().invoke(app, ["plan", "-f", "-", "--runs", "100", *rates, *words], input=text, env=environment)


def document(spec: Any, *words: str, rates: tuple[str, ...] = RATES) -> dict[str, Any]:
    done = plan(spec, "-o", "json", *words, rates=rates)
    assert done.exit_code == 0, done.output
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def short(**sections: Any) -> Any:
    """Return a spec whose rollout has one step of a minute."""
    return builders.spec_document(1, rollout={"steps": STEPS, "analysis": {"warmup": "0s"}}, **sections)


def test_the_default_rollout_of_the_smallest_example() -> None:
    found = document((EXAMPLES / "minimal.yaml").read_text(encoding="utf-8"))
    assert [(step["weight"], step["endsAfter"], step["canaryPods"]) for step in found["steps"]] == [
        (5, 300, 1),
        (25, 600, 1),
        (50, 900, 1),
    ]
    chances = {ratio["ratio"]: ratio["found"] for ratio in found["ratios"]}
    assert list(chances) == [1, 1.5, 2, 3, 5, 10]
    assert chances[1] < 0.03 < chances[2] < 0.7 < 0.9 < chances[3]
    assert [step["detectsRatio"] for step in found["steps"]] == [10, 5, 3]
    assert found["devices"] == []
    assert any("cannot detect a doubling of the error rate: it finds" in note for note in found["notes"])


def test_blue_green_finds_after_the_switch_what_it_finds() -> None:
    found = document((EXAMPLES / "shapes-blue-green.yaml").read_text(encoding="utf-8"))
    assert [
        (step["weight"], step["endsAfter"], step["untilPromoted"], step["canaryPods"]) for step in found["steps"]
    ] == [
        (0, 0, True, 2),
        (90, 600, False, 2),
    ]
    assert [step["detectsRatio"] for step in found["steps"]] == [None, 5]
    notes = " ".join(found["notes"])
    assert "Step 1 ends when it is promoted by hand, without any user's traffic until then." in notes
    assert "A longer scaleDownDelay, a larger baselineWeight or more traffic finds more." in notes


def test_yaml_has_the_same_document() -> None:
    assert yaml.safe_load(plan(short(), "-o", "yaml").stdout) == document(short())


def test_the_answer_for_a_person() -> None:
    done = plan(
        short(accelerators=[{"product": "NVIDIA-L4"}]),
        "--offline",
        rates=("--requests-per-second", "200", "--error-rate", "0.05"),
    )
    text = " ".join(done.stdout.split())
    assert "shapes: 200 requests per second, 5 % fail (as given)" in text
    assert "1 50 % 0:01:00 1 x1.5" in text
    assert "x10 100% 0:00:11 0:00:11" in text
    assert "nvidia.com/gpu NVIDIA-L4 2 2 4 unknown" in text
    assert "nvidia.com/gpu (NVIDIA-L4): 2 more than stable's 2 are needed; how many are free is unknown" in text
    assert "doubling" not in text


def test_a_cluster_that_is_not_there_leaves_the_devices_unknown() -> None:
    found = document(short(accelerators=[{}]))
    assert [need["free"] for need in found["devices"]] == ["unknown"]
    assert "no cluster to ask" in found["notes"][-1]


NOTES: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "held": (
        {"analysis": {"maxStepDuration": "1m"}},
        ("--requests-per-second", "0.1", "--error-rate", "0.01"),
        "Step 1 has 3 canary requests a minute, too few for minSamples 20 within maxStepDuration 1m:"
        " the rollout is held as Inconclusive.",
    ),
    "turned back": (
        {"analysis": {"maxStepDuration": "1m", "onInconclusive": "Abort"}},
        ("--requests-per-second", "0.1", "--error-rate", "0.01"),
        "the rollout is turned back.",
    ),
    "by hand": ({"steps": [{"setWeight": 50}, {"pause": {}}]}, RATES, "Step 1 ends when it is promoted by hand"),
    "no test": (
        {"analysis": {"metrics": [{"name": "latency", "type": "LatencyRatio"}]}},
        RATES,
        "No ErrorRate metric may send the canary back",
    ),
    "two tests": (
        {"analysis": {"metrics": [{"name": "errors", "type": "ErrorRate", "sloMax": 0.5}]}},
        RATES,
        "with a chance of at most 1 % if its requests fail independently (0.5 % for each test).",
    ),
}


@pytest.mark.parametrize(("rollout", "rates", "note"), NOTES.values(), ids=NOTES.keys())
def test_what_must_not_be_missed(rollout: dict[str, Any], rates: tuple[str, ...], note: str) -> None:
    spec = builders.changed(short(), {"rollout": rollout})
    assert note in " ".join(document(spec, rates=rates)["notes"])


REFUSED: dict[str, tuple[Any, tuple[str, ...], str]] = {
    "no rates": (short(), (), "give --requests-per-second and --error-rate, or --prometheus"),
    "one rate": (short(), ("--error-rate", "0.1"), "give --requests-per-second and --error-rate, or --prometheus"),
    "no error": (short(), (*RATES[:3], "0"), "the error rate must lie between 0 and 1, got 0.0"),
    "no VisionModel": ("kind: Pod", RATES, "no VisionModel of visionmodel.dev in -"),
    "a bad spec": (builders.changed(short(), {"serving": {"replicas": "two"}}), RATES, "spec.serving.replicas"),
    "no Prometheus": (short(), ("--prometheus", "http://127.0.0.1:9"), "Prometheus does not answer: ConnectionError"),
}


@pytest.mark.parametrize(("spec", "rates", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(spec: Any, rates: tuple[str, ...], told: str) -> None:
    done = plan(spec, rates=rates)
    assert done.exit_code == 1
    assert told in done.stderr


def test_one_at_a_time() -> None:
    one = (EXAMPLES / "minimal.yaml").read_text(encoding="utf-8")
    done = plan(f"{one}\n---\n{one}")
    assert done.exit_code == 1
    assert "2 VisionModels are in the file; plan one at a time" in done.stderr


def test_what_it_does_with_so_many_free_devices() -> None:
    document_on_gpus = short(accelerators=[{"product": "NVIDIA-L4"}])
    waits = document(document_on_gpus, "--free-gpus", "0")
    assert waits["capacity"] == {
        "choice": "Wait",
        "message": "Needs 1 NVIDIA-L4, 0 free. Stable gives no pod (rollout.whenFull: Wait).",
    }
    assert [need["free"] for need in waits["devices"]] == [0]
    assert waits["notes"][-2].startswith("Devices, Wait: Needs 1 NVIDIA-L4, 0 free.")
    assert "Held(NoCapacity)" in waits["notes"][-1]
    surges = document(document_on_gpus, "--free-gpus", "2")
    assert surges["notes"][-1] == "Devices, Surge: Beside stable: 2 NVIDIA-L4, 2 free."
    assert document(short())["capacity"] is None
