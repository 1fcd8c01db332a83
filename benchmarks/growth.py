"""How the cost grows: with the training set, with epochs, with the class.

    python benchmarks/growth.py --out growth

Draws the three lines into growth/growth.png, writes growth/growth.json, and works out from the
measured rates what 5,000 submissions take.
"""

import argparse
import json
import os
import random
import tempfile
import time
from pathlib import Path

import batch
import matplotlib
import measure
import numpy as np

from mnist_lab.data import load
from mnist_lab.models import MODELS
from mnist_lab.training import Settings, train_together

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

SIZES = (5_000, 10_000, 20_000, 30_000)
EPOCHS = (1, 2, 4, 8)
CLASSES = (5, 10, 20, 40)
FULL = (2, 4)
SUBMISSIONS = 5_000


def trained(digits, epochs: int) -> None:
    models = {name: make() for name, make in MODELS.items()}
    train_together(models, digits, Settings(epochs=epochs, device="cpu"))


def by_size(directory, rounds: int) -> dict[int, float]:
    splits = {size: load("auto", directory, train_size=size) for size in SIZES}
    works = {str(size): lambda d=digits: trained(d, 2) for size, digits in splits.items()}
    return {int(k): v for k, v in measure.medians(measure.interleaved(works, rounds)).items()}


def by_epochs(directory, rounds: int) -> dict[int, float]:
    digits = load("auto", directory, train_size=10_000)
    works = {str(epochs): lambda e=epochs: trained(digits, e) for epochs in EPOCHS}
    return {int(k): v for k, v in measure.medians(measure.interleaved(works, rounds)).items()}


def by_class(
    folder: Path, counts, jobs: int, *options: str, kinds: tuple[str, ...] = batch.KINDS[:-1]
) -> dict[int, float]:
    """Seconds of `grade-class` for classes of right and wrong submissions, or other ``kinds``."""
    taken = {}
    for count in counts:
        work = where(folder, count, jobs, *options)
        (work / "submissions").mkdir(parents=True)
        batch.make(work / "submissions", count, random.Random(0), kinds)
        command = ["--jobs", str(jobs), *options]
        started = time.perf_counter()
        batch.grade_class(work / "submissions", work / "out", *command).wait()
        taken[count] = time.perf_counter() - started
        graded = len(batch.grades_in(work / "out"))
        assert graded == count, f"{graded} of {count} were graded"
    return taken


def where(folder: Path, count: int, jobs: int, *options: str) -> Path:
    """The folder in which such a class is graded."""
    return folder / f"{count}-{jobs}-{len(options)}"


def not_training(work: Path) -> float:
    """The share of the checks' seconds in a class that is not of those that train models."""
    grades = [json.loads(file.read_text()) for file in (work / "out" / "grades").glob("*.json")]
    checks = [c for grade in grades for e in grade["exercises"] for c in e["checks"]]
    training = sum(c["seconds"] for c in checks if c["id"].endswith(".accuracy"))
    return 1 - training / sum(c["seconds"] for c in checks)


def memory_of_workers(folder: Path) -> dict[str, float]:
    """Megabytes that the learner's processes have to themselves, at most, while a class is graded;
    empty where this user may not look.
    """
    work = folder / "memory"
    (work / "submissions").mkdir(parents=True)
    batch.make(work / "submissions", 4, random.Random(0), ("right",))
    process = batch.grade_class(work / "submissions", work / "out", "--jobs", "2")
    most: dict[int, float] = {}
    while process.poll() is None:
        for pid, megabytes in _of_workers():
            most[pid] = max(most.get(pid, 0.0), megabytes)
        time.sleep(0.02)
    values = sorted(most.values())
    return {"median": values[len(values) // 2], "most": values[-1]} if values else {}


def _of_workers():
    servers = dict(_servers())
    for pid, parent in servers.items():
        if servers.get(parent) not in servers:
            continue  # Not a fork of a job's server, which is a fork of the class's.
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        # Its own pages, without what it shares with the server and files that all of them map.
        own = text.partition("Private_Dirty:")[2].split()
        if own:
            yield pid, int(own[0]) / 1024


def _servers():
    """The processes of servers and the parent of each."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            program, *arguments = (entry / "cmdline").read_bytes().split(b"\0")
            parent = (entry / "status").read_text().partition("PPid:")[2].split()[0]
        except (OSError, IndexError):
            continue
        if b"mnist_lab.submission.server" in arguments and not program.endswith(b"bwrap"):
            yield int(entry.name), int(parent)


def line(points: dict[int, float]) -> tuple[float, float, float]:
    """Slope, intercept and the share of the variance that the straight line explains."""
    x, y = np.array(list(points)), np.array(list(points.values()))
    slope, intercept = np.polyfit(x, y, 1)
    off = y - (slope * x + intercept)
    return float(slope), float(intercept), float(1 - (off**2).sum() / ((y - y.mean()) ** 2).sum())


def draw(lines: dict[str, dict[int, float]], to: Path) -> None:
    figure, axes = plt.subplots(1, len(lines), figsize=(11, 3.4), layout="constrained")
    for axis, (name, points) in zip(axes, lines.items(), strict=True):
        slope, intercept, explained = line(points)
        x = np.array([0, max(points)])
        axis.plot(x, slope * x + intercept, color="#0072B2", linewidth=1)
        axis.plot(list(points), list(points.values()), "o", color="#D55E00")
        axis.set(xlabel=name, ylabel="seconds", ylim=(0, None), xlim=(0, None))
        axis.set_title(f"{slope:.3g} s each, R² = {explained:.4f}", fontsize=10)
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(to, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of MNIST, as for mnist-lab")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (3)")
    parser.add_argument("--quick", action="store_true", help="leave the full tier out")
    parser.add_argument("--out", type=Path, default=Path("growth"), help="folder (growth)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    cores = os.cpu_count() or 1

    lines = {
        "training digits (2 epochs, three models)": by_size(options.data, options.rounds),
        "epochs (10,000 digits, three models)": by_epochs(options.data, options.rounds),
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lines["submissions (quick)"] = by_class(folder, CLASSES, cores)
        alone = by_class(folder, CLASSES[1:3], 1)
        full = {}
        if not options.quick:  # Right ones alone, which all train as long: none waits at the end.
            full = by_class(folder, FULL, cores, "--full", kinds=("right",))
        rest = not_training(where(folder, max(full), cores, "--full")) if full else None
        memory = memory_of_workers(folder)
    fits = {name: line(points) for name, points in lines.items()}
    rows = [
        (name, f"{slope:.3g} s", f"{intercept:.1f} s", f"{explained:.4f}")
        for name, (slope, intercept, explained) in fits.items()
    ]
    measure.show("How it grows", ("each", "to begin with", "R²"), rows)

    each = {f"quick, {cores} at a time": fits["submissions (quick)"][0]}
    each["quick, 1 at a time"] = line(alone)[0]
    if full:
        each[f"full, {cores} at a time"] = line(full)[0]
    rows = []
    for name, seconds in each.items():
        hours = SUBMISSIONS * seconds / 3600
        used = 1 if name.endswith("1 at a time") else cores
        rows.append((name, f"{60 / seconds:.1f}", f"{hours:.1f} h", f"{hours * used:.1f} h"))
    notes = [f"A learner's process takes {memory['median']:.0f} MB, at most "
             f"{memory['most']:.0f} MB."] if memory else []  # fmt: skip
    if full:
        notes.append(f"In the full tier {rest:.1%} of the checks' seconds are not of training.")
    measure.show("A class", ("a minute", f"{SUBMISSIONS:,}", "core hours"), rows, *notes)
    draw(lines, options.out / "growth.png")
    results = {"lines": lines, "alone": alone, "full": full, "memory": memory, "each": each}
    results["not training"] = rest
    (options.out / "growth.json").write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
