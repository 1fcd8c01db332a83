"""Unpacks a zip or tar archive that somebody handed in, into a folder that it can't reach out of.

Only Python files, notebooks and archives come out; a link or a device with such a name refuses the
whole archive. What is too large is refused before it is read.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import shutil
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any

from mnist_lab.submission.refused import SourceError, refuse_disguised, shown
from mnist_lab.writing import is_full

MEMBERS, FILE, TOTAL = 2000, 50 << 20, 100 << 20
"""How many members are unpacked, and how many bytes each and all may have."""

LISTED = 50_000
"""How many members an archive may have, those that are not unpacked included."""

DIRECTORY, HEADER, SPAN = 16 << 20, 1 << 20, 1 << 30
"""How many bytes the list of members of a zip may have, the headers of a member of a tar, and a
whole tar.
"""

OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zX": lzma.open}
"""What opens a compressed tar, by the bytes that it begins with, whatever it is called."""

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")
UNREAD = (".rar", ".7z", ".tar.zst", ".zst", ".xz", ".gz", ".bz2", ".zipx", ".z01", ".001")
"""What archives are called that are unpacked, and those that are not."""

NOTEBOOKS = (".ipynb", ".ipynb.json", ".ipynb.txt")
"""What notebooks are called; browsers add the last."""

WANTED = (".py", ".py.txt", *NOTEBOOKS, *SUFFIXES)
DEBRIS = ("__MACOSX", "__pycache__", "node_modules", "site-packages", "Feedback Attachment(s)")
"""What systems and tools leave behind; the last is what an instructor gave back, in Sakai."""

END, END_SIZE = b"PK\x05\x06", 22
"""The record at the end of a zip, and its bytes without a comment."""

DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    ValueError,
    OverflowError,
    struct.error,
)
"""What the standard library raises for archives that are broken, encrypted or nonsense."""


ENCRYPTED = "an encrypted file"


@dataclass(frozen=True)
class _Member:
    """``size`` is what its header claims; ``kind`` is empty for a file, which ``open`` reads."""

    name: str
    size: int
    kind: str
    open: Callable[[], IO[bytes] | None]

    @property
    def parts(self) -> tuple[str, ...]:
        return PurePosixPath(self.name.replace("\\", "/")).parts

    @property
    def is_wanted(self) -> bool:
        return is_wanted(self.name) and not any(
            is_debris(part) and not is_hidden(part) for part in self.parts
        )


def is_archive(path: Path) -> bool:
    """Whether ``path`` is called like an archive that ``unpack`` knows."""
    return path.name.lower().endswith(SUFFIXES)


def is_wanted(name: str) -> bool:
    """Whether a file is called like what may be an exercise, or have one in it."""
    return name.lower().endswith(WANTED)


def is_notebook(name: str) -> bool:
    """Whether a file is called like a notebook."""
    return name.lower().endswith(NOTEBOOKS)


def is_debris(name: str) -> bool:
    """Whether a file or folder is what systems and tools leave behind."""
    return (name.startswith(".") and name not in (".", "..")) or name in DEBRIS


def is_hidden(name: str) -> bool:
    """Whether a file or folder is passed over for the dot at its beginning alone."""
    return is_debris(name) and name[0] == "." and not name.startswith(("._", ".DS_Store", ".git"))


def unpack(path: Path, folder: Path, tells: Callable[[str], object] = lambda name: False) -> None:
    """Unpack what may be an exercise in the archive ``path`` into the empty ``folder``; of what
    ``tells`` something by its name alone there is an empty file.

    Raises ``SourceError``.
    """
    name, start = path.name.lower(), b"?"
    try:
        with path.open("rb") as file:
            start = file.read(64)
        opener = next((OPENERS[each] for each in OPENERS if start.startswith(each)), None)
        if opener is None and (name.endswith(".zip") or start.startswith(b"PK")):
            if _directory_size(path) > DIRECTORY:
                raise SourceError(f"{shown(path)} has more than {LISTED:,} members.")
            with zipfile.ZipFile(path) as zipped:
                _extract(path, _zip_members(zipped), folder, tells)
        else:
            with (opener or open)(path, "rb") as stream:
                bounded: Any = _Bounded(stream)
                with tarfile.open(fileobj=bounded, mode="r:") as tarred:
                    _extract(path, _tar_members(tarred, bounded), folder, tells)
    except DAMAGE as error:
        if is_full(error):
            raise
        refuse_disguised(shown(path), start)
        reason = (error.strerror or "") if isinstance(error, OSError) else str(error)
        said = shown(reason[:200]) or "it is damaged"
        raise SourceError(f"{shown(path)} can't be unpacked: {said}.") from error


class _Bounded:
    """A tar of which no headers are read that are larger than any in earnest: ``left`` is how many
    bytes may be.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self.tell = stream, stream.tell
        self.left: float = HEADER

    def read(self, size: int) -> bytes:
        self.left -= size
        if self.left < 0:
            raise tarfile.ReadError("a header of it is too large")
        return bytes(self._stream.read(size))

    def seek(self, place: int) -> int:
        if place > SPAN:
            raise tarfile.ReadError("it is too large when unpacked")
        return int(self._stream.seek(place))


def _directory_size(path: Path) -> int:
    """How many bytes the list of members has, as the end of a zip says; of a zip that is larger
    than 4 GB it is more than anything.
    """
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - END_SIZE - (1 << 16)))
        end = file.read()
    at = end.rfind(END)
    if at < 0 or len(end) - at < END_SIZE:
        raise zipfile.BadZipFile("it is damaged")
    return int(struct.unpack_from("<L", end, at + 12)[0])


def _extract(
    path: Path, members: Iterator[_Member], folder: Path, tells: Callable[[str], object]
) -> None:
    left, unpacked = TOTAL, 0
    told = dict[tuple[str, ...], None]()
    for number, member in enumerate(members):
        if number >= LISTED:
            raise SourceError(f"{shown(path)} has more than {LISTED:,} members.")
        hidden = next((n for n, part in enumerate(member.parts, 1) if is_hidden(part)), 0)
        if hidden or not member.is_wanted:
            if member.is_wanted or tells("".join(member.parts[-1:]).lower()):
                told[member.parts[: hidden or None]] = None
            continue
        unpacked += 1
        if unpacked > MEMBERS:
            raise SourceError(
                f"{shown(path)} has more than {MEMBERS:,} members of code: pack it without what is "
                "no exercise, such as a virtual environment."
            )
        target = folder / _harmless(path, member)
        if member.size > min(FILE, left):
            raise SourceError(f"{shown(path)} is too large when unpacked.")
        target.parent.mkdir(parents=True, exist_ok=True)
        source = member.open()
        assert source is not None  # It is a plain file.
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file)  # No more than its size, whatever it was packed from.
        left -= member.size
    for parts in islice(told, MEMBERS):
        _note_name(folder, parts)


def _note_name(folder: Path, parts: tuple[str, ...]) -> None:
    """Have the name alone in the folder, of which something can be said, if it can be there."""
    if not {"/", ".."} & {*parts}:
        with suppress(OSError, ValueError):
            folder.joinpath(*parts[:-1]).mkdir(parents=True, exist_ok=True)
            folder.joinpath(*parts).touch()


def _harmless(path: Path, member: _Member) -> PurePosixPath:
    """Where ``member`` belongs, which is inside of the folder."""
    name = PurePosixPath(*member.parts)
    said = ascii(member.name[:80])
    if member.kind:
        advice = "pack it again without a password" if member.kind == ENCRYPTED else "take it out"
        raise SourceError(f"{shown(path)} has {member.kind} in it, {said}: {advice}.")
    drive = PureWindowsPath(member.name).drive
    if name.is_absolute() or ".." in name.parts or drive or "\0" in member.name:
        raise SourceError(
            f"{shown(path)} has a file that would land elsewhere: {said}. Pack the folder of the "
            "exercises anew."
        )
    if len(name.parts) > 20 or any(
        len(part.encode("utf-8", "replace")) > 200 for part in name.parts
    ):
        raise SourceError(f"{shown(path)} has a path that is too long: {said}.")
    return name


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        odd = stat.S_IFMT(mode) not in (0, stat.S_IFREG)
        kind = ("a link" if stat.S_ISLNK(mode) else "a device") if odd else ""
        if info.flag_bits & 1:
            kind = ENCRYPTED
        if not info.is_dir():
            yield _Member(info.filename, info.file_size, kind, partial(archive.open, info))


def _tar_members(archive: tarfile.TarFile, stream: _Bounded) -> Iterator[_Member]:
    while (info := archive.next()) is not None:
        stream.left = math.inf
        kind = ""
        if info.issym() or info.islnk():
            kind = "a link"
        elif info.issparse():
            kind = "a sparse file"
        elif not info.isreg():
            kind = "a device"
        if not info.isdir():
            yield _Member(info.name, info.size, kind, partial(archive.extractfile, info))
        stream.left = HEADER
