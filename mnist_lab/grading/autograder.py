"""The archive that Gradescope makes an autograder of: two scripts and the kit.

https://gradescope-autograders.readthedocs.io/en/latest/specs/ says what belongs into it.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from mnist_lab.grading import checkout
from mnist_lab.writing import whole

SCRIPTS = ("setup.sh", "run_autograder")
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Every file's time, so that the same tree makes the same archive."""

QUICK_SECONDS, FULL_SECONDS = 540, 2340
"""Gradescope ends an autograder after 10 minutes unless told otherwise, and after 40 at most."""


def contents(root: Path, *, full: bool = False) -> dict[str, bytes]:
    """The files of the archive by their path in it; ``root`` is a checkout of the kit."""
    templates = Path(__file__).parent / "templates"
    files = {name: (templates / name).read_bytes() for name in SCRIPTS}
    if full:
        files["run_autograder"] = (
            files["run_autograder"]
            .replace(b"\noptions=()\n", b"\noptions=(--full)\n")
            .replace(f"\nlimit={QUICK_SECONDS}\n".encode(), f"\nlimit={FULL_SECONDS}\n".encode())
        )
    return files | {f"kit/{name}": data for name, data in checkout.installable(root).items()}


def write(root: Path, out: Path, *, full: bool = False) -> None:
    """Write the archive to ``out``, whole or not at all. Raises ``OSError`` if it cannot."""
    with whole(out) as scratch, zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents(root, full=full).items():
            entry = zipfile.ZipInfo(name, LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if name in SCRIPTS else 0o100644) << 16
            archive.writestr(entry, data)
