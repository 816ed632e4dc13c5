"""The build Job: on a device of the product that will serve, by the image of the runtime that will serve."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from unit.render.samples import ENGINE_SPEC, GPU_SPEC, PLATFORM, REVISION, build_request, request, snapshot
from visionmodel_contract.build import BuildRequest
from visionmodel_contract.conversion import CalibrationOptions
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.core.actions import Action, StartBuild, StartConversion
from visionmodel_operator.core.operations import Create
from visionmodel_operator.core.snapshot import Platform, Runtime
from visionmodel_operator.errors import UserError
from visionmodel_operator.render import operations


def start(index: int = 0, of: VisionModelSpec = ENGINE_SPEC) -> StartBuild:
    return StartBuild(f"shapes-{REVISION}-build-{index}", build_request(index), of, of.accelerators[index])


def job_of(action: Action, platform: Platform = PLATFORM) -> Mapping[str, Any]:
    (operation,) = operations(action, snapshot(platform=platform))
    assert isinstance(operation, Create)
    return operation.manifest


def pod_of(action: Action, platform: Platform = PLATFORM) -> Mapping[str, Any]:
    pod: Mapping[str, Any] = job_of(action, platform)["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize(
    ("index", "resource", "selector"),
    [(0, "nvidia.com/gpu", {"nvidia.com/gpu.product": "NVIDIA-L4"}), (1, "nvidia.com/mig-1g.10gb", {"zone": "a"})],
)
def test_one_device_of_the_accelerators_kind(index: int, resource: str, selector: dict[str, str]) -> None:
    pod = pod_of(start(index))
    (container,) = pod["containers"]
    assert pod["nodeSelector"] == selector
    for amounts in container["resources"].values():
        assert amounts[resource] == "1"
    assert container["resources"]["limits"]["memory"] == PLATFORM.build_memory_limit
    assert container["resources"]["limits"]["cpu"] == PLATFORM.build_cpu_limit


def test_placed_as_the_serving_pods_are() -> None:
    pod = pod_of(start())
    assert pod["runtimeClassName"] == "nvidia"
    assert [toleration["key"] for toleration in pod["tolerations"]] == ["nvidia.com/gpu", "team"]


def test_the_request_travels_with_the_pod() -> None:
    job = job_of(start(1))
    (annotation,) = job["spec"]["template"]["metadata"]["annotations"].values()
    assert BuildRequest.model_validate_json(annotation) == build_request(1)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"][0] == "build"


def test_the_data_alone_is_mounted() -> None:
    samples = CalibrationOptions(dataset_uri="pvc://samples/images/")
    action = replace(start(), request=build_request().model_copy(update={"samples": samples}))
    volumes = pod_of(action)["volumes"]
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in volumes if "claim" in volume["name"]]
    assert claims == ["data", "samples"]


@pytest.mark.parametrize(
    "action", [start(), StartConversion("shapes-prepare", request(), ENGINE_SPEC)], ids=["build", "prepare"]
)
def test_a_queue_admits_the_jobs(action: Action) -> None:
    job = job_of(action)
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpu-builds"
    assert job["spec"]["suspend"] is True


def test_without_a_queue_a_job_starts_at_once() -> None:
    job = job_of(StartConversion("shapes-prepare", request(), GPU_SPEC))
    assert "kueue.x-k8s.io/queue-name" not in job["metadata"]["labels"]
    assert "suspend" not in job["spec"]


@pytest.mark.parametrize(
    "action", [start(), StartConversion("shapes-prepare", request(), ENGINE_SPEC)], ids=["build", "prepare"]
)
def test_without_an_image_that_builds_engines_nothing_begins(action: Action) -> None:
    runtimes = {"26.07": Runtime("26.07", "registry.example/triton:26.07", "2.71.0")}
    with pytest.raises(UserError) as refusal:
        job_of(action, replace(PLATFORM, runtimes=runtimes))
    assert refusal.value.reason == Reason.BACKEND_UNAVAILABLE
    assert 'runtimes."26.07".tensorrtConverterImage' in str(refusal.value)
