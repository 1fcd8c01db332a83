"""The program of a guest that is started by itself, where nothing can be forked."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time

from mnist_lab.submission.guest.serve import serve
from mnist_lab.submission.sandbox import enclosure, walls

LOOK_EVERY = 1.0
"""Seconds between two looks at whether the grader is still there."""


def main() -> None:
    """Serve one learner's file; the arguments are the channel's descriptor, an empty folder, and
    ``gpu`` if it may use one.
    """
    grader = os.getppid()
    enclosure.only_what_is_needed()
    channel, scratch, gpu = int(sys.argv[1]), sys.argv[2], "gpu" in sys.argv[3:]
    walls.seal(scratch, channel, private=False, count_processes=False, gpu=gpu)
    # Only now: a thread keeps the rights that it began with.
    threading.Thread(target=_end_with, args=(grader,), daemon=True).start()
    serve(socket.socket(fileno=channel))


def _end_with(grader: int) -> None:
    """End this process and its group when the grader has: the learner's code may never return."""
    while os.getppid() == grader:
        time.sleep(LOOK_EVERY)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
