"""The demo's stories: first version, better version, two that are bad in serving, one that never gets there.

Each returns what happened as facts; a fact that is not as promised makes the demo fail.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from example_models.shapes import BRIGHT_SHARE, traffic_images
from load import Load, LoadReport, LoadThread, Target, binomial_interval, image_payloads
from visionmodel_demo.gateway_counters import requests_by_slot
from visionmodel_demo.inference import detect, save_drawing
from visionmodel_demo.model import Followed, Say, example
from visionmodel_demo.platform import ROOT, Platform

RATE = 20.0
"""Requests per second; two cores also carry the cluster."""
CONFIDENCE = 0.9999
"""Of the interval that the canary's share must lie in: one false alarm in ten thousand demos."""
MAX_SECONDS = 600.0
EXAMPLES = ROOT / "examples"


@dataclass(frozen=True)
class Fact:
    """One line of the report; `is_kept` is False where a promise was broken."""

    what: str
    value: str
    is_kept: bool = True


@dataclass(frozen=True)
class Story:
    """The outcome of one story."""

    title: str
    facts: tuple[Fact, ...]

    @property
    def is_kept(self) -> bool:
        """Whether every promise was kept."""
        return all(fact.is_kept for fact in self.facts)


@dataclass(frozen=True)
class Stage:
    """What every story needs: the cluster, the VisionModel, the digests of the models in the store."""

    platform: Platform
    model: Followed
    digests: dict[str, str]
    out: Path
    say: Say

    @property
    def address(self) -> str:
        """Return host:port of the gateway."""
        return _with_port(self.platform.gateway_address)

    def first(self) -> dict[str, Any]:
        """Return the first example's VisionModel, whose source is not pinned."""
        return self._named(example(EXAMPLES / "shapes-v1.yaml"))

    def version(self, name: str) -> dict[str, Any]:
        """Return the example's VisionModel for one version of the detector, pinned by digest."""
        uri = f"s3://models/shapes/{name}/model.onnx"
        return self._named(example(EXAMPLES / "shapes-v2.yaml", uri=uri, digest=self.digests[name]))

    def _named(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return the document under the name that is followed: two of one name share a path in the gateway."""
        return {**document, "metadata": {**document["metadata"], "name": self.model.name}}

    def load(self, bright_share: float = BRIGHT_SHARE) -> LoadThread:
        """Return steady traffic through the gateway, not started yet; `bright_share` of it is what v3-failing fails."""
        target = Target(f"http://{self.address}", self.model.name)
        images = traffic_images(seed=7, count=200, bright_share=bright_share)
        payloads = image_payloads(target, lambda index: images[index : index + 1], distinct=len(images))
        return LoadThread(Load(target, RATE, payloads, max_requests=int(RATE * MAX_SECONDS), max_seconds=MAX_SECONDS))


def _with_port(address: str) -> str:
    return address if ":" in address else f"{address}:80"


def is_settled(status: dict[str, Any]) -> bool:
    """Return whether nothing is on its way, not even a change of the route."""
    is_routed = "traffic" not in status or "verifiedAt" in status["traffic"]
    return status.get("phase") in ("Healthy", "Degraded") and "rollout" not in status and is_routed


def first_version(stage: Stage) -> Story:
    """Version 1: convert, prove, serve, answer through the gateway."""
    stage.model.apply(stage.first())
    status = stage.model.wait(is_settled, what="version 1 to serve", timeout=600)
    revision = status.get("stable", {}).get("revision", "")
    pods = stage.platform.kube.items("pods", stage.model.namespace, f"visionmodel.dev/revision={revision}")
    devices = [c["resources"]["requests"].get("nvidia.com/gpu") for pod in pods for c in pod["spec"]["containers"]]
    image = traffic_images(seed=3, count=1)[0]
    found, _ = detect(stage.address, stage.model.name, image)
    drawing = stage.out / "found.png"
    save_drawing(image, found, drawing)
    for detection in found:
        box = ", ".join(f"{edge:.0f}" for edge in detection.box)
        stage.say(f"    found {detection.name} ({detection.score:.2f}) at {box}")
    return Story(
        "Version 1 is converted, proven and served",
        (
            Fact("phase", status["phase"], status["phase"] == "Healthy"),
            Fact("gate", _gates(status)),
            Fact("devices per pod", ", ".join(f"nvidia.com/gpu: {n}" for n in devices), devices == ["1"]),
            Fact("boxes through the gateway", str(len(found)), bool(found)),
            Fact("drawing", str(drawing)),
        ),
    )


def _gates(status: dict[str, Any]) -> str:
    parity = status.get("conversion", {}).get("report", {}).get("parity", [])
    return ", ".join(f"{g['metric']} {g['value']:.3f} ({g['goal']} {g['limit']})" for g in parity)


@dataclass
class SplitCheck:
    """Compares who the clients say answered with what the gateway counted, while one step's weight is in force."""

    stage: Stage
    load: LoadThread
    canary: str
    weight: float
    first: tuple[dict[str, int], dict[int, int]] | None = None
    last: tuple[dict[str, int], dict[int, int]] | None = None
    slot: int = 0

    def look(self, status: dict[str, Any]) -> None:
        """Take a reading if the step is being observed at the weight in question."""
        is_step = status.get("reason") == "Observing" and status.get("canary", {}).get("weight") == self.weight
        if not is_step:
            return
        self.canary = status["canary"]["revision"]
        self.slot = status["traffic"]["slots"].index(self.canary)
        clients = dict(self.load.report().revisions)
        gateway = requests_by_slot(
            self.stage.platform.kube, self.stage.platform.gateway[1], self.stage.model.namespace, self.stage.model.name
        )
        self.first = self.first or (clients, gateway)
        self.last = (clients, gateway)

    def facts(self) -> tuple[Fact, ...]:
        """Return how well both agree with each other and with the weight."""
        if self.first is None or self.last is None:
            return (Fact("split", "no reading at this weight", is_kept=False),)
        (clients0, gateway0), (clients1, gateway1) = self.first, self.last
        gained = {revision: count - clients0.get(revision, 0) for revision, count in clients1.items()}
        total, mine = sum(gained.values()), gained.get(self.canary, 0)
        counted = gateway1.get(self.slot, 0) - gateway0.get(self.slot, 0)
        counted_all = sum(gateway1.values()) - sum(gateway0.values())
        low, high = binomial_interval(total, self.weight / 100, CONFIDENCE)
        # The two are read one after the other, so they may be a second of traffic apart.
        slack = int(RATE)
        return (
            Fact(
                f"canary's share at {self.weight:g} %",
                f"{mine} of {total} by the clients' headers; {CONFIDENCE:.2%} interval {low} to {high}",
                low <= mine <= high,
            ),
            Fact(
                "counted by the gateway",
                f"{counted} of {counted_all}; apart by at most {slack} (one second of load) is agreement",
                abs(counted - mine) <= slack and abs(counted_all - total) <= slack,
            ),
        )


def good_version(stage: Stage) -> Story:
    """Version 2: canary at 10 and 50 %, then promoted, under load and without a lost request."""
    with stage.load() as load:
        check = SplitCheck(stage, load, canary="", weight=10.0)
        stage.model.apply(stage.version("v2"))
        status = stage.model.wait(is_settled, what="version 2 to be promoted", timeout=420, look=check.look)
        _some_more_seconds(load, 3)
    report = load.report(canary=check.canary)
    newest = status["history"][0]
    return Story(
        "Version 2 is better and takes over",
        (
            Fact("outcome", f"{newest['outcome']} after {newest['requests']} canary requests", _is(newest, "Promoted")),
            Fact("gate", _gates(status)),
            *check.facts(),
            *_load_facts(report),
        ),
    )


def _is(entry: dict[str, Any], outcome: str) -> bool:
    return bool(entry["outcome"] == outcome)


def _load_facts(report: LoadReport, own: Callable[[int], bool] = lambda count: count == 0) -> tuple[Fact, ...]:
    return (
        Fact("load", str(report), not report.void),
        Fact("lost requests", str(report.lost), report.lost == 0),
        Fact("failed by the canary itself", str(report.own), own(report.own)),
    )


def _some_more_seconds(load: LoadThread, seconds: float) -> None:
    """Let the load run on, so that it spans the end of the transition."""
    load.join(timeout=seconds)


def bad_in_serving(stage: Stage, version: str, title: str, fails: bool) -> Story:
    """Version 3: passes every check and is bad only when served; found by Prometheus, back by itself."""
    stable = stage.model.status()["stable"]["revision"]
    with stage.load() as load:
        stage.model.apply(stage.version(version))
        status = stage.model.wait(is_settled, what=f"{version} to be sent back", timeout=420)
        _some_more_seconds(load, 3)
    newest = status["history"][0]
    report = load.report(canary=newest["revision"])
    return Story(
        title,
        (
            Fact("outcome", f"{newest['outcome']} ({newest['reason']})", _is(newest, "Aborted")),
            Fact("detected", newest["message"], newest["reason"] == "HarmDetected"),
            Fact("after canary requests", str(newest["requests"])),
            Fact("stable again", status["stable"]["revision"], status["stable"]["revision"] == stable),
            *_load_facts(report, (lambda count: count > 0) if fails else (lambda count: count == 0)),
        ),
    )


def broken_in_conversion(stage: Stage) -> Story:
    """Version 4: badly trained weights miss the labelled gate; no request ever reaches them."""
    stable = stage.model.status()["stable"]["revision"]
    with stage.load() as load:
        stage.model.apply(stage.version("v4"))
        status = stage.model.wait(is_settled, what="version 4 to be refused", timeout=300)
        _some_more_seconds(load, 3)
    report = load.report()
    newest = status["history"][0]
    return Story(
        "Version 4 misses its gate and gets no traffic",
        (
            Fact("outcome", f"{newest['outcome']}", _is(newest, "ConversionFailed")),
            Fact("reason in status", status["message"], "map50" in status["message"]),
            Fact("answered by", ", ".join(report.revisions), set(report.revisions) == {stable}),
            *_load_facts(report),
        ),
    )
