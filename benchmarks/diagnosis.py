"""Over the mutation suite: how many wrong submissions a usual course grader rejects, and how many
ours rejects and names.

    python benchmarks/diagnosis.py [--json FILE] [--only PART]
    python benchmarks/diagnosis.py --bank    # only writes docs/faults.md, from bank and suite
"""

from __future__ import annotations

import argparse
import atexit
import json
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tests/kit"), str(ROOT / "benchmarks")]

import corpus  # noqa: E402
import marks  # noqa: E402
import mutants  # noqa: E402
from rich.progress import track  # noqa: E402
from usual_grader import accepts  # noqa: E402

from mnist_lab import data, kit  # noqa: E402
from mnist_lab.diagnosis.faults import bank  # noqa: E402
from mnist_lab.submission.server import Server  # noqa: E402

TABLE = ROOT / "docs" / "faults.md"
LIMIT = 300
DIGITS: data.Digits
SERVER: Server


@dataclass(frozen=True)
class Verdict:
    """How both graders judged a mutant; ``named`` are the ids that ours gave."""

    name: str
    exercise: str
    expected: str
    usual_accepts: bool
    ours_accepts: bool
    named: str
    seconds: float


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--json", type=Path, help="write every verdict to this file")
    options.add_argument("--only", default="", help="mutants whose names contain this")
    options.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    options.add_argument(
        "--bank", action="store_true", help="write docs/faults.md and grade nothing"
    )
    asked = options.parse_args()
    if asked.bank:
        TABLE.write_text(table(), encoding="utf-8")
        print(f"Wrote {TABLE.relative_to(ROOT)}.")
        return
    chosen = [mutant for mutant in mutants.load() if asked.only in mutant.name]
    verdicts = judge(chosen, asked.jobs)
    print(summary(verdicts))
    if asked.json:
        asked.json.write_text(json.dumps([asdict(verdict) for verdict in verdicts], indent=1))


def judge(chosen: list[mutants.Mutant], jobs: int) -> list[Verdict]:
    """What both graders say, ``jobs`` at a time; each process has a server of its own."""
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin) as pool:
        list(pool.map(_check_controls, range(jobs)))
        return list(track(pool.map(_verdict, chosen), "Grading", total=len(chosen)))


def _begin() -> None:
    global DIGITS, SERVER
    torch.set_num_threads(1)
    DIGITS, SERVER = data.load("sample"), Server()
    atexit.register(SERVER.close)


def _check_controls(number: int) -> None:
    """Both graders accept the solutions; else what they reject would say nothing."""
    for exercise in kit.load().exercises:
        check, _ = marks.first_failure(corpus.SOLUTIONS, exercise.id, 0, SERVER)
        assert not check, f"ours rejects the solution of {exercise.id}"
        file = corpus.SOLUTIONS / exercise.file
        assert usual_accepts(file, DIGITS), f"the usual grader rejects {exercise.file}"


def _verdict(mutant: mutants.Mutant) -> Verdict:
    with tempfile.TemporaryDirectory() as scratch:
        path = mutants.materialise(mutant, Path(scratch) / "submission")
        started = time.perf_counter()
        check, result = marks.first_failure(path, mutant.exercise, 0, SERVER)
        seconds = time.perf_counter() - started
        named = (result.cause.fault or "") if result.cause else ""
        usual = usual_accepts(path / mutant.file, DIGITS)
    return Verdict(mutant.name, mutant.exercise, mutant.fault, usual, not check, named, seconds)


def usual_accepts(file: Path, digits: data.Digits) -> bool:
    """Whether the usual grader gives full marks; in a process of its own, which may hang."""
    process = multiprocessing.get_context("fork").Process(target=_try, args=(file, digits))
    process.start()
    process.join(LIMIT)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode == 0


def _try(file: Path, digits: data.Digits) -> None:
    sys.stderr = open("/dev/null", "w")  # noqa: SIM115 - for as long as the process lives
    accepts(file, digits)


def summary(verdicts: list[Verdict]) -> str:
    """One line an exercise, and one for all."""
    lines = [
        f"{'':22}{'wrong':>7}{'usual rejects':>15}{'ours rejects':>14}{'ours names':>12}",
        *(
            _line(exercise, [v for v in verdicts if v.exercise == exercise])
            for exercise in dict.fromkeys(verdict.exercise for verdict in verdicts)
        ),
        _line("all", verdicts),
    ]
    return "\n".join(lines)


def _line(title: str, verdicts: list[Verdict]) -> str:
    usual = sum(not verdict.usual_accepts for verdict in verdicts)
    ours = sum(not verdict.ours_accepts for verdict in verdicts)
    named = sum(bool(verdict.named) and _as_expected(verdict) for verdict in verdicts)
    return f"{title:22}{len(verdicts):7}{usual:15}{ours:14}{named:12}"


def _as_expected(verdict: Verdict) -> bool:
    return set(verdict.named.split("+")) == set(verdict.expected.split("+"))


def table() -> str:
    """The page that lists the bank, with how many submissions of the suite make each mistake."""
    made = Counter(fault for mutant in mutants.load() for fault in mutant.fault.split("+"))
    rows = [
        f"| `{fault.id}` | {fault.says.replace('|', chr(92) + '|')} | {made[fault.id] or ''} |"
        for fault in bank().values()
    ]
    return "\n".join(
        [
            "# The mistakes that are named",
            "",
            "Made by `python benchmarks/diagnosis.py --bank`. *Suite*: how many wrong submissions",
            "of the kit's tests make the mistake, alone or with another;",
            "`tests/kit/test_mutants.py` asks that the first message names it in each of them.",
            "",
            "| Fault | What the code does | Suite |",
            "|---|---|---:|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
