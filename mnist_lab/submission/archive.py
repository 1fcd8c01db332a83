"""Unpacks a zip or tar archive that somebody handed in, into a folder that it can't reach out of.

Only plain files and folders of ordinary size come out; anything else refuses the whole archive.
"""

from __future__ import annotations

import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

__all__ = ["ArchiveError", "is_archive", "unpack"]

MEMBERS, FILE, TOTAL = 2000, 20 << 20, 100 << 20
"""How many members an archive may have, and how many bytes each and all may unpack to."""

CHUNK = 1 << 16
SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
DAMAGE = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    UnicodeError,
)
"""What the standard library raises for archives that are broken, encrypted or nonsense."""


class ArchiveError(Exception):
    """An archive is not unpacked; the message says why, in one sentence."""


@dataclass(frozen=True)
class _Member:
    """``size`` is what its header claims; ``kind`` is empty for a file or folder."""

    name: str
    size: int
    kind: str
    is_folder: bool
    source: zipfile.ZipInfo | tarfile.TarInfo


def is_archive(path: Path) -> bool:
    """Whether ``path`` is called like an archive that ``unpack`` knows."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(path: Path, folder: Path) -> Path:
    """Unpack the archive ``path`` into the empty ``folder``; the folder with the files in it.

    That is the one folder at the top of the archive, if there is nothing beside it. Raises
    ``ArchiveError``.
    """
    try:
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as zipped:
                _extract(path, _zip_members(zipped), zipped, folder)
        else:
            mode = "r:" if path.name.lower().endswith(".tar") else "r:gz"
            with tarfile.open(path, mode) as tarred:  # type: ignore[call-overload]
                _extract(path, _tar_members(tarred), tarred, folder)
    except DAMAGE as error:
        raise ArchiveError(f"{path.name} can't be unpacked: {error or 'it is damaged'}.") from error
    inside = [entry for entry in folder.iterdir() if entry.name != "__MACOSX"]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _extract(
    path: Path,
    members: Iterator[_Member],
    archive: zipfile.ZipFile | tarfile.TarFile,
    folder: Path,
) -> None:
    left = TOTAL
    for number, member in enumerate(members):
        if number >= MEMBERS:
            raise ArchiveError(f"{path.name} has more than {MEMBERS:,} members.")
        target = folder / _harmless(path, member)
        if member.size > min(FILE, left):
            raise ArchiveError(f"{path.name} is too large when unpacked.")
        if member.is_folder:
            target.mkdir(parents=True, exist_ok=True)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        with _opened(archive, member) as source, target.open("wb") as file:
            left -= _copy(path, source, file, min(FILE, left))


def _copy(path: Path, source: IO[bytes], file: IO[bytes], most: int) -> int:
    """Copy all of ``source``; its length. Counts what comes, not what was promised."""
    copied = 0
    while part := source.read(CHUNK):
        copied += len(part)
        if copied > most:
            raise ArchiveError(f"{path.name} is too large when unpacked.")
        file.write(part)
    return copied


def _harmless(path: Path, member: _Member) -> PurePosixPath:
    """Where ``member`` belongs, which is inside of the folder."""
    name = PurePosixPath(member.name.replace("\\", "/"))
    shown = ascii(member.name[:80])
    if member.kind:
        raise ArchiveError(f"{path.name} has {member.kind} in it, {shown}: only files are taken.")
    if name.is_absolute() or ".." in name.parts or ":" in member.name or "\0" in member.name:
        raise ArchiveError(f"{path.name} has a file that would land elsewhere: {shown}.")
    if len(name.parts) > 20 or any(len(part) > 200 for part in name.parts):
        raise ArchiveError(f"{path.name} has a path that is too long: {shown}.")
    return name


def _zip_members(archive: zipfile.ZipFile) -> Iterator[_Member]:
    for info in archive.infolist():
        mode = info.external_attr >> 16
        odd = stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR)
        kind = ("a link" if stat.S_ISLNK(mode) else "a device") if odd else ""
        if info.flag_bits & 1:
            kind = "an encrypted file"
        yield _Member(info.filename, info.file_size, kind, info.is_dir(), info)


def _tar_members(archive: tarfile.TarFile) -> Iterator[_Member]:
    for info in archive:
        kind = ""
        if info.issym() or info.islnk():
            kind = "a link"
        elif info.issparse():
            kind = "a sparse file"
        elif not (info.isreg() or info.isdir()):
            kind = "a device"
        yield _Member(info.name, info.size, kind, info.isdir(), info)


def _opened(archive: zipfile.ZipFile | tarfile.TarFile, member: _Member) -> IO[bytes]:
    if isinstance(archive, zipfile.ZipFile):
        assert isinstance(member.source, zipfile.ZipInfo)
        return archive.open(member.source)
    assert isinstance(member.source, tarfile.TarInfo)
    opened = archive.extractfile(member.source)
    assert opened is not None
    return opened
