"""Files and folders are written whole or not at all; and what is said where they cannot be."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A place beside ``path`` for a file or a folder, which takes that name after the block and is
    gone if the block fails. What ``path`` is a link to is written. Raises ``OSError``.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "It is not a file", str(path))
    scratch = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        if scratch.is_dir():
            shutil.rmtree(scratch, ignore_errors=True)
        scratch.unlink(missing_ok=True)


def write(path: Path, content: str | bytes) -> None:
    """Write ``content`` to ``path`` as it is, whole or not at all. Raises ``OSError``."""
    if isinstance(content, str):
        content = content.encode("utf-8", "backslashreplace")
    with whole(path) as scratch:
        scratch.write_bytes(content)


def fill(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write ``files`` by their path in ``folder``, which is made. Raises ``OSError``."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def is_full(error: BaseException) -> bool:
    """Whether the disk is full, or what its user may have of it."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def cannot_write(place: Path, error: OSError) -> str:
    """The sentence for a folder that cannot be written: full, forbidden or not a folder."""
    if is_full(error):
        return f"The disk is full: free some space for {place} and run the command again."
    return f"{place} cannot be written ({error.strerror or error}): name another folder."
