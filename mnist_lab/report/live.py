"""What the page computes with and looks up: the models' weights, and digits of the test set."""

from __future__ import annotations

import base64
import io
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mnist_lab.augment import normalise
from mnist_lab.compare import Comparison, Result
from mnist_lab.contract import MEAN, STD
from mnist_lab.data import Split
from mnist_lab.models import MODELS
from mnist_lab.plots import MOST_MISREADINGS, featured, misreadings

MOST_OF_A_CELL = 8
"""Misread digits that the page holds for a cell of a confusion matrix. With 90 cells and three
models, all digits that a page can hold stay below 1 MB."""
EXAMPLES = 3
"""Digits of each class that can be put on the pad."""
TRIED = 100
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Misread:
    """A test digit by its position, and the probabilities that the model gave to the ten digits."""

    place: int
    true: int
    probabilities: tuple[float, ...]

    @property
    def read(self) -> int:
        return self.probabilities.index(max(self.probabilities))


@dataclass(frozen=True)
class Live:
    """``models`` answer on the page, ``absent`` cannot. ``deepest`` is the largest part of a true
    digit's images that a model reads as one other digit. ``data`` is what the page's scripts read,
    for JSON; its ``digits`` maps positions in the test set to PNGs in base64.
    """

    models: tuple[Result, ...]
    absent: tuple[Result, ...]
    gallery: tuple[Misread, ...]
    deepest: float
    data: dict[str, Any]


def live(comparison: Comparison) -> Live:
    """What the page of ``comparison`` needs to answer.

    A model answers on the page if the kit's own code gives its answers with its weights. A learner
    may have written it in another way: then the kit's own, where there is one beside, answers.
    """
    test = comparison.digits.test
    fitting = {}
    absent = []
    for result in comparison.results:
        stand_ins = [other for other in comparison.beside if other.name == result.name]
        for candidate in (result, *stand_ins):
            if (weights := _as_the_kit_names_them(candidate, test)) is not None:
                fitting[result.name] = candidate, weights
                break
        if result.name not in fitting or fitting[result.name][0] is not result:
            absent.append(result)
    matrices = [_cells(result, test) for result in comparison.results]
    examples = [torch.nonzero(test.labels == digit)[:EXAMPLES, 0].tolist() for digit in range(10)]
    shown_best = featured(comparison)
    gallery = tuple(
        Misread(place, int(test.labels[place]), tuple(shown_best.probabilities[place].tolist()))
        for place in misreadings(shown_best, test)[:MOST_MISREADINGS].tolist()
    )
    confusions = [each for result in comparison.results for each in result.worst_confusions(90)]
    shown = {each.place for each in gallery}
    shown.update(*examples, *(places for cells in matrices for places in cells.values()))
    digits = {place: _png(test.images[place].numpy()) for place in sorted(shown)}
    return Live(
        models=tuple(result for result, _ in fitting.values()),
        absent=tuple(absent),
        gallery=gallery,
        deepest=max((each.count / each.of for each in confusions), default=1.0),
        data={
            "mean": MEAN,
            "std": STD,
            "models": [_packed(result.name, weights) for result, weights in fitting.values()],
            "matrices": matrices,
            "examples": examples,
            "digits": digits,
        },
    )


def _as_the_kit_names_them(result: Result, test: Split) -> dict[str, Tensor] | None:
    """The weights of ``result`` by the kit's names, or ``None`` if the kit's model with them does
    not answer as ``result`` did. In each of the three models every shape is there once.
    """
    with torch.device("meta"):
        network = MODELS[result.name]()
    shapes = {name: value.shape for name, value in network.state_dict().items()}
    by_shape = {value.shape: value.detach().cpu().float() for value in result.weights.values()}
    if any(shape not in by_shape for shape in shapes.values()):
        return None
    weights = {name: by_shape[shape] for name, shape in shapes.items()}
    network.load_state_dict(weights, assign=True)
    with torch.no_grad():
        answers = network(normalise(test.images[:TRIED])).softmax(1).numpy()
    same = np.allclose(answers, result.probabilities[:TRIED], rtol=0, atol=TOLERANCE)
    return weights if same else None


def _packed(name: str, weights: dict[str, Tensor]) -> dict[str, Any]:
    raw = b"".join(value.numpy().astype("<f4").tobytes() for value in weights.values())
    return {
        "name": name,
        "shapes": [[key, list(value.shape)] for key, value in weights.items()],
        "weights": base64.b64encode(raw).decode(),
    }


def _cells(result: Result, test: Split) -> dict[str, list[int]]:
    """Positions of misread digits by cell, ``"4-9"`` for a 4 read as 9, the surest first."""
    cells: dict[str, list[int]] = defaultdict(list)
    for place in misreadings(result, test).tolist():
        cell = cells[f"{int(test.labels[place])}-{int(result.predictions[place])}"]
        if len(cell) < MOST_OF_A_CELL:
            cell.append(place)
    return dict(cells)


def _png(image: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
