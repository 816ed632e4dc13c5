"""What the commands ask for, and that the operator's own state machine acts on it."""

import pytest

from unit.cli.models import STATES, model
from unit.core import scenarios
from unit.core.simulated_cluster import Cluster, State
from visionmodel_cli.actions import Request, abortion, another_try, pause, promotion, resumption
from visionmodel_cli.failures import Failure, Refusal


def write(cluster: Cluster, request: Request) -> None:
    cluster.annotate(request.annotation.rpartition("/")[2], request.value)


def refused(message: str) -> str:
    return rf"^VisionModel 'shapes' is {message}"


@pytest.mark.parametrize("state", [*scenarios.ON_TRIAL, *scenarios.ON_THE_WAY_BACK])
def test_abort_is_acted_on_in_every_state_on_trial(state: str) -> None:
    cluster = STATES[state]()
    write(cluster, abortion(model(cluster)))
    cluster.accepts_in = 1.0
    cluster.advance_to(("Aborting", "User"), ("Degraded", "User"))
    cluster.advance_to(("Degraded", "User"))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("healthy", r"Healthy \(Serving\): there is no rollout to abort\.$"),
        ("turned-back", r"Degraded \(User\): there is no rollout to abort; retry tries revision \w+ again\.$"),
        ("aborting", r"Aborting \(User\): it is being turned back already\.$"),
        ("draining", r"Draining \(Draining\): revision \w+ has taken over; go back by undo\.$"),
    ],
)
def test_nothing_to_abort(state: str, message: str) -> None:
    with pytest.raises(Refusal, match=refused(message)):
        abortion(model(STATES[state]()))


@pytest.mark.parametrize("state", ["routing", "observing", "paused", "undecided", "metrics-gone"])
def test_promotion_ends_the_current_step(state: str) -> None:
    cluster = STATES[state]()
    cluster.change(rollout={"paused": False})
    step = cluster.status["rollout"].get("step", 0)
    request = promotion(model(cluster), full=False)
    write(cluster, request)
    for _ in range(60):
        cluster.advance(1)
        if cluster.status.get("rollout", {}).get("step") == step + 1:
            break
    assert f"promote={request.value}" in cluster.recorded.consumed_actions
    assert cluster.status["rollout"]["step"] == step + 1


def test_promotion_of_the_last_step_lets_it_take_over() -> None:
    cluster = STATES["incident"]()
    request = promotion(model(cluster), full=False)
    write(cluster, request)
    cluster.advance_to("Promoting")
    assert request.said == f"Step 2 of 2 of revision {cluster.status['rollout']['revision']} ends."


@pytest.mark.parametrize("state", ["converting", "provisioning", "routing", "observing", "undecided"])
def test_full_promotion_skips_the_steps_that_are_left(state: str) -> None:
    cluster = STATES[state]()
    write(cluster, promotion(model(cluster), full=True))
    cluster.advance_to("Promoting")
    assert cluster.status["rollout"]["step"] == STATES[state]().status["rollout"].get("step", 0)


def test_promotion_lets_a_conversion_serve_that_waits_for_it() -> None:
    cluster = scenarios.awaiting_apply()
    request = promotion(model(cluster), full=False)
    write(cluster, request)
    assert "step by step" in request.said
    cluster.advance_to(("Progressing", "Observing"))
    revision = cluster.status["rollout"]["revision"]
    assert (request.value, promotion(model(cluster), full=False).value) == (f"{revision}/1/0", f"{revision}/1/1")


@pytest.mark.parametrize(
    ("state", "full", "then", "said"),
    [
        ("rolling-back-paused", False, ("RollingBack", "Swapping"), "although it is paused"),
        ("rolling-back-paused", True, ("RollingBack", "Swapping"), "takes over without its remaining steps"),
        ("rollback-unavailable", False, ("Provisioning", "WaitingForPods"), "step by step, instead of in one jump"),
        ("rollback-unavailable", True, ("Provisioning", "WaitingForPods"), "takes over without its remaining steps"),
    ],
)
def test_promotion_of_a_held_jump_back(state: str, full: bool, then: State, said: str) -> None:
    cluster = STATES[state]()
    request = promotion(model(cluster), full=full)
    assert said in request.said
    write(cluster, request)
    cluster.advance_to(then)


@pytest.mark.parametrize("state", ["converting", "awaiting-apply"])
def test_full_promotion_lets_it_serve_and_skips_its_steps(state: str) -> None:
    cluster = STATES[state]()
    cluster.change(conversion={"autoApply": False})
    write(cluster, promotion(model(cluster), full=True))
    cluster.advance_to("Promoting")
    assert cluster.status["rollout"].get("step", 0) == 0


def test_a_promotion_in_full_that_let_it_serve_before_an_upgrade_is_not_asked_for_again() -> None:
    cluster = scenarios.observing()
    value = promotion(model(cluster), full=True).value
    cluster.status["consumedActions"] = [f"promote={value}"]
    with pytest.raises(Refusal, match="each acts once: promote it step by step"):
        promotion(model(cluster), full=True)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("healthy", r"Healthy \(Serving\): there is no rollout to promote\.$"),
        ("turned-back", r"Degraded \(User\): there is no rollout to promote; retry tries revision \w+ again\.$"),
        ("converting", r"Converting \(NewRevision\): there is no step to leave yet; --full lets it"),
        ("swapping", r"Promoting \(Swapping\): nothing is left to promote\.$"),
        ("draining", r"Draining \(Draining\): nothing is left to promote\.$"),
        ("rolling-back", r"RollingBack \(Scaling\): it goes back in one jump, without steps to promote\.$"),
        (
            "rolling-back-without-a-device",
            r"Held \(NoCapacity\): it goes back in one jump, without steps to promote\.$",
        ),
        ("aborting", r"Aborting \(User\): nothing is left to promote\.$"),
    ],
)
def test_nothing_to_promote(state: str, message: str) -> None:
    with pytest.raises(Refusal, match=refused(message)):
        promotion(model(STATES[state]()), full=False)


def test_retry_begins_another_attempt() -> None:
    cluster = STATES["turned-back"]()
    failed = cluster.status["failedRevision"]
    write(cluster, another_try(model(cluster)))
    cluster.advance_to("Converting", "Provisioning")
    assert (cluster.status["rollout"]["revision"], cluster.status["rollout"]["attempt"]) == (failed, 2)


def test_nothing_to_retry() -> None:
    with pytest.raises(Refusal, match=refused(r"Healthy \(Serving\): no revision of it has failed\.$")):
        another_try(model(STATES["healthy"]()))
    with pytest.raises(Refusal, match=refused(r"Progressing \(Observing\): a rollout is under way")):
        another_try(model(STATES["observing"]()))


def test_retry_is_for_what_the_spec_asks_for() -> None:
    cluster = STATES["turned-back"]()
    status = {**cluster.status, "targetRevision": "0123456789"}
    with pytest.raises(Refusal, match=r"asks for revision 0123456789, and \w{10} is what failed: `undo shapes --to"):
        another_try({**model(cluster), "status": status})


def test_pause_and_resume() -> None:
    cluster = scenarios.observing()
    write(cluster, pause(model(cluster)))
    cluster.advance_to(("Held", "Paused"))
    with pytest.raises(Refusal, match="is paused already"):
        pause(model(cluster))
    write(cluster, resumption(model(cluster)))
    cluster.advance_to(("Progressing", "Observing"))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("observing", r"is Progressing \(Observing\): it is not paused\.$"),
        ("paused", "is paused by spec.rollout.paused: set that to false"),
        ("undecided", r"is Held \(Inconclusive\): it waits for a decision, promote or abort\.$"),
        ("metrics-gone", r"is Held \(MetricsUnavailable\): it goes on by itself once the cause is gone: No metrics"),
    ],
)
def test_nothing_to_resume(state: str, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        resumption(model(STATES[state]()))


def test_a_pause_of_the_spec_outlasts_the_annotations() -> None:
    cluster = scenarios.paused()
    cluster.annotate("pause", "true")
    assert resumption(model(cluster)).said.endswith("spec.rollout.paused still holds it.")


def test_a_model_that_nobody_has_looked_at() -> None:
    fresh = {"metadata": {"name": "shapes"}, "spec": {}}
    with pytest.raises(Refusal, match=refused("not looked at by the operator yet: there is no rollout to promote")):
        promotion(fresh, full=True)


def test_a_status_of_another_release() -> None:
    with pytest.raises(Failure, match=r"status.phase cannot be read .* use the plugin of the operator's release"):
        abortion({"metadata": {"name": "shapes"}, "status": {"phase": "Levitating"}})
