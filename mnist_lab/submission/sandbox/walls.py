"""What a learner's process may not do, and how that is arranged before their file is read.

``canary`` tries each wall from inside; only then is it said to be there.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mnist_lab.submission.sandbox import enclosure, landlock, linux, seccomp
from mnist_lab.submission.sandbox.enclosure import VARIABLES
from mnist_lab.submission.sandbox.scratch import SHARED

try:
    import resource
except ImportError:  # Windows has no limits of this kind.
    resource = None  # type: ignore[assignment]

WALLS = {
    "process": "runs apart, with an empty environment and none of the grader's descriptors",
    "network": "reaches no network: no TCP, UDP, DNS or sockets of other programs",
    "files": "reads Python and its libraries alone, and writes into its own folder alone",
    "pids": "neither sees nor signals a process that it did not start",
    "memory": "takes so much memory a process and no more",
    "processes": "starts so many processes and threads and no more",
    "disk": "writes so much and no more",
}
"""The walls by name, each as the end of "a submission …"."""

UNTRIED = dict.fromkeys(WALLS, "unavailable")
"""What is said of a process that nothing was tried from."""

OF_SPAWNED = {**UNTRIED, "process": "enforced", "memory": "degraded", "disk": "degraded"}
"""What is said of spawned processes: they are apart, and their limits are set but not tried."""

MEMORY = 4 << 30
"""Bytes that a learner's code may take on top of what the process has when it starts."""

PROCESSES = 64
"""Processes and threads that a learner's code may have at a time."""

SCRATCH, FILE_SIZE, DESCRIPTORS = 256 << 20, 256 << 20, 512
"""Bytes in a learner's own folder and in one file, and files that are open at a time."""

PRIVATE = "/tmp"
"""A learner's own folder, where it is in a world of its own."""

SOCKETS = "/run"
"""Where the machine's services listen."""

KEPT = {"PATH", "USER", *VARIABLES} - {"TMPDIR"}
ENVIRONMENT = KEPT | {"HOME", "TMPDIR"}
"""The variables that a learner's code may find."""


def refusal(walls: Mapping[str, str]) -> str:
    """Why ``--require strict`` does not grade behind these walls; empty if it does."""
    known = {name: walls.get(name, "unavailable") for name in WALLS}
    missing = [f"{name} ({state})" for name, state in known.items() if state != "enforced"]
    if not missing:
        return ""
    return (
        f"--require strict grades only where every wall is enforced; here these are not: "
        f"{', '.join(missing)}. `mnist-lab doctor` says more; on Linux, install bubblewrap."
    )


def summary(walls: Mapping[str, str]) -> str:
    """What is known of the walls, in a line."""
    of_state = {
        state: [name for name in WALLS if walls.get(name, "unavailable") == state]
        for state in ("enforced", "degraded", "unavailable")
    }
    said = [f"{state}: {', '.join(names)}" for state, names in of_state.items() if names]
    return f"Walls {'; '.join(said)}"


@dataclass(frozen=True)
class Refusals:
    """What the kernel shall refuse a worker, prepared before it is forked.

    ``paths``: what it may read, list, and write; all else is refused. ``calls`` closes some of the
    kernel's calls to the process that makes it, ``sockets`` those and other sockets than Unix ones.
    Each is ``None`` where the machine can't do that.
    """

    paths: tuple[list[str], list[str], list[str]] | None = None
    calls: Callable[[], None] | None = None
    sockets: Callable[[], None] | None = None

    @classmethod
    def prepared(cls, hidden: list[str]) -> Refusals:
        """For workers of this process, which may not see what is ``hidden``."""
        paths = None
        if not enclosure.is_enclosed() and landlock.version():
            kept, listed = enclosure.readable(hidden)
            paths = kept, listed, [*enclosure.DEVICES, SHARED]
        return cls(paths, seccomp.prepare(network=True), seccomp.prepare(network=False))

    def begin(self, scratch: str, *, own_network: bool, gpu: bool) -> None:
        """Refuse them to this process and what it starts; ``scratch`` stays its own, and a ``gpu``
        with what CUDA writes to: the names of its threads in /proc.

        Where the kernel can't after all, the walls that are tried later say so.
        """
        with contextlib.suppress(OSError):
            if self.paths:
                kept, listed, written = self.paths
                more = ["/proc/self", *enclosure.gpus()] if gpu else []
                landlock.restrict([*kept, "/proc/self"], [*written, scratch, *more], listed)
        with contextlib.suppress(OSError):
            if refuse := self.calls if own_network else self.sockets:
                refuse()


def new_user() -> int:
    """The number of a user that owns nothing and is nobody else."""
    return 1_000_000_000 + secrets.randbelow(1_000_000_000)


def become(user: int) -> None:
    """As root: go on as ``user``, for good."""
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def enter(tell: int) -> bool:
    """Go on as the first process of a world of its own, where the kernel lets anybody make one.

    That is a child of this process, which ends; its id is written to the descriptor ``tell``.
    What the child leaves behind ends with it. ``False`` where the process is still the same.
    """
    if not linux.unshare():
        return False
    pid = os.fork()
    if pid:
        os.write(tell, str(pid).encode())
        os._exit(0)
    return True


def seal(
    scratch: str,
    keep: int,
    *,
    private: bool,
    count_processes: bool,
    refusals: Refusals = Refusals(),
    gpu: bool = False,
) -> None:
    """Close what this process may do from here on.

    ``scratch`` becomes its home, the only descriptors left are ``keep`` and the standard ones.
    ``private``: it is in a world of its own. ``count_processes``: processes are counted for it
    alone, so that they can be limited. ``gpu``: it may use one.
    """
    if private:
        for folder in (scratch, SHARED, SOCKETS):
            if os.path.isdir(folder):
                linux.mount_private(folder, SCRATCH, enclosure.given_in(folder))
        if gpu:  # CUDA looks for its threads there. Where it can't be, a GPU is found not to work.
            with contextlib.suppress(OSError):
                linux.mount_processes()
        if os.listdir(scratch):  # Python's libraries, which are not the learner's.
            scratch = tempfile.mkdtemp(dir=scratch)
    _close_all_but(keep)
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    os.environ.clear()
    os.environ.update(kept | {"HOME": scratch, "TMPDIR": scratch})
    tempfile.tempdir = None
    os.chdir(scratch)
    limit(count_processes=count_processes, gpu=gpu)
    if sys.platform == "linux":
        linux.drop_capabilities()
        refusals.begin(scratch, own_network=private or enclosure.is_enclosed(), gpu=gpu)
        linux.not_dumpable()


def limit(*, count_processes: bool, gpu: bool) -> None:
    """Lower this process's limits, for good, where it has any."""
    if resource is None:
        return
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, FILE_SIZE)
    _lower(resource.RLIMIT_NOFILE, DESCRIPTORS)
    if sys.platform == "linux":
        pages = map(int, Path("/proc/self/statm").read_text(encoding="ascii").split())
        size, *_, data, _ = (each * resource.getpagesize() for each in pages)
        _lower(resource.RLIMIT_DATA, data + MEMORY)
        if not gpu:  # CUDA maps far more than it uses.
            _lower(resource.RLIMIT_AS, size + MEMORY)
    if count_processes:
        _lower(resource.RLIMIT_NPROC, PROCESSES)


def _lower(which: int, wanted: int) -> None:
    _, hard = resource.getrlimit(which)
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(which, (wanted, wanted))


def _close_all_but(keep: int) -> None:
    for entry in os.listdir("/dev/fd"):
        if int(entry) > 2 and int(entry) != keep:
            with contextlib.suppress(OSError):  # It is that of the listing.
                os.close(int(entry))
