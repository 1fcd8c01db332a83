"""What a learner's code prints, taken from a pipe: its beginning and its end, however much."""

from __future__ import annotations

import os

__all__ = ["KEPT", "Printed"]

KEPT = 8 << 10
"""Bytes that are kept from the beginning, and as many from the end."""

CHUNK, CHUNKS = 1 << 16, 16
"""Bytes taken at a time, and how often, so that an endless print can't hold the reader."""


class Printed:
    """The reading end ``descriptor`` of a pipe, which is closed with this."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor, self.is_open = descriptor, True
        self._head, self._tail, self._left_out = b"", b"", 0

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
            self._add(taken)

    def take(self) -> str:
        """What was printed since this was last asked; the middle of much is left out."""
        self.drain()
        text = self._head.decode(errors="replace")
        if self._left_out:
            text += f"\n[{self._left_out:,} bytes left out]\n"
        text += self._tail.decode(errors="replace")
        self._head, self._tail, self._left_out = b"", b"", 0
        return text

    def close(self) -> None:
        """Take no more."""
        if self.is_open:
            self.is_open = False
            os.close(self.descriptor)

    def _add(self, taken: bytes) -> None:
        room = KEPT - len(self._head)
        self._head += taken[:room]
        end = self._tail + taken[room:]
        self._left_out += max(len(end) - KEPT, 0)
        self._tail = end[-KEPT:]
