import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from unit.adapters.loopback import http_server
from visionmodel_operator.adapters.connection import Answer, Connection, connect, error_from
from visionmodel_operator.adapters.pod_logs import MIN_SECONDS, PodLogs
from visionmodel_operator.errors import Error, Retry, UserError

TERMINATING = {"message": "is being terminated", "details": {"causes": [{"reason": "NamespaceTerminating"}]}}


@pytest.mark.parametrize(
    ("status", "body", "what", "expected"),
    [
        pytest.param(409, {"message": "modified"}, "PUT /x", Retry, id="conflict"),
        pytest.param(401, {}, "GET /x", Retry, id="token replaced"),
        pytest.param(404, {}, "POST /x", Retry, id="namespace gone"),
        pytest.param(429, {}, "GET /x", Retry, id="busy"),
        pytest.param(500, {"message": "failed calling webhook"}, "POST /x", Retry, id="webhook down"),
        pytest.param(503, "upstream", "GET /x", Retry, id="no JSON"),
        pytest.param(403, TERMINATING, "POST /x", Retry, id="namespace terminating"),
        pytest.param(403, {"message": "exceeded quota"}, "POST /x", ("ApplyRefused", "exceeded quota"), id="quota"),
        pytest.param(403, {"message": "cannot list"}, "GET /x", ("Forbidden", "cannot list"), id="no right to read"),
        pytest.param(422, {"message": "invalid"}, "PATCH /x", ("ApplyRefused", "invalid"), id="invalid"),
        pytest.param(400, {"message": "denied"}, "POST /x", ("ApplyRefused", "denied"), id="denied by policy"),
    ],
)
def test_what_a_refusal_means(status: int, body: Any, what: str, expected: type[Error] | tuple[str, str]) -> None:
    error = error_from(Answer(status, body), what)
    if isinstance(expected, tuple):
        assert isinstance(error, UserError)
        assert (error.reason, str(error)) == expected
    else:
        assert type(error) is expected


@pytest.mark.parametrize(("header", "delay"), [("7", 7.0), (None, None), ("Wed, 21 Oct", None)])
def test_the_server_may_name_the_delay(header: str | None, delay: float | None) -> None:
    error = error_from(Answer(429, {}), "GET /x", header)
    assert isinstance(error, Retry)
    assert error.delay == delay


async def connection_to(port: int, folder: Path, **user: str) -> Connection:
    path = folder / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    document = {"clusters": [cluster], "contexts": [context], "users": [{"name": "u", "user": user}]}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", "current-context": "x", **document}))
    return await connect({"KUBECONFIG": str(path)})


async def test_a_request_carries_what_it_must(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    async def handler(request: web.Request) -> web.Response:
        headers = {name: request.headers.get(name) for name in ("Authorization", "Content-Type", "User-Agent")}
        seen.update(headers, query=dict(request.query), body=await request.json())
        return web.json_response({"ok": True})

    async with http_server(handler) as port:
        connection = await connection_to(port, tmp_path, token="secret")
        answer = await connection.request(
            "PATCH", "/x", query={"force": "true"}, body={"a": 0.5}, content_type="application/apply-patch+yaml"
        )
        assert await connection.authorization() == {"Authorization": "Bearer secret"}
        await connection.close()
    assert (answer.status, answer.body) == (200, {"ok": True})
    assert seen == {
        "Authorization": "Bearer secret",
        "Content-Type": "application/apply-patch+yaml",
        "User-Agent": "visionmodel-operator",
        "query": {"force": "true"},
        "body": {"a": 0.5},
    }


async def test_an_allowed_status_is_an_answer(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=404, text="gone")

    async with http_server(handler) as port:
        connection = await connection_to(port, tmp_path)
        assert await connection.request("GET", "/x", allow=(404,)) == Answer(404, "gone", b"gone")
        with pytest.raises(Retry, match="GET /x: 404 gone"):
            await connection.request("GET", "/x")
        await connection.close()


async def test_nobody_answers(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.Response:
        raise AssertionError("nobody asks")

    async with http_server(handler) as port:
        connection = await connection_to(port, tmp_path)
    with pytest.raises(Retry, match="GET /x"):
        await connection.request("GET", "/x")
    await connection.close()


async def test_a_connection_that_breaks_in_the_middle(tmp_path: Path) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"{")
        assert request.transport is not None
        request.transport.close()
        return response

    async with http_server(handler) as port:
        connection = await connection_to(port, tmp_path)
        with pytest.raises(Retry):
            await connection.request("GET", "/x")
        await connection.close()


async def test_logs_are_read_seldom_and_never_fail(tmp_path: Path) -> None:
    answers = [web.Response(text='{"stage": "Fetch"}\n'), web.Response(status=500), web.Response(text="")]
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append((request.path, request.query["container"]))
        return answers[len(asked) - 1]

    times = iter((0.0, MIN_SECONDS - 1, MIN_SECONDS, 2 * MIN_SECONDS))
    async with http_server(handler) as port:
        connection = await connection_to(port, tmp_path)
        logs = PodLogs(connection, lambda: next(times))
        lines = [await logs.last_line("n", "p", "prepare") for _ in range(4)]
        await connection.close()
    assert lines == ['{"stage": "Fetch"}', '{"stage": "Fetch"}', None, None]
    assert asked == [("/api/v1/namespaces/n/pods/p/log", "prepare")] * 3
