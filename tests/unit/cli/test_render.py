"""The manifests that render prints are those of the operator's own render functions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from unit.core import builders
from visionmodel_cli.documents import Document
from visionmodel_cli.failures import Failure
from visionmodel_cli.main import app
from visionmodel_cli.render_files import OPEN_PLATFORM, artifact_in, manifests_of, platform_in
from visionmodel_contract.report import ReportSummary
from visionmodel_operator.api.status import VisionModelStatus
from visionmodel_operator.core import names
from visionmodel_operator.core.actions import CreateRevision
from visionmodel_operator.core.operations import Create
from visionmodel_operator.core.revision import revision_of
from visionmodel_operator.core.snapshot import Snapshot
from visionmodel_operator.render import operations

REPOSITORY = Path(__file__).parents[3]
SPEC = builders.spec_document(1)
REVISION = revision_of(builders.spec(1))
ARTIFACT = builders.artifact("0" * 32)
DEPLOYMENT = {
    "kind": "Deployment",
    "spec": {
        "template": {
            "spec": {
                "containers": [
                    {
                        "env": [
                            {"name": "VISIONMODEL_PROMETHEUS_URL", "value": "http://prometheus:9090"},
                            {"name": "VISIONMODEL_CONVERTER_IMAGE", "value": "registry.example/converter:1"},
                            {
                                "name": "VISIONMODEL_RUNTIMES",
                                "value": '{"26.07": {"image": "triton:26.07", "tritonVersion": "2.71.0"}}',
                            },
                            {"name": "VISIONMODEL_ARTIFACT_REPOSITORY", "value": "registry.example/artifacts"},
                            {"name": "VISIONMODEL_POD_NAME", "valueFrom": {}},
                            {"name": "OTHER", "value": "x"},
                        ]
                    }
                ]
            }
        }
    },
}


def document(spec: Mapping[str, Any] = SPEC) -> Document:
    return Document("f.yaml", 1, {"metadata": {"name": "shapes", "namespace": "vision"}, "spec": spec})


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_everything_in_the_order_of_creation() -> None:
    found = manifests_of(document(), builders.PLATFORM, "default", ARTIFACT)
    assert [(one["kind"], one["metadata"]["name"]) for one in found] == [
        ("Job", names.prepare_job("shapes", REVISION, 1)),
        ("ConfigMap", f"shapes-{REVISION}"),
        ("Service", f"shapes-{REVISION}"),
        ("Deployment", f"shapes-{REVISION}-0"),
        ("PodDisruptionBudget", f"shapes-{REVISION}"),
        ("Service", "shapes"),
        ("HTTPRoute", "shapes"),
    ]
    assert {one["metadata"]["namespace"] for one in found} == {"vision"}
    assert all("ownerReferences" not in one["metadata"] for one in found)
    (weight,) = [ref["weight"] for ref in found[-1]["spec"]["rules"][0]["backendRefs"]]
    assert weight == 1_000_000


def test_it_is_what_the_operator_creates() -> None:
    picture = Snapshot(
        ref=builders.REF,
        generation=1,
        resource_version="1",
        spec=builders.spec(1),
        spec_error="",
        annotations={},
        status=VisionModelStatus(),
        platform=builders.PLATFORM,
    )
    created, *_ = operations(CreateRevision(REVISION, builders.spec(1), ARTIFACT, 2), picture)
    assert isinstance(created, Create)
    found = manifests_of(document(), builders.PLATFORM, "default", ARTIFACT)[1]
    assert found["data"]["config.pbtxt"] == created.manifest["data"]["config.pbtxt"]
    assert found["data"][names.SPEC_FILE] == created.manifest["data"][names.SPEC_FILE]


def test_what_only_a_conversion_finds_out_stays_open() -> None:
    found = manifests_of(document(), builders.PLATFORM, "default", None)
    assert "ConfigMap" not in {one["kind"] for one in found}
    (deployment,) = [one for one in found if one["kind"] == "Deployment"]
    assert "registry.example/artifacts/<artifact>@sha256:" in yaml.safe_dump(deployment)
    assert deployment["spec"]["replicas"] == 2


@pytest.mark.parametrize("file", sorted((REPOSITORY / "examples").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_example_can_be_rendered_without_a_platform(file: Path) -> None:
    done = CliRunner().invoke(app, ["render", "-f", str(file)])
    assert done.exit_code == 0, done.output
    kinds = [one["kind"] for one in yaml.safe_load_all(done.output)]
    assert kinds[0] == "Job"
    assert {"Deployment", "Service", "PodDisruptionBudget"} <= set(kinds)


def test_a_runtime_of_ones_own_without_a_platform() -> None:
    spec = builders.changed(SPEC, {"serving": {"runtimeVersion": "25.01"}})
    found = manifests_of(document(spec), OPEN_PLATFORM, "default", None)
    assert "<triton image>" in yaml.safe_dump(list(found))


def test_the_settings_of_an_installed_operator(tmp_path: Path) -> None:
    text = yaml.safe_dump_all([{"kind": "Service"}, DEPLOYMENT])
    platform = platform_in(written(tmp_path, "operator.yaml", text))
    assert platform.artifact_repository == "registry.example/artifacts"
    assert platform.runtimes["26.07"].image == "triton:26.07"
    spec = builders.changed(SPEC, {"serving": {"runtimeVersion": "25.01"}})
    with pytest.raises(Failure, match=r"f.yaml, document 1 \(shapes\): UnknownRuntime: .*25.01"):
        manifests_of(document(spec), platform, "default", None)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: Service", "has no Deployment with VISIONMODEL_... variables"),
        (yaml.safe_dump(DEPLOYMENT).replace("http://prometheus", "prometheus"), "VISIONMODEL_PROMETHEUS_URL must be"),
    ],
)
def test_a_file_without_an_operator(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=message):
        platform_in(written(tmp_path, "operator.yaml", text))


def test_the_summary_of_a_conversion(tmp_path: Path) -> None:
    made = ReportSummary(result="Succeeded", artifact=ARTIFACT)
    assert artifact_in(written(tmp_path, "summary.json", made.to_json())) == ARTIFACT
    failed = ReportSummary(result="Failed")
    with pytest.raises(Failure, match="that conversion made no artifact"):
        artifact_in(written(tmp_path, "failed.json", failed.to_json()))
    with pytest.raises(Failure, match="is no summary of a conversion"):
        artifact_in(written(tmp_path, "other.json", "{}"))


def test_a_faulty_file_is_not_rendered(tmp_path: Path) -> None:
    bad = {"apiVersion": "visionmodel.dev/v1alpha1", "kind": "VisionModel", "metadata": {"name": "a"}, "spec": {}}
    done = CliRunner().invoke(app, ["render", "-f", str(written(tmp_path, "bad.yaml", yaml.safe_dump(bad)))])
    assert done.exit_code == 1
    assert "spec.model: Field required" in done.output


def test_json_is_a_list_that_kubectl_reads(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["render", "-f", str(REPOSITORY / "examples" / "minimal.yaml"), "-o", "json"])
    assert yaml.safe_load(done.output)["kind"] == "List"
