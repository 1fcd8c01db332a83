"""The lab against the usual pipeline, in turn on the same digits: `python benchmarks/lab.py`.

For each model the usual pipeline (`usual.py`) and the lab's trainer run a few epochs one after the
other; then `mnist-lab compare` runs in full, from process start to exit, against what the usual
pipeline would take for the same epochs. Ratios are of one run on one machine; seconds are not
comparable between machines.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
import torchvision
import usual
from rich.console import Console
from rich.table import Table

from mnist_lab.compare import TITLES
from mnist_lab.data import load
from mnist_lab.models import MODELS
from mnist_lab.training import Settings, train


def seconds(work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def lab(name: str, digits, epochs: int) -> None:
    torch.manual_seed(0)
    train(MODELS[name](), digits, Settings(epochs=epochs, device="cpu"))


def full_compare(epochs: int, directory: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-c", "from mnist_lab.cli import main; main()", "compare"]
        options = ["--epochs", str(epochs), "--device", "cpu", "--out", f"{folder}/report"]
        options += ["--source", "mnist", "--quiet"]
        if directory:
            options += ["--data", str(Path(directory).resolve())]
        subprocess.run([*command, *options], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of MNIST, as for mnist-lab")
    parser.add_argument("--epochs", type=int, default=1, help="epochs a measured training (1)")
    parser.add_argument("--rounds", type=int, default=3, help="times that all is repeated (3)")
    parser.add_argument("--full-epochs", type=int, default=10, help="epochs of the compare (10)")
    parser.add_argument("--json", type=Path, help="write the measurements to this file")
    options = parser.parse_args()

    digits = load("mnist", options.data)
    lab("cnn", digits, 1)  # both sides start warm: the first Adam imports for a second or two
    measured: dict[str, dict[str, list[float]]] = {
        name: {"usual": [], "lab": []} for name in MODELS
    }
    compare = []
    for _ in range(options.rounds):
        for name, times in measured.items():
            epochs = options.epochs
            times["usual"].append(seconds(lambda: usual.train(name, digits, epochs)) / epochs)  # noqa: B023
            times["lab"].append(seconds(lambda: lab(name, digits, epochs)) / epochs)  # noqa: B023
        compare.append(seconds(lambda: full_compare(options.full_epochs, options.data)))
    report(measured, compare, options)


def report(measured, compare, options) -> None:
    def median(name: str, side: str) -> float:
        return statistics.median(measured[name][side])

    console = Console(width=88)
    console.print(
        f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads, Python "
        f"{platform.python_version()}, torch {torch.__version__}, torchvision "
        f"{torchvision.__version__}; medians of {options.rounds} interleaved rounds",
        highlight=False,
    )
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for heading in ("usual", "mnist-lab", "ratio"):
        table.add_column(heading, justify="right")
    for name in MODELS:
        ours, theirs = median(name, "lab"), median(name, "usual")
        table.add_row(
            f"{TITLES[name]}, one epoch", f"{theirs:.2f} s", f"{ours:.2f} s", f"{theirs / ours:.1f}"
        )
    theirs = sum(median(name, "usual") for name in MODELS) * options.full_epochs
    ours = statistics.median(compare)
    table.add_row(
        f"All three, {options.full_epochs} epochs: process start to report",
        f"{theirs:.0f} s",
        f"{ours:.1f} s",
        f"{theirs / ours:.1f}",
    )
    console.print(table)
    console.print(
        f"The usual pipeline's {options.full_epochs} epochs are {options.epochs} measured "
        "epoch(s) a model, scaled; its imports and a report are not counted.",
        highlight=False,
    )
    if options.json:
        results = {"epoch_seconds": measured, "compare_seconds": compare, **vars(options)}
        options.json.write_text(json.dumps(results, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
