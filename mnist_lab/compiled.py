"""The lab's C code, compiled for this machine's CPU when it is first used and kept for later.

A C compiler is looked for on the path; the package ``ziglang`` brings one. Without any the lab
works all the same, more slowly.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import platformdirs
import torch

__all__ = ["ADVICE", "compiler", "library"]

ADVICE = "install gcc or clang, or run `pip install ziglang`, for several times the speed"
SOURCE = Path(__file__).with_name("fast.c")
LEVELS = {"AVX512": "x86-64-v4", "AVX2": "x86-64-v3"}
"""What PyTorch calls the CPU's instructions, and what compilers do. Not ``native``: a home
directory may be shared by machines with different CPUs."""
COMPILE_SECONDS = 120


def compiler() -> list[str] | None:
    """The command of a C compiler, or ``None`` if there is none."""
    for name in (os.environ.get("CC"), "cc", "gcc", "clang"):
        if name and (path := shutil.which(name)):
            return [path]
    if find_spec("ziglang"):
        return [sys.executable, "-P", "-m", "ziglang", "cc"]
    return None


@cache
def library() -> ctypes.CDLL | None:
    """The compiled ``fast.c``, or ``None`` where it can't be compiled or loaded."""
    command = compiler()
    if os.name != "posix" or command is None:
        return None
    flags = ["-O3", "-fno-math-errno", "-shared", "-fPIC", "-pthread", *_instructions(command)]
    parts = [SOURCE.read_text(), platform.machine(), *platform.libc_ver(), *command, *flags]
    name = f"fast-{hashlib.sha256(repr(parts).encode()).hexdigest()[:16]}.so"
    with tempfile.TemporaryDirectory() as scratch:
        for directory in (platformdirs.user_cache_path("mnist-lab"), Path(scratch)):
            try:
                directory.mkdir(parents=True, exist_ok=True)
                if not (directory / name).exists():
                    _compile([*command, *flags], directory / name)
                return ctypes.CDLL(str(directory / name))
            except (OSError, subprocess.SubprocessError):
                continue
    return None


def _instructions(command: list[str]) -> list[str]:
    level = LEVELS.get(torch.backends.cpu.get_cpu_capability())
    if level is None or platform.machine() not in ("x86_64", "AMD64"):
        return []
    return [f"-mcpu={level.replace('-', '_')}"] if "ziglang" in command else [f"-march={level}"]


def _compile(command: list[str], to: Path) -> None:
    """Compile into ``to``, whole or not at all."""
    with tempfile.TemporaryDirectory(dir=to.parent) as folder:
        made = Path(folder) / to.name
        subprocess.run(
            [*command, "-o", str(made), str(SOURCE), "-lm"],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=COMPILE_SECONDS,
        )
        made.replace(to)
