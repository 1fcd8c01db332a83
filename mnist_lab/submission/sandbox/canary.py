"""Tries each wall from inside, against baits that the grader laid out."""

from __future__ import annotations

import contextlib
import mmap
import os
import secrets
import socket
import stat
import sysconfig
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mnist_lab.submission.sandbox import enclosure, linux, scratch, walls


class Baits:
    """Things of the grader's machine that a worker must not reach; ``told`` says where they are."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._datagrams.bind(("127.0.0.1", 0))
        self._abstract = socket.socket(socket.AF_UNIX)
        self._abstract.bind("")  # Linux chooses a name that is no file's.
        self._abstract.listen()
        self._folder = scratch.new()
        Path(self._folder, "secret").write_text("secret", encoding="ascii")
        self._named = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):  # The name of a socket may not be long.
            self._named.bind(f"{self._folder}/socket")
            self._named.listen()
            os.chmod(f"{self._folder}/socket", 0o777)
        os.chmod(self._folder, 0o777)
        writable = os.access(scratch.SHARED, os.W_OK | os.X_OK)
        place = scratch.SHARED if writable else self._folder
        self._shared = f"{place}/mnist-lab-{secrets.token_hex(8)}"
        self._claim = scratch.claim(self._shared)
        os.write(self._claim, b"secret")
        os.chmod(self._shared, 0o644)
        self.told: dict[str, Any] = {
            "tcp": self._listening.getsockname()[1],
            "udp": self._datagrams.getsockname()[1],
            "abstract": self._abstract.getsockname().decode("latin-1"),
            "folder": self._folder,
            "shared": self._shared,
            "hidden": [path for path in map(_first_file, enclosure.hidden()) if path],
            "pid": os.getpid(),
            "started": _started(os.getpid()),
            "kit": str(Path(__file__).parents[3]),
        }

    def close(self) -> None:
        """Take them away."""
        for bait in (self._listening, self._datagrams, self._abstract, self._named):
            bait.close()
        with contextlib.suppress(OSError):  # It was taken away before.
            os.unlink(self._shared)
            os.close(self._claim)
        scratch.remove(self._folder)


def verdicts(baits: Mapping[str, Any], server: int, neighbour: str, channel: int) -> dict[str, str]:
    """Of each wall: ``enforced`` if nothing got through, ``degraded`` if some did, else
    ``unavailable``. ``server`` is the parent's id, ``neighbour`` another worker's folder.
    """
    found = dict(walls.UNTRIED)
    for name, attempts in _attempts(baits, server, neighbour, channel).items():
        through = [_gets_through(attempt) for attempt in attempts]
        if not all(through):
            found[name] = "degraded" if any(through) else "enforced"
    return found


Attempt = Callable[[], bool | None]
"""Gets through if it neither returns ``False`` nor raises what the system refuses with."""


def _attempts(
    baits: Mapping[str, Any], server: int, neighbour: str, channel: int
) -> dict[str, list[Attempt]]:
    folder, kit, pid = baits["folder"], baits["kit"], baits["pid"]
    python = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "scripts")]
    return {
        "process": [
            lambda: not walls.ENVIRONMENT.issuperset(os.environ),
            lambda: len(set(os.listdir("/dev/fd")) - {"0", "1", "2", str(channel)}) > 1,
            lambda: os.getsid(0) != os.getpid(),
        ],
        "network": [
            lambda: _connects(socket.AF_INET, ("127.0.0.1", baits["tcp"])),
            lambda: _sends(("127.0.0.1", baits["udp"])),
            lambda: _sends(("192.0.2.1", 53)),  # A name server would be asked like this.
            lambda: _connects(socket.AF_UNIX, baits["abstract"].encode("latin-1")),
            lambda: _connects(socket.AF_UNIX, f"{folder}/socket"),
        ],
        "files": [
            lambda: _reads(f"{folder}/secret"),
            lambda: _reads(f"{kit}/mnist_lab/kit.toml"),
            lambda: _reads(f"{neighbour}/secret"),
            lambda: _reads(baits["shared"]),
            *(lambda path=path: _reads(path) for path in baits["hidden"]),
            *(lambda to=to: _writes(to) for to in (folder, "/", kit, "/dev", *python)),
        ],
        "pids": [
            lambda: bool(baits["started"]) and _started(pid) == baits["started"],
            lambda: os.kill(server, 0),
            lambda: _reads(f"/proc/{server}/environ"),
        ],
        "memory": [lambda: _maps(mmap.MAP_PRIVATE), lambda: _maps(mmap.MAP_SHARED)],
        "processes": [_starts_a_crowd],
        "disk": [
            _writes_a_long_file,
            lambda: (free := os.statvfs(".")).f_blocks * free.f_frsize > walls.SCRATCH,
        ],
    }


def _gets_through(attempt: Attempt) -> bool:
    try:
        return attempt() is not False
    except (OSError, MemoryError, RuntimeError):
        return False


def _connects(family: int, address: Any) -> None:
    with socket.socket(family) as attempt:
        attempt.settimeout(1.0)
        attempt.connect(address)


def _sends(address: tuple[str, int]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attempt:
        attempt.sendto(b"?", address)


def _reads(path: str) -> bool:
    with open(path, "rb") as file:
        return bool(file.read(1))


def _first_file(folder: str) -> str:
    """Some file with something in it at or below ``folder``; empty if there is none."""
    files = (f"{found}/{name}" for found, _, names in os.walk(folder) for name in names)
    return next((file for file in files if os.path.isfile(file) and os.path.getsize(file)), "")


def _writes(folder: str) -> bool:
    path = Path(folder, f"mnist-lab-{os.getpid()}")
    path.touch()
    path.unlink()
    own = os.stat(walls.PRIVATE)
    alone = own.st_uid == os.geteuid() and stat.S_IMODE(own.st_mode) == linux.MODE
    # On the way to libraries there may be folders that are its own alone, in memory.
    return not (alone and os.stat(folder).st_dev == own.st_dev)


def _maps(kind: int) -> None:
    mmap.mmap(-1, walls.MEMORY + (1 << 30), flags=kind | mmap.MAP_ANONYMOUS).close()


def _starts_a_crowd() -> None:
    # Threads count as processes do, and cost less.
    done = threading.Event()
    try:
        for _ in range(walls.PROCESSES + 1):
            threading.Thread(target=done.wait, daemon=True).start()
    finally:
        done.set()


def _writes_a_long_file() -> None:
    with tempfile.TemporaryFile(dir=".") as file:
        os.pwrite(file.fileno(), b"?", walls.FILE_SIZE)


def _started(pid: int) -> str:
    """When a process started, which tells it from another that has its number; else empty."""
    try:
        return linux.stat_of(pid)[19]
    except OSError:
        return ""
