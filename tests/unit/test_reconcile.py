"""One pass with the real rendering and the fakes of the ports: what goes wrong outside, and what still happens."""

import asyncio
import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fakes.clock import FakeClock
from fakes.devices import FakeDevices
from fakes.kube import FakeKube, Write
from fakes.metrics import FakeMetrics, Load
from fakes.triton import FakeTriton
from unit.core import builders
from visionmodel_contract.build import BuildRequest
from visionmodel_contract.conversion import ConversionRequest
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.snapshot import Platform, Runtime
from visionmodel_operator.errors import Error, Retry, UserError
from visionmodel_operator.reconcile import World, reconcile
from visionmodel_operator.render.jobs import ANNOTATION_REQUEST

NAMESPACE, NAME = "default", "shapes"
FIRST, SECOND = (revision_of(builders.spec(model)) for model in (1, 2))


class Stage:
    """A VisionModel, its cluster and the operator; `run` passes until nothing is due at once."""

    def __init__(self, platform: Platform = builders.PLATFORM) -> None:
        self.now = FakeClock(builders.START)
        self.kube = FakeKube(platform, self.now)
        self.metrics = FakeMetrics(route=(NAMESPACE, NAME))
        self.world = World(self.kube, self.metrics, FakeTriton(), self.now)

    def run(self, passes: int = 12) -> None:
        for _ in range(passes):
            asyncio.run(reconcile(self.world, NAMESPACE, NAME))

    def convert(self, revision: str) -> None:
        job = self.kube.store.get("Job", NAMESPACE, f"{NAME}-{revision}-prepare")
        assert job is not None
        text = job["spec"]["template"]["metadata"]["annotations"][ANNOTATION_REQUEST]
        self.kube.finish_job(job["metadata"]["name"], builders.succeeded(ConversionRequest.model_validate_json(text)))

    def build_engines(self, revision: str) -> list[BuildRequest]:
        jobs = [self.kube.store.get("Job", NAMESPACE, f"{NAME}-{revision}-build-{index}") for index in range(2)]
        requests = []
        for job in jobs:
            assert job is not None
            text = job["spec"]["template"]["metadata"]["annotations"][ANNOTATION_REQUEST]
            requests.append(BuildRequest.model_validate_json(text))
            self.kube.finish_job(job["metadata"]["name"], builders.built(requests[-1]))
        return requests

    def live_through(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now.advance(1)
            self.kube.settle()
            self.run(3)

    def become_stable(self) -> None:
        """Bring model 1 to stable."""
        self.run(3)
        self.convert(FIRST)
        self.live_through(5)

    def become_canary(self) -> None:
        """Bring model 1 to stable, and model 2 to a tenth of its traffic."""
        self.become_stable()
        self.kube.edit_model(NAME, {"model": builders.spec_document(2)["model"]})
        self.run(3)
        self.convert(SECOND)
        self.live_through(8)  # a trace of traffic first, then the tenth
        assert self.weights() == {f"{NAME}-{FIRST}": 900_000, f"{NAME}-{SECOND}": 100_000}

    def judged_until(self) -> float:
        """Return the end of the newest tick that was judged (unix seconds), when judging began before the first."""
        judge = self.kube.status(NAME)["rollout"]["judge"]
        return float(judge.get("lastTick") or judge["startedAt"])

    def condition(self, kind: str) -> tuple[str, str, str]:
        """Return status, reason and message of a condition."""
        (found,) = [c for c in self.kube.status(NAME)["conditions"] if c["type"] == kind]
        return found["status"], found["reason"], found["message"]

    def status_writes(self) -> int:
        return sum(write.verb == "status" for write in self.kube.writes)

    def weights(self) -> dict[str, int]:
        route = self.kube.store.get("HTTPRoute", NAMESPACE, NAME)
        assert route is not None
        backends = route["spec"]["rules"][0]["backendRefs"]
        return {backend["name"]: backend["weight"] for backend in backends}


def refusing(kind: str, error: Error) -> Callable[[Write], None]:
    def before_write(write: Write) -> None:
        if write.kind == kind and write.verb == "apply":
            raise error

    return before_write


def test_each_device_serves_the_engine_that_was_built_on_it() -> None:
    stage = Stage()
    document = builders.spec_document(1, **builders.TENSORRT)
    revision = revision_of(builders.parsed(document))
    stage.kube.add_model(NAME, document)
    stage.run(3)
    stage.convert(revision)
    stage.run(4)
    requests = stage.build_engines(revision)
    stage.live_through(5)
    status = stage.kube.status(NAME)
    assert status["stable"]["revision"] == revision
    assert [engine["product"] for engine in status["conversion"]["report"]["engines"]] == ["NVIDIA L4"] * 2
    assert status["revisions"][0]["engineKeys"] == [request.key for request in requests]
    for index, request in enumerate(requests):
        assert stage.kube.store.get("ConfigMap", NAMESPACE, f"artifact-{request.key}") is not None
        deployment = stage.kube.store.get("Deployment", NAMESPACE, f"{NAME}-{revision}-{index}")
        assert deployment is not None
        (volume,) = [v for v in deployment["spec"]["template"]["spec"]["volumes"] if v["name"] == "artifact"]
        assert f"engine-of-{request.key}" in volume["image"]["reference"]
    assert stage.kube.store.select("Job", NAMESPACE, {}) == []


def test_without_anybody_who_builds_engines_people_are_told_what_to_set() -> None:
    runtimes = {"26.07": Runtime("26.07", "registry.example/triton:26.07", "2.71.0")}
    stage = Stage(replace(builders.PLATFORM, runtimes=runtimes))
    stage.kube.add_model(NAME, builders.spec_document(1, **builders.TENSORRT))
    stage.run(4)
    status, reason, message = stage.condition("Stalled")
    assert (status, reason) == ("True", "BackendUnavailable")
    assert 'runtimes."26.07".tensorrtConverterImage' in message
    assert stage.kube.store.select("Job", NAMESPACE, {}) == []


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(UserError("ApplyRefused", "a policy says no"), id="refused"),
        pytest.param(Retry("failed calling webhook"), id="a webhook is down"),
    ],
)
def test_a_deployment_that_cannot_be_written_keeps_no_traffic_on_a_bad_canary(error: Error) -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1))
    stage.become_canary()
    stage.kube.edit_model(NAME, {"serving": {"replicas": 3}})
    stage.kube.before_write = refusing("Deployment", error)
    stage.kube.annotate(NAME, {"visionmodel.dev/abort": f"{SECOND}/1"})
    for _ in range(6):
        stage.now.advance(1)
        for route in stage.kube.store.select("HTTPRoute", NAMESPACE, {}):
            stage.kube.accept_route(route["metadata"]["name"])
        for _ in range(3):
            try:
                asyncio.run(reconcile(stage.world, NAMESPACE, NAME))
            except Retry:
                assert isinstance(error, Retry)
    assert stage.weights() == {f"{NAME}-{FIRST}": 1_000_000, f"{NAME}-{SECOND}": 0}
    assert stage.kube.store.get("Deployment", NAMESPACE, f"{NAME}-{SECOND}-0") is not None, "nothing is taken away"


QUEUE = {"name": "queue", "type": "Threshold", "query": "queue_seconds", "thresholdRange": {"max": 1}}


def test_a_defect_in_reading_metrics_delays_a_rollout_and_blocks_no_abort(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1, rollout={"analysis": {"metrics": [QUEUE]}}))
    stage.become_canary()

    def broken(_: str) -> float:
        raise KeyError("value")

    stage.metrics.values = broken
    started = stage.judged_until()
    stage.live_through(15)
    assert stage.judged_until() == started
    said = {condition["type"]: condition for condition in stage.kube.status(NAME)["conditions"]}
    assert said["MetricsAvailable"]["status"] == "False"
    assert said["MetricsAvailable"]["message"] == (
        "The operator could not read the metrics (KeyError); its log has the details."
    )
    assert said["Stalled"]["status"] == "False"
    assert any(record.exc_info and record.exc_info[0] is KeyError for record in caplog.records)
    stage.kube.annotate(NAME, {"visionmodel.dev/abort": f"{SECOND}/1"})
    stage.live_through(5)
    assert stage.weights() == {f"{NAME}-{FIRST}": 1_000_000, f"{NAME}-{SECOND}": 0}


def test_a_refused_effect_does_not_delay_the_next_look_at_a_canary() -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1))
    stage.become_canary()
    stage.kube.edit_model(NAME, {"serving": {"replicas": 3}})
    stage.kube.before_write = refusing("Deployment", UserError("ApplyRefused", "a policy says no"))
    stage.run(3)
    outcome = asyncio.run(reconcile(stage.world, NAMESPACE, NAME))
    assert outcome.wake_after is not None
    assert outcome.wake_after <= 10


def test_a_refused_effect_is_tried_again_although_nothing_else_is_due() -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1))
    stage.run(3)
    stage.convert(FIRST)
    stage.live_through(5)
    assert asyncio.run(reconcile(stage.world, NAMESPACE, NAME)).wake_after is None
    stage.kube.edit_model(NAME, {"serving": {"replicas": 3}})
    stage.kube.before_write = refusing("Deployment", UserError("ApplyRefused", "a policy says no"))
    stage.run(3)
    assert asyncio.run(reconcile(stage.world, NAMESPACE, NAME)).wake_after == 60


def test_an_edit_that_cannot_be_carried_out_yet_is_not_called_done() -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1))
    stage.become_stable()
    stage.kube.edit_model(NAME, {"serving": {"replicas": 3}})
    before = stage.status_writes()
    for port in (40001, 40002, 40003):
        stage.kube.before_write = refusing("Deployment", Retry(f"failed calling webhook: read tcp :{port}: timeout"))
        with pytest.raises(Retry):
            stage.run(1)
    assert stage.kube.status(NAME)["observedGeneration"] == 1
    assert stage.condition("Reconciling") == ("True", "Retrying", "failed calling webhook: read tcp :40001: timeout")
    assert stage.condition("Ready")[0] == "True"
    assert stage.status_writes() == before + 1, "a text that changes each time is not written each time"
    stage.kube.before_write = None
    stage.live_through(5)
    assert stage.kube.status(NAME)["observedGeneration"] == 2
    assert stage.condition("Reconciling")[:2] == ("False", "Serving")


def test_a_first_revision_that_no_gateway_lets_in_is_never_called_ready() -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1))
    stage.run(3)
    stage.convert(FIRST)
    for _ in range(builders.spec().progress_deadline_seconds + 5):
        stage.now.advance(1)
        stage.kube.make_ready(FIRST)
        if stage.kube.store.select("HTTPRoute", NAMESPACE, {}):
            stage.kube.refuse_route(NAME, "NotAllowedByListeners", "no listener allows this namespace")
        stage.run(3)
        assert stage.condition("Ready")[0] == "False"
    assert (stage.kube.status(NAME)["phase"], stage.kube.status(NAME)["reason"]) == ("Degraded", "RouteRejected")
    assert stage.condition("Stalled") == (
        *("True", "RouteRejected"),
        "The gateway does not accept the route: no listener allows this namespace",
    )
    stage.live_through(5)
    assert stage.kube.status(NAME)["phase"] == "Healthy"
    assert stage.condition("Ready")[0] == "True"


def test_a_slow_prometheus_gets_ticks_judged_bit_by_bit() -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1, rollout={"analysis": {"metrics": [QUEUE]}}))
    stage.become_canary()
    started = stage.judged_until()

    def slow(_: str) -> float:
        stage.now.advance(8)
        return 0.5

    stage.metrics.values = slow
    stage.now.advance(100)
    before = stage.now()
    asyncio.run(reconcile(stage.world, NAMESPACE, NAME))
    assert (stage.now() - before).total_seconds() == 24, "three answers, then the pass has had its time"
    assert stage.judged_until() == started + 15
    asyncio.run(reconcile(stage.world, NAMESPACE, NAME))
    assert stage.judged_until() == started + 30


def test_children_that_were_left_behind_belong_to_the_next_object_of_that_name() -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1))
    stage.become_stable()
    before = stage.kube.store.get("Deployment", NAMESPACE, f"{NAME}-{FIRST}-0")
    stage.kube.orphan_model(NAME)
    ref = stage.kube.add_model(NAME, builders.spec_document(1))
    stage.live_through(5)
    assert stage.kube.status(NAME)["phase"] == "Healthy"
    children = [child for child in stage.kube.store.objects.values() if "ownerReferences" in child["metadata"]]
    owners = {child["kind"]: [o["uid"] for o in child["metadata"]["ownerReferences"]] for child in children}
    kinds = ("ConfigMap", "Deployment", "HTTPRoute", "PodDisruptionBudget", "Service")
    assert owners == {kind: [ref.uid] for kind in kinds}
    after = stage.kube.store.get("Deployment", NAMESPACE, f"{NAME}-{FIRST}-0")
    assert before is not None
    assert after is not None
    assert after["spec"] == before["spec"]


def test_an_edited_spec_is_no_foreign_writer_of_the_route() -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1))
    stage.become_stable()
    stage.kube.edit_model(NAME, {"traffic": {"requestTimeout": "7s"}})
    stage.live_through(3)
    route = stage.kube.store.get("HTTPRoute", NAMESPACE, NAME)
    assert route is not None
    assert route["spec"]["rules"][0]["timeouts"] == {"request": "7s"}
    assert "correctedAt" not in stage.kube.status(NAME)["traffic"]
    assert "RouteCorrected" not in {event.reason for event in stage.kube.events}


def test_a_foreign_edit_of_the_route_is_put_right_and_told() -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1))
    stage.become_stable()
    stage.kube.store.edit("HTTPRoute", NAMESPACE, NAME, {"spec": {"rules": []}}, "somebody")
    stage.live_through(3)
    assert stage.weights() == {f"{NAME}-{FIRST}": 1_000_000}
    (told,) = [event for event in stage.kube.events if event.reason == "RouteCorrected"]
    assert "somebody" in told.message


HEADER = {"type": "Exact", "name": "x-user", "value": "beta"}


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param(lambda spec: spec["rules"][0]["matches"][0].update(headers=[HEADER]), id="a header to match"),
        pytest.param(lambda spec: spec.update(hostnames=["other.example"]), id="a hostname"),
        pytest.param(lambda spec: spec["parentRefs"][0].update(port=8443), id="a port of the gateway"),
    ],
)
def test_what_somebody_adds_to_the_route_is_taken_out_again(edit: Callable[[dict[str, Any]], None]) -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1))
    stage.become_stable()
    before = stage.kube.store.get("HTTPRoute", NAMESPACE, NAME)
    assert before is not None
    stolen = copy.deepcopy(before["spec"])
    edit(stolen)
    stage.kube.store.edit("HTTPRoute", NAMESPACE, NAME, {"spec": stolen}, "somebody")
    stage.live_through(3)
    after = stage.kube.store.get("HTTPRoute", NAMESPACE, NAME)
    assert after is not None
    assert after["spec"] == before["spec"]
    assert [event.message for event in stage.kube.events if event.reason == "RouteCorrected"] == [
        "The route was changed by somebody and is put right."
    ]


def test_what_the_spec_no_longer_asks_of_the_route_is_withdrawn() -> None:
    stage = Stage()
    hosts = {"gatewayRefs": [{**builders.GATEWAY, "hostnames": ["vision.example"]}]}
    stage.kube.add_model(NAME, builders.spec_document(1, traffic=hosts))
    stage.become_stable()
    bare = {key: value for key, value in builders.GATEWAY.items() if key != "sectionName"}
    stage.kube.edit_model(NAME, {"traffic": {"gatewayRefs": [bare]}})
    stage.live_through(3)
    route = stage.kube.store.get("HTTPRoute", NAMESPACE, NAME)
    assert route is not None
    assert "hostnames" not in route["spec"]
    assert "sectionName" not in route["spec"]["parentRefs"][0]
    assert "correctedAt" not in stage.kube.status(NAME)["traffic"]


def test_a_conversion_is_told_stage_by_stage_and_each_once() -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1))
    stage.run(3)
    job = f"{NAME}-{FIRST}-prepare"
    stage.kube.block_job(job)
    stage.run(3)
    for name, percent in (("Fetch", 0), ("Fetch", 20), ("Parity", 55), ("Parity", 70)):
        stage.kube.run_job(job, name, percent)
        stage.run(2)
    stage.convert(FIRST)
    stage.live_through(5)
    told = [(event.reason, event.warning) for event in stage.kube.events if event.reason.startswith("Conversion")]
    assert told == [
        ("ConversionStarted", False),
        ("ConversionWaiting", True),
        ("ConversionStage", False),
        ("ConversionStage", False),
        ("ConversionFinished", False),
    ]
    assert all(job in event.message for event in stage.kube.events if event.reason.startswith("Conversion"))


def test_a_conversion_that_the_spec_leaves_behind_is_told() -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1))
    stage.run(3)
    stage.kube.run_job(f"{NAME}-{FIRST}-prepare")
    stage.run(2)
    stage.kube.edit_model(NAME, {"model": builders.spec_document(2)["model"]})
    stage.run(3)
    assert stage.kube.store.get("Job", NAMESPACE, f"{NAME}-{FIRST}-prepare") is None
    (told,) = [event for event in stage.kube.events if event.reason == "ConversionCancelled"]
    assert told.message == f"Job {NAME}-{FIRST}-prepare is deleted: Revision {SECOND} replaces {FIRST}."


def test_a_conversion_that_takes_too_long_ends_in_a_condition_that_says_what_to_set() -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1))
    stage.run(3)
    stage.kube.run_job(f"{NAME}-{FIRST}-prepare", "Parity", 60)
    stage.run(2)
    stage.now.advance(121)
    stage.run(3)
    status, reason, message = stage.condition("Converted")
    assert (status, reason) == ("False", "ConversionFailed")
    assert message == (
        f"Not converted within conversion.deadline (120s); Job {NAME}-{FIRST}-prepare was last seen at stage Parity; "
        "raise conversion.deadline, or have the platform team give Jobs more CPU (Helm value jobResources.cpu)"
    )
    assert stage.condition("Stalled") == ("True", "ConversionDeadline", message)
    assert stage.kube.store.get("Job", NAMESPACE, f"{NAME}-{FIRST}-prepare") is None


def test_a_canary_gets_a_trace_before_its_first_weight() -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1))
    seen: list[list[int]] = []

    def note(write: Write) -> None:
        traffic = (stage.kube.status(NAME) or {}).get("traffic", {}).get("weightsPpm", [])
        if len(traffic) == 2 and traffic not in seen:
            seen.append(traffic)

    stage.kube.before_write = note
    stage.become_canary()
    assert seen == [[999_999, 1], [900_000, 100_000]]


ON_DEVICES: dict[str, Any] = {"accelerators": [{"product": "NVIDIA-L4"}]}


def serve_on_devices(stage: Stage) -> None:
    first = builders.spec_document(1, **ON_DEVICES)
    stage.kube.add_model(NAME, first)
    stage.run(3)
    stage.convert(revision_of(builders.parsed(first)))
    stage.live_through(5)


def convert_second_on_devices(stage: Stage) -> None:
    second = builders.spec_document(2, **ON_DEVICES)
    stage.kube.edit_model(NAME, {"model": second["model"]})
    stage.run(3)
    stage.convert(revision_of(builders.parsed(second)))


def test_free_devices_are_counted_where_a_rollout_begins_or_waits_and_nowhere_else() -> None:
    stage = Stage()
    devices = FakeDevices(stage.kube.store)
    stage.world = replace(stage.world, devices=devices)
    serve_on_devices(stage)
    assert devices.asked == [], "the first revision is chosen nothing for"
    convert_second_on_devices(stage)
    stage.run(2)
    assert devices.asked == [], "not before its pods are due"
    stage.run(6)
    assert set(devices.asked) == {frozenset({"nvidia.com/gpu"})}
    status = stage.kube.status(NAME)
    assert (status["phase"], status["reason"]) == ("Held", "NoCapacity")
    assert status["message"].startswith("Needs 1 NVIDIA-L4, 0 free of 0.")
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "gpus", "namespace": NAMESPACE, "labels": {"nvidia.com/gpu.product": "NVIDIA-L4"}},
        "status": {"allocatable": {"nvidia.com/gpu": "2"}, "conditions": [{"type": "Ready", "status": "True"}]},
    }
    stage.kube.store.create(node)
    stage.run(3)
    asked = len(devices.asked)
    stage.live_through(8)
    assert len(devices.asked) == asked, "once it is chosen, nothing is counted any more"
    status = stage.kube.status(NAME)
    assert status["rollout"]["capacity"]["choice"] == "Surge"
    assert status["phase"] == "Progressing"


def test_where_nothing_may_be_counted_a_rollout_goes_on_and_says_so() -> None:
    stage = Stage()
    serve_on_devices(stage)
    convert_second_on_devices(stage)
    stage.live_through(5)
    capacity = stage.kube.status(NAME)["rollout"]["capacity"]
    assert capacity["choice"] == "Uncounted"
    assert "gpuCounting" in capacity["message"]
    assert stage.kube.status(NAME)["phase"] == "Progressing"


@pytest.mark.parametrize(
    ("outage", "per_second", "blind"),
    [
        pytest.param(False, 2.0, True, id="thin traffic"),
        pytest.param(False, 20_000.0, False, id="enough traffic"),
        pytest.param(True, 2.0, None, id="no Prometheus"),
    ],
)
def test_the_traffic_of_the_last_hour_is_asked_for_once(*, outage: bool, per_second: float, blind: bool | None) -> None:
    stage = Stage()
    stage.kube.add_model(NAME, builders.spec_document(1))
    stage.become_stable()
    begin = builders.START.timestamp() - 3600
    stage.metrics.started = begin
    stage.metrics.loads.append(Load(0, begin, begin + 7200, per_second, error_share=0.01))
    stage.metrics.outage = outage
    stage.kube.edit_model(NAME, {"model": builders.spec_document(2)["model"]})
    stage.run(3)
    stage.convert(SECOND)
    stage.live_through(4)
    assert len(stage.metrics.queries) == 2, "requests and up"
    forecast = stage.kube.status(NAME)["rollout"]["forecast"]
    warnings = [event for event in stage.kube.events if event.reason == "RolloutCannotDetect"]
    assert len(warnings) == (1 if blind else 0)
    if blind is None:
        assert forecast == {}
        return
    assert forecast["requestsPerSecond"] == pytest.approx(per_second, rel=0.02)
    assert forecast["errorRate"] == pytest.approx(0.01, rel=0.02)
    assert ("blindSpot" in forecast) == blind
