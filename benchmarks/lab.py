"""The lab against the usual pipeline, in turn on the same digits: `python benchmarks/lab.py`.

For each model the usual pipeline (`usual.py`) and the lab's trainer run a few epochs one after the
other, and the lab's trainer once more as it trains a model that it does not know; then
`mnist-lab compare` runs in full, from process start to exit, against what the usual pipeline would
take for the same epochs. The floor is the arithmetic alone, at the rate of this machine's largest
product of matrices. Ratios are of one run on one machine; seconds are not comparable between
machines.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import measure
import torch
import usual

from mnist_lab.compare import TITLES
from mnist_lab.data import load
from mnist_lab.models import MODELS
from mnist_lab.training import Settings, train

MULTIPLICATIONS = {
    "logistic_regression": 7_840 * 2,
    "fnn": 200_704 * 2 + 2_560 * 3,
    "cnn": 112_896 * 2 + (903_168 + 200_704 + 1_280) * 3,
}
"""An image's, forwards and backwards; no gradient of the image itself is asked for."""


def somebodys(name: str) -> torch.nn.Module:
    """A model that is the lab's to the eye, and any model to the trainer."""
    return type(name, (MODELS[name],), {})()


def lab(make: Callable[[], torch.nn.Module], digits, epochs: int) -> None:
    train(make(), digits, Settings(epochs=epochs, device="cpu"))


def full_compare(epochs: int, directory: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-P", "-c", "from mnist_lab.cli import run; run()", "compare"]
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
    for name in MODELS:  # both sides start warm: the first of anything takes a while
        lab(MODELS[name], digits, 1)
    lab(partial(somebodys, "cnn"), digits, 1)
    epochs = options.epochs
    works: dict[str, Callable[[], object]] = {
        "compare": partial(full_compare, options.full_epochs, options.data)
    }
    for name in MODELS:
        works[f"{name} usual"] = partial(usual.train, name, digits, epochs)
        works[f"{name} lab"] = partial(lab, MODELS[name], digits, epochs)
        works[f"{name} any"] = partial(lab, partial(somebodys, name), digits, epochs)
    taken = measure.interleaved(works, options.rounds)
    report(taken, measure.arithmetic(), len(digits.train), options)


def report(taken, rate: float, images: int, options) -> None:
    epoch = {name: each / options.epochs for name, each in measure.medians(taken).items()}
    floor = {name: 2 * count * images / rate for name, count in MULTIPLICATIONS.items()}
    rows = []
    for name in MODELS:
        theirs = epoch[f"{name} usual"]
        ours, anybodys = epoch[f"{name} lab"], epoch[f"{name} any"]
        rows.append(
            (
                f"{TITLES[name]}, one epoch",
                *(f"{value:.2f} s" for value in (theirs, ours)),
                f"{theirs / ours:.1f}",
                f"{theirs / anybodys:.1f}",
                f"{floor[name]:.2f} s",
                f"{floor[name] / ours:.0%}",
            )
        )
    theirs = sum(epoch[f"{name} usual"] for name in MODELS) * options.full_epochs
    ours = statistics.median(taken["compare"])
    least = sum(floor.values()) * options.full_epochs
    rows.append(
        (
            f"All, {options.full_epochs} epochs, start to report",
            f"{theirs:.0f} s",
            f"{ours:.1f} s",
            f"{theirs / ours:.1f}",
            "",
            f"{least:.1f} s",
            f"{least / ours:.0%}",
        )
    )
    measure.show(
        "The lab",
        ("usual", "mnist-lab", "ratio", "any model's", "floor", "share"),
        rows,
        f"Medians of {options.rounds} interleaved rounds. The usual pipeline's "
        f"{options.full_epochs} epochs are {options.epochs} measured, scaled; its imports and a "
        "report are not counted.",
        f"Floor: the arithmetic alone at {rate / 1e9:.0f} GFLOP/s.",
    )
    if options.json:
        results = {"seconds": taken, "floor": floor, "rate": rate, **vars(options)}
        options.json.write_text(json.dumps(results, indent=2, default=str) + "\n")


if __name__ == "__main__":
    main()
