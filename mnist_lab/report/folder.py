"""Put a report into the place of the former one, whole or not at all.

A report is made in a scratch folder beside its place, ``.report.3f9a2c`` for ``report``. Two
renames put it there: the former report becomes ``.report.former``, the scratch becomes
``report``. Whoever is killed between the two leaves the former report for the next run to find.
"""

from __future__ import annotations

import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mnist_lab.writing import cannot_write

try:
    import fcntl
except ImportError:  # Windows: what a killed run leaves behind stays there, and is harmless
    fcntl = None  # type: ignore[assignment]

__all__ = ["RESULTS", "ReportError", "replaced", "writing"]

RESULTS = "results.json"
"""The file that tells a report from any other folder: it lists the report's files."""


class ReportError(Exception):
    """The report could not be written; the message says why and what to do."""


@contextmanager
def replaced(out: Path) -> Iterator[Path]:
    """An empty folder to write a report into, which takes the place of ``out`` at the end.

    If the block fails, however it does, ``out`` stays as it is. Files in a former report that
    its ``results.json`` does not list are not ours: they are carried over. Raises ``ReportError``
    before the block if ``out`` holds anything but a report, cannot be replaced, or cannot be
    written beside.
    """
    with writing(out):
        out = out.resolve()
        former = out.with_name(f".{out.name}.former")
        _refuse_what_is_not_ours(out, former)
        out.parent.mkdir(parents=True, exist_ok=True)
        _recover(out, former)
        _remove_abandoned(out)
        scratch = out.with_name(f".{out.name}.{secrets.token_hex(3)}")
        scratch.mkdir()
    try:
        with _in_use(scratch):
            yield scratch
            with writing(out):
                _refuse_what_is_not_ours(out, former)
                _carry_over(out, scratch)
                _swap(scratch, out, former)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn an ``OSError`` of the block into a ``ReportError`` about ``place``."""
    try:
        yield
    except OSError as error:
        raise ReportError(cannot_write(place, error)) from error


def _refuse_what_is_not_ours(out: Path, former: Path) -> None:
    for place in (out, former):
        if _holds_something(place) and _files_of_report(place) is None:
            raise ReportError(
                f"{place} is not a report of mnist-lab, so it is not replaced: name another folder."
            )
    if Path.cwd().is_relative_to(out):
        raise ReportError(
            f"{out} is the folder that the command runs in, so it cannot be replaced: name "
            "a folder inside it, or run the command elsewhere."
        )
    if os.path.ismount(out):
        raise ReportError(
            f"{out} is a mount point, so it cannot be replaced: name a folder inside it."
        )


def _holds_something(place: Path) -> bool:
    return place.exists() and (not place.is_dir() or any(place.iterdir()))


def _files_of_report(folder: Path) -> set[str] | None:
    """The files of the report in ``folder``, or ``None`` if it is not a report."""
    try:
        results = json.loads((folder / RESULTS).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(results, dict) or not isinstance(results.get("schema"), int):
        return None
    files = results.get("files")
    return set(map(str, files)) if isinstance(files, list) else None


def _recover(out: Path, former: Path) -> None:
    """Finish or undo the two renames of a run that was killed between them."""
    if not former.exists():
        return
    if _holds_something(out):
        shutil.rmtree(former)
    else:
        _put(former, out)


def _put(folder: Path, out: Path) -> None:
    """Rename ``folder`` to ``out``, which is missing or an empty folder."""
    with suppress(FileNotFoundError):
        out.rmdir()
    folder.rename(out)


def _carry_over(out: Path, scratch: Path) -> None:
    """Copy what others put into the former report, unless a file of the new one has its name."""
    ours = _files_of_report(out) or set()
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        target = scratch / name
        if name.as_posix() in ours or os.path.lexists(target):
            continue
        if path.is_dir() and not path.is_symlink():
            target.mkdir()
        else:
            shutil.copy2(path, target, follow_symlinks=False)


def _swap(scratch: Path, out: Path, former: Path) -> None:
    if not _holds_something(out):
        _put(scratch, out)
        return
    try:
        out.rename(former)
        scratch.rename(out)
    except BaseException:
        _recover(out, former)
        raise
    former.rename(scratch)  # under the scratch's name it is removed with it


@contextmanager
def _in_use(scratch: Path) -> Iterator[None]:
    """Lock ``scratch`` for the block; the lock ends with the process, however that ends."""
    if fcntl is None:
        yield
        return
    handle = os.open(scratch, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network drives have no locks: see _is_abandoned
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


def _is_abandoned(scratch: Path) -> bool:
    """Whether no process has ``scratch`` in use; ``False`` where that cannot be known."""
    if fcntl is None:
        return False
    handle = os.open(scratch, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def _remove_abandoned(out: Path) -> None:
    """Remove the scratch folders of runs that were killed."""
    for folder in out.parent.glob(f".{glob.escape(out.name)}.{'[0-9a-f]' * 6}"):
        if folder.is_dir() and _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
