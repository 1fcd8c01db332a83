"""The process that runs one file of a learner: it answers requests with arrays.

It holds no label of the test set, no expected value and no point, and imports nothing that does.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, TextIO

import torch

from mnist_lab.submission.operations import OPERATIONS
from mnist_lab.submission.protocol import Message, encode, read
from mnist_lab.submission.reports import report
from mnist_lab.submission.sandbox import enclosure, walls
from mnist_lab.submission.workbench import Workbench

__all__ = ["answer", "main", "serve"]


def serve(channel: socket.socket) -> None:
    """Answer requests until the other side hangs up.

    Standard output and error are the learner's. ``SIGUSR1`` writes to the latter the line that is
    running, even if that is inside a library.
    """
    # After a fork PyTorch mends its pool of threads at the first call that needs it. Two threads
    # that are first at once crash ("Invalid thread pool!"), as a backward pass may be.
    torch.set_num_threads(1)
    sys.stdout, sys.stderr = _writer(1), _writer(2)
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=False)
    channel.sendall(encode(Message({"ready": True, "folder": os.getcwd()})))
    bench, requests = Workbench(), channel.makefile("rb")

    def receive(size: int) -> bytes:
        received = requests.read(size)
        if len(received) < size:
            raise EOFError
        return received

    while True:
        try:
            request = read(receive)
        except EOFError:
            return
        reply = answer(bench, request)
        sys.stdout.flush()
        channel.sendall(reply)


def answer(bench: Workbench, request: Message) -> bytes:
    """The encoded answer to ``request``, whatever the learner's code raises."""
    turn: dict[str, Any] = {"turn": request.fields["turn"]}
    operation = request.fields["operation"]
    settings = nullcontext() if operation == "load" else _same_settings()
    try:
        with settings:
            done = OPERATIONS[operation](bench, request)
        return encode(Message({**done.fields, **turn}, done.arrays))
    except BaseException as error:  # SystemExit and KeyboardInterrupt are the learner's as well.
        return encode(Message({**turn, "error": report(error, bench.path)}))


def main() -> None:
    """Serve one learner's file from a fresh process; the arguments are the channel's descriptor
    and an empty folder.
    """
    enclosure.only_what_is_needed()
    channel, scratch = int(sys.argv[1]), sys.argv[2]
    if os.name == "posix":
        walls.seal(scratch, channel, private=False, count_processes=False)
    os.chdir(scratch)
    serve(socket.socket(fileno=channel))


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


def _writer(descriptor: int) -> TextIO:
    """Writes lines at once, so that a process that is killed has said what it could."""
    return open(
        descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )


if __name__ == "__main__":
    main()
