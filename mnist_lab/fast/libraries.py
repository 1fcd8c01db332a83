"""C code, compiled for this machine's CPU when it is first used and kept for later, and the threads
that it works in.

A C compiler is looked for on the path; the package ``ziglang`` brings one. Without any the lab
works all the same, more slowly.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import platformdirs

ADVICE = "install gcc or clang, or run `pip install ziglang`, for several times the speed"
INSTRUCTIONS = {
    "AVX512": "avx512f avx512bw avx512cd avx512dq avx512vl avx2 fma",
    "AVX2": "avx2 fma",
}
"""Those of the CPU, as compilers call them, by what PyTorch does. Not ``native``: a home directory
may be shared by machines with different CPUs."""
ZIG = {"AVX512": "x86_64_v4", "AVX2": "x86_64_v3"}
COMPILE_SECONDS = 120

Check = Callable[[ctypes.CDLL], bool]


def compilers() -> Iterator[list[str]]:
    """The commands of the C compilers that are here, the usual one first."""
    names = (os.environ.get("CC"), "cc", "gcc", "clang")
    for path in dict.fromkeys(path for name in names if name and (path := shutil.which(name))):
        yield [path]
    if find_spec("ziglang"):
        yield [sys.executable, "-P", "-m", "ziglang", "cc"]


@cache
def library(name: str, works: Check) -> ctypes.CDLL | None:
    """The compiled C file ``name`` of this package, or ``None`` where it can't be compiled or
    loaded.

    What a compiler makes is kept only if it ``works``: GCC 12 drops the call of a function that
    stores through several pointers, unless it happens to be inlined.
    """
    if os.name != "posix":
        return None
    source, level = Path(__file__).with_name(name), _level()
    for compiler in compilers():
        command = [*compiler, *_instructions(compiler, level)]
        with contextlib.suppress(OSError), tempfile.TemporaryDirectory() as scratch:
            for folder in (platformdirs.user_cache_path("mnist-lab"), Path(scratch)):
                try:
                    return ctypes.CDLL(str(_compiled(source, command, folder, works)))
                except OSError:  # The folder can't be written to, or nothing run from it.
                    continue
                except subprocess.SubprocessError:
                    break
    return None


class Pool(ctypes.Structure):
    """``Pool`` of ``threads.h``."""

    _fields_ = (
        ("in_parallel", ctypes.c_void_p),
        ("rank", ctypes.c_void_p),
        ("size", ctypes.c_void_p),
    )


@cache
def pool() -> Pool:
    """The threads of PyTorch, where they are OpenMP's; else none, and C makes its own.

    As with PyTorch's own operations, a fork of a process that has used several hangs if it does so,
    too: ``torch.set_num_threads(1)`` there.
    """
    import torch

    names = ("GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads")
    try:
        loaded = ctypes.CDLL(torch._C.__file__)  # And, with it, the libraries that it needs.
        return Pool(*(ctypes.cast(loaded[name], ctypes.c_void_p) for name in names))
    except (AttributeError, OSError):
        return Pool()


def _compiled(source: Path, command: list[str], folder: Path, works: Check) -> Path:
    """The library in ``folder``, made by ``command`` unless it is there."""
    flags = ["-O3", "-fno-math-errno", "-shared", "-fPIC", "-pthread"]
    texts = [path.read_text() for path in (source, *sorted(source.parent.glob("*.h")))]
    parts = [*texts, platform.machine(), *platform.libc_ver(), *command, *flags]
    name = f"{source.stem}-{_digest(repr(parts).encode())}"
    folder.mkdir(parents=True, exist_ok=True)
    kept = next(filter(_is_sound, folder.glob(f"{name}-*.so")), None)
    return kept or _compile(source, [*command, *flags], folder / name, works)


def _is_sound(library: Path) -> bool:
    """Whether it is as it was made, by this user: to load one that is cut off ends the process."""
    ours = library.stat().st_uid in (0, os.getuid())
    return ours and library.stem.endswith(_digest(library.read_bytes()))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _level() -> str:
    """What this CPU and the system can do together, as PyTorch calls it."""
    import torch  # It takes seconds.

    known = platform.machine() in ("x86_64", "AMD64")
    return torch.backends.cpu.get_cpu_capability() if known else ""


def _instructions(compiler: list[str], level: str) -> list[str]:
    if "ziglang" in compiler:
        return [f"-mcpu={ZIG.get(level, 'baseline')}"]  # Else it takes this CPU for all.
    return [f"-m{name}" for name in INSTRUCTIONS.get(level, "").split()]


def _compile(source: Path, command: list[str], to: Path, works: Check) -> Path:
    """Compile ``source``, whole or not at all, into ``to`` and what tells that it is sound."""
    with tempfile.TemporaryDirectory(dir=to.parent) as folder:
        made = Path(folder) / to.name
        subprocess.run(
            [*command, "-o", str(made), str(source), "-lm"],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=COMPILE_SECONDS,
        )
        if not works(ctypes.CDLL(str(made))):
            raise subprocess.SubprocessError(f"What {command[0]} makes of {source.name} is wrong.")
        return made.replace(f"{to}-{_digest(made.read_bytes())}.so")
