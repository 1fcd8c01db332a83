"""As accurate as the usual pipeline, on a CPU and on a GPU: `python benchmarks/accuracy.py`.

For each seed the usual pipeline (`usual.py`) and the lab train the three models on the same digits;
where there is a GPU, the lab does so once more on it. The lab's seconds are shown, too. Takes as
long as the usual pipeline does: ten minutes a seed on two cores, more or less.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import measure
import torch
import usual

from mnist_lab.compare import TITLES
from mnist_lab.data import load
from mnist_lab.models import MODELS
from mnist_lab.training import Settings, train_together

POINTS = 0.5
"""How far the lab's accuracy may lie below the usual pipeline's, in percent of the digits."""


def lab(digits, seed: int, epochs: int, device: str) -> tuple[dict[str, float], float]:
    """The accuracies of the three models, trained side by side, and the seconds of the training."""
    models = {}
    for name, make in MODELS.items():
        torch.manual_seed(seed)
        models[name] = make().to(device)
    started = time.perf_counter()
    histories = train_together(models, digits, Settings(epochs, seed=seed, device=device))
    taken = time.perf_counter() - started
    for history in histories.values():
        if history.stopped:
            sys.exit(history.stopped)
    return {name: made.epochs[-1].test_accuracy for name, made in histories.items()}, taken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of MNIST, as for mnist-lab")
    parser.add_argument("--seeds", type=int, default=3, help="how many seeds, from 0 (3)")
    parser.add_argument("--epochs", type=int, default=10, help="epochs (10)")
    parser.add_argument("--json", type=Path, help="write the measurements to this file")
    options = parser.parse_args()

    where = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    accuracies: dict[str, dict[str, list[float]]] = {
        name: {side: [] for side in ("usual", *where)} for name in MODELS
    }
    taken: dict[str, list[float]] = {device: [] for device in where}
    for seed in range(options.seeds):
        digits = load("mnist", options.data, seed=seed)
        for name in MODELS:
            accuracies[name]["usual"].append(usual.train(name, digits, options.epochs, seed)[1])
        for device in where:
            found, seconds = lab(digits, seed, options.epochs, device)
            taken[device].append(seconds)
            for name, accuracy in found.items():
                accuracies[name][device].append(accuracy)
    return report(accuracies, taken, options)


def report(accuracies, taken, options) -> int:
    rows, behind = [], []
    for name, sides in accuracies.items():
        means = {side: statistics.mean(values) for side, values in sides.items()}
        for side, values in sides.items():
            apart = 100 * (means[side] - means["usual"])
            if apart < -POINTS:
                behind.append(f"{TITLES[name]} on {side}")
            rows.append(
                (
                    f"{TITLES[name]}, {side}",
                    *(f"{value:.4f}" for value in values),
                    f"{means[side]:.4f}",
                    "" if side == "usual" else f"{apart:+.2f}",
                )
            )
    seeds = [f"seed {seed}" for seed in range(options.seeds)]
    notes = [
        f"All three trained on {device}: median {statistics.median(seconds):.2f} s."
        for device, seconds in taken.items()
    ]
    if "cuda" not in taken:
        notes.append("No GPU that PyTorch can use is here: nothing was measured on one.")
    measure.show("Test accuracy", (*seeds, "mean", "points apart"), rows, *notes)
    if options.json:
        results = {"accuracies": accuracies, "seconds": taken, **vars(options)}
        options.json.write_text(json.dumps(results, indent=2, default=str) + "\n")
    if behind:
        print(f"More than {POINTS} points behind the usual pipeline: {', '.join(behind)}.")
    return int(bool(behind))


if __name__ == "__main__":
    sys.exit(main())
