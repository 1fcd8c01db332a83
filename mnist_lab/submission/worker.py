"""The process that runs one file of a learner: it answers requests with arrays.

It holds no label of the test set, no expected value and no point, and imports nothing that does.
"""

from __future__ import annotations

import faulthandler
import resource
import signal
import socket
import sys
from typing import Any, TextIO

import torch

from mnist_lab.submission.operations import OPERATIONS
from mnist_lab.submission.reports import report
from mnist_lab.submission.wire import Message, encode, read
from mnist_lab.submission.workbench import Workbench

__all__ = ["MEMORY", "answer", "main", "serve"]

MEMORY = 4 << 30
"""Bytes that a learner's code may take on top of what the process has when it starts."""


def serve(channel: socket.socket) -> None:
    """Answer requests until the other side hangs up.

    Standard output and error are the learner's. ``SIGUSR1`` writes to the latter the line that is
    running, even if that is inside a library.
    """
    sys.stdout, sys.stderr = _writer(1), _writer(2)
    faulthandler.register(signal.SIGUSR1, file=2, all_threads=False)
    _limit_memory()
    channel.sendall(encode(Message({"ready": True})))
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
    try:
        done = OPERATIONS[request.fields["operation"]](bench, request)
        return encode(Message({**done.fields, **turn}, done.arrays))
    except BaseException as error:  # SystemExit and KeyboardInterrupt are the learner's as well.
        return encode(Message({**turn, "error": report(error, bench.path)}))


def main() -> None:
    """Serve one learner's file from a fresh process; the argument is the channel's descriptor."""
    torch.set_num_threads(1)
    sys.dont_write_bytecode = True
    serve(socket.socket(fileno=int(sys.argv[1])))


def _writer(descriptor: int) -> TextIO:
    """Writes lines at once, so that a process that is killed has said what it could."""
    return open(
        descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )


def _limit_memory() -> None:
    """Make an allocation beyond ``MEMORY`` fail, where the system counts private memory."""
    if sys.platform != "linux":
        return
    with open("/proc/self/status", encoding="ascii") as status:
        held = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held + MEMORY
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, wanted))


if __name__ == "__main__":
    main()
