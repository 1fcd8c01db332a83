"""The grader's end of one process that runs a learner's file: its time, its output, its death."""

from __future__ import annotations

import contextlib
import math
import os
import re
import secrets
import select
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from mnist_lab.submission.given import Given
from mnist_lab.submission.printed import Printed
from mnist_lab.submission.protocol import Message, WireError, encode, read
from mnist_lab.submission.sandbox import enclosure, scratch
from mnist_lab.submission.server import (
    Isolation,
    Server,
    ServerError,
    command,
    end_group,
)

if TYPE_CHECKING:
    from mnist_lab.submission.local import Local

    Worker: TypeAlias = "_Remote | Local"
    """A process that holds one learner's file, or what stands in for one."""

AT_ONCE = 1 << 16
"""Bytes that are taken from a channel at a time, or as many as are still awaited."""

START_LIMIT = 120.0
"""Seconds in which a process must be ready: a spawned one imports torch first."""

STACK_WAIT = 2.0
"""Seconds for a process that is late to say which line it is at."""

GRACE = 0.5
"""Seconds in which a process that hung up may end by itself, so that its exit status is known."""

STACK = re.compile(
    r"most recent call first((?:(?!<invalid frame>).)*(?: in _run_module_as_main| {2}\.{3}))\n",
    re.DOTALL,
)
"""A whole stack as ``faulthandler`` writes it, line by line: up to the outermost call, or to the
dots in place of what is deeper than a hundred.
"""


@dataclass
class EndedError(Exception):
    """The process gave no answer and is no more.

    ``kind`` is ``timeout``, ``status`` (``status`` says which; negative for a signal) or
    ``garbage`` (``detail`` completes "the answer is wrong: …"). ``stack`` is what it was doing,
    ``printed`` what it printed.
    """

    kind: Literal["timeout", "status", "garbage"]
    detail: str = ""
    status: int = 0
    stack: str = ""
    printed: str = ""


class StartError(Exception):
    """A process could not be started, through no fault of the learner's."""


def start(isolation: Isolation, server: Server | None = None, *, gpu: bool = False) -> Worker:
    """A new worker, which may use a ``gpu``. Raises ``StartError``."""
    if isolation == "none":
        # Imported here, since nobody else in the grader's process needs what a worker needs.
        from mnist_lab.submission.local import Local

        return Local()
    try:
        if isolation == "fork":
            if server is None:
                raise StartError("a fork needs a server")
            return _Forked(server, gpu)
        return _Spawned(gpu)
    except (ServerError, OSError) as error:
        raise StartError(str(error)) from error


class _Remote(ABC):
    """A worker in another process, behind a socket."""

    def __init__(self) -> None:
        self._channel, theirs = socket.socketpair()
        reading, output = os.pipe()
        self._printed, self._received = Printed(reading), bytearray()
        try:
            self._begin(theirs.fileno(), output)
        except BaseException:
            self._hang_up()
            raise
        finally:
            theirs.close()
            os.close(output)
        self._channel.setblocking(False)
        self.alive = True
        try:
            ready = self._exchange(b"", time.monotonic() + START_LIMIT)
        except EndedError as ended:
            said = ended.printed.strip().rpartition("\n")[2]
            raise StartError(f"{ended.kind} {ended.status} {said}".strip()) from ended
        self._inside = str(ready.fields["folder"])  # Where paths of a learner's begin, too.

    @abstractmethod
    def _begin(self, channel: int, output: int) -> None:
        """Start it with these two descriptors."""

    @abstractmethod
    def _interrupt(self) -> None:
        """Have it say where it is."""

    @abstractmethod
    def _kill(self, grace: float) -> int:
        """End it after ``grace`` seconds; its exit status, negative for a signal."""

    def ask(
        self, operation: str, request: Message, seconds: float, given: Given | None = None
    ) -> Message:
        """Its answer; ``given`` answers what it asks meanwhile. Raises ``EndedError``, after
        stopping it, where there is none in time.
        """
        if operation == "load":
            request = Message({**request.fields, "folder": self._inside}, request.arrays)
        turn = secrets.token_hex(8)
        fields = {**request.fields, "operation": operation, "turn": turn}
        deadline = time.monotonic() + seconds
        message: Message | None = Message(fields, request.arrays)
        while True:
            reply = self._exchange(encode(message) if message else b"", deadline)
            if reply.fields.get("turn") != turn:
                raise self._garbage("it answers another question")
            if "asks" not in reply.fields:
                return reply
            try:
                if given is None:
                    raise WireError("it asks for something that was not given")
                message = given.answer(reply)
            except WireError as error:
                raise self._garbage(str(error)) from None

    def take_output(self) -> str:
        """What was printed since this was last asked."""
        return self._printed.take()

    def stop(self) -> None:
        """End it and all that it started."""
        if self.alive:
            self._end(grace=0.0)

    def _garbage(self, detail: str) -> EndedError:
        self.stop()
        return EndedError("garbage", detail=detail, printed=self.take_output())

    def _exchange(self, request: bytes, deadline: float) -> Message:
        try:
            if request:
                self._send(request, deadline)
            return read(lambda size: self._receive(size, deadline))
        except TimeoutError:
            printed, stack = self.take_output(), self._stack()
            self.stop()
            raise EndedError("timeout", stack=stack, printed=printed) from None
        except (EOFError, ConnectionError):
            status = self._end(GRACE)
            raise EndedError("status", status=status, printed=self.take_output()) from None
        except WireError as error:
            raise self._garbage(str(error)) from None

    def _send(self, request: bytes, deadline: float) -> None:
        with contextlib.suppress(BlockingIOError):
            if not (self._received or self._channel.recv(1, socket.MSG_PEEK)):
                raise EOFError
            raise WireError("it came before the question")
        rest = memoryview(request)
        while rest:
            try:
                rest = rest[self._channel.send(rest) :]
            except BlockingIOError:
                self._wait(select.POLLOUT, deadline)

    def _receive(self, size: int, deadline: float) -> bytearray:
        while len(self._received) < size:
            try:
                part = self._channel.recv(max(size - len(self._received), AT_ONCE))
            except BlockingIOError:
                self._wait(select.POLLIN, deadline)
                continue
            if not part:
                raise EOFError
            if time.monotonic() >= deadline:
                raise TimeoutError
            self._received += part
        received = self._received[:size]
        del self._received[:size]
        return received

    def _wait(self, event: int, deadline: float) -> None:
        """Return when the channel is ready, and meanwhile take what is printed."""
        channel, printed = self._channel.fileno(), self._printed.descriptor
        ready: set[int] = set()
        while channel not in ready:
            poll = select.poll()
            poll.register(channel, event)
            if self._printed.is_open:
                poll.register(printed, select.POLLIN)
            left = max(deadline - time.monotonic(), 0.0)
            ready = {descriptor for descriptor, _ in poll.poll(math.ceil(left * 1000))}
            if printed in ready:
                self._printed.drain()
            if time.monotonic() >= deadline:
                raise TimeoutError

    def _stack(self) -> str:
        """What the late process is doing, in its own words, in which the learner's files have no
        folder; empty if it does not say.
        """
        self._interrupt()
        said, deadline = "", time.monotonic() + STACK_WAIT
        while not (whole := STACK.search(said)) and time.monotonic() < deadline:
            time.sleep(0.02)
            said += self._printed.take()
        return whole[1].replace(f'"{self._inside}/', '"') if whole else ""

    def _end(self, grace: float) -> int:
        self.alive = False
        status = self._kill(grace)
        self._hang_up()
        return status

    def _hang_up(self) -> None:
        self._printed.drain()
        self._printed.close()
        self._channel.close()


class _Forked(_Remote):
    """A worker that a server forks and ends."""

    def __init__(self, server: Server, gpu: bool) -> None:
        self.server, self.gpu = server, gpu
        super().__init__()

    def _begin(self, channel: int, output: int) -> None:
        self.pid = self.server.fork(channel, output, gpu=self.gpu)

    def _interrupt(self) -> None:
        with contextlib.suppress(ServerError):
            self.server.interrupt(self.pid)

    def _kill(self, grace: float) -> int:
        try:
            return self.server.stop(self.pid, grace)
        except ServerError:
            self.server.close()  # Its workers end with it.
            return -signal.SIGKILL


class _Spawned(_Remote):
    """A worker that imports everything itself. What leaves its process group outlives it."""

    def __init__(self, gpu: bool) -> None:
        self.gpu = gpu
        super().__init__()

    def _begin(self, channel: int, output: int) -> None:
        self.kit, self.folder = scratch.new(), scratch.new()
        enclosure.copy_kit(Path(self.kit))
        self.process = subprocess.Popen(
            [
                *command("mnist_lab.submission.spawned"),
                str(channel),
                self.folder,
                *(["gpu"] if self.gpu else []),
            ],
            pass_fds=[channel],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=self.folder,
            env=enclosure.variables(self.kit),
        )

    def _interrupt(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGUSR1)

    def _kill(self, grace: float) -> int:
        self.process.returncode = end_group(self.process.pid, grace)
        scratch.remove(self.kit)
        scratch.remove(self.folder)
        return self.process.returncode
