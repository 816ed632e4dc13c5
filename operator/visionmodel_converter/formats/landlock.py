"""Restrict this process to a few folders with Landlock, the kernel's sandbox that needs no privilege.

By ctypes because it is three system calls, glibc has no wrappers for them, and the bindings on the package index are
pre-releases. Numbers and bits: linux/landlock.h; the call numbers are the same on every architecture.
Called by `confinement`, in the child.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

CREATE_RULESET: Final = 444
ADD_RULE: Final = 445
RESTRICT_SELF: Final = 446
ASK_VERSION: Final = 1
PATH_BENEATH: Final = 1

EXECUTE: Final = 1 << 0
WRITE_FILE: Final = 1 << 1
READ_FILE: Final = 1 << 2
READ_DIR: Final = 1 << 3
TRUNCATE: Final = 1 << 14
IOCTL_DEV: Final = 1 << 15
FILE_RIGHTS: Final = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
"""The rights that may be granted on a file; the others need a folder."""
READ: Final = READ_FILE | READ_DIR
FILE_SYSTEM_BITS: Final = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many rights each version of the interface knows; 16 from version 5 on."""
NETWORK_SINCE: Final = 4
SCOPES_SINCE: Final = 6
BIND_AND_CONNECT_TCP: Final = 0b11
ABSTRACT_SOCKETS_AND_SIGNALS: Final = 0b11

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """Return the version of the kernel's interface; 0 where there is none or it is switched off."""
    return max(0, int(_libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ASK_VERSION)))


def restrict(readable: Iterable[Path], writable: Iterable[Path]) -> None:
    """Leave this process nothing but reading below `readable` and reading and writing below `writable`.

    Paths that do not exist are skipped. TCP, signals to others and abstract sockets are denied where the kernel can.
    `no_new_privs` must be set. Raises OSError.
    """
    known = version()
    every = (1 << FILE_SYSTEM_BITS.get(known, 16)) - 1
    attributes = struct.pack("=Q", every)
    if known >= NETWORK_SINCE:
        attributes += struct.pack("=Q", BIND_AND_CONNECT_TCP)
    if known >= SCOPES_SINCE:
        attributes += struct.pack("=Q", ABSTRACT_SOCKETS_AND_SIGNALS)
    ruleset = _call(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    try:
        for path in readable:
            _allow(ruleset, path, READ & every)
        for path in writable:
            _allow(ruleset, path, every & ~EXECUTE)
        _call(RESTRICT_SELF, ctypes.c_long(ruleset), 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        granted = rights if path.is_dir() else rights & FILE_RIGHTS
        _call(ADD_RULE, ctypes.c_long(ruleset), PATH_BENEATH, struct.pack("=Qi", granted, target), 0)
    finally:
        os.close(target)


def _call(number: int, *arguments: object) -> int:
    answer = int(_libc.syscall(number, *arguments))
    if answer < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return answer
