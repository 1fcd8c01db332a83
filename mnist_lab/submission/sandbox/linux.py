"""Calls of the Linux kernel that Python has no function for."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP = 1, 4, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38

NEW_NAMESPACES = 0x10000000 | 0x20000000 | 0x00020000 | 0x08000000 | 0x40000000
"""``CLONE_NEWUSER``, ``NEWPID``, ``NEWNS``, ``NEWIPC`` and ``NEWNET``."""

MS_NOSUID, MS_NODEV, MS_BIND, MS_REC, MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18
MODE = 0o700
"""Of a private folder."""

LARGE_PAGE, MADV_COLLAPSE = 2 << 20, 25

SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
CAPABILITY_VERSION = 0x20080522
CAPABILITIES = 64


def prctl(option: int, value: int) -> None:
    """Set an attribute of this process; what the kernel does not know changes nothing."""
    libc().prctl(option, value, 0, 0, 0)


def not_dumpable() -> None:
    """Keep other processes of the same user from this one's memory and descriptors."""
    prctl(PR_SET_DUMPABLE, 0)


def unshare() -> bool:
    """Own users, mounts, network and IPC for this process, own process ids for its children.

    ``False``, and nothing done, where the machine does not let an ordinary user do that.
    """
    user, group = os.geteuid(), os.getegid()
    prctl(PR_SET_DUMPABLE, 1)  # A change of user makes its entries in /proc root's.
    if libc().unshare(NEW_NAMESPACES) != 0:
        return False
    for file, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{user or 65534} {user} 1"),
        ("gid_map", f"{group or 65534} {group} 1"),
    ):
        Path("/proc/self", file).write_text(text, encoding="ascii")
    return True


def mount_private(folder: str, size: int, keep: Iterable[str] = ()) -> None:
    """An empty folder in memory, of at most ``size`` bytes, in place of ``folder``.

    Only this process and what it starts see it. What to ``keep`` of it stays where it is. Raises
    ``OSError``.
    """
    kept = {path: os.open(path, os.O_PATH) for path in keep}
    if folder in kept:
        return
    checked(libc().mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    options = f"size={size},nr_inodes=20000,mode={MODE:o}".encode()
    kind = MS_NOSUID | MS_NODEV
    checked(libc().mount(b"tmpfs", folder.encode(), b"tmpfs", kind, options))
    for path, descriptor in kept.items():
        source = Path(f"/proc/self/fd/{descriptor}")
        if not os.path.exists(path):  # Else it lies in another one that is kept.
            os.makedirs(path if source.is_dir() else os.path.dirname(path), exist_ok=True)
            if not source.is_dir():
                Path(path).touch()
            bind = MS_BIND | MS_REC
            checked(libc().mount(bytes(source), path.encode(), None, bind, None))
        os.close(descriptor)


def mount_processes() -> None:
    """A /proc that knows processes by the numbers that they have in this process's own space.

    Raises ``OSError`` where the machine hides a part of its own.
    """
    kind = MS_NOSUID | MS_NODEV
    checked(libc().mount(b"proc", b"/proc", b"proc", kind, None))


def large_pages() -> None:
    """Have this process's own memory lie in large pages: a fork then copies a third of the tables,
    or less. It takes a second for half a gigabyte. Kernels before Linux 6.1 change nothing.
    """
    for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        addresses, access, *_, name = line.split(maxsplit=5)
        if not access.startswith("rw") or name.startswith("/") or "[stack]" in name:
            continue
        first, end = (int(each, 16) for each in addresses.split("-"))
        begin = -(-first // LARGE_PAGE) * LARGE_PAGE
        for address in range(begin, end - LARGE_PAGE + 1, LARGE_PAGE):
            libc().madvise(ctypes.c_void_p(address), ctypes.c_size_t(LARGE_PAGE), MADV_COLLAPSE)


def stat_of(pid: int) -> list[str]:
    """What /proc says of a process: its state, its parent, and so on. Raises ``OSError``."""
    line = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    return line.rpartition(")")[2].split()


def drop_capabilities() -> None:
    """Give up, for good, whatever this process may do beyond an ordinary user."""
    for capability in range(CAPABILITIES):
        prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    number = SYS_CAPSET.get(os.uname().machine)
    if number is not None:
        header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
        libc().syscall(number, header, (ctypes.c_uint32 * 6)())


def checked(result: int) -> int:
    """The ``result`` of a call. Raises ``OSError`` where the call was refused."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@functools.cache
def libc() -> Any:
    """The C library."""
    found = ctypes.CDLL(None, use_errno=True)
    found.syscall.restype = ctypes.c_long
    return found
