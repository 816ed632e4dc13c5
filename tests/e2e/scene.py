"""One VisionModel of a test: its documents, its load, and what happened to it as the cluster tells it."""

import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from e2e.installation import Installation
from e2e.operator_pod import Operator
from example_models.shapes import BRIGHT_SHARE, traffic_images
from load import LoadReport, LoadThread
from visionmodel_demo.inference import detect
from visionmodel_demo.kube import wait_for
from visionmodel_demo.model import Followed, example
from visionmodel_demo.platform import ROOT, Platform
from visionmodel_demo.stories import Stage, is_settled

CHILDREN = "deployments,services,configmaps,httproutes,poddisruptionbudgets,jobs,replicasets"
INTERVAL = 5
"""Seconds between two looks of the judge."""
METRICS = (
    {"name": "errors", "type": "ErrorRate"},
    {"name": "latency", "type": "LatencyRatio", "quantile": 0.5, "maxRatio": 3, "floor": "15ms", "failureLimit": 3},
)

Step = Mapping[str, Any]
Status = dict[str, Any]


def weight(percent: float) -> Step:
    """A step's weight."""
    return {"setWeight": percent}


def pause(duration: str | None = None) -> Step:
    """A step's time; without one it waits for a promotion."""
    return {"pause": {"duration": duration} if duration else {}}


HALF = (weight(50), pause("5s"))
"""The shortest plan that judges."""
WAITING = (weight(50), pause())
"""Half of the traffic until somebody promotes."""
EXPLAINED = re.compile(r"^ *[A-Z][A-Za-z]+/[A-Z][A-Za-z]+: .{10,}")
"""What a followed status looks like when it says why it is where it is."""


@dataclass(frozen=True)
class Scene:
    """A VisionModel with a name that no other test uses, so that no route collides.

    Attributes:
        folder: where a story may leave its drawing.
        told: every phase, reason and message that was seen.
        reports: what the load said, of each time it ran to its end.
    """

    installation: Installation
    namespace: str
    name: str
    folder: Path
    told: list[str] = field(default_factory=list)
    reports: list[LoadReport] = field(default_factory=list)

    @property
    def platform(self) -> Platform:
        """The cluster."""
        return self.installation.platform

    @property
    def operator(self) -> Operator:
        """Who looks after it."""
        return self.installation.operator

    @cached_property
    def model(self) -> Followed:
        """The VisionModel in the cluster."""
        return Followed(self.platform.kube, self.namespace, self.name, self._tell)

    def _tell(self, line: str) -> None:
        print(line)
        self.told.append(line)

    def unexplained(self) -> list[str]:
        """Return what was seen of the status without a phase, a reason or a sentence."""
        return [line for line in self.told if not EXPLAINED.match(line)]

    @cached_property
    def stage(self) -> Stage:
        """The same as the demo's stories see it."""
        return Stage(self.platform, self.model, self.installation.digests, self.folder, print)

    def document(self, version: str, *steps: Step, pinned: bool = True, **analysis: Any) -> dict[str, Any]:
        """Return a small and quick VisionModel; `analysis` replaces fields of spec.rollout.analysis."""
        uri = f"s3://models/shapes/{version}/model.onnx"
        digest = self.installation.digests.get(version) if pinned else None
        document = example(ROOT / "examples" / "shapes-v2.yaml", uri=uri, digest=digest)
        document["metadata"] = {"name": self.name}
        spec = document["spec"]
        del spec["accelerators"]
        spec["traffic"]["requestTimeout"] = "2s"
        judged = {"interval": f"{INTERVAL}s", "warmup": "2s", "minSamples": 20, "metrics": list(METRICS), **analysis}
        spec["rollout"] = {"drain": "1s", "steps": list(steps or HALF), "analysis": judged}
        return document

    def serve(self, document: Mapping[str, Any] | None = None) -> str:
        """Apply the first version, wait until the gateway leads to it, and return its revision."""
        self.model.apply(document or self.document("v1"))
        status = self.model.wait(is_settled, what="the first version to serve", timeout=240)
        assert status["phase"] == "Healthy", status
        self.answer()
        return str(status["stable"]["revision"])

    def answer(self) -> None:
        """Wait until an inference through the gateway gives boxes; on a picture that every version can answer."""
        image = traffic_images(seed=3, count=1, bright_share=0.0)[0]

        def found() -> bool:
            try:
                return bool(detect(self.stage.address, self.name, image)[0])
            except Exception as refusal:  # tritonclient has no common base for "no such route" and "no connection"
                print(f"    no answer yet: {refusal}")
                return False

        wait_for(found, timeout=30, what=f"an answer of {self.name}")

    def load(self, bright_share: float = BRIGHT_SHARE) -> LoadThread:
        """Return steady traffic through the gateway, not started yet."""
        return self.stage.load(bright_share)

    @contextmanager
    def under_load(self, *, failing: bool = False, bright_share: float = BRIGHT_SHARE) -> Iterator[LoadThread]:
        """Steady load that spans the block, and of which nothing is lost; a `failing` canary may fail its own share."""
        with self.load(bright_share) as load:
            yield load
        report = load.report(canary=self.model.status()["history"][0]["revision"] if failing else None)
        self.reports.append(report)
        assert_nothing_lost(report, own=failing)

    def wait_phase(self, phase: str, reason: str | None = None, *, timeout: float = 180) -> Status:
        """Return the status in a phase, and with a reason if one is named."""
        return self.model.wait(is_in(phase, reason), what=f"{phase} {reason or ''}", timeout=timeout)

    def wait_settled(self, timeout: float = 240) -> Status:
        """Return the status once nothing is on its way."""
        return self.model.wait(is_settled, what="the end of the rollout", timeout=timeout)

    def events(self, reason: str) -> list[dict[str, Any]]:
        """Return the events about the VisionModel with a reason."""
        chosen = f"involvedObject.kind=VisionModel,involvedObject.name={self.name},reason={reason}"
        listed = self.platform.kube.run("get", "events", "-n", self.namespace, "--field-selector", chosen, "-o", "json")
        return list(json.loads(listed)["items"])

    def route(self) -> dict[str, Any]:
        """Return the HTTPRoute."""
        found = self.platform.kube.get("httproute", self.name, self.namespace)
        assert found is not None
        return found

    def weights(self) -> list[int]:
        """Return the weights that stand in the HTTPRoute, by slot."""
        return [backend["weight"] for backend in self.route()["spec"]["rules"][0]["backendRefs"]]

    def pods(self, revision: str | None = None) -> list[dict[str, Any]]:
        """Return the serving pods that are not on their way out."""
        chosen = f",visionmodel.dev/revision={revision}" if revision else ",visionmodel.dev/revision"
        pods = self.platform.kube.items(
            "pods", self.namespace, f"visionmodel.dev/name={self.name}{chosen},!batch.kubernetes.io/job-name"
        )
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]

    def children(self) -> list[str]:
        """Return kind/name of everything that was made for the VisionModel."""
        listed = self.platform.kube.items(CHILDREN, self.namespace, f"visionmodel.dev/name={self.name}")
        return sorted(f"{child['kind']}/{child['metadata']['name']}" for child in listed)

    def delete(self) -> None:
        """Delete the VisionModel, and return when its pods are gone or going."""
        self.platform.kube.delete("visionmodel", self.name, self.namespace)
        wait_for(lambda: not self.pods(), timeout=60, what=f"the pods of {self.name} to go")


def new_name() -> str:
    """Return a name for a VisionModel that nobody has."""
    return f"shapes-{secrets.token_hex(3)}"


def is_in(phase: str, reason: str | None = None) -> Callable[[Status], bool]:
    """Return a test of a status."""
    return lambda status: status.get("phase") == phase and reason in (None, status.get("reason"))


def assert_nothing_lost(report: LoadReport, *, least: int = 100, own: bool = False) -> None:
    """The transition cost no user's request, and the load was what it claims; `own`: a canary failed some itself."""
    print(f"    {report}")
    assert not report.void, str(report)
    assert report.sent >= least, str(report)
    assert (report.lost, report.own > 0) == (0, own), (str(report), report.losses)


def newest(status: Status) -> tuple[str, str]:
    """Return outcome and reason of the newest rollout."""
    return status["history"][0]["outcome"], status["history"][0]["reason"]


def attempt(status: Status) -> str:
    """Return how an annotation names the rollout under way."""
    return f"{status['rollout']['revision']}/{status['rollout']['attempt']}"
