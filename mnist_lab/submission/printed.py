"""What a learner's code prints, taken from a pipe: its beginning and its end, however much.

Equal lines that follow one another are one, with their number. What libraries and the machine have
to say is left out.
"""

from __future__ import annotations

import os
import re

KEPT = 8 << 10
"""Bytes that are kept from the beginning, and as many from the end."""

CHUNK, CHUNKS = 1 << 16, 16
"""Bytes taken at a time, and how often, so that an endless print can't hold the reader."""

NOISE = re.compile(
    r"""
    /.*/(?:site-packages|lib/python3[\d.]*)/\S+:\d+:\ \w*Warning:  # of a library, to its authors
    | \[?[WEI]\d{4}\ [\d:.]+\ |\[[WEI]\S*\ \w+\.(?:cpp|cc|h):\d+\]  # PyTorch's C++
    | Fontconfig | Matplotlib\ (?:created|is\ building) | mkdir\ -p\ failed\ for\ path
    | OMP: | OpenBLAS | Error\ in\ cpuinfo | libGL | \w+:\ cannot\ open\ display
    """,
    re.VERBOSE,
)


class Printed:
    """The reading end ``descriptor`` of a pipe, which is closed with this."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor, self.is_open = descriptor, True
        self._begin()

    def drain(self) -> None:
        """Take what is there now."""
        for _ in range(CHUNKS if self.is_open else 0):
            try:
                taken = os.read(self.descriptor, CHUNK)
            except BlockingIOError:
                return
            if not taken:
                self.close()
                return
            self._read(taken)

    def take(self) -> str:
        """What was printed since this was last asked; the middle of much is left out."""
        self.drain()
        self._keep(self._repeated() + self._line)
        text = self._head.decode(errors="replace")
        if self._left_out:
            text += f"\n[{self._left_out:,} bytes left out]\n"
        text += self._tail.decode(errors="replace")
        self._begin()
        return text

    def close(self) -> None:
        """Take no more."""
        if self.is_open:
            self.is_open = False
            os.close(self.descriptor)

    def _begin(self) -> None:
        self._head, self._tail, self._left_out = b"", b"", 0
        self._line, self._last, self._times = b"", b"", 0

    def _read(self, taken: bytes) -> None:
        """Whole lines are kept, in groups of equal ones; the last waits for its end."""
        *lines, self._line = (self._line + taken).split(b"\n")
        kept = []
        for line in lines:
            if line != self._last:
                kept.append(self._repeated())
                self._last = line
            self._times += 1
        if len(self._line) > CHUNK:
            kept += [self._repeated(), self._line]
            self._line = b""
        self._keep(b"".join(kept))

    def _repeated(self) -> bytes:
        """The last line, which is kept, with its number."""
        times, self._times = self._times, 0
        if times < 2 or not self._last:
            return self._last + b"\n" if times else b""
        return self._last + f"  ({times:,} times)\n".encode()

    def _keep(self, taken: bytes) -> None:
        room = KEPT - len(self._head)
        self._head += taken[:room]
        end = self._tail + taken[room:]
        self._left_out += max(len(end) - KEPT, 0)
        self._tail = end[-KEPT:]


def without_noise(text: str) -> str:
    """``text`` without the lines of libraries; a warning's line of code goes with it."""
    own, is_noise = "", False
    for line in text.splitlines(keepends=True):
        is_noise = NOISE.match(line) is not None or (is_noise and line.startswith("  "))
        own += "" if is_noise else line
    return own
