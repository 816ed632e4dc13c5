"""What lint says of files, and that it refuses what the API server refuses."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from schema.corpus import all_cases
from visionmodel_cli.documents import Document, documents_in
from visionmodel_cli.failures import Failure
from visionmodel_cli.lint import faults_in
from visionmodel_cli.main import app

REPOSITORY = Path(__file__).parents[3]
GOOD = """
apiVersion: visionmodel.dev/v1alpha1
kind: VisionModel
metadata: {name: shapes}
spec: {model: {storageUri: "s3://models/m.onnx"}, task: {type: Tensor}}
"""


def linted(tmp_path: Path, *texts: str) -> list[str]:
    """The faults of YAML files, without the places."""
    files = [tmp_path / f"{number}.yaml" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text, encoding="utf-8")
    return [f"{fault.path}: {fault.message}" for fault in faults_in(documents_in(files))]


@pytest.mark.parametrize("file", sorted((REPOSITORY / "examples").glob("*.yaml")), ids=lambda file: file.stem)
def test_examples_have_no_faults(file: Path) -> None:
    assert faults_in(documents_in([file])) == ()


def faults_of(spec: object) -> list[str]:
    """The faults of a spec but for unknown fields, which the API server drops."""
    body = {"apiVersion": "visionmodel.dev/v1alpha1", "metadata": {"name": "m"}, "spec": spec}
    return [f"{one}" for one in faults_in([Document("f", 1, body)]) if not one.message.startswith("unknown field")]


def test_it_agrees_with_the_api_server() -> None:
    cases = [case for case in all_cases() if case.accepted is not None]
    assert len(cases) > 1000
    assert [case.name for case in cases if (faults_of(case.spec) == []) is not case.accepted] == []


SPEC_FAULTS = {
    "rollout: {steps: [{setWeigth: 5}]}": ("spec.rollout.steps[0].setWeigth: unknown field; did you mean setWeight?"),
    "serving: {batching: {max_batch_size: 4}}": (
        "spec.serving.batching.max_batch_size: unknown field; did you mean maxBatchSize?"
    ),
    "qzx: 1": "spec.qzx: unknown field",
    "serving: {runtimeVersion: 24.10}": (
        "spec.serving.runtimeVersion: Input should be a valid string, not 24.1: quote it"
    ),
    "conversion: {backend: OpenVINO}\n  accelerators: [{}]": (
        "spec: backend OpenVINO runs on CPUs: leave accelerators empty"
    ),
    "rollout: {analysis: {metrics: [{name: a, type: ErrorRate, query: x}]}}": (
        "spec.rollout.analysis.metrics[0]: query belongs to Threshold metrics only"
    ),
}


@pytest.mark.parametrize("words", SPEC_FAULTS)
def test_faults_of_a_spec(words: str, tmp_path: Path) -> None:
    text = GOOD.replace("spec: {", "spec:\n  ").replace(", task:", "\n  task:").replace("Tensor}}", "Tensor}")
    assert SPEC_FAULTS[words] in linted(tmp_path, f"{text}  {words}\n")


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("v1alpha1", "v1", "apiVersion: must be visionmodel.dev/v1alpha1, not 'visionmodel.dev/v1'"),
        ("spec:", "sepc: 1\nspec:", "sepc: unknown field; did you mean spec?"),
        ("name: shapes", "name: 1", "metadata.name: must be a text"),
        ("name: shapes", "name: Shapes", "metadata.name: 'Shapes' must begin with a letter"),
        ("name: shapes", f"name: {'a' * 47}", f"metadata.name: '{'a' * 47}' must begin with a letter"),
    ],
)
def test_faults_of_an_object(before: str, after: str, fault: str, tmp_path: Path) -> None:
    assert [found.startswith(fault) for found in linted(tmp_path, GOOD.replace(before, after))] == [True]


def test_an_object_without_a_spec(tmp_path: Path) -> None:
    assert linted(tmp_path, "kind: VisionModel\napiVersion: visionmodel.dev/v1alpha1\nmetadata: {name: a}\n") == [
        "spec: must be a map"
    ]


def test_several_documents_lists_and_other_kinds(tmp_path: Path) -> None:
    other = GOOD.replace("name: shapes", "name: other")
    listed = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": [yaml.safe_load(other)]})
    assert linted(tmp_path, f"{GOOD}---\nkind: ConfigMap\n---\n---\n{listed}") == []
    assert linted(tmp_path, GOOD, GOOD) == [
        f"metadata.name: 'shapes' is there already: {tmp_path}/0.yaml, document 1 (shapes)"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: ConfigMap", r"no VisionModel of visionmodel.dev in .*0.yaml"),
        ("kind: VisionModel\nkind: VisionModel", "key 'kind' is there twice"),
        ("a: [", "is no YAML"),
    ],
)
def test_files_that_cannot_be_read(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=message):
        linted(tmp_path, text)


def test_a_date_is_the_text_that_it_is(tmp_path: Path) -> None:
    with_date = GOOD.replace(
        "task: {type: Tensor}", "task: {type: Tensor}, serving: {pod: {labels: {since: 2026-01-01}}}"
    )
    assert linted(tmp_path, with_date) == []


def test_standard_input_and_exit_codes(tmp_path: Path) -> None:
    good = CliRunner().invoke(app, ["lint", "-f", "-"], input=GOOD)
    assert (good.exit_code, good.output) == (0, "1 VisionModel, no faults\n")
    bad = CliRunner().invoke(app, ["lint", "-f", "-"], input=GOOD.replace("task", "tsak"))
    assert (bad.exit_code, bad.output.splitlines()[-1]) == (1, "1 VisionModel, 2 faults")
    assert "-, document 1 (shapes): spec.tsak: unknown field; did you mean task?" in bad.output
    missing = CliRunner().invoke(app, ["lint", "-f", str(tmp_path / "none.yaml")])
    assert (missing.exit_code, "cannot be read: No such file" in missing.output) == (1, True)
