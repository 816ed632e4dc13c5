import pytest

from visionmodel_operator.settings import (
    ListingSettings,
    RuntimeSetting,
    Settings,
    SettingsError,
    listing_settings_from,
    settings_from,
)

NEEDED = {
    "VISIONMODEL_PROMETHEUS_URL": "http://prometheus:9090/",
    "VISIONMODEL_CONVERTER_IMAGE": "registry.example/converter:1",
    "VISIONMODEL_RUNTIMES": '{"26.07": {"image": "registry.example/triton:26.07", "tritonVersion": "2.71"}}',
    "VISIONMODEL_ARTIFACT_REPOSITORY": "registry.example/artifacts",
}


def test_defaults() -> None:
    assert settings_from({**NEEDED, "HOSTNAME": "pod-1", "POD_NAMESPACE": "system"}) == Settings(
        prometheus_url="http://prometheus:9090",
        converter_image="registry.example/converter:1",
        runtimes={"26.07": RuntimeSetting("registry.example/triton:26.07", "2.71")},
        default_runtime="26.07",
        artifact_repository="registry.example/artifacts",
        identity="pod-1",
        lease_namespace="system",
    )


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("CONVERTER_IMAGES", '{"keras": "tf:1", "tflite": ""}', "converter_images", {"keras": "tf:1"}),
        ("IMAGE_VOLUMES", "auto", "image_volumes", None),
        ("IMAGE_VOLUMES", "False", "image_volumes", False),
        ("ARTIFACT_REPOSITORY_INSECURE", "true", "artifact_repository_insecure", True),
        ("PUSH_SECRET", "push", "push_secret", "push"),
        ("ARTIFACT_SECRET", "keys", "artifact_secret", "keys"),
        ("PUSH_SECRET", "", "push_secret", None),
        ("WATCH_NAMESPACES", " a, b,,a", "watch_namespaces", ("a", "b")),
        ("RESYNC_SECONDS", "0.5", "resync_seconds", 0.5),
        ("LOG_LEVEL", "debug", "log_level", "DEBUG"),
        ("LEADER_ELECTION", "false", "leader_election", False),
        ("POD_NAME", "op-7", "identity", "op-7"),
        ("CONVERTER_OPENVINO_IMAGE", "r/openvino:1", "converter_openvino_image", "r/openvino:1"),
        ("CONVERTER_OPENVINO_IMAGE", "", "converter_openvino_image", None),
        ("JOB_STORAGE_LIMIT", "", "job_storage_limit", "10Gi"),
        ("JOB_STORAGE_LIMIT", "5Gi", "job_storage_limit", "5Gi"),
        ("JOB_SERVICE_ACCOUNT", "", "job_service_account", None),
        ("JOB_SERVICE_ACCOUNT", "converter", "job_service_account", "converter"),
        (
            "RUNTIMES",
            '{"26.07": {"image": "a", "tritonVersion": "2.71.0", "openvinoImage": "b"}}',
            "runtimes",
            {"26.07": RuntimeSetting("a", "2.71.0", "b")},
        ),
        (
            "RUNTIMES",
            '{"26.07": {"image": "a", "tritonVersion": "2.71.0", "openvinoImage": ""}}',
            "runtimes",
            {"26.07": RuntimeSetting("a", "2.71.0")},
        ),
        ("CONVERTER_TFLITE_IMAGE", "r/tflite:1", "converter_tflite_image", "r/tflite:1"),
        ("CONVERTER_MODELOPT_IMAGE", "r/modelopt:1", "converter_modelopt_image", "r/modelopt:1"),
        ("BUILD_CPU_LIMIT", "4", "build_cpu_limit", "4"),
        ("BUILD_MEMORY_LIMIT", "16Gi", "build_memory_limit", "16Gi"),
        (
            "RUNTIMES",
            '{"26.07": {"image": "t:1", "tritonVersion": "2.71", "tensorrtConverterImage": "trt:1"}}',
            "runtimes",
            {"26.07": RuntimeSetting("t:1", "2.71", tensorrt_converter_image="trt:1")},
        ),
        (
            "RUNTIMES",
            '{"26.07": {"image": "t:1", "tritonVersion": "2.71", "tensorrtConverterImage": ""}}',
            "runtimes",
            {"26.07": RuntimeSetting("t:1", "2.71")},
        ),
    ],
)
def test_a_variable_sets_its_field(name: str, value: str, field: str, expected: object) -> None:
    assert getattr(settings_from({**NEEDED, f"VISIONMODEL_{name}": value}), field) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROMETHEUS_URL", "prometheus:9090"),
        ("CONVERTER_IMAGE", ""),
        ("CONVERTER_IMAGES", "tf:1"),
        ("CONVERTER_IMAGES", '{"caffe": "caffe:1"}'),
        ("RUNTIMES", "{}"),
        ("RUNTIMES", "[]"),
        ("RUNTIMES", "26.07"),
        ("RUNTIMES", '{"26.07": {"image": "x"}}'),
        ("DEFAULT_RUNTIME", "25.01"),
        ("IMAGE_VOLUMES", "maybe"),
        ("ALLOW_HTTP_SOURCES", "1"),
        ("GPU_COUNTING", "auto"),
        ("RESYNC_SECONDS", "0"),
        ("RESYNC_SECONDS", "nan"),
        ("WORKERS", "0"),
        ("HTTP_PORT", "http"),
        ("LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"VISIONMODEL_{name} must be"):
        settings_from({**NEEDED, f"VISIONMODEL_{name}": value})


@pytest.mark.parametrize("missing", sorted(NEEDED))
def test_a_missing_variable_is_named(missing: str) -> None:
    with pytest.raises(SettingsError, match=f"{missing} must be set"):
        settings_from({name: value for name, value in NEEDED.items() if name != missing})


ELSEWHERE = {name: value for name, value in NEEDED.items() if name != "VISIONMODEL_ARTIFACT_REPOSITORY"}


@pytest.mark.parametrize(
    "uri",
    ["s3://bucket", "gs://bucket/a/b", "abfs://c@acc.dfs.core.windows.net/a", "pvc://claim/path", "s3://bucket/a/"],
)
def test_artifacts_may_go_elsewhere_than_to_a_registry(uri: str) -> None:
    found = settings_from({**ELSEWHERE, "VISIONMODEL_ARTIFACT_URI": uri})
    assert (found.artifact_repository, found.artifact_uri) == (None, uri.rstrip("/"))


def test_two_stores_are_one_too_many() -> None:
    with pytest.raises(SettingsError, match="and not both"):
        settings_from({**NEEDED, "VISIONMODEL_ARTIFACT_URI": "s3://bucket"})


@pytest.mark.parametrize("uri", ["https://host/a", "s3://", "bucket"])
def test_a_store_must_be_one_that_is_known(uri: str) -> None:
    with pytest.raises(SettingsError, match="VISIONMODEL_ARTIFACT_URI must be a URI of s3, gs, abfs or pvc"):
        settings_from({**ELSEWHERE, "VISIONMODEL_ARTIFACT_URI": uri})


def test_listing_needs_no_other_settings() -> None:
    found = listing_settings_from({"VISIONMODEL_WATCH_NAMESPACES": "a,b", "VISIONMODEL_TLS_STRICT": "true"})
    assert found == ListingSettings(watch_namespaces=("a", "b"), tls_strict=True)
