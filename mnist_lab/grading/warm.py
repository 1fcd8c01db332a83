"""A process that has imported all that grading needs and forks a run of pytest for each request.

A run then takes what its checks take, not the seconds of importing torch. Linux only, as the
server of the submission's side is.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any, Literal

from mnist_lab import kit, terminal, workspace
from mnist_lab.submission.sandbox import linux
from mnist_lab.submission.server import Branch, Server, ServerError, command, environment, for_good

if TYPE_CHECKING:
    import pytest

    from mnist_lab.data import Digits

PRELOADED = (
    "torch",
    "mnist_lab.diagnosis.faults",
    "mnist_lab.grading.formats",
    "mnist_lab.grading.learners",
    "mnist_lab.grading.memory",
    "mnist_lab.grading.plugin",
    "mnist_lab.submission.client",
    "numpy.random",
    "pdb",
)

END_LIMIT = 20.0
"""Seconds that a job has to end its run and remove what that has left."""

LOOK = 0.01
"""Seconds between two looks at whether a run has ended."""

ANSWERED = (0, 1)
"""The exit statuses of pytest after which a run has left nothing behind: passed and failed."""

KILLED = -signal.SIGKILL
"""The status of a run that was killed, in most cases because its time was over."""

INTERNAL_ERROR = 3
"""The exit status of a run that did not get as far as having one."""

MOST_OUTPUT = 4000
"""Bytes that are kept of the end of what a run prints."""


class JobError(Exception):
    """A run ended without an exit status; the message says how."""


@dataclass(frozen=True)
class Run:
    """How a run ended: pytest's exit status, negative for a signal; the last of what it printed;
    its ``grade`` and what it found of the trained models (``digits``, ``accuracy``), as JSON.
    """

    status: int
    output: str
    result: dict[str, Any]


class Jobs:
    """The caller's end of a process that forks one for each job, so that all share its memory.

    Threads may share it. ``tier`` says what the runs will be: for ``full`` the digits are loaded
    once for all.
    """

    def __init__(self, tier: Literal["quick", "full"] = "quick") -> None:
        self._tier = tier
        self._jobs: weakref.WeakSet[Job] = weakref.WeakSet()
        self._lock, self._closed = threading.Lock(), False
        self._socket, self._process = _begin(tier)

    def open(self) -> Job:
        """A new job, with a server for submissions of its own. Raises ``JobError``.

        If the process has died, another takes its place.
        """
        with self._lock:
            if self._closed:
                raise JobError("The grading was stopped.")
            job = self._opened()
            if job is None:
                self._socket.close()
                self._process.kill()
                self._process.wait()
                self._socket, self._process = _begin(self._tier)
                job = self._opened()
        if job is None:
            raise JobError(f"What starts runs has ended with status {self._process.wait()}.")
        return job

    def _opened(self) -> Job | None:
        """A new job, None if the process that makes them has died."""
        ours, theirs = socket.socketpair()
        with theirs, contextlib.suppress(OSError):
            socket.send_fds(self._socket, [b"job"], [theirs.fileno()])
            if self._socket.recv(1):
                job = Job(ours)
                self._jobs.add(job)
                return job
        ours.close()
        return None

    def close(self) -> None:
        """End it and all jobs, whatever they are doing."""
        with self._lock:
            self._closed = True
            for job in self._jobs:
                job.hang_up()
            self._socket.close()
            self._process.wait()


class Job:
    """Runs of pytest, one after the other, each in a fork of a process that is ready for it. The
    ``process`` ends with it if it is for this job alone.
    """

    def __init__(
        self, channel: socket.socket, process: subprocess.Popen[bytes] | None = None
    ) -> None:
        self._socket, self._process = channel, process
        self._answers = channel.makefile("r", encoding="utf-8")

    def grade(
        self, arguments: Sequence[str], limit: float | None = None, *, shown: bool = False
    ) -> Run:
        """A run of pytest with these arguments, killed after ``limit`` seconds. What it prints is
        ``shown``, or else kept, with its grade, on no path that anybody else could write to.

        Raises ``JobError`` if the job itself has died.
        """
        request = {"arguments": list(arguments), "limit": limit, "kept": not shown}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            answer = self._answers.readline()
        except OSError as error:
            raise JobError(f"The process that grades has ended ({error}).") from error
        if not answer.endswith("\n"):
            raise JobError("The process that grades has ended.")
        return Run(**json.loads(answer))

    def hang_up(self) -> None:
        """Have it end, and the run that is going on; whoever waits for that run is told."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it, and the run that is going on."""
        self._answers.close()
        self.hang_up()
        self._socket.close()
        if self._process is not None:
            self._process.wait()


def start() -> Job:
    """A job with a process of its own, for which the first run waits."""
    return Job(*_begin("one"))


def main() -> None:
    """Serve until the caller hangs up: ``one`` job or many of a tier, on a descriptor."""
    kind, descriptor = sys.argv[1:]
    caller = socket.socket(fileno=int(descriptor))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run and for the caller.
    server = Server(for_many=kind != "one")  # It imports torch while this process does.
    _preload()
    if kind == "one":
        _serve(caller, server)
    else:
        linux.large_pages()
        _serve_many(caller, server, _digits() if kind == "full" else None)


def _begin(kind: str) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    ours, theirs = socket.socketpair()
    with theirs:
        return ours, subprocess.Popen(
            [*command("mnist_lab.grading.warm"), kind, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment(),
        )


@for_good()
def _preload() -> None:
    """Import what runs need, the grading tests too."""
    import torch
    from _pytest.config import default_plugins

    from mnist_lab.training import keep_memory

    torch.set_num_threads(1)  # A fork after one operation on several threads hangs.
    keep_memory()
    for name in (*PRELOADED, *(f"_pytest.{name}" for name in default_plugins)):
        importlib.import_module(name)
    kit.load()
    tests = workspace.grading_tests()
    sys.path.insert(0, str(tests))  # As pytest does.
    with contextlib.suppress(Exception):  # If they are broken, the runs say so.
        for file in tests.glob("test_*.py"):
            importlib.import_module(file.stem)


def _digits() -> Digits:
    """The digits of the full tier; what trains models on them is compiled, too."""
    from mnist_lab import augment, data, fast

    fast.compiled()
    augment.compiled()
    return data.load()


def _serve_many(caller: socket.socket, server: Server, digits: Digits | None = None) -> None:
    """Fork a process for each job until the caller hangs up. Each has a server that ``server``
    forks, or where a submission could reach others' processes, one of its own.
    """
    jobs: set[int] = set()
    while True:
        request, descriptors, _, _ = socket.recv_fds(caller, 16, 1)
        jobs = {pid for pid in jobs if not os.waitpid(pid, os.WNOHANG)[0]}
        if not request:
            break
        _make_ready(server)
        channel = socket.socket(fileno=descriptors[0])
        if (pid := os.fork()) == 0:
            _die_with_parent()
            caller.close()
            try:
                _serve(channel, Branch(server) if _branches(server) else server.another(), digits)
            finally:
                os._exit(0)
        channel.close()
        jobs.add(pid)
        with contextlib.suppress(OSError):  # It was killed.
            caller.sendall(b"1")
    for pid in jobs:  # Their callers have hung up as well.
        _wait(pid, END_LIMIT)
    server.close()


def _branches(server: Server) -> bool:
    """Whether jobs may share it: no submission reaches the processes or files of another."""
    return server.walls["pids"] == server.walls["files"] == "enforced"


def _make_ready(server: Server) -> None:
    """Have the server ready to branch; it starts anew if it has died. A job says if it can't."""
    for _ in range(2):  # One that is just dying shows only when it is asked for something.
        with contextlib.suppress(ServerError):
            server.wait()
            if _branches(server):
                probe = Branch(server)
                probe.wait()
                probe.close()
            break


def _serve(caller: socket.socket, server: Server, digits: Digits | None = None) -> None:
    """Fork a run for each request until the caller hangs up."""
    with caller.makefile("r", encoding="utf-8") as requests:
        for line in requests:
            try:
                server.wait()  # Here, since what a fork learns of the server is lost with it.
            except ServerError:  # The run says so, or the caller opens a job with another trunk.
                if isinstance(server, Branch):
                    break
            request = json.loads(line)
            with TemporaryFile() as output, TemporaryFile() as found:
                pid = os.fork()
                if not pid:
                    kept = output if request["kept"] else None
                    _run(request["arguments"], server, digits, kept, found)
                status = _wait(pid, request["limit"], caller)
                answer = Run(status, _last(output), _read(found))
            if status not in ANSWERED:
                server.close()  # With it ends what the run has left behind.
                server = server.another()
            with contextlib.suppress(OSError):
                caller.sendall(json.dumps(asdict(answer)).encode() + b"\n")
    server.close()


def _last(output: IO[bytes]) -> str:
    output.seek(max(0, output.seek(0, os.SEEK_END) - MOST_OUTPUT))
    return output.read().decode("utf-8", "replace")


def _read(found: IO[bytes]) -> dict[str, Any]:
    """The result of a run. What it has trained is known now: those that follow need not do it."""
    from mnist_lab.diagnosis.networks import trained

    found.seek(0)
    with contextlib.suppress(EOFError, pickle.UnpicklingError):  # It was killed before it was done.
        result, new = pickle.load(found)
        trained.remember(new)
        return dict(result)
    return {}


def _wait(pid: int, limit: float | None, caller: socket.socket | None = None) -> int:
    """The exit status of a process, which is killed when it is late or its caller is gone."""
    deadline = time.monotonic() + limit if limit else math.inf
    callers = [] if caller is None else [caller.fileno()]
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        left = deadline - time.monotonic()
        gone, _, _ = select.select(callers, [], [], LOOK)
        if left < 0 or gone:  # The caller asks nothing before it has the answer: it has hung up.
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return KILLED


def _run(
    arguments: Sequence[str],
    server: Server,
    digits: Digits | None,
    output: IO[bytes] | None,
    found: IO[bytes],
) -> None:
    """Run pytest in this process, which a fork has made for it, write its result and what it has
    trained into ``found``, and end.
    """
    status = INTERNAL_ERROR
    try:
        _die_with_parent()
        if output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # What else is installed takes a while.
        import pytest

        from mnist_lab.diagnosis.networks import trained
        from mnist_lab.grading import plugin

        signal.signal(signal.SIGINT, signal.default_int_handler)
        given, before = Given(server, digits), trained.known().keys()
        # The plugin as it is: by its name pytest looks through all that is installed first.
        status = int(pytest.main(["--assert=plain", *arguments], plugins=[plugin, given]))
        new = {key: each for key, each in trained.known().items() if key not in before}
        pickle.dump((given.result(), new), found)
        found.flush()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _die_with_parent() -> None:
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)


class Given:
    """What the plugin finds under its name: a server that has started already and, in the full
    tier, digits that are loaded. It keeps what the run found.
    """

    def __init__(self, server: Server, digits: Digits | None) -> None:
        self.server, self.digits = server, digits
        self.__name__ = "mnist-lab-given"

    def pytest_configure(self, config: pytest.Config) -> None:
        self.config = config

    def result(self) -> dict[str, Any]:
        """The grade, if there is one, and the accuracies of the models that were trained."""
        from mnist_lab.grading.plugin import GRADING

        grading = self.config.stash[GRADING] if hasattr(self, "config") else None
        if grading is None or grading.grade is None:
            return {}
        found: dict[str, Any] = {"grade": grading.grade.to_json()}
        if self.digits is not None and grading.learned:
            labels = self.digits.test.labels
            found["digits"] = self.digits.source
            found["accuracy"] = {n: model.accuracy(labels) for n, model in grading.learned.items()}
        return found


if __name__ == "__main__":
    terminal.run(main)
