"""Logins, challenges and references; the client itself runs against a real registry in the component tests."""

import base64
import json
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import pytest

from contracts.artifact_stores import KEY, publish, steps
from contracts.collected_entries import collected
from contracts.store_kits import fake_registry_kit
from fakes.registry import FakeRegistry
from visionmodel_converter.failures import ConversionFailure, Reason
from visionmodel_converter.store.collection import Fate
from visionmodel_converter.store.image import build_image, build_layer
from visionmodel_converter.store.publish import RegistryStore
from visionmodel_converter.store.registry import ChallengeAuth, Reference, Registry, login_for

DIGEST = "sha256:" + "b" * 64
AUTH = base64.b64encode(b"user:pa:ss").decode()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r.example.com/a/b:t", Reference("r.example.com", "a/b", "t", None)),
        (f"127.0.0.1:5000/a@{DIGEST}", Reference("127.0.0.1:5000", "a", None, DIGEST)),
        (f"r:5/a/b:t@{DIGEST}", Reference("r:5", "a/b", "t", DIGEST)),
        ("r.example.com/a", Reference("r.example.com", "a", None, None)),
    ],
)
def test_reference(text: str, expected: Reference) -> None:
    assert Reference.parse(text) == expected


@pytest.mark.parametrize("text", ["", "name-only", "r/UPPER", "r/a@sha256:short", "http://r/a", "r/a:b:c"])
def test_bad_reference(text: str) -> None:
    with pytest.raises(ConversionFailure, match="no image reference"):
        Reference.parse(text)


@pytest.mark.parametrize(
    ("name", "document", "expected"),
    [
        (".dockerconfigjson", {"auths": {"r:5": {"auth": AUTH}}}, ("user", "pa:ss")),
        ("config.json", {"auths": {"r:5": {"username": "u", "password": "p"}}}, ("u", "p")),
        ("config.json", {"auths": {"https://r:5": {"auth": AUTH}}}, ("user", "pa:ss")),
        ("config.json", {"auths": {"other": {"auth": AUTH}}}, None),
        ("config.json", {}, None),
    ],
    ids=["secret-key", "plain-fields", "with-scheme", "other-registry", "empty"],
)
def test_login(tmp_path: Path, name: str, document: object, expected: tuple[str, str] | None) -> None:
    (tmp_path / name).write_text(json.dumps(document))
    assert login_for("r:5", tmp_path) == expected


@pytest.mark.parametrize(
    "text", ["{", '{"auths": {"r:5": {"auth": "secret-not-base64!"}}}', '{"auths": {"r:5": {"username": "u"}}}']
)
def test_damaged_login_is_not_repeated(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ConversionFailure, match="cannot be read") as caught:
        login_for("r:5", tmp_path)
    assert "secret" not in caught.value.message.replace("registry Secret", "")


def token_server(requests: list[httpx.Request], *, realm: str) -> httpx.MockTransport:
    """A registry that wants a token per scope, and the token service beside it."""

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if request.url.path == "/token":
            return httpx.Response(200, json={"token": f"for {request.url.params['scope']}"})
        scope = "repository:a/b:pull" if request.method == "GET" else "repository:a/b:pull,push"
        if request.headers.get("Authorization") != f"Bearer for {scope}":
            challenge = f'Bearer realm="{realm}",service="r",scope="{scope}"'
            return httpx.Response(401, headers={"WWW-Authenticate": challenge})
        return httpx.Response(404 if request.method == "GET" else 201)

    return httpx.MockTransport(answer)


def client(transport: httpx.MockTransport, *, allow_http: bool = False) -> httpx.Client:
    auth = ChallengeAuth(("user", "pw"), allow_http=allow_http)
    return httpx.Client(base_url="https://r", transport=transport, auth=auth)


def test_bearer_token_is_fetched_once_per_scope() -> None:
    requests: list[httpx.Request] = []
    with Registry("r", "a/b", client(token_server(requests, realm="https://auth/token"))) as registry:
        assert registry.manifest("prepare-x") is None
        assert registry.manifest("prepare-y") is None
    assert [request.url.path for request in requests] == [
        "/v2/a/b/manifests/prepare-x",
        "/token",
        "/v2/a/b/manifests/prepare-x",
        "/v2/a/b/manifests/prepare-y",
    ]
    assert requests[1].headers["Authorization"] == "Basic " + base64.b64encode(b"user:pw").decode()


def test_login_is_not_sent_to_a_plain_http_realm() -> None:
    requests: list[httpx.Request] = []
    with (
        Registry("r", "a/b", client(token_server(requests, realm="http://evil/token"))) as registry,
        pytest.raises(ConversionFailure, match="refuses access"),
    ):
        registry.manifest("prepare-x")
    assert [request.url.host for request in requests] == ["r"]


def test_manifest_that_is_not_its_digest_is_refused() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=b"{}"))
    with Registry("r", "a/b", client(transport)) as registry, pytest.raises(ConversionFailure, match="has digest"):
        registry.manifest(DIGEST)


def test_an_upload_never_leaves_tls(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url.scheme}")
        if request.method == "POST":
            return httpx.Response(202, headers={"Location": "http://r.example.com/upload/1"})
        return httpx.Response(404 if request.method == "HEAD" else 201)

    client = httpx.Client(base_url="https://r.example.com", transport=httpx.MockTransport(answer))
    model = tmp_path / "model.onnx"
    model.write_bytes(b"model")
    layer = build_layer({"model.onnx": model}, tmp_path / "layer.tar")
    with Registry("r.example.com", "a", client) as registry, pytest.raises(ConversionFailure, match="plain HTTP"):
        registry.push_blobs(build_image(layer, {}))
    assert asked == ["HEAD https", "POST https"]


def test_tags_are_read_page_by_page_from_the_same_host() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        last = request.url.params.get("last")
        links = {} if last else {"Link": '<https://elsewhere.example/v2/a/b/tags/list?n=1000&last=x>; rel="next"'}
        return httpx.Response(200, json={"tags": ["y"] if last else ["x"]}, headers=links)

    with Registry("r", "a/b", client(httpx.MockTransport(answer))) as registry:
        assert registry.tags() == ["x", "y"]
    assert asked == ["https://r/v2/a/b/tags/list?n=1000", "https://r/v2/a/b/tags/list?n=1000&last=x"]


def test_deletion_that_a_registry_refuses_says_what_to_do() -> None:
    fake = FakeRegistry(allows_deletion=False)
    with (
        Registry("r", "a/b", client(httpx.MockTransport(fake.answer))) as registry,
        pytest.raises(ConversionFailure, match="REGISTRY_STORAGE_DELETE_ENABLED") as refusal,
    ):
        registry.delete(DIGEST)
    assert refusal.value.reason is Reason.DELETION_REFUSED


def test_tags_with_a_prefix_are_read_no_further_than_they_go() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params["last"])
        links = {"Link": '</v2/a/b/tags/list?n=1000&last=c>; rel="next"'}
        return httpx.Response(200, json={"tags": ["b-1", "b-2", "c"]}, headers=links)

    with Registry("r", "a/b", client(httpx.MockTransport(answer))) as registry:
        assert registry.tags("b") == ["b-1", "b-2"]
    assert asked == ["b"]


def test_a_registry_may_forbid_that_tags_are_moved(tmp_path: Path) -> None:
    kit = fake_registry_kit(moves_tags=False)
    first, _ = publish(kit.store(), tmp_path / "one", maker="first")
    second, was_there = publish(kit.store(), tmp_path / "two", b"other bytes", maker="second")
    assert was_there
    assert second.info == first.info
    kit.close()


def test_an_image_that_lost_a_race_once_is_not_removed_under_who_publishes_it_again(tmp_path: Path) -> None:
    folders = (tmp_path / str(number) for number in range(1000))
    for step in steps():
        kit = fake_registry_kit()
        racing = partial(publish, kit.store(), next(folders), b"second")
        kit.gates.stopped(8, racing, partial(publish, kit.store(), next(folders), b"first"))
        assert len(kit.store().digests(f"prepare-{KEY}")) == 2
        again = partial(publish, kit.store(), next(folders), b"first")
        both = kit.gates.stopped(step, again, partial(collected, kit.store()))
        kit.close()
        if both is None:
            break
        assert both[1][0].info.digest in kit.store().digests(f"prepare-{KEY}")
    assert step > 4


def test_a_needed_artifact_keeps_its_newest_mark_alone(tmp_path: Path) -> None:
    kit = fake_registry_kit()
    publish(kit.store(), tmp_path / "work")
    for name in ("a", "b"):
        assert kit.store().find(KEY, tmp_path / name) is not None
    marks = [tag for tag in kit.content() if "-used-" in tag]
    assert len(marks) == 3
    assert set(collected(kit.store(), KEY, dry_run=True).values()) == {Fate.NEEDED, Fate.LEFTOVER}
    collected(kit.store(), KEY)
    assert [tag for tag in kit.content() if "-used-" in tag] == [max(marks)]
    assert kit.store().find(KEY, tmp_path / "c") is not None
    kit.close()


def test_where_no_tag_is_moved_the_first_cache_stays(tmp_path: Path) -> None:
    kit = fake_registry_kit(moves_tags=False)
    kit.store().write_cache("timing-0", b"first", tmp_path)
    with pytest.raises(ConversionFailure) as refusal:
        kit.store().write_cache("timing-0", b"second", tmp_path)
    assert refusal.value.reason is Reason.REGISTRY_UNAVAILABLE
    assert kit.store().read_cache("timing-0", tmp_path) == b"first"
    kit.close()


def test_a_cache_is_replaced_where_nothing_may_be_deleted(tmp_path: Path) -> None:
    fake = FakeRegistry(allows_deletion=False)
    store = RegistryStore(
        Registry("r", "a/b", httpx.Client(base_url="https://r", transport=httpx.MockTransport(fake.answer))),
        lambda: datetime.now(UTC),
    )
    for content in (b"first", b"second"):
        store.write_cache("timing-0", content, tmp_path)
        assert store.read_cache("timing-0", tmp_path) == content


def test_a_cache_that_is_too_large_is_not_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kit = fake_registry_kit()
    kit.store().write_cache("timing-0", bytes(64 * 1024), tmp_path)
    monkeypatch.setattr("visionmodel_converter.store.publish.MAX_CACHE_BYTES", 1024)
    with pytest.raises(ConversionFailure, match="its layer has") as refusal:
        kit.store().read_cache("timing-0", tmp_path / "read")
    assert (refusal.value.reason, (tmp_path / "read").exists()) == (Reason.ARTIFACT_CORRUPT, False)
    kit.close()
