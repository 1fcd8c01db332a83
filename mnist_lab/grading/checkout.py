"""A checkout of the kit: what it can be installed from, and what git knows of it."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

from mnist_lab import workspace
from mnist_lab.errors import LabError


def root() -> Path:
    """The checkout that this package runs from; ``LabError`` if it is an installed one."""
    found = workspace.root()
    if not (found / "pyproject.toml").is_file() or not (found / "solutions").is_dir():
        raise LabError(
            "this needs the kit's repository: clone it, install it with `pip install -e .` and run "
            "the command there."
        )
    return found


def installable(checkout: Path) -> dict[str, bytes]:
    """The files that ``pip install`` needs, by path, as ``pyproject.toml`` names them.

    Solutions and the tests of the kit are not among them.
    """
    settings = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))
    project, wheel = settings["project"], settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    names = ["pyproject.toml", "constraints.txt", project["readme"], *project["license-files"]]
    names += [*wheel["packages"], *wheel["force-include"]]
    return {
        file.relative_to(checkout).as_posix(): file.read_bytes()
        for name in sorted(set(names))
        for file in workspace.files(checkout / name)
    }


def listed(checkout: Path, names: tuple[str, ...]) -> list[str]:
    """The files at ``names``, files or folders, that git does not ignore."""
    found = _git(checkout, "ls-files", "-z", "-c", "-o", "--exclude-standard", "--", *names)
    return sorted({name for name in found.split("\0") if name and (checkout / name).is_file()})


def uncommitted(checkout: Path) -> list[str]:
    """The files that differ from the last commit, or that it lacks."""
    changed = _git(checkout, "status", "--porcelain", "-z", "--no-renames")
    return [line[3:] for line in changed.split("\0") if line]


def _git(checkout: Path, *arguments: str) -> str:
    try:
        ended = subprocess.run(["git", "-C", checkout, *arguments], capture_output=True, check=True)
    except FileNotFoundError as error:
        raise LabError("git is not installed, and this needs it.") from error
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip()
        raise LabError(f"git cannot look at {checkout}: {said}") from error
    return ended.stdout.decode(errors="surrogateescape")
