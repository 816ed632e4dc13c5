from datetime import UTC, datetime

import pytest

from visionmodel_operator.adapters.kube_events import event_manifest, event_name
from visionmodel_operator.core.operations import Event
from visionmodel_operator.core.snapshot import ObjectRef

REF = ObjectRef("default", "m", "uid-1")
EVENT = Event("HarmDetected", "errors rose", warning=True)
NOW = datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)


def test_the_first_event() -> None:
    assert event_manifest(REF, EVENT, NOW, "pod-1") == {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": event_name(REF, EVENT), "namespace": "default"},
        "eventTime": "2026-01-01T12:00:00.000005Z",
        "reportingController": "visionmodel-operator",
        "reportingInstance": "pod-1",
        "action": "Reconcile",
        "reason": "HarmDetected",
        "note": "errors rose",
        "type": "Warning",
        "regarding": {
            "apiVersion": "visionmodel.dev/v1alpha1",
            "kind": "VisionModel",
            "namespace": "default",
            "name": "m",
            "uid": "uid-1",
        },
    }


@pytest.mark.parametrize(
    ("ref", "event"),
    [
        pytest.param(ObjectRef("default", "m", "uid-2"), EVENT, id="another object of that name"),
        pytest.param(REF, Event("Promoted", "errors rose"), id="another reason"),
        pytest.param(REF, Event("HarmDetected", "latency rose"), id="another note"),
    ],
)
def test_what_differs_has_another_name(ref: ObjectRef, event: Event) -> None:
    assert event_name(ref, event) != event_name(REF, EVENT) == event_name(REF, Event("HarmDetected", "errors rose"))


def test_a_long_note_is_cut_at_a_character() -> None:
    note = event_manifest(REF, Event("R", "€" * 1000), NOW, "i")["note"]
    assert note == "€" * 341
