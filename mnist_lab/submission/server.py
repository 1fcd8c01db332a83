"""A process that imports torch once and forks workers, and the grader's end of it.

Only Linux forks here. Four measured facts shape it: a fork after one multi-threaded operation of
torch hangs, so it has one thread before any arithmetic; the first optimizer imports
``torch._dynamo`` for 2 s, so that is imported beforehand; ``gc.freeze`` keeps the pages of a
forked worker shared; and as the reaper of what its workers leave behind it can end all of it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from mnist_lab.submission.sandbox import enclosure, linux, scratch, walls
from mnist_lab.submission.sandbox.canary import Baits, verdicts

Isolation = Literal["fork", "spawn", "none"]

START_LIMIT, ANSWER_LIMIT, CLEAR_LIMIT = 120.0, 10.0, 120.0
"""Seconds for importing torch on a slow disk, for any answer after that, and for removing what a
worker has left, which may be many thousand folders in one another.
"""

PATIENCE = 4.0
"""How many times its limit a call may take at most where other programs want the cores."""

LOOK_EVERY = 0.2
"""Seconds between two counts of processes, where the kernel does not limit their number."""

SETTINGS_SIZE = 1 << 16

PRELOADED = (
    "torch._dynamo",
    "torch._subclasses.fake_tensor",
    "torch.optim",
    "torch.utils.data",
    "torchvision.transforms.v2",
    "mnist_lab.submission.sandbox.canary",
    "mnist_lab.submission.guest.serve",
)

IMPORTED_BY_SOME = ("sklearn.metrics", "matplotlib.pyplot")
"""What learners' files import that no exercise needs: a second or two each time."""


class ServerError(Exception):
    """The server can't be started or has died; the message says how it ended."""


class Server:
    """The grader's end of a server, which starts at once and is waited for when first used.

    A fork of the grader may go on using it, one at a time. It ends with the thread that made it.
    ``walls`` are known once it was waited for: of each of ``walls.WALLS`` whether it is
    ``enforced``, ``degraded`` or ``unavailable``. One ``for_many`` submissions takes some seconds
    longer to begin and then less for each.
    """

    def __init__(self, *, for_many: bool = False) -> None:
        self._for_many = for_many
        self.walls: Mapping[str, str] = walls.UNTRIED
        self._level, self._ready = enclosure.level(), False
        self._start()

    def wait(self) -> None:
        """Wait until it can fork; one that has died is replaced. Raises ``ServerError``."""
        if self._hung_up():
            self.close()
            self._start()
        if not self._ready:
            self.walls = self._read(START_LIMIT)["walls"]
            self._ready = True
            if self._owner == os.getpid():
                self._tidy()
            if self.walls["pids"] != "enforced":
                linux.not_dumpable()  # The learner's code could else read this process's memory.

    def fork(self, channel: int, output: int, *, gpu: bool = False) -> int:
        """The process id of a new worker with these descriptors, as the server knows it; it may
        use a ``gpu``. Raises ``ServerError``.
        """
        self.wait()
        return self._ask({"fork": True, "gpu": gpu}, [channel, output])

    def interrupt(self, pid: int) -> None:
        """Have a worker say where it is. Raises ``ServerError``."""
        self._ask({"interrupt": pid})

    def stop(self, pid: int, grace: float) -> int:
        """End a worker and all that it started; its exit status, negative for a signal.

        It may end by itself within ``grace`` seconds. Raises ``ServerError``.
        """
        return self._ask({"stop": pid, "grace": grace}, limit=grace + CLEAR_LIMIT)

    def close(self) -> None:
        """End the server, its workers and all that they started, unless it is another process's."""
        self._socket.close()
        if self._owner != os.getpid():
            return
        try:
            self._process.wait(ANSWER_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._baits.close()
        scratch.remove(str(self._folder))

    def another(self) -> Server:
        """A new one of its kind."""
        return Server(for_many=self._for_many)

    def branch(self, channel: int) -> None:
        """Have it fork a server for this channel, which then ends by itself. Raises
        ``ServerError``.
        """
        self._send({"branch": True}, [channel])

    def _hung_up(self) -> bool:
        if self._socket.fileno() < 0:
            return True
        readable, _, _ = select.select([self._socket], [], [], 0)
        try:
            return bool(readable) and not self._socket.recv(1, socket.MSG_PEEK)
        except ConnectionResetError:  # It ended before it read the last request.
            return True

    def _start(self) -> None:
        self._owner, self._ready = os.getpid(), False
        self._baits, self._folder = Baits(), Path(scratch.new())
        own, below = self._folder / "kit", self._folder / "in"
        own.mkdir(mode=0o700)
        below.mkdir()
        enclosure.copy_kit(own)
        change_user = os.geteuid() == 0 and enclosure.others_can_read()
        enclosed: list[str] | None = None
        if self._level == "all":
            enclosed = enclosure.bubblewrap(str(own), change_user=change_user)
        kit = enclosure.INSIDE if enclosed else str(own)
        if change_user:
            for folder in (self._folder, below):
                folder.chmod(0o711)  # So that a worker gets into its own folder.
        self._socket, theirs = _channel()
        with theirs:
            run = [*command("mnist_lab.submission.server"), str(theirs.fileno())]
            self._process = subprocess.Popen(
                [*(enclosed or ()), *run],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
                env={**enclosure.variables(kit), "TMPDIR": "/tmp" if enclosed else str(below)},
            )
        settings = {
            "baits": self._baits.told,
            "change_user": change_user,
            "namespaces": self._level in ("all", "no-bubblewrap"),
            "refusals": self._level != "process",
            "hidden": enclosure.hidden(),
            "for_many": self._for_many,
        }
        self._socket.sendall(json.dumps(settings).encode())

    def _tidy(self) -> None:
        """Remove what nobody needs to find once all of it is imported."""
        self._baits.close()
        scratch.remove(str(self._folder / "kit"))

    def _ask(
        self,
        request: dict[str, Any],
        descriptors: list[int] | None = None,
        limit: float = ANSWER_LIMIT,
    ) -> int:
        self._send(request, descriptors or [])
        answer: int = self._read(limit)
        return answer

    def _send(self, request: dict[str, Any], descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
        except OSError as error:
            raise ServerError(f"the server has ended ({error})") from error

    def _read(self, seconds: float) -> Any:
        self._socket.settimeout(seconds)
        try:
            answer = self._socket.recv(4096)
        except OSError as error:
            raise ServerError(f"the server does not answer ({error})") from error
        if not answer:
            raise ServerError(f"the server ended{self._how()}")
        return json.loads(answer)

    def _how(self) -> str:
        return f" with status {self._process.wait()}"


class Branch(Server):
    """The grader's end of a server that another one forks, in milliseconds and behind its walls.

    The ``trunk`` need not be this process's. Where it has died, this one is not replaced either:
    ``ServerError`` then tells whoever made the trunk to make another.
    """

    def __init__(self, trunk: Server) -> None:
        self._trunk = trunk
        self.walls = walls.UNTRIED
        self._start()

    def close(self) -> None:
        """End the server, its workers and all that they started, unless it is another process's."""
        if self._owner == os.getpid():
            with contextlib.suppress(OSError, ServerError):
                self._socket.shutdown(socket.SHUT_WR)
                self._read(ANSWER_LIMIT)  # Nothing but the end.
        self._socket.close()

    def another(self) -> Server:
        """A new one of its kind. Raises ``ServerError``."""
        return Branch(self._trunk)

    def _start(self) -> None:
        self._owner, self._ready = os.getpid(), False
        self._socket, theirs = _channel()
        with theirs:
            self._trunk.branch(theirs.fileno())

    def _tidy(self) -> None:
        pass

    def _how(self) -> str:
        return ""


def _channel() -> tuple[socket.socket, socket.socket]:
    """Two ends, between which messages stay apart."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def default_isolation() -> Isolation:
    """``fork`` on Linux, ``spawn`` elsewhere: system libraries there may not survive a fork."""
    return "fork" if sys.platform == "linux" else "spawn"


def patience() -> float:
    """How many times its limit a learner's call may take, as the machine is busy: by how many
    programs have wanted a core in the last minute. Two for each core are as usual in a class.
    """
    if not hasattr(os, "getloadavg"):  # as on Windows
        return 1.0
    wanted = os.getloadavg()[0] / (os.cpu_count() or 1)
    return min(max(1.0, wanted - 1.0), PATIENCE)


def unsupported(isolation: Isolation) -> str:
    """Why no submission can be run like that on this system, in a sentence; empty if it can."""
    if sys.platform != "win32" or isolation == "none":
        return ""
    return (
        "On Windows mnist-lab grades in WSL, which is Linux: run `wsl --install`, and install and "
        "start mnist-lab there. (--isolation none works without it, and without any protection.)"
    )


def command(module: str) -> list[str]:
    """The command that runs ``module`` with nothing importable from the working directory."""
    return [sys.executable, "-P", "-m", module]


def environment() -> dict[str, str]:
    """The environment of a process that can import this package as this one does, and in which
    pytest has no options but those that it is given.
    """
    package = str(Path(__file__).parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    options = {"PYTEST_ADDOPTS", "PYTEST_PLUGINS"}
    kept = {name: value for name, value in os.environ.items() if name not in options}
    return {**kept, "PYTHONPATH": os.pathsep.join(paths)}


def end_group(pid: int, grace: float) -> int:
    """Kill the child ``pid``, which may end by itself within ``grace`` seconds, and its process
    group; its exit status, negative for a signal.
    """
    deadline = time.monotonic() + grace
    ended, status = os.waitpid(pid, os.WNOHANG)
    while not ended and time.monotonic() < deadline:
        time.sleep(0.005)
        ended, status = os.waitpid(pid, os.WNOHANG)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    if not ended:
        _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def main() -> None:
    """Serve forks until the grader hangs up; the argument is the channel's descriptor."""
    grader = socket.socket(fileno=int(sys.argv[1]))
    enclosure.only_what_is_needed()
    settings = json.loads(grader.recv(SETTINGS_SIZE))
    for_many = settings.pop("for_many")
    _preload(for_many=for_many)
    if for_many:
        linux.large_pages()
    linux.not_dumpable()
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    workers = _Workers(grader, settings)
    workers.try_walls(settings.pop("baits"))
    workers.answer({"walls": workers.walls})
    while (request := workers.next_request()) is not None:
        asked, descriptors = request
        if "branch" in asked:
            workers.branch(descriptors[0])
        elif "stop" in asked:
            workers.answer(workers.stop(asked["stop"], asked["grace"]))
        elif "interrupt" in asked:
            workers.answer(workers.interrupt(asked["interrupt"]))
        else:
            workers.answer(workers.fork(descriptors[0], descriptors[1], gpu=asked["gpu"]))
    workers.close()
    os._exit(0)  # What Python does at its end takes most of a second.


@contextlib.contextmanager
def for_good() -> Iterator[None]:
    """What is imported meanwhile stays in memory: Python's collector does not look at it, which
    takes a quarter of the imports' time, and forks share its pages. It comes rarely from then on.
    """
    gc.disable()
    yield
    gc.freeze()
    gc.enable()
    gc.set_threshold(10_000)  # A worker or a run makes little that it does not keep to its end.


@for_good()
def _preload(*, for_many: bool) -> None:
    import torch

    torch.set_num_threads(1)
    for name in PRELOADED:
        importlib.import_module(name)
    _warm_up(backwards=not enclosure.may_have_gpu())
    if for_many:
        for name in IMPORTED_BY_SOME:
            with contextlib.suppress(Exception):  # Whoever imports it, is told.
                importlib.import_module(name)


def _warm_up(*, backwards: bool) -> None:
    """Have PyTorch do, on next to nothing, what it does only once in a process and takes time for.

    ``backwards`` only where there is no GPU: the threads of its backward pass do not outlive a
    fork. Needs PyTorch to have one thread, for the same reason.
    """
    import torch
    from PIL import Image
    from torch.nn import functional as F
    from torch.utils.data import DataLoader
    from torchvision.transforms.v2 import functional as pictures

    from mnist_lab.submission.guest import given, networks
    from mnist_lab.submission.guest.learner import Learner
    from mnist_lab.submission.protocol import Message

    list(DataLoader([(torch.zeros(1), 0)], shuffle=True))  # type: ignore[arg-type]
    picture = pictures.resize(pictures.rotate(Image.new("L", (2, 2)), 1.0), [2, 2])
    corners = [[0, 0], [1, 0], [1, 1], [0, 1]]
    pictures.to_dtype(pictures.pil_to_tensor(pictures.perspective(picture, corners, corners)))
    learner = Learner()
    networks.on_fake_device(learner, Message({"id": learner.keep(torch.nn.Flatten())}))
    answered = Message({"ticket": 0, "enough": True}, {"outputs": torch.zeros(1, 1)})
    with given.asking(lambda message: answered):
        given.Model([["a", "Linear", [1, 1]]], {"a.weight": torch.zeros(1, 1)})(torch.zeros(1, 1))
    for dtype in (torch.float32, torch.float64):
        for kind in (torch.optim.Adam, torch.optim.SGD):
            weight = torch.zeros(2, 1, 3, 3, dtype=dtype, requires_grad=True)
            maps = F.max_pool2d(F.conv2d(torch.zeros(2, 1, 8, 8, dtype=dtype), weight).relu(), 2)
            outputs = F.linear(maps.flatten(1), torch.zeros(2, 18, dtype=dtype))
            loss = F.cross_entropy(outputs, torch.tensor([0, 1]))
            if backwards:
                optimizer = kind([weight], lr=0.1)
                loss.backward()
                optimizer.step()


class _Workers:
    """The server's workers: how they are made, and that nothing of them stays."""

    def __init__(self, grader: socket.socket, settings: Mapping[str, Any]) -> None:
        self.grader = grader
        self.change_user: bool = settings["change_user"]
        self.namespaces: bool = settings["namespaces"]
        self.refusals = walls.Refusals()
        if settings["refusals"]:
            self.refusals = walls.Refusals.prepared(settings["hidden"])
        self.counted = False
        self.walls: dict[str, str] = {}
        self.folders: dict[int, str] = {}
        self.branches: set[int] = set()

    def next_request(self) -> tuple[dict[str, Any], list[int]] | None:
        """What the grader asks for; meanwhile nobody starts too many processes."""
        watch = not self.counted
        while not select.select(
            [self.grader], [], [], LOOK_EVERY if watch and self.folders else None
        )[0]:
            self._end_crowds()
        request, descriptors, _, _ = socket.recv_fds(self.grader, 4096, 2)
        return (json.loads(request), descriptors) if request else None

    def answer(self, reply: Any) -> None:
        self.grader.sendall(json.dumps(reply).encode())

    def branch(self, channel: int) -> None:
        """Go on in a fork too, as a server without workers for another grader, and ``channel``."""
        self.branches = {pid for pid in self.branches if not os.waitpid(pid, os.WNOHANG)[0]}
        with socket.socket(fileno=channel) as grader:
            if pid := os.fork():
                self.branches.add(pid)
                return
            self.grader.close()
            self.grader = grader.dup()
        self.folders, self.branches = {}, set()
        linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
        self.answer({"walls": self.walls})

    def try_walls(self, baits: Mapping[str, Any]) -> None:
        """Know what a worker finds that does its worst, of each wall."""
        found = self._tried(baits)
        if found is None and self.change_user:
            self.change_user = False  # Another user can't read Python or its libraries here.
            found = self._tried(baits)
        if found is None and self.namespaces:
            self.namespaces = False  # The kernel lets this user make them and not enter them.
            found = self._tried(baits)
        self.walls = found or dict(walls.UNTRIED)
        self.counted = self.walls["processes"] == "enforced"

    def _tried(self, baits: Mapping[str, Any]) -> dict[str, str] | None:
        """What a worker found; ``None`` where it can't even read Python's own library."""
        reading, writing = os.pipe()
        silent, server = os.open(os.devnull, os.O_WRONLY), os.getpid()
        neighbour = tempfile.mkdtemp()
        Path(neighbour, "secret").write_text("secret", encoding="ascii")

        def attempt(channel: int) -> None:
            found = None
            if all(
                os.access(path, os.R_OK)
                for path in (os.__file__, str(sys.modules["torch"].__file__))
            ):
                found = verdicts(baits, server, neighbour, channel)
            os.write(channel, json.dumps(found).encode())

        pid = self.fork(writing, silent, attempt)
        with open(reading, "rb") as answer:
            told = answer.read(4096)
        self.stop(pid, grace=1.0)
        scratch.remove(neighbour)
        found: dict[str, str] | None = json.loads(told or b"null")
        return found

    def fork(
        self,
        channel: int,
        output: int,
        run: Callable[[int], None] | None = None,
        *,
        gpu: bool = False,
    ) -> int:
        """A new worker, which runs a learner's code, or ``run`` with the channel."""
        reading, writing = os.pipe()
        folder = tempfile.mkdtemp(prefix="")
        pid = os.fork()
        if not pid:
            self._be_a_worker(channel, output, writing, folder, run or _serve, gpu=gpu)
        for descriptor in (channel, output, writing):
            os.close(descriptor)
        with open(reading, "rb") as told:
            another = told.read(32)
        if another:  # The one that was forked has made another, and ended.
            os.waitpid(pid, 0)
            pid = int(another)
        self.folders[pid] = folder
        return pid

    def interrupt(self, pid: int) -> int:
        if pid in self.folders:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGUSR1)
        return 0

    def stop(self, pid: int, grace: float) -> int:
        """Kill a worker, its process group, and what has left the group but was started by it."""
        if pid not in self.folders:
            return -signal.SIGKILL
        status = end_group(pid, grace)
        folder = self.folders.pop(pid)
        self._end_strays()
        scratch.remove(folder)
        return status

    def close(self) -> None:
        for pid in list(self.folders):
            self.stop(pid, 0.0)
        for pid in self.branches:  # Their graders have hung up as well, or will.
            os.waitpid(pid, 0)

    def _be_a_worker(
        self,
        channel: int,
        output: int,
        tell: int,
        folder: str,
        run: Callable[[int], None],
        *,
        gpu: bool,
    ) -> None:
        status, server = 1, os.getppid()
        try:
            os.dup2(output, 1)
            os.dup2(output, 2)
            if self.change_user:
                os.chown(folder, user := walls.new_user(), user)
                walls.become(user)
            # CUDA looks for its threads in /proc: bubblewrap's own, which can't be made once more.
            apart = self.namespaces and not (gpu and enclosure.is_enclosed())
            private = apart and walls.enter(tell)
            os.setsid()
            if not private:
                linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != server:
                    os._exit(1)
            walls.seal(
                walls.PRIVATE if private else folder,
                channel,
                private=private,
                count_processes=private or self.change_user or enclosure.is_enclosed(),
                refusals=self.refusals,
                gpu=gpu,
            )
            run(channel)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)

    def _end_crowds(self) -> None:
        """End the workers that have more processes than they may."""
        parents = _parents()
        for pid in list(self.folders):
            if len(_under(pid, parents)) > walls.PROCESSES:
                os.kill(pid, signal.SIGKILL)
                self._end_strays(ended=pid)

    def _end_strays(self, ended: int | None = None) -> None:
        """End what has no living worker above it. First all are halted, lest they fork on."""
        halted: set[int] = set()
        while True:
            parents = _parents()
            heads = (self.folders.keys() | self.branches) - {ended}
            kept = {p for head in heads for p in (head, *_under(head, parents))}
            strays = _under(os.getpid(), parents) - kept - {ended}
            if not strays - halted:
                break
            for pid in strays - halted:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
            halted |= strays
        for pid in halted:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while halted := halted & set(_parents()):
            for pid in halted:
                with contextlib.suppress(ChildProcessError):  # Its parent is yet to end.
                    os.waitpid(pid, os.WNOHANG)
            time.sleep(0.001)


def _serve(channel: int) -> None:
    from mnist_lab.submission.guest.serve import serve

    serve(socket.socket(fileno=channel))


def _parents() -> dict[int, int]:
    """The parent of each process that can be seen."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                found[int(entry.name)] = int(linux.stat_of(int(entry.name))[1])
    return found


def _under(pid: int, parents: Mapping[int, int]) -> set[int]:
    """The processes that ``pid`` has started, and those that they have."""
    found: set[int] = set()
    new = {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


if __name__ == "__main__":
    main()
