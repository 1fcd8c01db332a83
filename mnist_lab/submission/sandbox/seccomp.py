"""Seccomp: calls of the kernel that a learner's process may no longer make.

These are for administrators and debuggers; each is a door to the kernel that no exercise needs.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable

# fmt: off
REFUSED = (
    "acct", "add_key", "adjtimex", "bpf", "chroot", "clock_adjtime", "clock_settime",
    "delete_module", "finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "init_module",
    "io_uring_enter", "io_uring_register", "io_uring_setup", "ioperm", "iopl", "kcmp",
    "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mount", "mount_setattr",
    "move_mount", "name_to_handle_at", "nfsservctl", "open_by_handle_at", "open_tree",
    "perf_event_open", "personality", "pidfd_getfd", "pivot_root", "process_vm_readv",
    "process_vm_writev", "ptrace", "quotactl", "reboot", "request_key", "setdomainname",
    "sethostname", "setns", "settimeofday", "swapoff", "swapon", "syslog", "umount", "umount2",
    "unshare", "userfaultfd", "vhangup",
)
# fmt: on
NEW_USER = 0x10000000
"""``CLONE_NEWUSER``: a process in which it is root, and reaches more of the kernel."""


def prepare(*, network: bool) -> Callable[[], None] | None:
    """A function that closes these calls to the process that calls it and what it starts, and
    sockets other than Unix ones unless ``network``; ``None`` where libseccomp is not installed.
    """
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):  # It looks for the library when it is imported.
        return None
    made = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    refuse = pyseccomp.ERRNO(errno.EPERM)
    for name in REFUSED:
        with contextlib.suppress(OSError, ValueError, RuntimeError):  # Other machines, other calls.
            made.add_rule(refuse, name)
    new_user = pyseccomp.Arg(0, pyseccomp.MASKED_EQ, NEW_USER, NEW_USER)
    made.add_rule(refuse, "clone", new_user)
    made.add_rule(pyseccomp.ERRNO(errno.ENOSYS), "clone3")  # Its flags can't be seen; clone's can.
    if not network:
        other = pyseccomp.Arg(0, pyseccomp.NE, socket.AF_UNIX)
        made.add_rule(pyseccomp.ERRNO(errno.EACCES), "socket", other)
    load: Callable[[], None] = made.load
    return load
