"""Certificates of one cluster, made with openssl.

Python 3.13 verifies strictly (RFC 5280): a CA without key usage, or a certificate without the key identifier
extensions, is refused. So every extension is spelled out here instead of left to openssl's defaults.
"""

import base64
import subprocess
from dataclasses import dataclass
from pathlib import Path

from visionmodel_devcluster.errors import DevClusterError

DAYS = "3650"


@dataclass(frozen=True)
class Subject:
    """Who a certificate is for. For Kubernetes the common name is the user and the organization the group."""

    name: str
    common_name: str
    organization: str = ""
    addresses: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()


class Authority:
    """A certificate authority in a folder, with the key pairs it signed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def certificate(self) -> Path:
        """The authority's own certificate."""
        return self.folder / "ca.crt"

    def pair(self, name: str) -> tuple[Path, Path]:
        """Certificate and key of a subject."""
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def create(self) -> None:
        """Make the authority, unless it is there."""
        if self.certificate.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self._key("ca")
        config = self.folder / "ca.cnf"
        config.write_text(authority_config(), encoding="utf-8")
        arguments = ["-key", str(self.folder / "ca.key"), "-config", str(config), "-extensions", "ext"]
        scratch = self.folder / "ca.crt.tmp"
        _openssl("req", "-x509", "-new", "-sha256", "-days", DAYS, *arguments, "-out", str(scratch))
        # Being there means being complete, also when somebody kills us in between.
        scratch.rename(self.certificate)

    def issue(self, subject: Subject) -> None:
        """Make and sign a key pair, unless it is there."""
        certificate, key = self.pair(subject.name)
        if certificate.exists():
            return
        self._key(subject.name)
        config = self.folder / f"{subject.name}.cnf"
        config.write_text(subject_config(subject), encoding="utf-8")
        request, scratch = self.folder / f"{subject.name}.csr", self.folder / f"{subject.name}.crt.tmp"
        _openssl("req", "-new", "-sha256", "-key", str(key), "-config", str(config), "-out", str(request))
        signer = ["-CA", str(self.certificate), "-CAkey", str(self.folder / "ca.key"), "-CAcreateserial"]
        extensions = ["-extfile", str(config), "-extensions", "ext"]
        _openssl(
            *("x509", "-req", "-sha256", "-days", DAYS, "-in", str(request), "-out", str(scratch)),
            *(*signer, *extensions),
        )
        scratch.rename(certificate)

    def _key(self, name: str) -> None:
        key = self.folder / f"{name}.key"
        _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key))
        key.chmod(0o600)


def authority_config() -> str:
    """Configuration of the authority's certificate."""
    return (
        "[req]\ndistinguished_name = dn\nprompt = no\n"
        "[dn]\nCN = visionmodel-devcluster\n"
        "[ext]\nbasicConstraints = critical,CA:TRUE\nkeyUsage = critical,keyCertSign,cRLSign,digitalSignature\n"
        "subjectKeyIdentifier = hash\n"
    )


def subject_config(subject: Subject) -> str:
    """Configuration of a signed certificate; one serves as server's and as client's."""
    names = [f"IP:{address}" for address in subject.addresses] + [f"DNS:{name}" for name in subject.dns_names]
    organization = f"O = {subject.organization}\n" if subject.organization else ""
    alternative = f"subjectAltName = {','.join(names)}\n" if names else ""
    return (
        "[req]\ndistinguished_name = dn\nprompt = no\n"
        f"[dn]\n{organization}CN = {subject.common_name}\n"
        "[ext]\nbasicConstraints = critical,CA:FALSE\nkeyUsage = critical,digitalSignature\n"
        "extendedKeyUsage = serverAuth,clientAuth\n"
        "subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n"
        f"{alternative}"
    )


def kubeconfig(server: str, authority: Authority, user: str) -> dict[str, object]:
    """A kubeconfig with the certificates inside, so that the one file can be copied anywhere."""
    certificate, key = authority.pair(user)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "visionmodel",
        "contexts": [{"name": "visionmodel", "context": {"cluster": "visionmodel", "user": user}}],
        "clusters": [
            {
                "name": "visionmodel",
                "cluster": {"server": server, "certificate-authority-data": _base64(authority.certificate)},
            }
        ],
        "users": [
            {
                "name": user,
                "user": {"client-certificate-data": _base64(certificate), "client-key-data": _base64(key)},
            }
        ],
    }


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _openssl(*arguments: str) -> None:
    try:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as missing:
        raise DevClusterError("openssl was not found; install it") from missing
    if done.returncode != 0:
        raise DevClusterError(f"openssl {arguments[0]} failed: {done.stderr[-1000:]}")
