from typing import Any

import pytest

from visionmodel_operator.adapters.managed_fields import is_applied, projection
from visionmodel_operator.core.names import FIELD_MANAGER

DESIRED: dict[str, Any] = {
    "metadata": {"name": "x", "labels": {"a": "1"}},
    "spec": {"hosts": ["h"], "ports": [{"name": "http", "port": 80}]},
}
OWNED: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:a": {}}},
    "f:spec": {
        "f:hosts": {".": {}, 'v:"h"': {}},
        "f:ports": {'k:{"port":80,"protocol":"TCP"}': {".": {}, "f:name": {}, "f:port": {}}},
    },
}
LIVE_SPEC = {"hosts": ["h"], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}], "defaulted": True}


def live(owned: dict[str, Any] | None = None, manager: str = FIELD_MANAGER, **spec: Any) -> dict[str, Any]:
    entry = {"manager": manager, "operation": "Apply", "fieldsV1": OWNED if owned is None else owned}
    labels = {"a": "1", "foreign": "2"}
    return {
        "metadata": {"name": "x", "labels": labels, "managedFields": [entry]},
        "spec": {**LIVE_SPEC, **spec},
        "status": {"ready": True},
    }


def owned_and(field: str) -> dict[str, Any]:
    return {**OWNED, "f:spec": {**OWNED["f:spec"], field: {}}}


@pytest.mark.parametrize(
    ("body", "applied"),
    [
        pytest.param(live(), True, id="as wanted, with defaults and foreign labels"),
        pytest.param(live(hosts=["other"]), False, id="changed by somebody"),
        pytest.param(live(owned_and("f:replicas"), replicas=3), False, id="ours and not wanted any more"),
        pytest.param(live(owned_and("f:replicas"), "autoscaler", replicas=3), True, id="somebody else's"),
        pytest.param(
            live({"f:spec": {"f:hosts": {'v:"h"': {}, 'v:"old"': {}}}}), False, id="an element of a set is left over"
        ),
        pytest.param(
            live({"f:spec": {"f:ports": {'k:{"port":81,"protocol":"TCP"}': {}}}}), False, id="an item is left over"
        ),
    ],
)
def test_is_applied(body: dict[str, Any], applied: bool) -> None:
    assert is_applied(DESIRED, body) is applied


def test_an_object_that_others_applied_is_not_ours_to_clean() -> None:
    body = live(owned_and("f:replicas"))
    body["metadata"]["managedFields"][0]["operation"] = "Update"
    assert is_applied(DESIRED, body)


def test_projection_shows_what_the_server_made_of_it() -> None:
    desired = {"cpu": "0.5", "list": [{"a": 1}], "gone": 1}
    body = {"cpu": "500m", "list": [{"a": 1, "b": 2}], "other": 3}
    assert projection(desired, body) == {"cpu": "500m", "list": [{"a": 1}], "gone": None}
