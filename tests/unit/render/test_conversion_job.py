"""The prepare Job: what it may read, when it is given up, and that nobody takes its pods for servers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from unit.render.samples import CPU_SPEC, IN_BUCKET, ON_CLAIM, PLATFORM, REVISION, request, snapshot, spec
from visionmodel_contract.conversion import ConversionRequest
from visionmodel_contract.exits import PERMANENT_EXIT_CODES
from visionmodel_operator.api.conditions import Reason
from visionmodel_operator.api.spec import VisionModelSpec
from visionmodel_operator.core import names
from visionmodel_operator.core.actions import DeleteJob, StartConversion
from visionmodel_operator.core.operations import Create, Delete
from visionmodel_operator.core.snapshot import Platform
from visionmodel_operator.errors import UserError
from visionmodel_operator.render import operations


def job_of(of: VisionModelSpec = CPU_SPEC, platform: Platform = PLATFORM) -> Mapping[str, Any]:
    action = StartConversion(f"shapes-{REVISION}-prepare", request(), of)
    (operation,) = operations(action, snapshot(platform=platform))
    assert isinstance(operation, Create)
    return operation.manifest


def pod_of(of: VisionModelSpec = CPU_SPEC, platform: Platform = PLATFORM) -> Mapping[str, Any]:
    pod: Mapping[str, Any] = job_of(of, platform)["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize(
    ("backend", "own_image", "image"),
    [
        pytest.param("OpenVINO", "registry.example/openvino:1", "registry.example/openvino:1", id="its own"),
        pytest.param("OpenVINO", None, PLATFORM.converter_image, id="one image for all"),
        pytest.param("ONNXRuntime", "registry.example/openvino:1", PLATFORM.converter_image, id="another backend"),
    ],
)
def test_image_has_the_backends_runtime(backend: str, own_image: str | None, image: str) -> None:
    runtime = replace(PLATFORM.runtimes["24.10"], openvino_image="registry.example/triton-openvino:1")
    platform = replace(PLATFORM, converter_openvino_image=own_image, runtimes={"24.10": runtime})
    assert pod_of(spec(conversion={"backend": backend}), platform)["containers"][0]["image"] == image


@pytest.mark.parametrize(
    ("exports", "image"),
    [
        (["ORT"], PLATFORM.converter_image),
        (["ORT", "OpenVINO"], "r/openvino:1"),
        (["OpenVINO", "TFLite"], "r/tflite:1"),
    ],
)
def test_image_has_what_the_exports_need(exports: list[str], image: str) -> None:
    platform = replace(PLATFORM, converter_openvino_image="r/openvino:1", converter_tflite_image="r/tflite:1")
    assert pod_of(spec(conversion={"exports": exports}), platform)["containers"][0]["image"] == image
    bare = pod_of(spec(conversion={"exports": exports}), PLATFORM)
    assert bare["containers"][0]["image"] == PLATFORM.converter_image


def test_image_has_the_quantiser() -> None:
    calibration = {"storageUri": "s3://data/c.npz", "quantizer": "ModelOpt"}
    wanted = spec(conversion={"backend": "OpenVINO", "precision": "int8", "calibration": calibration})
    runtime = replace(PLATFORM.runtimes["24.10"], openvino_image="r/triton-openvino:1")
    able = replace(PLATFORM, runtimes={"24.10": runtime})
    platform = replace(able, converter_openvino_image="r/openvino:1", converter_modelopt_image="r/modelopt:1")
    assert pod_of(wanted, platform)["containers"][0]["image"] == "r/modelopt:1"
    without = replace(platform, converter_modelopt_image=None)
    assert pod_of(wanted, without)["containers"][0]["image"] == "r/openvino:1"


def test_the_request_travels_with_the_pod() -> None:
    (annotation,) = job_of()["spec"]["template"]["metadata"]["annotations"].values()
    assert ConversionRequest.model_validate_json(annotation) == request()


def test_services_and_budgets_never_select_a_conversion() -> None:
    job = job_of()
    assert names.LABEL_REVISION in job["metadata"]["labels"]
    assert names.LABEL_REVISION not in job["spec"]["template"]["metadata"]["labels"]


def test_permanent_failures_end_the_job_and_evictions_do_not_count() -> None:
    rules = job_of()["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["Ignore", "FailJob"]
    assert rules[1]["onExitCodes"]["values"] == list(PERMANENT_EXIT_CODES)
    assert rules[1]["onExitCodes"]["containerName"] == pod_of()["containers"][0]["name"]


@pytest.mark.parametrize(("deadline", "seconds"), [("60m", 3600), ("90s", 90), ("1500ms", 2), ("1us", 1)])
def test_deadline(deadline: str, seconds: int) -> None:
    assert job_of(spec(conversion={"deadline": deadline}))["spec"]["activeDeadlineSeconds"] == seconds


@pytest.mark.parametrize(
    ("of", "platform", "secrets"),
    [
        pytest.param(
            CPU_SPEC,
            PLATFORM,
            {"/var/run/secrets/visionmodel/source": "models-s3", "/var/run/secrets/visionmodel/registry": "push"},
            id="both",
        ),
        pytest.param(spec(), replace(PLATFORM, push_secret=None, pull_secret=None), {}, id="none"),
    ],
)
def test_secrets_are_files(of: VisionModelSpec, platform: Platform, secrets: dict[str, str]) -> None:
    pod = pod_of(of, platform)
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    mounted = {mount["mountPath"]: volumes[mount["name"]] for mount in pod["containers"][0]["volumeMounts"]}
    assert {path: volume["secret"]["secretName"] for path, volume in mounted.items() if "secret" in volume} == secrets
    assert ("imagePullSecrets" in pod) == (platform.pull_secret is not None)


def test_claims_are_mounted_once_and_read_only() -> None:
    pod = pod_of(
        spec(
            model={"storageUri": "pvc://models/shapes/model.onnx"},
            conversion={"gates": {"parity": {"datasetUri": "pvc://models/shapes/eval.npz"}}},
        )
    )
    assert [volume["persistentVolumeClaim"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume] == [
        {"claimName": "models", "readOnly": True}
    ]
    assert {"name": "claim-0", "mountPath": "/mnt/pvc/models", "readOnly": True} in pod["containers"][0]["volumeMounts"]


def test_another_claim_for_the_dataset() -> None:
    pod = pod_of(spec(conversion={"gates": {"parity": {"datasetUri": "pvc://data.v1/eval.npz"}}}))
    assert {"name": "claim-0", "mountPath": "/mnt/pvc/data.v1", "readOnly": True} in pod["containers"][0][
        "volumeMounts"
    ]


def test_claim_of_calibration_samples_is_mounted_too() -> None:
    pod = pod_of(spec(conversion={"precision": "int8", "calibration": {"storageUri": "pvc://samples/images/"}}))
    mounts = pod["containers"][0]["volumeMounts"]
    assert {"name": "claim-0", "mountPath": "/mnt/pvc/samples", "readOnly": True} in mounts


@pytest.mark.parametrize(
    ("limits", "requests"),
    [
        (("1", "2Gi", "10Gi"), ("250m", "512Mi", "1Gi")),
        (("100m", "256Mi", "500M"), ("100m", "256Mi", "500M")),
    ],
)
def test_requests_never_exceed_the_limits(limits: tuple[str, str, str], requests: tuple[str, str, str]) -> None:
    cpu, memory, storage = limits
    platform = replace(PLATFORM, job_cpu_limit=cpu, job_memory_limit=memory, job_storage_limit=storage)
    names = ("cpu", "memory", "ephemeral-storage")
    assert pod_of(platform=platform)["containers"][0]["resources"] == {
        "limits": dict(zip(names, limits, strict=True)),
        "requests": dict(zip(names, requests, strict=True)),
    }


def test_scratch_folders_are_bounded_and_the_converter_knows_by_what() -> None:
    pod = pod_of(platform=replace(PLATFORM, job_storage_limit="3.5Gi"))
    scratch = {volume["name"]: volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume}
    assert scratch == {"work": {"sizeLimit": "3584Mi"}, "tmp": {"sizeLimit": "3584Mi"}}
    environment = {variable["name"]: variable for variable in pod["containers"][0]["env"]}
    assert environment["VISIONMODEL_STORAGE_LIMIT_BYTES"]["valueFrom"] == {
        "resourceFieldRef": {"resource": "limits.ephemeral-storage", "divisor": "1"}
    }


AZURE = "abfs://models@account.dfs.core.windows.net/shapes"
GATED_BY_AZURE = {"gates": {"parity": {"datasetUri": f"{AZURE}/eval.npz"}}}


@pytest.mark.parametrize(
    ("of", "labelled"),
    [
        pytest.param(spec(model={"storageUri": f"{AZURE}/model.onnx"}), True, id="model"),
        pytest.param(spec(conversion=GATED_BY_AZURE), True, id="dataset"),
        pytest.param(
            spec(model={"storageUri": f"{AZURE}/model.onnx", "secretRef": {"name": "azure"}}), False, id="with a Secret"
        ),
        pytest.param(spec(), False, id="another cloud"),
    ],
)
def test_azures_webhook_is_asked_for_a_token_where_no_secret_is_given(of: VisionModelSpec, labelled: bool) -> None:
    labels = job_of(of)["spec"]["template"]["metadata"]["labels"]
    assert labels.get("azure.workload.identity/use") == ("true" if labelled else None)


def test_the_service_account_is_the_platforms_choice_and_its_token_stays_away() -> None:
    plain, own = pod_of(), pod_of(platform=replace(PLATFORM, job_service_account="converter"))
    assert ("serviceAccountName" in plain, own["serviceAccountName"]) == (False, "converter")
    assert own["automountServiceAccountToken"] is False


def test_nothing_is_converted_that_no_runtime_could_serve() -> None:
    with pytest.raises(UserError, match=r"runtime 24\.10 has no OpenVINO backend") as refused:
        job_of(spec(conversion={"backend": "OpenVINO"}))
    assert refused.value.reason == Reason.BACKEND_UNAVAILABLE


@pytest.mark.parametrize(("allowed", "value"), [(True, "true"), (False, "false")])
def test_plain_http_is_the_platforms_choice(allowed: bool, value: str) -> None:
    (container,) = pod_of(platform=replace(PLATFORM, allow_http_sources=allowed))["containers"]
    assert {"name": "VISIONMODEL_ALLOW_HTTP", "value": value} in container["env"]


@pytest.mark.parametrize(
    ("source_format", "image"),
    [("keras", "tf:1"), ("onnx", PLATFORM.converter_image), (None, PLATFORM.converter_image)],
    ids=["its own", "plain", "left to the content"],
)
def test_the_format_picks_the_image(source_format: str | None, image: str) -> None:
    asked = request()
    asked = asked.model_copy(update={"source": asked.source.model_copy(update={"format": source_format})})
    platform = replace(PLATFORM, converter_images={"keras": "tf:1"})
    (operation,) = operations(StartConversion("job", asked, CPU_SPEC), snapshot(platform=platform))
    assert isinstance(operation, Create)
    (container,) = operation.manifest["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image


def test_delete() -> None:
    assert operations(DeleteJob("j"), snapshot()) == (Delete("batch/v1", "Job", "j"),)


def test_a_claim_of_sources_and_artifacts_is_one_volume() -> None:
    pod = pod_of(spec(model={"storageUri": "pvc://artifacts/net.onnx"}), ON_CLAIM)
    (claim,) = [volume for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
    assert claim["persistentVolumeClaim"] == {"claimName": "artifacts"}
    mounts = [mount for mount in pod["containers"][0]["volumeMounts"] if mount["name"] == claim["name"]]
    assert mounts == [
        {"name": "artifact", "mountPath": "/mnt/pvc/artifacts", "readOnly": True},
        {"name": "artifact", "mountPath": "/mnt/artifacts"},
    ]


def test_another_claim_of_sources_stays_read_only() -> None:
    pod = pod_of(spec(model={"storageUri": "pvc://models/net.onnx"}), ON_CLAIM)
    claims = [volume["persistentVolumeClaim"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
    assert claims == [{"claimName": "models", "readOnly": True}, {"claimName": "artifacts"}]


def test_keys_of_the_object_storage_are_files() -> None:
    pod = pod_of(spec(), IN_BUCKET)
    (mount,) = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == "artifact-credentials"]
    assert mount == {"name": mount["name"], "mountPath": "/var/run/secrets/visionmodel/artifacts", "readOnly": True}


@pytest.mark.parametrize(("secret", "labelled"), [(None, True), ("keys", False)], ids=["identity", "Secret"])
def test_azure_as_the_store_is_written_as_the_pod_where_no_secret_is_given(secret: str | None, labelled: bool) -> None:
    job = job_of(spec(), replace(IN_BUCKET, artifact_secret=secret))
    assert ("azure.workload.identity/use" in job["spec"]["template"]["metadata"]["labels"]) is labelled
