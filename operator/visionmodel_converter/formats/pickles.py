"""Python pickles as torch.save writes them: named, looked into without running them, and always refused.

A pickle of weights holds no graph, and one of a whole module needs the classes of the training code; no permission
changes that. What it would call is read from its opcodes, so that an attack is told apart from a mistake.
"""

import io
import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from visionmodel_converter.failures import ConversionFailure, Reason

READ_BYTES: Final = 16 * 1024 * 1024
HARMLESS: Final = re.compile(
    r"^(collections (OrderedDict|defaultdict)"
    r"|torch(\._utils)? (_rebuild_\w+|\w*Storage|\w+32|\w+64|\w+16|\w+8|Size|device|dtype|serialization\w*)"
    r"|torch\.storage \w+|torch\.nn\.\S+ \w+|numpy(\.\S+)? (dtype|ndarray|scalar|_reconstruct)|_codecs encode"
    r"|builtins (set|dict|list|tuple|int|float|bool|slice|range|complex|bytearray)|__main__ \S+)$"
)
"""`module name` pairs that weights and modules of torch.nn are made of; `__main__` is the training script itself."""
EXPORT: Final = (
    "export the network where its class is known: "
    "torch.export.save(torch.export.export(model, (example,), dynamic_shapes=...), 'model.pt2')"
)


def is_pickle(head: bytes) -> bool:
    """Return whether a file begins as pickles of protocol 2 and later do."""
    return len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5


def refuse_pickle(path: Path, shown: str, *, trusted: bool) -> NoReturn:
    """Refuse a bare pickle (torch.save before 1.6); raises UnsafePickle, TrustNeeded or NoGraph."""
    with path.open("rb") as file:
        _refuse(file.read(READ_BYTES), shown, trusted)


def refuse_zipped_pickle(path: Path, shown: str, *, trusted: bool) -> NoReturn:
    """Refuse the `data.pkl` of a torch.save archive; raises UnsafePickle, TrustNeeded or NoGraph."""
    data = b""
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.partition("/")[2] == "data.pkl")
        try:
            with archive.open(name) as file:
                data = file.read(READ_BYTES)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
            raise ConversionFailure(
                Reason.DAMAGED_ARCHIVE, f"{shown}: {name} in it is damaged ({error}); upload the file again"
            ) from error
    _refuse(data, shown, trusted)


def _refuse(data: bytes, shown: str, trusted: bool) -> NoReturn:
    found = list(dict.fromkeys(calls_of(data)))
    foreign = next((call for call in found if not HARMLESS.match(call)), None)
    if foreign is not None:
        raise ConversionFailure(
            Reason.UNSAFE_PICKLE,
            f"{shown} is a Python pickle that calls {foreign.replace(' ', '.')!r} when it is loaded; nothing of it was "
            f"run; if you made the file, {EXPORT}; if not, find out who did",
        )
    is_module = any(call.startswith(("torch.nn.", "__main__ ")) for call in found)
    what = "a pickled torch.nn.Module, which needs its training code" if is_module else "a PyTorch state dict"
    if not trusted:
        raise ConversionFailure(
            Reason.TRUST_NEEDED,
            f"{shown} is a Python pickle ({what}), which can run any code when it is loaded; it is refused, and "
            f"trustPickle would not help, since it holds no graph: {EXPORT}",
        )
    raise ConversionFailure(
        Reason.NO_GRAPH, f"{shown} is {what}: weights without a graph, which trustPickle cannot add; {EXPORT}"
    )


def calls_of(data: bytes) -> Iterator[str]:
    """Yield `module name` of everything a pickle would import, without running it; ends where it cannot be read."""
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(data)):
            if opcode.name in ("GLOBAL", "INST"):
                yield str(argument)
            elif opcode.name == "STACK_GLOBAL":
                yield " ".join(strings[-2:])
            elif isinstance(argument, str):
                strings = [*strings[-1:], argument]
    except Exception:  # pickletools raises whatever a broken pickle provokes
        return
