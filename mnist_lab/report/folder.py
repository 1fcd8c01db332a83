"""Put the files of a report into the place of the former one, whole or not at all.

They are written into a folder beside it, such as ``.report.3f9a2c``. Then the former report becomes
``.report.former`` and the new one ``report``; whoever is killed between these two renames leaves
both, and the next run puts the former one back.
"""

from __future__ import annotations

import glob
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mnist_lab.errors import LabError
from mnist_lab.writing import cannot_write, fill

try:
    import fcntl
except ImportError:  # Windows: there two runs that end at once do not wait for each other
    fcntl = None  # type: ignore[assignment]

RESULTS = "results.json"
"""The file that tells a report from any other folder: it lists the report's files."""
MOST_SECONDS = 2
"""How long a run waits for another; some network drives have no locks at all."""


class ReportError(LabError):
    """The report could not be written; the message says why and what to do."""


def check(out: Path) -> None:
    """Raise ``ReportError`` if no report can be written to ``out``: because that holds anything
    but a report, cannot be replaced, or nothing can be written beside it.
    """
    with _writing(out) as (out, scratch):
        scratch.mkdir()


def put(files: Mapping[str, bytes], out: Path) -> None:
    """Replace the report in ``out`` by one of ``files``, contents by their path in the folder.

    Files of the former report that its ``results.json`` does not list are not ours: they are
    kept. Raises as ``check`` does, and leaves the former report as it was.
    """
    with _writing(out) as (out, scratch):
        _copy_what_is_not_ours(out, scratch)
        fill(scratch, files)
        try:
            if out.exists():
                out.rename(_former(out))
            scratch.rename(out)
        finally:
            _recover(out)


@contextmanager
def _writing(out: Path) -> Iterator[tuple[Path, Path]]:
    """``out``, resolved, and the name of a folder beside it that is gone after the block."""
    try:
        place = out.resolve()
        place.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(place.parent) as alone:
            _recover(place)
            _refuse_what_is_not_ours(place)
            if alone:
                for folder in place.parent.glob(f".{glob.escape(place.name)}.{'[0-9a-f]' * 6}"):
                    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
            scratch = place.with_name(f".{place.name}.{secrets.token_hex(3)}")
            try:
                yield place, scratch
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise ReportError(cannot_write(out, error)) from error


@contextmanager
def _alone_in(folder: Path) -> Iterator[bool]:
    """Whether no other run writes a report into ``folder`` meanwhile; waits for one that does."""
    if fcntl is None:
        yield False
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield _locked(handle)
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    end = time.monotonic() + MOST_SECONDS
    while time.monotonic() < end:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        time.sleep(0.05)
    return False


def _former(out: Path) -> Path:
    return out.with_name(f".{out.name}.former")


def _recover(out: Path) -> None:
    """Finish or undo the two renames of a run that came no further."""
    former = _former(out)
    if not former.exists():
        return
    if out.exists():
        shutil.rmtree(former)
    else:
        former.rename(out)


def _refuse_what_is_not_ours(out: Path) -> None:
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        try:
            read_results(out)
        except ReportError as error:
            raise ReportError(
                f"{out} is not a report of mnist-lab, so it is not replaced: name another folder."
            ) from error
    if Path.cwd().is_relative_to(out):
        raise ReportError(
            f"{out} is the folder that the command runs in, so it cannot be replaced: name "
            "a folder inside it, or run the command elsewhere."
        )
    if os.path.ismount(out):
        raise ReportError(
            f"{out} is a mount point, so it cannot be replaced: name a folder inside it."
        )


def read_results(folder: Path) -> dict[str, Any]:
    """What the report in ``folder`` says of itself. Raises ``ReportError`` if that is no report."""
    try:
        said = json.loads((folder / RESULTS).read_text("utf-8"))
    except (OSError, ValueError):
        said = None
    if not (
        isinstance(said, dict)
        and isinstance(said.get("schema"), int)
        and isinstance(said.get("files"), list)
    ):
        raise ReportError(f"{folder.resolve()} is not a report: it has no {RESULTS} of one.")
    return said


def _copy_what_is_not_ours(out: Path, scratch: Path) -> None:
    if not out.exists() or not any(out.iterdir()):
        scratch.mkdir()
        return
    ours = {out / str(name) for name in read_results(out)["files"]}

    def those_of_ours(folder: str, names: list[str]) -> set[str]:
        return {name for name in names if Path(folder, name) in ours}

    shutil.copytree(out, scratch, symlinks=True, ignore=those_of_ours)
