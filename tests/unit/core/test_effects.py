"""What is made, kept and removed, state by state."""

from dataclasses import replace

import pytest

from unit.core import builders, scenarios, walks
from unit.core.simulated_cluster import Cluster, State
from unit.core.simulated_world import Model
from visionmodel_contract.exits import ExitCode
from visionmodel_contract.report import Failure
from visionmodel_operator.core import names
from visionmodel_operator.core.actions import StartBuild
from visionmodel_operator.core.conversion_request import gate_key_of
from visionmodel_operator.core.rollout import decide


def job(cluster: Cluster, revision: str, attempt: int = 1) -> str:
    return names.prepare_job("shapes", revision, attempt)


def test_nothing_is_made_while_a_conversion_awaits_its_application() -> None:
    cluster = scenarios.awaiting_apply()
    cluster.advance(30)
    assert cluster.target not in cluster.workloads
    assert cluster.jobs == {}


def test_a_failed_job_stays_to_be_read_until_it_is_tried_again() -> None:
    cluster = walks.not_converted()
    failed = cluster.target
    assert list(cluster.jobs) == [job(cluster, failed)]
    cluster.models.clear()
    cluster.ask("retry")
    cluster.advance_to("Converting")
    cluster.advance(2)
    assert list(cluster.jobs) == [job(cluster, failed, 2)]


def test_an_engine_that_is_there_is_noted_while_another_is_built() -> None:
    cluster = scenarios.with_candidate(**builders.TENSORRT)
    cluster.advance_to("Provisioning")
    assert cluster.recorded.conversion is not None
    first, second = cluster.recorded.conversion.engine_keys
    cluster.ask("abort")
    cluster.advance_to(("Degraded", "User"))
    cluster.artifacts.pop(second)
    cluster.models[2].converts_in = None
    cluster.ask("retry")
    cluster.advance_to("Converting")
    cluster.advance(2)
    assert cluster.recorded.conversion.engine_keys == [first]


@pytest.mark.parametrize(
    ("window", "way", "end"),
    [(0, "Converting", walks.PROMOTED), (1, "RollingBack", walks.ROLLED_BACK)],
    ids=["step by step", "in one jump"],
)
def test_a_stored_revision_comes_back_with_the_engines_that_it_had(window: int, way: str, end: State) -> None:
    cluster = scenarios.serving(**builders.TENSORRT, rollbackWindow={"revisions": window})
    assert cluster.recorded.conversion is not None
    engines = cluster.recorded.conversion.engine_keys
    cluster.use_model(2)
    cluster.advance_to(walks.PROMOTED)
    started = cluster.jobs_started
    cluster.change_tensorrt_image()
    cluster.models[1] = Model(build_exit_code=ExitCode.ENGINE_REFUSED)
    cluster.use_model(1)
    cluster.advance_to(way)
    cluster.advance_to(end)
    assert cluster.jobs_started == started
    assert cluster.recorded.conversion is not None
    assert cluster.recorded.conversion.engine_keys == engines


def test_a_revision_that_is_no_longer_stored_has_engines_of_the_new_image() -> None:
    cluster = scenarios.serving(**builders.TENSORRT)
    cluster.use_model(2)
    cluster.advance_to(walks.PROMOTED)
    started, revision = cluster.jobs_started, cluster.recorded.revisions[1].revision
    cluster.change_tensorrt_image()
    cluster.workloads[revision].stored = False
    cluster.use_model(1)
    cluster.advance_to("Converting")
    cluster.advance_to(walks.PROMOTED)
    assert cluster.jobs_started == started + 2


def back_to_a_missed_gate(cluster: Cluster, key: str) -> None:
    """Remember a missed gate over the artifact of model 1, and go back to that model under this gate."""
    cluster.use_model(2)
    cluster.advance_to(walks.PROMOTED)
    walks.edit_gates(cluster)
    missed = Failure(reason="GateFailed", message="cosine is 0.4", exit_code=ExitCode.GATE_FAILED)
    known = cluster.artifacts[key]
    verdicts = {**known.verdicts, gate_key_of(cluster.spec, key): ()}
    cluster.artifacts[key] = replace(known, verdicts=verdicts, gate_failures={gate_key_of(cluster.spec, key): missed})
    cluster.use_model(1)
    cluster.advance_to(("Degraded", "ConversionFailed"))


@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "unpinned"])
def test_a_retry_forgets_the_missed_gate_and_nothing_else(pinned: bool) -> None:
    cluster = scenarios.serving(pinned=pinned, rollout={"steps": []})
    ((key, before),) = cluster.artifacts.items()
    back_to_a_missed_gate(cluster, key)
    cluster.ask("retry")
    cluster.advance_to("Converting", limit=5)
    assert cluster.artifacts[key] == before
    cluster.advance_to("Healthy")


BY_DATA = {"gates": {"parity": {"datasetUri": "pvc://data/eval.npz"}}}
"""A dataset whose digest only the Job knows."""


def test_a_kept_revision_was_judged_on_its_unpinned_dataset_already() -> None:
    cluster = scenarios.serving(rollout={"steps": []}, conversion=BY_DATA, rollbackWindow={"revisions": 0})
    cluster.use_model(2)
    cluster.advance_to(walks.PROMOTED)
    cluster.use_model(1)
    cluster.advance_to("Provisioning")
    assert cluster.jobs_started == 2


def test_a_gate_missed_on_an_unpinned_dataset_is_remembered_until_a_retry() -> None:
    cluster = scenarios.with_candidate(Model(exit_code=ExitCode.GATE_FAILED), conversion=BY_DATA)
    cluster.advance_to(("Degraded", "ConversionFailed"))
    cluster.advance(30)
    assert cluster.jobs_started == 2
    (missed,) = [known for known in cluster.artifacts.values() if known.gate_failures]
    cluster.models.clear()
    cluster.ask("retry")
    cluster.advance_to("Converting")
    assert cluster.artifacts[missed.key].gate_failures == {}
    cluster.advance_to(walks.PROMOTED)
    assert cluster.jobs_started == 3


def test_a_retry_forgets_a_failed_conversion_as_a_whole() -> None:
    cluster = walks.not_converted()
    (key,) = [key for key, known in cluster.artifacts.items() if known.summary.artifact is None]
    cluster.ask("retry")
    cluster.advance_to("Converting")
    assert key not in cluster.artifacts


def test_a_job_that_nobody_waits_for_is_stopped() -> None:
    cluster = scenarios.converting()
    cluster.advance(1)
    assert list(cluster.jobs) == [job(cluster, cluster.target)]
    cluster.ask("abort")
    cluster.advance(2)
    assert cluster.jobs == {}


def test_the_job_of_a_superseded_revision_is_stopped() -> None:
    cluster = scenarios.converting()
    cluster.advance(1)
    cluster.use_model(3)
    cluster.advance(1)
    assert list(cluster.jobs) == [job(cluster, cluster.target)]


def test_a_job_is_not_left_behind_once_its_artifact_is_recorded() -> None:
    cluster = scenarios.provisioning()
    assert cluster.jobs == {}
    assert cluster.jobs_started == 2


def test_a_converted_model_needs_no_job_a_second_time() -> None:
    cluster = scenarios.observing()
    walks.revert(cluster)
    cluster.advance_to("Healthy")
    cluster.use_model(2)
    cluster.advance_to("Provisioning")
    assert cluster.jobs_started == 2


def test_a_refused_revision_keeps_its_objects_without_pods() -> None:
    cluster = walks.turned_back()
    refused = cluster.workloads[cluster.target]
    assert (refused.stored, refused.exists, refused.replicas) == (True, True, 0)


def test_only_so_many_old_revisions_are_kept() -> None:
    cluster = scenarios.serving(revisionHistoryLimit=1, rollbackWindow={"revisions": 0}, rollout={"steps": []})
    revisions = [cluster.target]
    for model in (2, 3, 4, 5):
        cluster.use_model(model)
        revisions.append(cluster.target)
        cluster.advance_to("Healthy")
        cluster.advance(10)
    # stable, the other slot of the route, and one more
    assert sorted(cluster.workloads) == sorted(revisions[2:])
    assert sorted(cluster.budgets) == sorted(revisions[2:])


def test_a_lost_deployment_comes_back_as_it_was_stored() -> None:
    cluster = scenarios.serving()
    cluster.lose_deployment(cluster.target)
    cluster.advance(1)
    assert cluster.workloads[cluster.target].replicas == 2
    assert cluster.passes < 20


def test_a_lost_memory_of_stable_is_rendered_again_from_its_artifact() -> None:
    cluster = scenarios.serving()
    walks.lose_config(cluster)
    cluster.advance(1)
    assert cluster.workloads[cluster.target].stored


def test_a_route_comes_and_goes_with_the_gateway() -> None:
    cluster = scenarios.serving()
    walks.gateways()(cluster)
    cluster.advance(2)
    without = cluster.clone()
    walks.gateways("vision")(cluster)
    cluster.advance(5)
    assert without.route is None
    assert cluster.route is not None
    assert cluster.route.accepted


def test_builds_are_started_side_by_side_and_once() -> None:
    cluster = scenarios.new_cluster(1, **builders.TENSORRT)
    cluster.advance_to("Converting")
    while len(cluster.jobs) < 3:
        cluster.advance(1)
    assert {name for name, job in cluster.jobs.items() if job.finished is None} == {
        names.build_job("shapes", cluster.target, index, 1) for index in range(2)
    }
    actions = decide(cluster.snapshot(), cluster.now).actions
    assert not any(isinstance(action, StartBuild) for action in actions)
