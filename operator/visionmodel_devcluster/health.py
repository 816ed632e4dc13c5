"""Asking whether something is ready, and waiting for it. Used wherever a part has to answer before the next starts."""

import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable

from visionmodel_devcluster.certificates import Authority
from visionmodel_devcluster.errors import DevClusterError


def answers(url: str, authority: Authority | None = None) -> bool:
    """Whether a URL of this machine answers with 200, as the administrator where an authority is given."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if authority is not None:
        context = ssl.create_default_context(cafile=str(authority.certificate))
        context.load_cert_chain(*authority.pair("admin"))
        handlers.append(urllib.request.HTTPSHandler(context=context))
    try:
        with urllib.request.build_opener(*handlers).open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll a condition; an error that names what was waited for after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise DevClusterError(f"{what} was not ready after {seconds:.0f} s")
        time.sleep(0.1)
