"""Folders for a while. Those of a process lie in one of its own, which the next process sweeps away
if this one was killed.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import glob
import itertools
import os
import shutil
import stat
import subprocess
import tempfile

try:
    import fcntl
except ImportError:  # Windows: nothing is swept there.
    fcntl = None  # type: ignore[assignment]

PREFIX, LOCK, SHARED = "mnist-lab-", "lock", "/dev/shm"
"""How the name of all that is ours begins, the file whose lock says that a folder's process is
alive, and where memory lies that processes share."""


def folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for the length of a ``with``."""
    return tempfile.TemporaryDirectory(dir=_own(), ignore_cleanup_errors=True)


def new() -> str:
    """A folder that only this user can enter; whoever asks for it removes it.

    Its name is short: sockets of a learner's processes lie below it, and a socket's path has at
    most 103 characters on macOS.
    """
    numbers = itertools.count()
    while True:
        with contextlib.suppress(FileExistsError):
            os.mkdir(path := f"{_own()}/{next(numbers)}", 0o700)
            return path


def cannot_write(error: OSError) -> str:
    """The sentence for a folder for temporary files that is full or forbidden."""
    return (
        f"The folder for temporary files, {tempfile.gettempdir()}, cannot be written "
        f"({error.strerror}): make room there, or set TMPDIR to another one."
    )


def claim(path: str) -> int:
    """Make the empty file ``path``, locked for as long as this process or a fork of it has the
    descriptor open.
    """
    unclaimed = f"{path}.new"
    descriptor = os.open(unclaimed, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    if fcntl is not None:
        with contextlib.suppress(OSError):  # Some network drives have no locks.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.rename(unclaimed, path)  # Only now, so that nobody finds it without its lock.
    return descriptor


def sweep() -> None:
    """Remove what processes of this user have left that were killed."""
    if fcntl is None:
        return
    for found in glob.glob(f"{tempfile.gettempdir()}/{PREFIX}*"):
        with contextlib.suppress(OSError):
            about = os.lstat(found)
            own = stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid()
            if own and is_abandoned(f"{found}/{LOCK}"):
                remove(found)
    for found in glob.glob(f"{SHARED}/{PREFIX}*"):
        with contextlib.suppress(OSError):
            if is_abandoned(found):
                os.unlink(found)


def remove(path: str) -> None:
    """Remove a folder, however deep, and whatever it forbids."""
    try:
        os.rmdir(path)
    except OSError:
        # The second time some folder in it could not be looked into.
        for command in (["rm", "-rf"], ["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
            if os.path.lexists(path):
                with contextlib.suppress(FileNotFoundError):  # There is no such command.
                    subprocess.run([*command, path], stderr=subprocess.DEVNULL)
        shutil.rmtree(path, ignore_errors=True)


def is_abandoned(path: str) -> bool:
    """Whether a file of this user is locked by nobody. Raises ``OSError``."""
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        about = os.fstat(descriptor)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid()
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


@functools.cache
def _own() -> str:
    sweep()
    made = tempfile.mkdtemp(prefix=PREFIX)
    os.chmod(made, 0o711)  # A worker that is another user gets into its own folder.
    claim(f"{made}/{LOCK}")
    atexit.register(_end, made, os.getpid())
    return made


def _end(made: str, owner: int) -> None:
    if os.getpid() == owner:
        remove(made)
