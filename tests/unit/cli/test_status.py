"""What status says of a VisionModel in every state that the operator records."""

from datetime import timedelta

import pytest
from rich.console import Console

from unit.cli.models import STATES, model, pods
from unit.core import builders
from visionmodel_cli.status_summary import End, MetricLine, StepState, Summary, summary_of
from visionmodel_cli.status_view import BAR_WIDTH, STEP_MARKS, change_line, duration, evidence_bar, status_view
from visionmodel_operator.core.revision import revision_of

OLD, NEW = (revision_of(builders.spec(number)) for number in (1, 2))
NEW_ON_GPUS = revision_of(builders.spec(2, accelerators=[{"product": "NVIDIA-L4"}]))


def summary(state: str) -> Summary:
    cluster = STATES[state]()
    return summary_of(model(cluster), pods(cluster), cluster.now)


def printed(view: Summary) -> list[str]:
    """The printed lines without the blanks at their ends."""
    console = Console(width=160, no_color=True)
    with console.capture() as capture:
        console.print(status_view(view))
    return [line.rstrip() for line in capture.get().splitlines()]


WAITS = {
    "converting": f"the conversion of revision {NEW}",
    "awaiting-apply": "`kubectl visionmodel promote shapes`, or abort",
    "provisioning": f"ready pods of revision {NEW}",
    "without-a-device": "free devices for the canary's pods",
    "waiting-for-a-device": "free devices for the canary's pods",
    "shrunk": "15 s more at this weight and metrics (NoTicks)",
    "exchanging": f"stable's pods to become revision {NEW_ON_GPUS}'s, one by one",
    "routing": "ready canary pods, and the gateway to accept the weights",
    "by-header": "8 s more at this weight",
    "previewed": "`kubectl visionmodel promote shapes`, or abort",
    "switched": "14 s more at this weight and metrics (NoTicks)",
    "routing-second-step": "ready canary pods, and the gateway to accept the weights",
    "paused": "spec.rollout.paused: false",
    "metrics-gone": "metrics to be back",
    "split-refused": "the gateway to accept the weights",
    "undecided": "a decision: `kubectl visionmodel promote shapes` or abort",
    "incident": "stable to meet the limit again",
    "scaling": f"revision {NEW} at full scale",
    "swapping": "the gateway to accept the new weights",
    "swapped-to-zero": "the gateway to accept the new weights",
    "draining": f"revision {OLD} to be idle",
    "aborting": "the gateway to take its weight away",
    "first-not-ready": f"ready pods of revision {OLD}",
    "turned-back": "a new spec, `kubectl visionmodel undo shapes`, or `kubectl visionmodel retry shapes`",
    "suspended": "spec.suspend: false",
    "rolling-back": f"revision {OLD} at full scale",
    "rolling-back-swapping": "the gateway to accept the new weights",
    "rolling-back-paused": "spec.rollout.paused: false",
    "rolling-back-without-a-device": "free devices for the canary's pods",
    "rollback-unavailable": f"ready pods of revision {OLD}, or `kubectl visionmodel promote shapes`, or abort",
    "healthy": None,
    "promoted": None,
}


@pytest.mark.parametrize("state", [state for state in STATES if state != "observing"])
def test_the_next_thing_that_is_waited_for(state: str) -> None:
    found = summary(state)
    assert found.waits_for == WAITS[state]
    lines = printed(found)
    assert lines[0].startswith(f"vision/shapes  {found.phase} ({found.reason})")
    assert (f"Waits for  {found.waits_for}" in lines) is (found.waits_for is not None)


def test_where_the_devices_come_from() -> None:
    said = "Devices    Wait: Needs 1 NVIDIA-L4, 0 free of 2. Stable gives no pod (rollout.whenFull: Wait)."
    assert said in printed(summary("waiting-for-a-device"))
    assert summary("observing").devices is None
    assert summary("healthy").devices is None


ENDS = {"healthy": End.HEALTHY, "promoted": End.HEALTHY, "turned-back": End.DEGRADED, "suspended": End.SUSPENDED}


@pytest.mark.parametrize("state", STATES)
def test_a_watch_ends_where_nothing_goes_on_by_itself(state: str) -> None:
    assert summary(state).end is ENDS.get(state)


def test_a_watch_does_not_end_on_what_was_said_about_an_older_spec() -> None:
    cluster = STATES["healthy"]()
    cluster.use_model(2)
    found = summary_of(model(cluster), [], cluster.now)
    assert (found.end, found.waits_for) == (None, "the operator to look at the newest spec")


def test_a_watch_does_not_end_while_a_retry_waits_for_its_beginning() -> None:
    cluster = STATES["turned-back"]()
    cluster.annotate("retry", f"{NEW}/1")
    assert summary_of(model(cluster), [], cluster.now).end is None
    cluster.annotate("retry", f"{NEW}/7")
    assert summary_of(model(cluster), [], cluster.now).end is End.DEGRADED


def test_a_spec_that_is_refused_ends_a_watch() -> None:
    cluster = STATES["healthy"]()
    stalled = {
        "type": "Stalled",
        "status": "True",
        "reason": "InvalidSpec",
        "message": "spec.model: wrong",
        "lastTransitionTime": "2026-01-01T12:00:00Z",
    }
    document = {**model(cluster), "status": {**cluster.status, "conditions": [stalled]}}
    found = summary_of(document, [], cluster.now)
    assert (found.end, found.message) == (End.DEGRADED, "InvalidSpec: spec.model: wrong")


def test_the_steps_with_the_current_one_marked() -> None:
    assert [(step.weight, step.at_least, step.state) for step in summary("routing-second-step").steps] == [
        (10.0, 15.0, StepState.DONE),
        (50.0, 15.0, StepState.CURRENT),
    ]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("converting", "··"),
        ("provisioning", "··"),
        ("routing", "▶·"),
        ("undecided", "▶·"),
        ("aborting", "▶·"),
        ("swapping", "✓✓"),
        ("draining", "✓✓"),
    ],
)
def test_where_the_steps_are(state: str, expected: str) -> None:
    assert "".join(STEP_MARKS[step.state][0] for step in summary(state).steps) == expected


def test_steps_name_the_headers_that_lead_to_the_canary() -> None:
    line = next(line for line in printed(summary("by-header")) if line.startswith("Steps"))
    assert line == "Steps      ▶ 0 % and x-canary=1 10s  · 10 % and x-canary=1 15s  · 50 % and x-canary=1 15s"


def test_blue_green_is_shown_as_its_two_steps() -> None:
    line = next(line for line in printed(summary("previewed")) if line.startswith("Steps"))
    preview = "0 % and x-visionmodel-preview=true until promoted"
    assert line == f"Steps      ▶ {preview}  · 90 % and x-visionmodel-preview=true 20s"


def test_the_whole_view() -> None:
    found = summary("observing")
    (canary,) = [one for one in found.revisions if one.role == "canary"]
    assert canary.pods is not None
    message = found.message
    lines = printed(found)
    assert lines[:3] == ["vision/shapes  Progressing (Observing)", message, "Steps      ▶ 10 % 15s  · 50 % 15s"]
    assert lines[3].split()[:4] == ["Evidence", "errors", "░" * BAR_WIDTH, "0.0"]
    assert lines[4].split()[:6] == ["latency", "░" * BAR_WIDTH, "0", "of", "3", "bad"]
    assert lines[5].split() == ["Revisions", OLD, "stable", "90", "%", "2", "of", "2", "pods", "ready"]
    assert [line.split() for line in lines[8:10]] == [
        [NEW, "canary", "10", "%", "1", "of", "1", "pods", "ready"],
        ["✓", canary.pods[0].name],
    ]
    assert lines[10:] == [f"Waits for  {found.waits_for}"]


def test_a_step_waits_for_its_time_and_its_evidence() -> None:
    cluster = STATES["observing"]()
    began = cluster.recorded.rollout
    assert began is not None
    assert began.step_started_at is not None
    early = summary_of(model(cluster), None, began.step_started_at + timedelta(seconds=3)).waits_for
    late = summary_of(model(cluster), None, began.step_started_at + timedelta(seconds=60)).waits_for
    assert early is not None
    assert early.startswith("12 s more at this weight and ")
    assert late == early.removeprefix("12 s more at this weight and ")


def test_who_may_not_list_pods_is_told() -> None:
    cluster = STATES["observing"]()
    found = summary_of(model(cluster), None, cluster.now)
    assert sum("the right to list pods is missing" in line for line in printed(found)) == 2


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"containerStatuses": [{"restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}, "CrashL"),
        (
            {
                "phase": "Pending",
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
                ],
            },
            "Unschedulable: 0/1 nodes",
        ),
    ],
)
def test_why_a_pod_does_not_run(status: dict[str, object], expected: str) -> None:
    cluster = STATES["provisioning"]()
    pod = {"metadata": {"name": "p", "labels": {"visionmodel.dev/revision": NEW}}, "status": status}
    found = summary_of(model(cluster), [pod], cluster.now)
    assert [line for line in printed(found) if expected in line] != []


def test_json_leaves_out_what_is_not_known() -> None:
    document = summary("observing").document()
    assert document["waitsFor"]
    assert "end" not in document
    assert document["steps"][0] == {"number": 1, "weight": 10.0, "atLeast": 15.0, "state": "current"}
    assert summary("healthy").document()["end"] == "Healthy"


def test_one_line_for_a_log() -> None:
    assert change_line(summary("draining")) == (
        f"Draining (Draining): Revision {NEW} is stable; waiting for {OLD} to be idle."
        f" | waits for revision {OLD} to be idle"
    )


@pytest.mark.parametrize(
    ("value", "harmful", "filled"),
    [
        (0.0, False, 0),
        (2.3, False, 12),
        (4.59, False, BAR_WIDTH - 1),
        (4.7, False, BAR_WIDTH - 1),
        (1, True, BAR_WIDTH),
    ],
)
def test_the_bar_is_full_only_where_harm_was_found(value: float, harmful: bool, filled: int) -> None:
    metric = MetricLine("errors", True, harmful, value, 4.605, "evidence", "")
    assert evidence_bar(metric).plain == "█" * filled + "░" * (BAR_WIDTH - filled)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (45, "45s"), (300, "5m"), (5430, "1h30m30s")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
