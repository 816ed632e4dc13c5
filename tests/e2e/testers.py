"""Those who ask for the new version by a header, beside the users."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from e2e.scene import Scene
from example_models.shapes import traffic_images
from load import Load, LoadReport, LoadThread, Target, image_payloads
from visionmodel_demo.kube import wait_for

RATE = 5.0
"""Requests per second with the header."""
ENOUGH = 50
"""Answers to testers after which it is known who is asked."""


@dataclass(frozen=True)
class Seen:
    """The revisions that answered users and testers in the same time."""

    users: set[str]
    testers: set[str]


def load_of_testers(scene: Scene, header: str, value: str) -> LoadThread:
    """Return traffic of those who send the header, not started yet."""
    target = Target(f"http://{scene.stage.address}", scene.name)
    images = traffic_images(seed=11, count=20, bright_share=0.0)
    payloads = [
        replace(payload, headers={**payload.headers, header: value})
        for payload in image_payloads(target, lambda index: images[index : index + 1], distinct=len(images))
    ]
    return LoadThread(Load(target, RATE, payloads, max_requests=3_000, max_seconds=600))


def watch_both(users: LoadThread, testers: LoadThread) -> Callable[[], Seen]:
    """Return, after enough answers from now on, what says who gave them; to be asked when the loads have ended."""
    begun = (users.elapsed(), testers.elapsed())
    enough = testers.counters().answered + ENOUGH
    wait_for(lambda: testers.counters().answered >= enough, timeout=60, what=f"{ENOUGH} more answers to testers")
    until = (users.elapsed(), testers.elapsed())
    return lambda: Seen(
        _answered_by(users.report(since=begun[0], until=until[0])),
        _answered_by(testers.report(since=begun[1], until=until[1])),
    )


def _answered_by(report: LoadReport) -> set[str]:
    return {revision for revision, count in report.revisions.items() if count}


def evidence(scene: Scene) -> dict[str, Any]:
    """Return what the judge remembers of the rollout under way."""
    found: dict[str, Any] = scene.model.status()["rollout"].get("judge", {})
    return found
