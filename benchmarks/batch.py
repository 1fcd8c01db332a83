"""Grade a class of generated submissions, check every mark, and compare with plain pytest.

    python benchmarks/batch.py --count 200

Each submission is the solutions with up to three variants of tests/kit/submissions in place: four
of ten are right, five wrong, one is hostile (it hangs, exits, eats memory). Four things are shown:
the marks are those that the manifest promises; how many submissions a minute `grade-class` grades;
how many `mnist-lab grade`, a process each, one after the other, does of a sample of the same files
right after it, and otter-grader where it is installed (`otter_peer.py`); and that a run that is
killed half-way and started again gives the same gradebook and grades nothing twice. Exit status 0
if all of it holds, 1 if not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "kit"), str(ROOT / "benchmarks")]

import corpus  # noqa: E402
import otter_peer  # noqa: E402

from mnist_lab import kit  # noqa: E402

SEED = 5
KINDS = ("right",) * 4 + ("wrong",) * 5 + ("hostile",)
"""What a submission is, in turn; so every ten have the same mixture, and so has the sample."""

CLI = [sys.executable, "-P", "-c", "from mnist_lab.cli import run; run()"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
RATIO = 5.0


@dataclass(frozen=True)
class Made:
    """A submission and the variants that are in it."""

    name: str
    variants: tuple[corpus.Variant, ...]

    def problems(self, grade: dict) -> list[str]:
        """In what its ``grade`` is not what the manifest promises."""
        wrong = [variant for variant in self.variants if not variant.right]
        broken = {exercise for variant in wrong for exercise in variant.exercises}
        found = []
        for exercise in grade["exercises"]:
            for check in exercise["checks"]:
                outcome, tier = check["outcome"], kit.load().check(check["id"]).tier
                if outcome == "error":
                    found.append(f"{check['id']} could not be judged")
                elif tier == "quick" and exercise["id"] not in broken and outcome != "passed":
                    found.append(f"{check['id']} is right and did not pass")
                elif outcome == "passed" and any(each.must_fail(check["id"]) for each in wrong):
                    found.append(f"{check['id']} is wrong and passed")
        return found


def make(
    folder: Path, count: int, chance: random.Random, kinds: tuple[str, ...] = KINDS
) -> list[Made]:
    """Generate ``count`` submissions of these ``kinds``, in turn, in ``folder``."""
    variants = corpus.load()
    pools = {
        "right": [each for each in variants if each.right],
        "wrong": [each for each in variants if not each.right and not each.hostile],
        "hostile": [each for each in variants if each.hostile],
    }
    made = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        chosen = draw(pools, kind, chance)
        name = f"{number:03d}-{kind}"
        path = shutil.copytree(
            corpus.SOLUTIONS, folder / name, ignore=shutil.ignore_patterns("__pycache__")
        )
        for variant in chosen:
            for file, text in variant.files.items():
                (path / file).write_text(text, encoding="utf-8")
        (path / "notes.py").write_text(f"# by {name}\n")  # so that no two are the same
        made.append(Made(name, chosen))
    return made


def draw(pools, kind, chance) -> tuple[corpus.Variant, ...]:
    """Up to three variants, in exercises of their own; the first is of the ``kind``."""
    chosen = [chance.choice(pools[kind])]
    for _ in range(chance.randrange(3)):
        other = chance.choice(pools["right" if kind != "wrong" else chance.choice(["right", kind])])
        taken = {file for each in chosen for file in each.files}
        if not taken & set(other.files):
            chosen.append(other)
    return tuple(chosen)


def grade_class(submissions: Path, out: Path, *options: str) -> subprocess.Popen:
    command = [*CLI, "grade-class", submissions, "--out", out, "--seed", SEED, *options]
    with open(out.with_suffix(".log"), "a") as log:
        return subprocess.Popen(
            list(map(str, command)), env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT
        )


def grades_in(out: Path) -> list[dict]:
    """The graded lines of the journal."""
    journal = out / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True) if journal.exists() else []
    entries = [json.loads(line) for line in lines if line.endswith("\n")]
    return [entry for entry in entries if "digest" in entry]


def wrong_marks(made: list[Made], out: Path) -> list[str]:
    found = []
    for each in made:
        file = out / "grades" / f"{each.name}.json"
        if not file.exists():
            found.append(f"{each.name}: not graded")
            continue
        grade = json.loads(file.read_text())
        of = ", ".join(variant.name for variant in each.variants)
        found += [f"{each.name} ({of}): {problem}" for problem in each.problems(grade)]
    return found


def plain(submissions: Path, names: list[str], scratch: Path) -> float:
    """Seconds that a process of pytest for each takes, one after the other."""
    started = time.perf_counter()
    for name in names:
        command = [*CLI, "grade", submissions / name, "--grade-seed", SEED]
        command += ["--grade-json", scratch / f"{name}.json"]
        subprocess.run(list(map(str, command)), env=ENVIRONMENT, capture_output=True, check=False)
    return time.perf_counter() - started


def killed_and_gone_on(submissions: Path, out: Path, count: int, options: list[str]) -> None:
    """Kill a run when half is graded, and run it again."""
    process = grade_class(submissions, out, *options)
    while process.poll() is None and len(grades_in(out)) < count // 2:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    print(f"  killed when {len(grades_in(out))} of {count} were graded")
    grade_class(submissions, out, *options).wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=200, help="submissions (default: 200)")
    parser.add_argument("--sample", type=int, default=10, help="of them for plain pytest")
    parser.add_argument("--jobs", type=int, help="as of grade-class")
    parser.add_argument("--work", type=Path, help="a new folder to keep everything in")
    parser.add_argument("--no-kill", action="store_true", help="leave the killed run out")
    given = parser.parse_args()
    options = ["--jobs", str(given.jobs)] if given.jobs else []
    with tempfile.TemporaryDirectory() as scratch:
        work = given.work or Path(scratch)
        submissions = work / "submissions"
        submissions.mkdir(parents=True)
        made = make(submissions, given.count, random.Random(0))
        return shown(work, submissions, made, min(given.sample, given.count), options, given)


def shown(work, submissions, made, sample, options, given) -> int:
    count, failures = len(made), 0
    print(f"{count} submissions on {os.cpu_count()} cores, seed {SEED}", flush=True)

    started = time.perf_counter()
    grade_class(submissions, work / "whole", *options).wait()
    seconds = time.perf_counter() - started
    rate = 60 * count / seconds
    print(f"grade-class      {seconds:7.1f} s  {rate:6.1f} a minute", flush=True)

    (work / "plain").mkdir()
    taken = plain(submissions, [each.name for each in made[:sample]], work / "plain")
    usual = 60 * sample / taken
    ratio = rate / usual
    print(f"plain pytest     {taken:7.1f} s  {usual:6.1f} a minute, {sample} of the same files")
    print(f"ratio            {ratio:7.1f}    {RATIO:g} or more are asked for", flush=True)
    failures += ratio < RATIO

    if find_spec("otter"):
        names = [each.name for each in made[:sample]]
        taken = otter_peer.seconds(submissions, names, work / "otter")
        usual = 60 * sample / taken
        print(f"otter-grader     {taken:7.1f} s  {usual:6.1f} a minute, {sample} of the same files")
        print(f"ratio            {rate / usual:7.1f}", flush=True)

    wrong = wrong_marks(made, work / "whole")
    print(f"marks            {len(wrong):7}    problems")
    for problem in wrong:
        print(f"  {problem}")
    failures += bool(wrong)

    if not given.no_kill:
        killed_and_gone_on(submissions, work / "killed", count, options)
        books = [(work / name / "gradebook.csv").read_bytes() for name in ("whole", "killed")]
        digests = [entry["digest"] for entry in grades_in(work / "killed")]
        twice = len(digests) - len(set(digests))
        print(f"gradebooks       {'equal' if books[0] == books[1] else 'DIFFERENT':>7}")
        print(f"graded twice     {twice:7}")
        failures += books[0] != books[1] or twice > 0
    return int(failures > 0)


if __name__ == "__main__":
    raise SystemExit(main())
