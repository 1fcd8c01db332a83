"""What the commands say: as wide as the terminal, in its characters, and never the end of a run.
And how their processes end.
"""

from __future__ import annotations

import atexit
import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console

UNLIMITED = 10_000
LOST = 1
"""The exit status where all went well but that what was said could not be written."""


def console(*, quiet: bool = False, stderr: bool = False) -> Console:
    """A console that shows text as it is: nothing in it is markup, an emoji or a number to colour.

    Lines are wrapped where somebody reads them: in a terminal, or if ``COLUMNS`` says how wide.
    """
    from rich.console import Console, ConsoleDimensions

    made = Console(quiet=quiet, stderr=stderr, markup=False, emoji=False, highlight=False)
    made.size = ConsoleDimensions(*shutil.get_terminal_size())
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = UNLIMITED
    return made


@contextmanager
def patient() -> Iterator[None]:
    """For the block, whatever is said is taken, even where it cannot be written or shown.

    The block may end with ``SystemExit``. Where standard output could not be written, other than
    because its reader went away, the exit status is not 0.
    """
    _fill_the_gaps()
    streams = sys.stdout, sys.stderr
    said = _Patient(sys.stdout)
    sys.stdout, sys.stderr = said, _Patient(sys.stderr)  # type: ignore[assignment]
    status: Any = 0
    try:
        yield
    except SystemExit as stop:
        status = stop.code
    finally:
        said.flush()
        if said.error and not isinstance(said.error, BrokenPipeError):
            reason = getattr(said.error, "strerror", None) or said.error
            print(f"mnist-lab: standard output cannot be written ({reason}).", file=sys.stderr)
            status = status or LOST
        sys.stdout, sys.stderr = streams
    raise SystemExit(status)


class _Patient:
    """A stream that is silent from the first time that it cannot be written."""

    def __init__(self, stream: TextIO) -> None:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        self.stream = stream
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        self._try(self.stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, do: Callable[..., object], *given: object) -> None:
        if self.error is None:
            try:
                do(*given)
            except (OSError, ValueError) as error:
                self.error = error


def run(main: Callable[[], Any]) -> None:
    """Be a process that does ``main``, with the status that it returns or exits with, and ends
    then: what Python takes down of PyTorch at its end takes a second.
    """
    status = 1
    atexit.register(lambda: os._exit(status))  # The first one, which runs last.
    try:
        status = int(main() or 0)
    except SystemExit as stop:
        status = int(stop.code or 0)
    sys.exit(status)


def _fill_the_gaps() -> None:
    """Open standard streams that are closed: the next file would get such a one's number."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
