"""Debian's packages that the node and the tests need and that cannot come from Go modules.

runc is one of them because a build without C has no seccomp. They are installed on demand where that is possible (root
and apt) and named where it is not.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping

from visionmodel_devcluster.errors import DevClusterError

# Set where nothing may be installed or built; its value says why.
NOTHING_NEW = "VISIONMODEL_NOTHING_NEW"
REMEDY = "run `make programs` first"

# A program that each package brings -> the package.
PACKAGES = {
    "/usr/sbin/runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "nft": "nftables",
    "ip": "iproute2",
    "conntrack": "conntrack",
    "buildah": "buildah",
    "/usr/bin/docker-registry": "docker-registry",
    "mmdebstrap": "mmdebstrap",
    "openssl": "openssl",
}


def missing_packages(found: frozenset[str]) -> list[str]:
    """Packages whose programs are not among the found ones."""
    return sorted(package for program, package in PACKAGES.items() if program not in found)


def observe_programs() -> frozenset[str]:
    """Which of the needed programs are there; administrators' folders are often not on the PATH."""
    return frozenset(program for program in PACKAGES if shutil.which(program, path=_search_path()))


def _search_path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def refuse_new(what: str, environ: Mapping[str, str] = os.environ) -> None:
    """Refuse to install or build something where that is not allowed."""
    if reason := environ.get(NOTHING_NEW):
        raise DevClusterError(f"{what} is missing, and {reason}; {REMEDY}")


def required_program(name: str) -> str:
    """Path of a program that a package brings; a refusal that names the remedy where it is missing."""
    if found := shutil.which(name, path=_search_path()):
        return found
    raise DevClusterError(f"{name} is missing; {REMEDY}")


def install_packages() -> None:
    """Install what is missing, or say what is."""
    missing = missing_packages(observe_programs())
    if not missing:
        return
    names = " ".join(missing)
    refuse_new(f"a Debian package ({names})")
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise DevClusterError(f"the dev cluster needs these Debian packages (or their programs): {names}")
    print(f"installing Debian packages: {names}", file=sys.stderr)
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    for command in (["apt-get", "update", "-qq"], install):
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevClusterError(f"{' '.join(install)} failed:\n{(done.stdout + done.stderr)[-2000:]}")
