from datetime import UTC, datetime
from typing import Any

import pytest

from fakes.clock import FakeClock
from fakes.kube import FakeKube
from visionmodel_operator.api.conditions import Outcome
from visionmodel_operator.core.snapshot import Platform
from visionmodel_operator.errors import Retry
from visionmodel_operator.work.metered import MeteredKube
from visionmodel_operator.work.telemetry import Telemetry

PLATFORM = Platform(runtimes={}, default_runtime="24.10", converter_image="c", artifact_repository="r")
SPEC = {"model": {"storageUri": "s3://models/m.onnx"}, "task": {"type": "Tensor"}}
LABELS = {"namespace": "default", "name": "m"}
START, END = datetime(2026, 1, 1, 12, 0, tzinfo=UTC), datetime(2026, 1, 1, 12, 1, 30, tzinfo=UTC)

REPORT: dict[str, Any] = {"report": {"precision": "fp32"}, "revision": "r1", "startedAt": START.isoformat()}
CONDITION = {"type": "Converted", "status": "True", "reason": "ArtifactVerified", "lastTransitionTime": END.isoformat()}
ENTRY = {
    "revision": "r1",
    "outcome": "Aborted",
    "reason": "HarmDetected",
    "startedAt": START.isoformat(),
    "finishedAt": END.isoformat(),
}


class Bench:
    """A metered fake with one VisionModel."""

    def __init__(self) -> None:
        self.fake = FakeKube(PLATFORM, FakeClock())
        self.telemetry = Telemetry()
        self.kube = MeteredKube(self.fake, self.telemetry)
        self.ref = self.fake.add_model("m", SPEC)

    async def write(self, status: dict[str, Any]) -> None:
        snapshot = await self.kube.observe("default", "m")
        assert snapshot is not None
        await self.kube.write_status(self.ref, snapshot.resource_version, status)

    def value(self, name: str, /, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"visionmodel_{name}", labels)


async def test_phase_step_and_weight_follow_the_status() -> None:
    bench = Bench()
    await bench.write({"phase": "Progressing", "canary": {"revision": "r2", "step": 2, "weight": 25.0}})
    assert [bench.value("rollout_phase", **LABELS, phase=phase) for phase in ("Progressing", "Healthy")] == [1, 0]
    assert (bench.value("rollout_step", **LABELS), bench.value("rollout_weight", **LABELS)) == (2, 25)
    await bench.write({"phase": "Healthy"})
    assert [bench.value("rollout_phase", **LABELS, phase=phase) for phase in ("Progressing", "Healthy")] == [0, 1]


async def test_an_ended_rollout_counts_once() -> None:
    bench = Bench()
    await bench.write({"phase": "Healthy", "history": [ENTRY]})
    await bench.write({"phase": "Degraded", "history": [ENTRY]})
    assert bench.value("rollouts_total", **LABELS, outcome="Aborted") == 1


@pytest.mark.parametrize(
    ("job", "expected"),
    [pytest.param("m-r1-prepare", (0, 1, 90), id="by a Job"), pytest.param(None, (1, 0, 0), id="from the cache")],
)
async def test_a_conversion_is_a_hit_or_a_miss(job: str | None, expected: tuple[float, float, float]) -> None:
    bench = Bench()
    await bench.write({"conversion": {"revision": "r1"}})
    conversion = {**REPORT, **({"job": job} if job else {})}
    await bench.write({"conversion": conversion, "conditions": [CONDITION]})
    await bench.write({"conversion": conversion, "conditions": [CONDITION], "phase": "Healthy"})
    names = ("artifact_cache_hits_total", "artifact_cache_misses_total", "conversion_duration_seconds_sum")
    assert tuple(bench.value(name) for name in names) == expected


async def test_a_write_that_failed_counts_nothing() -> None:
    bench = Bench()
    await bench.kube.observe("default", "m")
    with pytest.raises(Retry):
        await bench.kube.write_status(bench.ref, "0", {"history": [ENTRY]})
    assert bench.value("rollouts_total", **LABELS, outcome="Aborted") == 0


async def test_outcomes_are_shown_before_the_first_rollout_ends() -> None:
    bench = Bench()
    await bench.kube.observe("default", "m")
    assert {outcome: bench.value("rollouts_total", **LABELS, outcome=outcome) for outcome in Outcome} == dict.fromkeys(
        Outcome, 0
    )


async def test_a_restarted_operator_counts_no_old_outcome() -> None:
    bench = Bench()
    await bench.write({"phase": "Degraded", "history": [ENTRY]})
    restarted = Bench()
    restarted.fake = bench.fake
    restarted.kube, restarted.ref = MeteredKube(bench.fake, restarted.telemetry), bench.ref
    await restarted.write({"phase": "Healthy", "history": [{**ENTRY, "outcome": "Promoted"}, ENTRY]})
    assert restarted.value("rollouts_total", **LABELS, outcome="Aborted") == 0
    assert restarted.value("rollouts_total", **LABELS, outcome="Promoted") == 1


async def test_a_process_that_no_longer_leads_shows_nothing() -> None:
    bench = Bench()
    await bench.write({"phase": "Healthy", "history": [ENTRY]})
    bench.telemetry.forget_objects()
    assert bench.value("rollout_phase", **LABELS, phase="Healthy") is None
    assert bench.value("rollouts_total", **LABELS, outcome="Aborted") is None


async def test_a_deleted_object_takes_its_series_with_it() -> None:
    bench = Bench()
    await bench.write({"phase": "Healthy"})
    bench.fake.delete_model("m")
    assert await bench.kube.observe("default", "m") is None
    assert bench.value("rollout_phase", **LABELS, phase="Healthy") is None
    assert bench.value("rollouts_total", **LABELS, outcome="Promoted") is None
