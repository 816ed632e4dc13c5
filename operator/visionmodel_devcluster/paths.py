"""Where things are kept: what is worth keeping (cache) apart from what `down` removes (state).

Both are outside the checkout, so that `git clean` and a second clone keep the twenty minutes of Go builds.
"""

import os
from collections.abc import Mapping
from pathlib import Path


def cache_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """Folder for binaries, wheels and image archives; shared by all clusters of a user."""
    explicit = environ.get("VISIONMODEL_CACHE")
    if explicit:
        return Path(explicit)
    return _xdg(environ, "XDG_CACHE_HOME", ".cache") / "visionmodel"


def default_state_dir(name: str, environ: Mapping[str, str] = os.environ) -> Path:
    """Folder of one cluster: its processes' records, logs, certificates and data."""
    return _xdg(environ, "XDG_STATE_HOME", ".local/state") / "visionmodel-devcluster" / name


def _xdg(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    value = environ.get(variable)
    if value:
        return Path(value)
    return Path(environ.get("HOME", "/")) / fallback
