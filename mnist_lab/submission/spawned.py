"""The program of a guest that is started by itself, where nothing can be forked."""

from __future__ import annotations

import os
import socket
import sys

from mnist_lab.submission.guest.serve import serve
from mnist_lab.submission.sandbox import enclosure, walls

__all__ = ["main"]


def main() -> None:
    """Serve one learner's file; the arguments are the channel's descriptor, an empty folder, and
    ``gpu`` if it may use one.
    """
    enclosure.only_what_is_needed()
    channel, scratch, gpu = int(sys.argv[1]), sys.argv[2], "gpu" in sys.argv[3:]
    if os.name == "posix":
        walls.seal(scratch, channel, private=False, count_processes=False, gpu=gpu)
    os.chdir(scratch)
    serve(socket.socket(fileno=channel))


if __name__ == "__main__":
    main()
