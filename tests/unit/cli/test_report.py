"""The report and the pictures as they come out of a pod, over the protocol of `kubectl exec`."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from typer.testing import CliRunner, Result

from unit.adapters.loopback import http_server
from visionmodel_cli.main import app

STDOUT, STATUS = b"\x01", b"\x03"
PICTURES = {"worst.html": "<p>größer</p>".encode(), "worst.png": b"\x89PNG\r\n\x1a\n\xff\x00"}
FOLDER = "/models/shapes-net/7"
POD = {
    "metadata": {"name": "shapes-1"},
    "spec": {"containers": [{"name": "triton", "volumeMounts": [{"name": "artifact", "mountPath": FOLDER}]}]},
}
MODEL = {"status": {"stable": {"revision": "0123456789"}}}


def files(pictures: dict[str, str]) -> dict[str, bytes]:
    """What lies in the pod's folder, with a report that promises these pictures."""
    documents = {"report.json": {"key": "k", "pictures": pictures}, "provenance.json": {"predicateType": "slsa"}}
    return {name: json.dumps(document).encode() for name, document in documents.items()} | PICTURES


def digests(**changed: str) -> dict[str, str]:
    return {name: f"sha256:{hashlib.sha256(data).hexdigest()}" for name, data in PICTURES.items()} | changed


async def report(folder: Path, stored: dict[str, bytes], *words: str) -> Result:
    """Run the command against an API server that has one VisionModel with one pod."""

    async def handler(request: web.Request) -> web.StreamResponse:
        if not request.path.endswith("/exec"):
            return web.json_response({"items": [POD]} if request.path.endswith("/pods") else MODEL)
        socket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await socket.prepare(request)
        data = stored[request.query.getall("command")[1].removeprefix(f"{FOLDER}/")]
        for part in (data[:5], data[5:]):  # as a network cuts it, in the middle of a letter too
            await socket.send_bytes(STDOUT + part)
        await socket.send_bytes(STATUS + b'{"status": "Success"}')
        await socket.close()
        return socket

    async with http_server(handler) as port:
        cluster: dict[str, Any] = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
        context = {"name": "c", "context": {"cluster": "c", "user": "c"}}
        config = {"clusters": [cluster], "contexts": [context], "users": [{"name": "c", "user": {}}]}
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(yaml.safe_dump({**config, "current-context": "c"}))
        arguments = ["report", "shapes", "--kubeconfig", str(kubeconfig), "-o", "json", *words]
        return await asyncio.to_thread(lambda: CliRunner().invoke(app, arguments))


async def test_documents_are_printed(tmp_path: Path) -> None:
    done = await report(tmp_path, files({}))
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == {
        "report": {"key": "k", "pictures": {}},
        "provenance": {"predicateType": "slsa"},
    }


async def test_pictures_are_saved_byte_by_byte(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "pictures"
    done = await report(tmp_path, files(digests()), "--images", str(folder))
    assert done.exit_code == 0, done.output
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == PICTURES


@pytest.mark.parametrize(
    ("promised", "words"),
    [
        ({}, "holds no pictures: its samples are no images"),
        ({"../../.profile": "sha256:0"}, "holds no pictures"),
        (digests(**{"worst.png": "sha256:" + "0" * 64}), "worst.png arrived otherwise than its report says"),
    ],
    ids=["none", "another name", "another digest"],
)
async def test_pictures_that_cannot_be_had(tmp_path: Path, promised: dict[str, str], words: str) -> None:
    done = await report(tmp_path, files(promised), "--images", str(tmp_path / "pictures"))
    assert done.exit_code == 1
    assert words in done.output
    assert not (tmp_path / "pictures").exists()
