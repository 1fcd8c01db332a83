"""Landlock: which files a process may open, and whom it may signal, for good.

The three calls of the kernel are made here (``man 7 landlock``): the published binding knows files
alone, neither TCP nor the scopes of signals and abstract sockets.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import stat
import struct
from collections.abc import Iterable
from typing import Any

from mnist_lab.submission.sandbox import linux

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ASK_VERSION, PATH_BENEATH = 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
TRUNCATE, IOCTL_DEV = 1 << 14, 1 << 15
OF_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
READ = EXECUTE | READ_FILE | READ_DIR

FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
NETWORK = {1: 0, 4: 0b11}
SCOPES = {1: 0, 6: 0b11}
"""By the version they came with: the rights to files; TCP's bind and connect; abstract sockets and
signals."""


@functools.cache
def version() -> int:
    """Of the kernel's Landlock; 0 where there is none."""
    return max(0, _syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ASK_VERSION))


def restrict(readable: Iterable[str], writable: Iterable[str], listed: Iterable[str]) -> None:
    """From here on open only what lies at or below these paths, connect to nothing by TCP, and
    signal only what this process has started.

    Of ``listed`` only the names may be read, also of what is below. Paths that can't be opened
    stay closed. Needs a kernel of some ``version``, and ``PR_SET_NO_NEW_PRIVS``. Raises
    ``OSError``.
    """
    known = version()
    files, network, scopes = (_newest(rights, known) for rights in (FILES, NETWORK, SCOPES))
    size = 8 if known < 4 else 16 if known < 6 else 24
    ruleset = struct.pack("=3Q", files, network, scopes)
    descriptor = linux.checked(_syscall(CREATE_RULESET, ruleset, ctypes.c_size_t(size), 0))
    try:
        for rights, paths in ((READ, readable), (files, writable), (READ_DIR, listed)):
            for path in paths:
                with contextlib.suppress(OSError):
                    _allow(descriptor, path, rights & files)
        linux.checked(_syscall(RESTRICT_SELF, descriptor, 0))
    finally:
        os.close(descriptor)


def _allow(ruleset: int, path: str, rights: int) -> None:
    parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(parent).st_mode):
            rights &= OF_A_FILE
        if rights:
            rule = struct.pack("=Qi", rights, parent)
            linux.checked(_syscall(ADD_RULE, ruleset, PATH_BENEATH, rule, 0))
    finally:
        os.close(parent)


def _newest(rights: dict[int, int], known: int) -> int:
    return rights[max(since for since in rights if since <= known)]


def _syscall(number: int, *arguments: Any) -> int:
    return linux.libc().syscall(ctypes.c_long(number), *arguments)
