"""Runs the Triton image's own server without a cluster, with its model repository read-only at /models."""

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tritonclient.grpc

from mounted_image import Bind, Image, inside
from visionmodel_devcluster.direct import open_direct

SERVER = "/opt/tritonserver/bin/tritonserver"
START_SECONDS = 90


@dataclass(frozen=True)
class Server:
    """A running server, its ports on loopback, and the file that it logs to."""

    process: subprocess.Popen[bytes]
    http: int
    grpc: int
    metrics: int
    log: Path

    def status(self, path: str) -> int:
        """HTTP status of a GET; 0 while nothing listens."""
        try:
            with open_direct(f"http://127.0.0.1:{self.http}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        except OSError:
            return 0

    def post(self, path: str, body: Mapping[str, object]) -> tuple[int, object]:
        """HTTP status and decoded answer of a POST of JSON."""
        url = f"http://127.0.0.1:{self.http}{path}"
        request = urllib.request.Request(url, data=json.dumps(body).encode(), method="POST")
        try:
            with open_direct(request, timeout=30) as answer:
                return int(answer.status), json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def grpc_client(self) -> tritonclient.grpc.InferenceServerClient:
        """A gRPC client; gRPC would use the proxy of the environment for loopback too."""
        return tritonclient.grpc.InferenceServerClient(
            f"127.0.0.1:{self.grpc}", channel_args=[("grpc.enable_http_proxy", 0)]
        )

    def samples(self) -> dict[str, float]:
        """All metrics, by name with labels."""
        with open_direct(f"http://127.0.0.1:{self.metrics}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}


@contextmanager
def running(image: Image, repository: Path, log: Path, *flags: str) -> Iterator[Server]:
    """Start a server; when the context ends it is stopped if it still runs."""
    http, grpc, metrics = free_ports(3)
    ports = (f"--http-port={http}", f"--grpc-port={grpc}", f"--metrics-port={metrics}")
    address = ("--http-address=127.0.0.1", "--grpc-address=127.0.0.1", "--metrics-address=127.0.0.1")
    server = (SERVER, "--model-repository=/models", *ports, *address, *flags)
    command = inside(image, [Bind(repository, "/models")], *server, network=True)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        yield Server(process, http, grpc, metrics, log)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(condition: Callable[[], bool], server: Server, seconds: float = START_SECONDS) -> None:
    """Wait for a condition; fails with the end of the log when the server ends or the time is over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if server.process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"exit {server.process.poll()}:\n{server.log.read_text()[-4000:]}")
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()
