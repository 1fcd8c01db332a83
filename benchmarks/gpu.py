"""What there is to run where a GPU is at hand, in one go: the tests that need it, two comparisons,
and grading with and without bubblewrap.

    python benchmarks/gpu.py [--out FILE]

Prints a table for docs/speed.md, with the card's name. A part that fails is shown with the last
line that it printed, and the others go on. Exit status: 0 if all went well, 1 if a part failed, 2
without a GPU.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
CLI = [sys.executable, "-P", "-c", "from mnist_lab.cli import run; run()"]
PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
LIMIT = 240.0


@dataclass(frozen=True)
class Part:
    """How a command ended: its seconds, and the last line that it printed."""

    name: str
    seconds: float
    ok: bool
    said: str


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--out", type=Path, help="write the table to this file too")
    asked = options.parse_args()
    if not torch.cuda.is_available():
        print("There is no GPU here that PyTorch can use, so there is nothing to measure.")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        parts = [run(name, command, more) for name, command, more in commands(Path(folder))]
    table = "\n".join(rows(parts))
    print(table)
    if asked.out:
        asked.out.write_text(f"{table}\n", encoding="utf-8")
    return int(not all(part.ok for part in parts))


def commands(folder: Path) -> list[tuple[str, list[str], dict[str, str]]]:
    compare = [*CLI, "compare", "--device", "cuda", "--out", str(folder / "report"), "--quiet"]
    grade = [
        *PYTEST,
        "--submission",
        str(ROOT / "solutions"),
        "--walls",
        str(ROOT / "tests/grading"),
    ]
    return [
        ("tests marked gpu", [*PYTEST, "-m", "gpu", str(ROOT / "tests/kit")], {}),
        ("compare, the first", compare, {}),
        ("compare, the second", compare, {}),
        ("grading with GPU checks", grade, {}),
        ("the same without bubblewrap", grade, {"MNIST_LAB_WALLS": "no-bubblewrap"}),
        ("the same without namespaces", grade, {"MNIST_LAB_WALLS": "no-namespaces"}),
    ]


def run(name: str, command: list[str], more: dict[str, str]) -> Part:
    started = time.perf_counter()
    try:
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env=ENVIRONMENT | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
        )
        status, printed = ended.returncode, ended.stdout
    except subprocess.TimeoutExpired:
        status, printed = -1, f"It did not end within {LIMIT:g} seconds."
    last = next((line for line in reversed(printed.splitlines()) if line.strip()), "")
    return Part(name, time.perf_counter() - started, status == 0, last.strip())


def rows(parts: list[Part]) -> list[str]:
    where = (
        f"{torch.cuda.get_device_name()}, Python {platform.python_version()}, "
        f"torch {torch.__version__}, {os.cpu_count()} cores"
    )
    return [
        f"| {where} | seconds | |",
        "|---|---:|---|",
        *(f"| {p.name} | {p.seconds:.1f} | {'' if p.ok else 'failed: '}{p.said} |" for p in parts),
    ]


if __name__ == "__main__":
    sys.exit(main())
