"""Asking whether something is ready, and waiting for it. Used wherever a part has to answer before the next starts."""

import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from visionmodel_devcluster.certificates import Authority
from visionmodel_devcluster.direct import direct_opener, open_direct
from visionmodel_devcluster.errors import DevClusterError


def answers(url: str, authority: Authority | None = None) -> bool:
    """Whether a URL of this machine answers with 200, as the administrator where an authority is given."""
    handlers = []
    try:
        if authority is not None:
            context = ssl.create_default_context(cafile=str(authority.certificate))
            context.load_cert_chain(*authority.pair("admin"))
            handlers.append(urllib.request.HTTPSHandler(context=context))
        with direct_opener(*handlers).open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def speaks_http(url: str) -> bool:
    """Whether anything answers at a URL, be it that there is nothing (a gateway without routes)."""
    try:
        open_direct(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def accepts(address: str, port: int) -> bool:
    """Whether a TCP port accepts a connection."""
    try:
        socket.create_connection((address, port), timeout=2).close()
    except OSError:
        return False
    return True


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll a condition; an error that names what was waited for after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DevClusterError(f"{what} was not ready after {seconds:.0f} s")
        time.sleep(0.1)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say on stderr how long a part took: a start of half a minute in silence looks like one that hangs."""
    started = time.monotonic()
    yield
    print(f"{time.monotonic() - started:6.1f} s  {what}", file=sys.stderr, flush=True)
