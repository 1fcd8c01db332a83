"""Where the exercises, solutions and grading tests are, and a learner's own copy of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import mnist_lab
from mnist_lab.errors import LabError
from mnist_lab.writing import cannot_write, fill

COPIED = ("exercises", "tests/grading", "conftest.py")

SETTINGS = f"""\
[pytest]
testpaths = tests/grading
mnist_lab = {mnist_lab.__version__}
"""
"""With the version of the kit whose checks the workspace's tests call."""


def root() -> Path:
    """The folder of ``exercises`` and ``tests/grading``: a checkout, or inside the wheel."""
    package = Path(mnist_lab.__file__).parent
    inside = package / "workspace_files"
    return inside if inside.is_dir() else package.parent


def above(folder: Path) -> Path | None:
    """The workspace, or the checkout of the kit, that ``folder`` is or lies in; None if none."""
    for each in (folder, *folder.parents):
        settings = each / "conftest.py"
        if (each / "tests/grading").is_dir() and settings.is_file():
            return each if b"mnist_lab.grading.plugin" in settings.read_bytes() else None
    return None


def grading_tests() -> Path:
    """The folder of the tests that grade."""
    return root() / "tests" / "grading"


def files(path: Path) -> Iterator[Path]:
    """The file ``path``, or those in that folder but for what tools leave there."""
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        inside = file.relative_to(path).parts
        if file.is_file() and not any(part.startswith((".", "__pycache__")) for part in inside):
            yield file


def create(folder: Path) -> None:
    """Make a learner's workspace: stubs and grading tests, no solutions.

    Raises ``LabError`` if ``folder`` is not empty or cannot be written.
    """
    begun = False
    try:
        if folder.exists() and not folder.is_dir():
            raise LabError(f"{folder} is a file: name a new folder.")
        if folder.exists() and any(folder.iterdir()):
            raise LabError(f"{folder} is not empty: name a new folder.")
        copied = (file for name in COPIED for file in files(root() / name))
        readme = Path(__file__).with_name("workspace.md").read_bytes()
        own = {"pytest.ini": SETTINGS.encode(), "README.md": readme}
        begun = True
        fill(folder, own | {f"{file.relative_to(root())}": file.read_bytes() for file in copied})
    except OSError as error:
        if begun:  # It was empty.
            shutil.rmtree(folder, ignore_errors=True)
        raise LabError(cannot_write(folder, error)) from error
