"""What this machine has of what the kit needs, and what to do about the rest."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

IMPORTED = ("torch", "torchvision")
"""What is imported to see that it works: the two of them have to be made for each other."""

PACKAGES = (*IMPORTED, "pytest", "scikit-learn", "mlxtend", "matplotlib")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at: ``missing`` must be mended, ``note`` may be."""

    state: Literal["ok", "note", "missing"]
    name: str
    text: str


def findings(directory: Path | None = None) -> Iterator[Finding]:
    """What is found here; ``directory`` is where MNIST is looked for."""
    yield Finding("ok", "python", platform.python_version())
    packages = [_package(name) for name in PACKAGES]
    yield from packages
    if all(each.state == "ok" for each in packages[: len(IMPORTED)]):
        yield _gpu()
        yield _compiler()
        yield _digits(directory)
        yield from _walls()


def _package(name: str) -> Finding:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding("missing", name, f"run `pip install {name}`")
    if name in IMPORTED:
        try:
            importlib.import_module(name)
        except Exception as error:  # Whatever its libraries raise that do not fit one another.
            advice = f"run `pip install --force-reinstall {' '.join(IMPORTED)}`"
            said = f"{type(error).__name__}: {error}".splitlines()[0]
            return Finding("missing", name, f"{found} cannot be imported ({said}); {advice}")
    return Finding("ok", name, found)


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        return Finding("ok", "gpu", torch.cuda.get_device_name())
    return Finding("note", "gpu", "none that PyTorch can use; everything runs on the CPU")


def _compiler() -> Finding:
    from mnist_lab import augment, fast, models
    from mnist_lab.fast.libraries import ADVICE

    if fast.compiled() is None or augment.compiled() is None:
        return Finding("note", "compiler", f"none that works: {ADVICE}")
    if others := [kind.__name__ for kind in models.MODELS.values() if fast.other_sizes(kind)]:
        text = f"works, but the C code is made for other sizes than those of {', '.join(others)}"
        return Finding("note", "compiler", text)
    return Finding("ok", "compiler", "the lab's steps are compiled for this machine")


def _digits(directory: Path | None) -> Finding:
    from mnist_lab import data

    where = data.data_directory(directory)
    if data.missing(where):
        advice = f"run `mnist-lab download --data {where}`"
        return Finding("note", "digits", f"MNIST is not in {where}, the sample is used; {advice}")
    try:
        data.read(where)
    except data.DataError as error:
        return Finding("missing", "digits", str(error))
    return Finding("ok", "digits", f"MNIST is in {where} and is what it should be")


def _walls() -> Iterator[Finding]:
    """What a submission may not do on this machine, as tried from inside a process of its kind."""
    from mnist_lab.submission.sandbox.enclosure import missing
    from mnist_lab.submission.sandbox.walls import OF_SPAWNED, WALLS
    from mnist_lab.submission.server import Server, ServerError, default_isolation

    found: Mapping[str, str] = OF_SPAWNED
    advice = "grading takes longer: processes are spawned here, not forked"
    if default_isolation() == "fork":
        server = Server()
        try:
            server.wait()
        except ServerError as error:
            yield Finding("missing", "walls", f"submissions can't be run: {error}")
            return
        finally:
            server.close()
        found, advice = server.walls, missing()
    for name, does in WALLS.items():
        state: Literal["ok", "note"] = "ok" if found[name] == "enforced" else "note"
        yield Finding(state, f"wall {name}", f"{found[name]}: a submission {does}")
    if advice and set(found.values()) != {"enforced"}:
        yield Finding("note", "walls", advice)
