"""Small files in every format's shape, made without any framework: enough for what is decided before one is needed."""

import io
import pickle
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def zipped(path: Path, members: Mapping[str, bytes]) -> Path:
    """A zip archive with the given members."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def zip_bytes(members: Mapping[str, bytes]) -> bytes:
    """The same in memory."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def tarred(path: Path, members: Mapping[str, bytes]) -> Path:
    """A tar archive, compressed when the name ends in gz."""
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


class Attack:
    """What would run a shell when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return (os.system, ("true",))


ATTACK = pickle.dumps(Attack(), protocol=2)
ATTACK_4 = pickle.dumps(Attack(), protocol=4)
STATE_DICT = (
    b"\x80\x02ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(K\x00)tR"
    b"ctorch\nFloatStorage\n0u."
)
MODULE = b"\x80\x02ctorch.nn.modules.linear\nLinear\n)\x81."

TORCHSCRIPT = {
    "net/data.pkl": b"\x80\x02.",
    "net/code/__torch__.py": b"",
    "net/constants.pkl": b"",
    "net/version": b"3",
}
TORCH_EXPORT = {"net/models/model.json": b"{}", "net/archive_format": b"pt2", "net/archive_version": b"0"}
KERAS = {"metadata.json": b"{}", "config.json": b"{}", "model.weights.h5": b""}
SAVED_MODEL = {"m/saved_model.pb": b"\x08\x01\x12\x00", "m/variables/variables.index": b""}
HDF5 = b"\x89HDF\r\n\x1a\n" + b"\0" * 64
TFLITE = b"\x1c\0\0\0TFL3" + b"\0" * 64
