"""Real servers for the converter: a registry, an S3 gateway and a TLS file server, all on loopback."""

import base64
import dataclasses
import datetime
import hashlib
import http.server
import io
import ipaddress
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from obstore.store import S3Store

from example_models.build import build
from visionmodel_contract.report import ReportSummary
from visionmodel_converter.__main__ import main as converter_main
from visionmodel_converter.store.entries import PREPARED, entry_of
from visionmodel_devcluster.builds import binary
from visionmodel_devcluster.direct import open_direct
from visionmodel_devcluster.packages import required_program

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before onnxruntime is imported: no test reports usage

ACCESS_KEY, SECRET_KEY = "tester", "tester-secret"
START_SECONDS = 180.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.component)


@pytest.fixture(scope="session")
def trained() -> Path:
    """The cached example models; trained first if this machine never did (about a minute)."""
    return build()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def child_processes() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start child processes that end with the session."""
    running: list[subprocess.Popen[bytes]] = []

    def start(command: list[str], log: Path, port: int, **environment: str) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **environment}
            )
        running.append(process)
        deadline = time.monotonic() + START_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return process
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)

    yield start
    for process in running:
        process.terminate()
        process.wait(timeout=60)


# --- registry -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RegistryServer:
    host: str
    login: tuple[str, str] | None = None
    folder: Path = Path()

    def tags(self, name: str) -> list[str]:
        document = self._get(f"/v2/{name}/tags/list")
        return sorted(document["tags"] or []) if document else []

    def manifest(self, name: str, reference: str) -> Any:
        return self._get(f"/v2/{name}/manifests/{reference}")

    def _get(self, path: str) -> Any:
        request = urllib.request.Request(f"http://{self.host}{path}")
        request.add_header("Accept", "application/vnd.oci.image.manifest.v1+json")
        if self.login:
            request.add_header("Authorization", "Basic " + base64.b64encode(":".join(self.login).encode()).decode())
        try:
            with open_direct(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 404:
                return None
            raise


@pytest.fixture(scope="session")
def registry_binary() -> str:
    return required_program("docker-registry")


def start_registry(
    folder: Path, program: str, start: Callable[..., subprocess.Popen[bytes]], extra: str = "", extra_storage: str = ""
) -> tuple[str, subprocess.Popen[bytes]]:
    port = free_port()
    config = folder / "config.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: warn}}\nstorage:\n  filesystem: {{rootdirectory: {folder / 'blobs'}}}\n"
        f"{extra_storage}"
        f"http: {{addr: '127.0.0.1:{port}', secret: test}}\n{extra}"
    )
    process = start([program, "serve", str(config)], folder / "log", port)
    return f"127.0.0.1:{port}", process


@pytest.fixture(scope="session")
def registry(
    registry_binary: str,
    child_processes: Callable[..., subprocess.Popen[bytes]],
    tmp_path_factory: pytest.TempPathFactory,
) -> RegistryServer:
    folder = tmp_path_factory.mktemp("registry")
    host, _ = start_registry(folder, registry_binary, child_processes, extra_storage="  delete: {enabled: true}\n")
    return RegistryServer(host, folder=folder)


# --- s3 -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class S3Server:
    endpoint: str

    def store(self, bucket: str) -> S3Store:
        return S3Store(
            bucket,
            endpoint=self.endpoint,
            region="us-east-1",
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"allow_http": True},
        )

    def write_login(self, folder: Path) -> None:
        """Write the keys as a mounted Secret holds them."""
        for name, value in {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": "us-east-1",
        }.items():
            (folder / name).write_text(value + "\n")

    def put(self, bucket: str, key: str, data: bytes) -> str:
        obstore.put(self.store(bucket), key, data)
        return f"s3://{bucket}/{key}"


@pytest.fixture(scope="session")
def s3(child_processes: Callable[..., subprocess.Popen[bytes]], tmp_path_factory: pytest.TempPathFactory) -> S3Server:
    folder = tmp_path_factory.mktemp("s3")
    (folder / "data" / "models").mkdir(parents=True)  # the posix backend: a folder is a bucket
    port = free_port()
    child_processes(
        [str(binary("versitygw")), "--port", f"127.0.0.1:{port}", "posix", str(folder / "data")],
        folder / "log",
        port,
        ROOT_ACCESS_KEY=ACCESS_KEY,
        ROOT_SECRET_KEY=SECRET_KEY,
    )
    return S3Server(f"http://127.0.0.1:{port}")


# --- https ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TlsServer:
    """Serves a folder; paths below /private want a bearer token, /status/<n> answers n, /plain leads to http."""

    url: str
    folder: Path
    ca_pem: bytes
    token: str = "let-me-in"

    def put(self, name: str, data: bytes) -> str:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_bytes(data)
        return f"{self.url}/{name}"


@pytest.fixture(scope="session")
def tls_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsServer]:
    folder = tmp_path_factory.mktemp("https")
    certificate, key, ca_pem = _certificates(folder)
    files = folder / "files"
    files.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(files))

        def do_GET(self) -> None:
            path = urllib.parse.urlsplit(self.path).path
            if path.startswith("/status/"):
                self.send_error(int(path.rsplit("/", 1)[1]))
            elif path == "/plain":
                self.send_response(302)
                self.send_header("Location", "http://127.0.0.1:9/model.onnx")
                self.end_headers()
            elif path.startswith("/private/") and self.headers.get("Authorization") != "Bearer let-me-in":
                self.send_error(401)
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield TlsServer(f"https://127.0.0.1:{server.server_port}", files, ca_pem)
    server.shutdown()
    thread.join()
    server.server_close()


def _certificates(folder: Path) -> tuple[Path, Path, bytes]:
    """A test authority and a certificate for 127.0.0.1, valid for a day."""
    now = datetime.datetime.now(datetime.UTC)

    def build(subject: str, issuer: x509.Name | None, public: Any, signer: Any, *, authority: bool) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer or name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
        )
        return builder.sign(signer, hashes.SHA256())

    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = build("test authority", None, ca_key.public_key(), ca_key, authority=True)
    leaf = build("127.0.0.1", ca.subject, server_key.public_key(), ca_key, authority=False)
    certificate, key = folder / "server.crt", folder / "server.key"
    certificate.write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate, key, ca.public_bytes(serialization.Encoding.PEM)


# --- the Job --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finished:
    """What a Job leaves behind: exit code, summary, progress lines, everything it wrote."""

    code: int
    summary: ReportSummary
    progress: list[dict[str, Any]]
    stderr: str


Prepare = Callable[[list[str], Path], subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class JobRunner:
    """Runs `visionmodel-convert prepare` as the pod would: a process with files, environment and nothing else."""

    folder: Path
    registry: RegistryServer
    environment: dict[str, str]
    repository: str

    @property
    def source_secret(self) -> Path:
        return self.folder / "source-secret"

    @property
    def registry_secret(self) -> Path:
        return self.folder / "registry-secret"

    @property
    def pvc_root(self) -> Path:
        return self.folder / "pvc"

    def with_environment(self, **variables: str) -> "JobRunner":
        return dataclasses.replace(self, environment={**self.environment, **variables})

    def request(self, uri: str, **changes: Any) -> dict[str, Any]:
        parity = changes.pop("parity", {})
        return {
            "namespace": "shop",
            "name": "shapes",
            "revision": "0123456789",
            "source": {"uri": uri, **changes.pop("source", {})},
            "gates": {"parity": parity},
            "publish": {"repository": f"{self.registry.host}/{self.repository}", "insecure": True},
            **changes,
        }

    def run(self, request: dict[str, Any] | str, *, work: str = "work") -> Finished:
        return self._finished(request, work, self._process)

    def run_here(self, request: dict[str, Any] | str, *, work: str = "work") -> Finished:
        """As `run`, in this process and so in a fraction of the time; what a process adds, others show."""
        return self._finished(request, work, self._call)

    def _finished(self, request: dict[str, Any] | str, work: str, prepare: Prepare) -> Finished:
        path, message = self.folder / f"{work}.json", self.folder / f"{work}.termination"
        path.write_text(request if isinstance(request, str) else json.dumps(request))
        process = prepare(["prepare", "--request", str(path), "--work", str(self.folder / work)], message)
        lines = [json.loads(line) for line in process.stdout.splitlines()]
        text = message.read_text()
        assert len(text.encode()) <= 3 * 1024
        return Finished(process.returncode, ReportSummary.model_validate_json(text), lines, process.stderr)

    def fetch_artifact(self, image: str, target: Path) -> int:
        arguments = ["fetch-artifact", "--image", image, "--out", str(target), "--insecure"]
        return self._process(arguments, self.folder / "fetch.termination").returncode

    def _call(self, arguments: list[str], message: Path) -> subprocess.CompletedProcess[str]:
        out, error, on_sigterm = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
        try:
            with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(error):
                patch.setattr(os, "environ", dict(self.environment))
                code = converter_main([*arguments, "--termination-message", str(message)])
        finally:
            signal.signal(signal.SIGTERM, on_sigterm)
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), error.getvalue())

    def _process(self, arguments: list[str], message: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "visionmodel_converter", *arguments, "--termination-message", str(message)],
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            env=self.environment,
        )

    def tags(self) -> list[str]:
        """The published artifacts; beside them are tags of the images' own digests and of their last use."""
        named = ((tag, entry_of(tag)) for tag in self.registry.tags(self.repository))
        return [tag for tag, entry in named if entry is not None and entry.kind is PREPARED]


@pytest.fixture
def job(tmp_path: Path, registry: RegistryServer, request: pytest.FixtureRequest) -> JobRunner:
    """A runner with empty Secrets, an empty claim folder and a repository of its own."""
    for name in ("source-secret", "registry-secret", "pvc", "artifact-secret", "artifact-claim"):
        (tmp_path / name).mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path.endswith("operator")),
        "VISIONMODEL_SOURCE_CREDENTIALS": str(tmp_path / "source-secret"),
        "VISIONMODEL_REGISTRY_CREDENTIALS": str(tmp_path / "registry-secret"),
        "VISIONMODEL_PVC_ROOT": str(tmp_path / "pvc"),
        "VISIONMODEL_ARTIFACT_CREDENTIALS": str(tmp_path / "artifact-secret"),
        "VISIONMODEL_ARTIFACT_ROOT": str(tmp_path / "artifact-claim"),
    }
    repository = "artifacts/" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
    return JobRunner(tmp_path, registry, environment, repository)


@pytest.fixture
def s3_job(job: JobRunner, s3: S3Server) -> JobRunner:
    """A runner whose source Secret opens the S3 server."""
    s3.write_login(job.source_secret)
    return job.with_environment(VISIONMODEL_ALLOW_HTTP="true")


@pytest.fixture
def claim_job(job: JobRunner) -> tuple[JobRunner, Callable[[str, bytes], str]]:
    """A runner and a function that puts a file into the claim `models` and returns its URI."""

    def put(name: str, data: bytes) -> str:
        path = job.pvc_root / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return f"pvc://models/{name}"

    return job, put
