"""Going back to an older revision: which one is meant, and that its spec is put back so that it is that revision."""

import copy
import json
from typing import Any

import pytest

from schema.specs import CLASSIFIER, ENGINES, FULL
from unit.cli.models import STATES, model
from unit.core import builders
from unit.core.simulated_cluster import Cluster
from visionmodel_cli.failures import Refusal
from visionmodel_cli.undo import Undo, revision_to_go_back_to, undo
from visionmodel_operator.api.v1alpha1 import parse_spec
from visionmodel_operator.core.names import SPEC_FILE
from visionmodel_operator.core.revision import revision_of, revision_sections

Json = dict[str, Any]


def stored(spec: Json) -> dict[str, str]:
    return {SPEC_FILE: json.dumps(revision_sections(parse_spec(spec)))}


def revision(number: int) -> str:
    return revision_of(builders.spec(number))


def patched(spec: Json, request: Undo) -> Json:
    """The spec after the patch, as the API server applies it."""
    document = copy.deepcopy(spec)
    test, *operations = request.patch
    assert (test["op"], test["path"]) == ("test", "/metadata/generation")
    for operation in operations:
        section = operation["path"].removeprefix("/spec/")
        if operation["op"] == "remove":
            del document[section]
        else:
            document[section] = operation["value"]
    return document


def test_the_operator_rolls_out_what_was_put_back() -> None:
    cluster: Cluster = STATES["promoted"]()
    target = revision_to_go_back_to(model(cluster), None)
    assert target == revision(1)
    request = undo(model(cluster), target, stored(builders.spec_document(1)), cluster.now)
    assert request.said.endswith("it was stable lately, so all requests go back to it in one jump.")
    cluster.edit(patched(cluster.document, request))
    cluster.advance_to("RollingBack")
    cluster.advance_to("Healthy")
    assert cluster.status["stable"]["revision"] == target


@pytest.mark.parametrize(
    ("state", "window", "follows"),
    [
        ("promoted", {}, "it was stable lately, so all requests go back to it in one jump"),
        ("promoted", {"revisions": 0}, "its rollout follows, step by step"),
        ("observing", {}, "it is stable, and what is under way is turned back"),
    ],
)
def test_what_follows_is_said(state: str, window: Json, follows: str) -> None:
    cluster = STATES[state]()
    cluster.change(rollbackWindow=window)
    request = undo(model(cluster), revision(1), stored(builders.spec_document(1)), cluster.now)
    assert request.said == f"The spec asks for revision {revision(1)} again; {follows}."


@pytest.mark.parametrize(
    ("state", "expected"), [("promoted", 1), ("turned-back", 1), ("observing", 1), ("draining", 1), ("converting", 1)]
)
def test_without_a_name_it_is_what_serves_or_the_one_before(state: str, expected: int) -> None:
    cluster = STATES[state]()
    if state == "draining":
        with pytest.raises(Refusal, match="asks for revision"):
            revision_to_go_back_to(model(cluster), revision(2))
    assert revision_to_go_back_to(model(cluster), None) == revision(expected)


def test_a_spec_that_the_operator_has_not_seen_is_what_is_undone() -> None:
    """Status still tells of the spec before: stable is one step back, not two."""
    cluster = STATES["promoted"]()
    document = {**model(cluster), "spec": builders.spec_document(3)}
    assert revision_to_go_back_to(document, None) == revision(2)
    assert revision_to_go_back_to(document, revision(2)) == revision(2)


def test_stable_is_what_an_invalid_spec_goes_back_to() -> None:
    found = model(STATES["promoted"]())
    broken = {**found, "spec": {**found["spec"], "model": {}}}
    assert revision_to_go_back_to(broken, None) == revision(2)


def test_a_revision_may_be_named_by_its_beginning() -> None:
    assert revision_to_go_back_to(model(STATES["promoted"]()), revision(1)[:4]) == revision(1)


@pytest.mark.parametrize(
    ("state", "asked", "message"),
    [
        ("healthy", None, "has no earlier revision that was promoted; name one by --to"),
        ("promoted", "nonsense", "'nonsense' of VisionModel 'shapes' is not known; see `history shapes`"),
        ("promoted", "", r"fits \w{10}, \w{10}: name more of it"),
        ("promoted", revision(2), f"asks for revision {revision(2)} already"),
    ],
)
def test_no_revision_to_go_back_to(state: str, asked: str | None, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        revision_to_go_back_to(model(STATES[state]()), asked)


@pytest.mark.parametrize("spec", [FULL, CLASSIFIER, ENGINES], ids=["full", "classifier", "engines"])
def test_any_spec_comes_back_as_the_revision_that_it_was(spec: Json) -> None:
    old = revision_of(parse_spec(spec))
    current = {**model(STATES["promoted"]()), "spec": builders.spec_document(2)}
    assert revision_of(parse_spec(patched(current["spec"], undo(current, old, stored(spec), builders.START)))) == old


def test_what_is_not_the_revisions_stays_as_it_is() -> None:
    old = builders.spec_document(1, serving={"replicas": 5}, conversion={"deadline": "1s", "queueName": "slow"})
    now = builders.spec_document(2, serving={"replicas": 9}, conversion={"autoApply": False}, accelerators=[{}])
    result = patched(now, undo({**model(STATES["promoted"]()), "spec": now}, revision(1), stored(old), builders.START))
    assert result["serving"]["replicas"] == 9
    assert (result["conversion"]["autoApply"], result["conversion"]["deadline"]) == (False, "120s")
    assert "queueName" not in result["conversion"]
    assert result["accelerators"] == []
    assert (result["traffic"], result["rollout"]) == (now["traffic"], now["rollout"])


def with_model(number: int, uri: str, secret: str | None) -> Json:
    """A spec whose revision does not name its place, so that the same revision may lie in two of them."""
    document = builders.spec_document(number, pinned=True)
    credentials = {} if secret is None else {"secretRef": {"name": secret}}
    document["model"] = {**document["model"], "storageUri": uri, **credentials}
    return document


@pytest.mark.parametrize(
    ("then", "today", "secret", "warnings"),
    [
        (("s3://a/1.onnx", "old"), ("s3://a/2.onnx", "new"), "new", ["secretRef stays as it is (new)"]),
        (("s3://a/1.onnx", "old"), ("s3://a/2.onnx", None), None, ["secretRef stays as it is (none)"]),
        (("s3://a/1.onnx", "same"), ("s3://a/2.onnx", "same"), "same", []),
        (
            ("s3://a/1.onnx", "old"),
            ("s3://b/2.onnx", "new"),
            "old",
            ["storageUri is s3://a/1.onnx again", "secretRef is old again"],
        ),
        (("s3://a/1.onnx", None), ("gs://a/2.onnx", None), None, ["storageUri is s3://a/1.onnx again"]),
    ],
    ids=["rotated", "taken away", "the same", "another bucket", "another kind of store"],
)
def test_credentials_are_todays_for_the_store_of_today(
    then: tuple[str, str | None], today: tuple[str, str | None], secret: str | None, warnings: list[str]
) -> None:
    old, now = with_model(1, *then), with_model(2, *today)
    request = undo(
        {**model(STATES["promoted"]()), "spec": now}, revision_of(parse_spec(old)), stored(old), builders.START
    )
    result = patched(now, request)["model"]
    assert result["storageUri"] == then[0]
    assert result.get("secretRef", {}).get("name") == secret
    assert [text in said for text, said in zip(warnings, request.warnings, strict=True)] == [True] * len(warnings)
    assert request.document()["warnings"] == list(request.warnings)


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (None, "Nothing is stored of revision .* any more"),
        ({"workload.json": "[]"}, "made by an operator that did not store its spec"),
        (stored(builders.spec_document(3)), "would be revision .* for this release"),
        ({SPEC_FILE: '{"model": {}, "conversion": {}, "serving": {}}'}, "is not valid any more: spec.model.storageUri"),
    ],
)
def test_what_cannot_be_put_back(kept: dict[str, str] | None, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        undo(model(STATES["promoted"]()), revision(1), kept, builders.START)
