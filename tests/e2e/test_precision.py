"""Precisions on the cluster: the detector becomes INT8 in the Job, takes over under load, and people can ask why."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from e2e.installation import Installation
from e2e.scene import HALF, Scene, assert_nothing_lost, new_name

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

CALIBRATION = {"storageUri": "s3://models/shapes/calibration.npz"}
GOAL = {"name": "map50", "goal": "max-degradation", "value": 0.02}


def lowered(document: dict[str, Any], **conversion: Any) -> dict[str, Any]:
    """Return the document with another precision, held to the source's own score."""
    spec = document["spec"]
    parity = {**spec["conversion"]["gates"]["parity"], "metrics": [GOAL]}
    spec["conversion"] = {"calibration": CALIBRATION, "gates": {"parity": parity}, **conversion}
    return document


def plugin(scene: Scene, *words: str) -> str:
    """Return what the kubectl plugin prints."""
    kubeconfig = ("--kubeconfig", str(scene.platform.kube.kubeconfig))
    command = [sys.executable, "-m", "visionmodel_cli", *words, "-n", scene.namespace, *kubeconfig]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_int8_takes_over_from_fp32_under_load(scene: Scene) -> None:
    stable = scene.serve()
    with scene.load() as load:
        scene.model.apply(lowered(scene.document("v2", *HALF), precision="int8"))
        status = scene.wait_settled()
    assert_nothing_lost(load.report())
    assert status["history"][0]["outcome"] == "Promoted", status
    assert status["stable"]["revision"] != stable
    assert status["conversion"]["report"]["precision"] == "int8"
    (gate,) = status["conversion"]["report"]["parity"]
    assert gate["passed"]
    scene.answer()
    documents = json.loads(plugin(scene, "report", scene.name, "-o", "json"))
    assert documents["report"]["precision"] == "int8"
    assert documents["report"]["candidates"][0]["share"]["compute"] >= 0.8
    assert documents["provenance"]["predicateType"] == "https://slsa.dev/provenance/v1"


def test_best_of_several_precisions_is_served(scene: Scene) -> None:
    scene.serve(lowered(scene.document("v2"), precision="Auto", candidates=["fp32", "int8"]))
    report = scene.model.status()["conversion"]["report"]
    assert [row["precision"] for row in report["candidates"]] == ["fp32", "int8"]
    (chosen,) = [row for row in report["candidates"] if row["chosen"]]
    assert report["precision"] == chosen["precision"]
    printed = plugin(scene, "compare", scene.name)
    assert "map50" in printed
    assert f"measured on {chosen['measuredOn']}" in printed
    assert [line for line in printed.splitlines() if line.strip().startswith("✓")], printed
    rows = json.loads(plugin(scene, "compare", scene.name, "-o", "json"))
    assert [row["precision"] for row in rows if row["chosen"]] == [chosen["precision"]]


def test_a_conversion_is_told_in_events(installation: Installation, namespace: str, tmp_path: Path) -> None:
    scene = Scene(installation, namespace, new_name(), tmp_path)
    document = lowered(scene.document("v2"), precision="int8")
    # Each batch takes three seconds to time, so that the operator sees the Job at work before it ends.
    limits = [{"percentile": "p99", "batch": batch, "max": "30s"} for batch in (64, 80, 96, 112, 128)]
    document["spec"]["conversion"]["gates"]["latency"] = limits
    scene.serve(document)
    job = scene.model.status()["conversion"]["job"]
    (started,), (finished,) = (scene.events(f"Conversion{what}") for what in ("Started", "Finished"))
    assert started["message"].startswith(f"Job {job} converts revision ")
    assert f"by Job {job}; int8, " in finished["message"]
    assert "map50 0." in finished["message"]
    stages = [event["message"] for event in scene.events("ConversionStage")]
    assert len(stages) == len(set(stages)) > 0
