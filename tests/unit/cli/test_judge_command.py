"""`judge --input`: the answer for the documented file, for what cannot be counted, and for what cannot be read."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from visionmodel_cli.main import app

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "judge.md").read_text(encoding="utf-8")


def judge(document: Any, *words: str) -> Result:
    text = document if isinstance(document, str) else json.dumps(document)
    return CliRunner().invoke(app, ["judge", "--input", "-", *words], input=text, env={"COLUMNS": "160"})


def example() -> dict[str, Any]:
    found = re.search(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None
    document: dict[str, Any] = json.loads(found.group(1))
    return document


def documented() -> list[tuple[str, str, str, str]]:
    """Return (metric, log evidence, verdict, time of day) of each row of the document's last table."""
    rows = re.findall(r"^\| ([a-z-]+) \| ([-0-9., ]+) \| (\w+) at ([0-9:]+) \|$", DOCUMENT, re.MULTILINE)
    assert len(rows) == len(example()["metrics"])
    return rows


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_the_documented_answer(form: str) -> None:
    done = judge(example(), "-o", form)
    assert done.exit_code == 3
    answer = json.loads(done.stdout) if form == "json" else yaml.safe_load(done.stdout)
    assert answer["verdict"] == "Fail"
    assert [
        (m["name"], ", ".join(f"{value:.6f}" for value in m["logEvidence"]), m["verdict"], m["tick"][11:19])
        for m in answer["metrics"]
    ] == documented()


def test_the_answer_for_a_person() -> None:
    done = judge(example())
    assert done.exit_code == 3
    assert re.search(r"errors +Fail +2026-03-01T12:00:30\+00:00 +9\.357 +4\.605 +3 +0", done.stdout)
    assert (
        "split: the canary got 150 of 1500 (10 %) requests, written are 10 %; no harm found"
        " (evidence 0.000 of 6.908, 0.1 % false-rollback rate)." in " ".join(done.stdout.split())
    )


def tick(second: int, canary: Any = None, **sides: Any) -> dict[str, Any]:
    return {"time": f"2026-03-01T12:00:{second:02}Z", "canary": canary, **sides}


def counts(requests: Any, events: Any = 0) -> dict[str, Any]:
    return {"requests": requests, "events": events}


FINE = {"canary": counts(100), "stable": counts(900)}
SKIPPED = {
    "left out": ({"stable": counts(900)}, "canary NoSeries"),
    "null": ({"canary": None, "stable": counts(900)}, "canary NoSeries"),
    "no series": ({"canary": counts(100), "stable": []}, "stable NoSeries"),
    "a count is null": ({"canary": counts(100, None), "stable": counts(900)}, "canary NoSeries"),
    "not a number": ({"canary": counts(100), "stable": counts(float("nan"))}, "stable NotFinite"),
    "infinite": ({"canary": counts(float("inf")), "stable": counts(900)}, "canary NotFinite"),
    "several series": ({"canary": [counts(100), counts(3)], "stable": counts(900)}, "canary SeveralSeries"),
}


@pytest.mark.parametrize(("sides", "reason"), SKIPPED.values(), ids=SKIPPED.keys())
def test_what_cannot_be_counted_is_no_data_with_the_reason(sides: dict[str, Any], reason: str) -> None:
    done = judge({"metrics": [{"name": "e", "type": "ErrorRate", "ticks": [tick(15) | sides]}]}, "-o", "json")
    assert done.exit_code == 5
    (metric,) = json.loads(done.stdout)["metrics"]
    assert metric["verdict"] == "NoData"
    assert metric["tick"] is None
    assert metric["skipped"] == [{"time": "2026-03-01T12:00:15+00:00", "reason": reason}]
    assert metric["message"] == f"e: nothing could be judged: {reason}."


def test_a_tick_is_used_once_and_in_time_order() -> None:
    bad = {"canary": counts(100, 50), "stable": counts(900)}
    ticks = [tick(30) | FINE, tick(30) | bad, tick(15) | bad, tick(45) | FINE]
    done = judge({"metrics": [{"name": "e", "type": "ErrorRate", "ticks": ticks}]}, "-o", "json")
    assert done.exit_code == 0
    (metric,) = json.loads(done.stdout)["metrics"]
    assert [(skip["time"][17:19], skip["reason"]) for skip in metric["skipped"]] == [("30", "Repeated"), ("15", "Late")]
    assert metric["logEvidence"] == [0.0] * 4


VERDICTS: dict[str, tuple[dict[str, Any], int, str, str | None]] = {
    "enough without harm": ({}, 0, "Pass", "15"),
    "too few without harm": ({"minSamples": 101}, 4, "Inconclusive", None),
    "no proof yet": ({"maxRatio": 2.0}, 4, "Inconclusive", None),
    "no ticks": ({"ticks": []}, 5, "NoData", None),
    "proven": (
        {"maxRatio": 3.0, "ticks": [tick(s, counts(1000, 10), stable=counts(1000, 10)) for s in (15, 30)]},
        0,
        "Pass",
        "30",
    ),
    "harm after a pass": (
        {"ticks": [tick(15) | FINE, tick(30, counts(100, 30), stable=counts(900, 1)), tick(45) | FINE]},
        3,
        "Fail",
        "30",
    ),
}


@pytest.mark.parametrize(("fields", "code", "verdict", "second"), VERDICTS.values(), ids=VERDICTS.keys())
def test_verdicts_and_exit_codes(fields: dict[str, Any], code: int, verdict: str, second: str | None) -> None:
    metric = {"name": "e", "type": "ErrorRate", "ticks": [tick(15) | FINE], **fields}
    done = judge({"metrics": [metric]}, "-o", "json")
    (answer,) = json.loads(done.stdout)["metrics"]
    assert (done.exit_code, answer["verdict"]) == (code, verdict)
    assert (answer["tick"] or "")[17:19] == (second or "")


def test_the_worst_verdict_is_the_exit_code() -> None:
    bad = tick(15, counts(100, 60), stable=counts(900))
    silent = {"name": "a", "type": "ErrorRate", "ticks": []}
    metrics = [silent, {"name": "b", "type": "ErrorRate", "ticks": [bad]}, {**silent, "name": "c"}]
    assert judge({"metrics": metrics}).exit_code == 3
    undecided = {"name": "b", "type": "ErrorRate", "ticks": [tick(15) | FINE], "minSamples": 1000}
    assert judge({"metrics": [undecided, silent]}).exit_code == 5


def test_the_baseline_is_a_part_of_what_stable_was_sent() -> None:
    sides = {"stable": counts(8000), "baseline": counts(1000)}
    ticks = [tick(15, counts(1000), **sides), tick(30, counts(1000), **sides)]
    weights = {"canary": 10, "stable": 90}
    done = judge({"metrics": [{"name": "split", "type": "Split", "weights": weights, "ticks": ticks}]}, "-o", "json")
    assert (done.exit_code, json.loads(done.stdout)["verdict"]) == (0, "Pass")


def test_noise_tempers_the_evidence() -> None:
    burst = {"canary": counts(100, 3), "stable": counts(900, 3), "baseline": counts(100, 9)}
    ticks = [tick(second) | burst for second in (10, 20, 30)]
    answers = {}
    for method in ("Counts", "Tempered"):
        done = judge({"metrics": [{"name": "e", "type": "ErrorRate", "method": method, "ticks": ticks}]}, "-o", "json")
        (metric,) = json.loads(done.stdout)["metrics"]
        answers[method] = metric["logEvidence"]
    # the prior factor 2 halves the first tick's bets, and the measured bursts damp the later ones further
    assert all(0 < low < high for low, high in zip(answers["Tempered"], answers["Counts"], strict=True))


def metric(**fields: Any) -> dict[str, Any]:
    return {"metrics": [{"name": "e", "type": "ErrorRate", "ticks": [tick(15) | FINE], **fields}]}


TAIL = {"name": "t", "type": "LatencyTail"}
REFUSED: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "the input is no JSON: "),
    "no metrics": ({}, "metrics: Field required"),
    "an empty list": ({"metrics": []}, "metrics: List should have at least 1 item"),
    "another type": (metric(type="Errors"), "metrics[0]: Input tag 'Errors' found using 'type' does not match"),
    "one name twice": ({"metrics": metric()["metrics"] * 2}, "metrics: duplicate name e"),
    "a misspelt field": (metric(tolerateRate=2), "metrics[0].tolerateRate: is not known; correct its name"),
    "a rate of zero": (metric(falseRollbackRate=0), "metrics[0].falseRollbackRate: Input should be greater than 0"),
    "no time zone": (
        metric(ticks=[tick(15) | FINE | {"time": "2026-03-01T12:00:15"}]),
        "metrics[0].ticks[0].time: Input should have timezone info",
    ),
    "a fraction": (
        metric(ticks=[tick(15, counts(100.5), stable=counts(900))]),
        "metrics[0].ticks[0].canary.requests: a count is a whole number: take differences of counters, not rate()",
    ),
    "a negative count in a list": (
        metric(ticks=[tick(15, [counts(100), counts(-1)])]),
        "metrics[0].ticks[0].canary[1].requests: a count lies between 0 and 2^53: take differences of counters",
    ),
    "more events than requests": (
        metric(ticks=[tick(15, counts(100, 101))]),
        "metrics[0].ticks[0].canary: 101 events of 100 requests cannot be",
    ),
    "a text for a number": (metric(ticks=[tick(15, counts("100"))]), "canary.requests: Input should be a valid number"),
    "a group without requests": (metric(ticks=[tick(15, {"events": 1})]), "canary.requests: Field required"),
    "no baseline": (metric(method="Paired"), "metrics[0]: method Paired needs `baseline` counts in its ticks"),
    "a proof under noise": (
        metric(method="Tempered", maxRatio=2, ticks=[tick(15, baseline=counts(1))]),
        "metrics[0]: maxRatio needs method Counts",
    ),
    "a ratio of equal groups": (
        metric(method="Paired", tolerateRatio=2, ticks=[tick(15, baseline=counts(1))]),
        "metrics[0]: method Paired compares equal groups: leave tolerateRatio out",
    ),
    "edges that do not ascend": (
        {"metrics": [TAIL | {"edges": [50, 25], "ticks": []}]},
        "metrics[0]: edges must ascend, each of them once",
    ),
    "an edge without events": (
        {"metrics": [TAIL | {"edges": [25, 50], "ticks": [tick(15, counts(100, [3]))]}]},
        "metrics[0]: ticks[0] has 1 events for 2 edges: give one count for each",
    ),
    "events per bucket": (
        {"metrics": [TAIL | {"edges": [25, 50], "ticks": [tick(15, counts(100, [3, 4]))]}]},
        "metrics[0]: ticks[0] has more requests slower than a later edge: count all that are slower",
    ),
    "too many agree": (
        {"metrics": [{"name": "a", "type": "Agreement", "min": 0.9, "ticks": [tick(15) | {"pairs": 1, "agree": 2}]}]},
        "metrics[0].ticks[0].canary: is not known",
    ),
}


@pytest.mark.parametrize(("document", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(document: Any, told: str) -> None:
    done = judge(document)
    assert done.exit_code == 1
    assert told in done.stderr
    assert done.stdout == ""


def test_many_faults_are_counted() -> None:
    ticks = [tick(second, counts(0.5)) for second in range(10, 17)]
    told = judge(metric(ticks=ticks)).stderr.splitlines()
    assert len(told) == 7
    assert told[-2:] == ["and 2 more", "docs/judge.md describes the format."]


def test_a_file_that_is_not_there() -> None:
    done = CliRunner().invoke(app, ["judge", "--input", "/nowhere/evidence.json"])
    assert done.exit_code == 2
    assert "No such file" in done.stderr
