"""What the tree says about each wrong submission of the suite, as a file; how two of them differ.

    python benchmarks/record.py FILE [--only PART] [--jobs N]
    python benchmarks/record.py --compare BEFORE AFTER

To be run before and after a change that should leave every grade, name and sentence as it was.
"""

from __future__ import annotations

import argparse
import atexit
import json
import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/kit"))

import marks  # noqa: E402
import mutants  # noqa: E402
from rich.progress import track  # noqa: E402

from mnist_lab.submission.server import Server  # noqa: E402

SERVER: Server


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("files", type=Path, nargs="+", help="the file, or with --compare the two")
    options.add_argument("--compare", action="store_true", help="list where two files differ")
    options.add_argument("--only", default="", help="submissions whose names contain this")
    options.add_argument("--jobs", type=int, default=1, help="submissions at a time")
    asked = options.parse_args()
    if asked.compare:
        before, after = (json.loads(path.read_text(encoding="utf-8")) for path in asked.files)
        print("\n".join(differences(before, after)) or "No difference.")
        return
    chosen = [mutant for mutant in mutants.load() if asked.only in mutant.name]
    with ProcessPoolExecutor(asked.jobs, multiprocessing.get_context("spawn"), _begin) as pool:
        told = list(track(pool.map(_told, chosen), "Grading", total=len(chosen)))
    said = {mutant.name: each for mutant, each in zip(chosen, told, strict=True)}
    asked.files[0].write_text(json.dumps(said, indent=1), encoding="utf-8")


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """A line for each value that is another, by submission."""
    lines = [f"{name}: only in one" for name in sorted(before.keys() ^ after.keys())]
    for name in sorted(before.keys() & after.keys()):
        lines += [
            f"{name}: {key}\n  - {before[name].get(key)}\n  + {after[name].get(key)}"
            for key in sorted(before[name].keys() | after[name].keys())
            if before[name].get(key) != after[name].get(key)
        ]
    return lines


def _begin() -> None:
    global SERVER
    torch.set_num_threads(1)
    SERVER = Server()
    atexit.register(SERVER.close)


def _told(mutant: mutants.Mutant) -> dict[str, Any]:
    """The first check that does not pass, how it ends and what is said."""
    with tempfile.TemporaryDirectory() as scratch:
        path = mutants.materialise(mutant, Path(scratch) / "submission")
        check, result = marks.first_failure(path, mutant.exercise, 0, SERVER)
    cause = asdict(result.cause) if result.cause else {}
    cause.pop("traceback", None)
    return {"check": check, "outcome": result.outcome, **cause}


if __name__ == "__main__":
    main()
