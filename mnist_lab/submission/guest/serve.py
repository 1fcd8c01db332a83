"""The guest: one file of a learner, and a loop that answers the grader's questions about it."""

from __future__ import annotations

import bdb
import faulthandler
import io
import multiprocessing
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from itertools import islice
from types import FrameType
from typing import Any

import torch

from mnist_lab.submission.guest import calls, given, networks
from mnist_lab.submission.guest.errors import report
from mnist_lab.submission.guest.learner import Learner
from mnist_lab.submission.protocol import Message, encode, read

OPERATIONS: dict[str, Callable[[Learner, Message], Message]] = {
    name: getattr(module, name) for module in (calls, networks) for name in module.__all__
}


AT_ONCE = 1 << 16
"""How much may be printed before it is no longer written line by line."""


def _nobody_answers(*given: object, **named: object) -> None:
    """What a debugger does where there is no input: from Python 3.14 on it goes on, or ends all."""
    raise bdb.BdbQuit


def _say_where(number: int, frame: FrameType | None) -> None:
    """Write the stack as ``faulthandler`` does."""
    said = ["Stack (most recent call first):"]
    for each, line in islice(traceback.walk_stack(frame), 100):
        said.append(f'  File "{each.f_code.co_filename}", line {line} in {each.f_code.co_name}')
    os.write(2, "\n".join([*said, "  ...\n"]).encode())


def serve(channel: socket.socket) -> None:
    """Answer questions until the other side hangs up.

    Standard output and error are the learner's. ``SIGUSR1`` writes to the latter the line that is
    running, even if that is inside a library.
    """
    # What torch.compile would compile is run as it is written, in no more time than it takes.
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    # After a fork PyTorch mends its pool of threads at the first call that needs it. Two threads
    # that are first at once crash ("Invalid thread pool!"), as a backward pass may be.
    torch.set_num_threads(1)
    # For a DataLoader's processes: Python 3.14 would start a server that imports this one's main
    # module, which is hidden, and PyTorch once more.
    if sys.platform == "linux":
        multiprocessing.set_start_method("fork", force=True)
    sys.stdout = sys.stderr = writer = _Writer(1)  # One pipe: what is printed stays in its order.
    above = sys.version_info >= (3, 14)  # There it stops at a class that is being called.
    if above:
        signal.signal(signal.SIGUSR1, _say_where)
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=False, chain=above)
    bdb.Bdb.set_trace = _nobody_answers  # type: ignore[method-assign]
    channel.sendall(encode(Message({"folder": os.getcwd()})))
    learner, messages, alone = Learner(), channel.makefile("rb"), threading.Lock()

    def receive(size: int) -> bytes:
        received = messages.read(size)
        if len(received) < size:
            raise EOFError
        return received

    def ask(message: Message) -> Message:
        with alone:  # A learner's threads may ask at once.
            channel.sendall(encode(message))
            return Message() if message.fields["asks"] == "step" else read(receive)

    while True:
        try:
            question = read(receive)
        except EOFError:
            return
        reply = answer(learner, question, ask)
        with suppress(Exception):  # It is what the learner's code has put there.
            sys.stdout.flush()
        writer.flush()
        channel.sendall(reply)


def answer(learner: Learner, question: Message, ask: Callable[[Message], Message]) -> bytes:
    """The encoded answer to ``question``, whatever the learner's code raises.

    ``ask`` puts a question to the grader meanwhile, for what was given to the learner's code.
    """
    turn: dict[str, Any] = {"turn": question.fields["turn"]}
    operation = question.fields["operation"]
    settings = nullcontext() if operation == "load" else _same_settings()
    try:
        with settings, given.asking(lambda m: ask(Message({**m.fields, **turn}, m.arrays))):
            done = OPERATIONS[operation](learner, question)
        return encode(Message({**done.fields, **turn}, done.arrays))
    except BaseException as error:  # SystemExit and KeyboardInterrupt are the learner's as well.
        name = str(question.fields.get("name", ""))
        return encode(Message({**turn, "error": report(error, learner, name)}))


@contextmanager
def _same_settings() -> Iterator[None]:
    """What a learner's code sets for all of PyTorch lasts for a call; what its file sets, stays."""
    grad, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_grad_enabled(grad)
        torch.set_default_dtype(dtype)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


class _Writer(io.TextIOWrapper):
    """Writes lines at once, so that a process that is killed has said what it could; after
    ``AT_ONCE`` signs many at a time, since each would cost more than printing it.
    """

    def __init__(self, descriptor: int) -> None:
        file = io.BufferedWriter(io.FileIO(descriptor, "w", closefd=False))
        super().__init__(file, "utf-8", "backslashreplace", line_buffering=True)
        self._left = AT_ONCE

    def write(self, text: str) -> int:
        self._left -= len(text)
        if self._left < 0:
            self.reconfigure(line_buffering=False)
            self.write = super().write  # type: ignore  # Which takes less time.
        return super().write(text)

    def close(self) -> None:
        """Not even learners' code closes it."""
        self.flush()
