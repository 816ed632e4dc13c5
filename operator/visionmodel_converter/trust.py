"""Which certificate authorities a connection trusts: the system's, the process-wide bundle, the Secret's."""

import ssl
from pathlib import Path


def trusted_pem(*files: Path | None) -> bytes:
    """Return the PEM text of those files that exist, joined; empty when there is none."""
    present = [file for file in files if file is not None and file.is_file()]
    return b"\n".join(file.read_bytes() for file in present)


def tls_context(*files: Path | None) -> ssl.SSLContext:
    """Return a verifying context with the system's authorities and those in the given files added."""
    context = ssl.create_default_context()
    pem = trusted_pem(*files)
    if pem:
        context.load_verify_locations(cadata=pem.decode())
    return context
