"""How long a learner waits for a verdict: `python benchmarks/feedback.py`.

Cold, `pytest` beside `python -c "import torch, torchvision"`, in turn; warm, `mnist-lab watch` from
the save of a solution's file to the end of its verdict.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import measure

from mnist_lab import kit
from mnist_lab.grading.watch import KEYS

ROOT = Path(__file__).parents[1]
PYTEST = [
    sys.executable,
    "-P",
    "-m",
    "pytest",
    "-p",
    "no:cacheprovider",
    "--submission",
    "solutions",
]
COLD = {
    "import torch, torchvision": [sys.executable, "-P", "-c", "import torch, torchvision"],
    "pytest -k cnn": [*PYTEST, "-k", "cnn"],
    "pytest": PYTEST,
}


def cold(command: list[str]) -> None:
    """Run it; part of the checks passed is not full marks, so that pytest ends with 1."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode not in (0, 1) or "failed" in done.stdout:
        raise RuntimeError(done.stdout + done.stderr)


def watched(rounds: int) -> dict[str, list[float]]:
    """Seconds from a save to the end of the verdict, by exercise."""
    files = {exercise.id: exercise.file for exercise in kit.load().exercises}
    taken: dict[str, list[float]] = {name: [] for name in files}
    with tempfile.TemporaryDirectory() as folder:
        submission = shutil.copytree(ROOT / "solutions", Path(folder, "solutions"))
        command = [sys.executable, "-P", "-u", "-c", "from mnist_lab.cli import run; run()"]
        with subprocess.Popen(
            [*command, "watch", "--submission", str(submission)],
            stdout=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        ) as process:
            until_keys(process)
            for number in range(rounds + 1):
                for name, file in files.items():
                    time.sleep(0.5)  # as somebody who reads the last verdict
                    saved = submission / file
                    with open(saved, "a") as text:
                        text.write(f"# {number}\n")
                    started = time.perf_counter()
                    until_keys(process)
                    if number:  # the first waits for the imports
                        taken[name].append(time.perf_counter() - started)
            process.terminate()
    return taken


def until_keys(process: subprocess.Popen) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == KEYS:
            return
    raise RuntimeError("mnist-lab watch has ended")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (5)")
    parser.add_argument("--json", type=Path, help="write the measurements to this file")
    options = parser.parse_args()

    for command in COLD.values():
        cold(command)  # from now on all files are in memory
    taken = measure.interleaved(
        {name: partial(cold, command) for name, command in COLD.items()},
        options.rounds,
    )
    middle = measure.medians(taken)
    floor = middle["import torch, torchvision"]
    rows = [
        (name, f"{time:.1f} s", f"{time / floor:.2f}", f"{time - floor:+.1f} s")
        for name, time in middle.items()
    ]
    note = f"Medians of {options.rounds} interleaved rounds."
    measure.show("Feedback, cold", ("start to end", "ratio", "on top"), rows, note)

    saved = watched(options.rounds)
    times = [
        (name, f"{statistics.median(each):.2f} s", f"{max(each):.2f} s")
        for name, each in saved.items()
    ]
    measure.show("Feedback, warm: save to verdict", ("median", "longest"), times)
    if options.json:
        results = {"cold": taken, "watch": saved, **vars(options)}
        options.json.write_text(json.dumps(results, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
