"""A process that imports torch once and forks workers, and the grader's end of it.

Only Linux forks here. Four measured facts shape it: a fork after one multi-threaded operation of
torch hangs, so it has one thread before any arithmetic; the first optimizer imports
``torch._dynamo`` for 2 s, so that is imported beforehand; ``gc.freeze`` keeps the pages of a
forked worker shared; and as the reaper of what its workers leave behind it can end all of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

__all__ = ["Server", "ServerError", "command", "end_group", "environment"]

START_LIMIT, ANSWER_LIMIT = 120.0, 10.0
"""Seconds for importing torch on a slow disk, and for any answer after that."""

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
PRELOADED = (
    "torch._dynamo",
    "torch._subclasses.fake_tensor",
    "torch.optim",
    "torch.utils.data",
    "torchvision.transforms.v2",
    "mnist_lab.submission.worker",
    "mnist_lab.training",
)


class ServerError(Exception):
    """The server can't be started or has died; the message says how it ended."""


class Server:
    """The grader's end of a server, which starts at once and is waited for when first used."""

    def __init__(self) -> None:
        self._socket, self._process = self._begin()
        self._ready = False

    def wait(self) -> None:
        """Wait until it can fork; one that has died is replaced. Raises ``ServerError``."""
        if self._process.poll() is not None:
            self._socket.close()
            self._socket, self._process = self._begin()
            self._ready = False
        if not self._ready:
            self._read(START_LIMIT)
            self._ready = True

    def fork(self, channel: int, output: int) -> int:
        """The process id of a new worker with these descriptors. Raises ``ServerError``."""
        self.wait()
        return self._ask({"fork": True}, [channel, output])

    def stop(self, pid: int, grace: float) -> int:
        """End a worker and all that it started; its exit status, negative for a signal.

        It may end by itself within ``grace`` seconds. Raises ``ServerError``.
        """
        return self._ask({"stop": pid, "grace": grace})

    def close(self) -> None:
        """End the server, its workers and all that they started."""
        self._socket.close()
        try:
            self._process.wait(ANSWER_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @staticmethod
    def _begin() -> tuple[socket.socket, subprocess.Popen[bytes]]:
        ours, theirs = socket.socketpair()
        with theirs:
            return ours, subprocess.Popen(
                [*command("mnist_lab.submission.server"), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env=environment(),
            )

    def _ask(self, request: dict[str, Any], descriptors: list[int] | None = None) -> int:
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors or [])
        except OSError as error:
            raise ServerError(f"the server has ended ({error})") from error
        return self._read(ANSWER_LIMIT)

    def _read(self, seconds: float) -> int:
        self._socket.settimeout(seconds)
        try:
            answer = self._socket.recv(64)
        except OSError as error:
            raise ServerError(f"the server does not answer ({error})") from error
        if not answer:
            raise ServerError(f"the server ended with status {self._process.wait()}")
        return int(answer)


def command(module: str) -> list[str]:
    """The command that runs ``module`` with nothing importable from the working directory."""
    return [sys.executable, "-P", "-m", module]


def environment() -> dict[str, str]:
    """The environment of a process that can import this package as this one does."""
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def end_group(pid: int, grace: float) -> None:
    """Kill the process group of the child ``pid``, which may end by itself within ``grace``
    seconds. It is not reaped, so its number stays its own.
    """
    deadline = time.monotonic() + grace
    ended = os.WEXITED | os.WNOWAIT | os.WNOHANG
    while os.waitid(os.P_PID, pid, ended) is None and time.monotonic() < deadline:
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def main() -> None:
    """Serve forks until the grader hangs up; the argument is the channel's descriptor."""
    grader = socket.socket(fileno=int(sys.argv[1]))
    _preload()
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    workers: set[int] = set()
    grader.sendall(b"0")
    while True:
        request, descriptors, _, _ = socket.recv_fds(grader, 4096, 2)
        if not request:
            break
        asked = json.loads(request)
        if "stop" in asked:
            pid = asked["stop"]
            reply = _stop(pid, workers, asked["grace"]) if pid in workers else -signal.SIGKILL
        else:
            reply = _fork(grader, *descriptors)
            workers.add(reply)
        grader.sendall(str(reply).encode())
    for pid in list(workers):
        _stop(pid, workers, 0.0)


def _preload() -> None:
    import torch

    torch.set_num_threads(1)
    for name in PRELOADED:
        importlib.import_module(name)
    sys.dont_write_bytecode = True  # Nothing is left beside a learner's files.
    gc.collect()
    gc.freeze()


def _fork(grader: socket.socket, channel: int, output: int) -> int:
    server = os.getpid()
    pid = os.fork()
    if pid:
        os.close(channel)
        os.close(output)
        return pid
    status = 1
    try:
        os.setsid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == server:
            grader.close()
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(output)
            from mnist_lab.submission.worker import serve

            serve(socket.socket(fileno=channel))
            status = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def _stop(pid: int, workers: set[int], grace: float) -> int:
    """Kill a worker, its process group, and what has left the group but was started by it."""
    end_group(pid, grace)
    _, status = os.waitpid(pid, 0)
    workers.discard(pid)
    while strays := _children() - workers:
        for stray in strays:
            os.kill(stray, signal.SIGKILL)
            os.waitpid(stray, 0)
    return os.waitstatus_to_exitcode(status)


def _children() -> set[int]:
    """The processes whose parent this is: workers, and orphans that they left."""
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(entry.path, "stat").read_text(errors="replace")
                if int(stat.rpartition(")")[2].split()[1]) == os.getpid():
                    found.add(int(entry.name))
    return found


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main()
