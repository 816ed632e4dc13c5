"""A watch goes on over outages, and ends with the code of how it ended."""

import json
from collections.abc import Iterable, Iterator

import pytest

from unit.cli.models import STATES, model
from visionmodel_cli.cluster import ClusterError, Unreachable
from visionmodel_cli.rollout_commands import changes_printed
from visionmodel_cli.status_summary import End, Summary, summary_of
from visionmodel_cli.terminal import Output
from visionmodel_cli.watching import LOOK_SECONDS, Clock, watch


def summary(state: str) -> Summary:
    cluster = STATES[state]()
    return summary_of(model(cluster), [], cluster.now)


class Scene:
    """What is found, look by look, and what the watch makes of it."""

    def __init__(self, found: Iterable[Summary | Exception]) -> None:
        self._found: Iterator[Summary | Exception] = iter(found)
        self.shown: list[str] = []
        self.told: list[str] = []
        self.slept = 0.0

    def look(self) -> Summary:
        found = next(self._found)
        if isinstance(found, Exception):
            raise found
        return found

    def watch(self, timeout: float | None = None) -> End:
        clock = Clock(lambda: self.slept, self._sleep)
        return watch(self.look, lambda one: self.shown.append(one.phase), self.told.append, clock, timeout=timeout)

    def _sleep(self, seconds: float) -> None:
        self.slept += seconds


@pytest.mark.parametrize(
    ("last", "end"), [("promoted", End.HEALTHY), ("turned-back", End.DEGRADED), ("suspended", End.SUSPENDED)]
)
def test_it_ends_with_the_rollout(last: str, end: End) -> None:
    scene = Scene([summary("observing"), summary(last)])
    assert scene.watch() is end
    assert (scene.shown, scene.slept) == (["Progressing", summary(last).phase], LOOK_SECONDS)


def test_an_outage_is_told_and_outlasted() -> None:
    scene = Scene([Unreachable("server does not answer"), summary("promoted")])
    assert scene.watch() is End.HEALTHY
    assert scene.told == ["server does not answer; trying again"]


def test_what_is_gone_ends_it() -> None:
    with pytest.raises(ClusterError, match="was not found"):
        Scene([ClusterError("VisionModel 'shapes' was not found")]).watch()


def test_it_ends_after_its_time() -> None:
    scene = Scene(summary("observing") for _ in range(99))
    assert scene.watch(timeout=3.0) is End.TIMEOUT
    assert scene.slept == 3.0


def test_only_changes_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for output in (Output.TEXT, Output.JSON):
        show = changes_printed(output)
        for state in ("observing", "observing", "draining"):
            show(summary(state))
    text = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in text[:2]] == ["Progressing", "Draining"]
    assert [json.loads(line)["phase"] for line in text[2:]] == ["Progressing", "Draining"]
