"""The pictures of a ``Comparison``, each a function that returns a matplotlib ``Figure``.

Figures are made without pyplot, so drawing them leaves no state behind. Colours are Okabe and
Ito's, told apart by colour-blind readers; markers, hatching and dashes tell them apart in print.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import seaborn
import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
)

from mnist_lab.augment import augment, draw
from mnist_lab.compare import Comparison, Result
from mnist_lab.contract import MEAN, SIDE, STD
from mnist_lab.data import Split

BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#777777"
WIDTH = 8.4
DIGITS = range(10)
MOST_MISREADINGS = 12
SAMPLES, AUGMENTED = 4, 3
"""Rows of training digits as they are, and rows of one of them as augmentation changes it."""
LINE = 0.2
"""The grey of the lines between images, 0 white to 1 black."""
SOLID: dict[str, Any] = {"color": BLUE}
HATCHED: dict[str, Any] = {"facecolor": "white", "edgecolor": ORANGE, "hatch": "/////"}
ACCURACY_TICKS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999)


def featured(comparison: Comparison) -> Result:
    """The model whose misreadings are shown: the CNN, or the most accurate where there is none."""
    return max(comparison.results, key=lambda result: (result.name == "cnn", result.accuracy))


def misreadings(result: Result, test: Split) -> np.ndarray:
    """Positions in ``test`` of the digits that ``result`` misreads, the surest misreading first."""
    wrong = np.flatnonzero(result.predictions != test.labels.numpy())
    return wrong[np.argsort(-result.probabilities[wrong].max(1), kind="stable")]


def accuracy_curves(comparison: Comparison) -> Figure:
    """Accuracy in training and on the test digits against epochs, a panel a model.

    The shared axis is logistic, stretched towards 100%, so that 90 % and 99 % both have room.
    """
    figure = _figure(3.4)
    panels = figure.subplots(1, len(comparison.results), sharey=True, squeeze=False)[0]
    for axes, result in zip(panels, comparison.results, strict=True):
        _accuracy_panel(axes, result, len(comparison.digits.train))
    low, high = _accuracy_limits(panels)
    panels[0].set_yscale("logit")
    panels[0].set_ylim(low, high)
    panels[0].yaxis.set_major_locator(FixedLocator([t for t in ACCURACY_TICKS if low <= t <= high]))
    panels[0].yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{100 * share:.4g}%"))
    panels[0].yaxis.set_minor_locator(NullLocator())
    panels[0].set_ylabel("accuracy")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, frameon=False)
    return figure


def label_distribution(comparison: Comparison) -> Figure:
    """The share of each digit in the training and the test split, as bars with their counts."""
    figure = _figure(3.4)
    axes = figure.subplots()
    splits = {"training": comparison.digits.train, "test": comparison.digits.test}
    looks = (SOLID, HATCHED)
    for side, (name, split), look in zip((-0.2, 0.2), splits.items(), looks, strict=True):
        counts = label_counts(split)
        places = np.arange(10) + side
        label = f"{name}, {len(split):,} digits"
        bars = axes.bar(places, counts / len(split), width=0.38, label=label, **look)
        axes.bar_label(bars, [f"{count:,}" for count in counts], fontsize=6.5, padding=2)
    axes.set_xticks(DIGITS, [str(digit) for digit in DIGITS])
    axes.set_xlabel("digit")
    axes.set_ylabel("share of the split")
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.tick_params(axis="x", length=0)
    _open(axes)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def sample_images(comparison: Comparison) -> Figure:
    """Training digits, a column a digit; below, the first of each as augmentation changes it."""
    train = comparison.digits.train
    blocks = {"from the training split": _samples(train)}
    if comparison.settings.augment:
        title = f"the first row, as augmentation changes it in epochs 1 to {AUGMENTED}"
        blocks[title] = _augmented_samples(train, comparison.settings.seed)
    rows = [len(block) for block in blocks.values()]
    figure = _figure(0.4 * len(blocks) + WIDTH / 10 * sum(rows))
    panels = figure.subplots(len(blocks), 1, squeeze=False, height_ratios=rows)[:, 0]
    for axes, (title, tiles) in zip(panels, blocks.items(), strict=True):
        axes.imshow(_mosaic(tiles), cmap="gray_r", vmin=0, vmax=1, interpolation="none")
        axes.set_title(title, loc="left", fontsize=10)
        _bare(axes)
    return figure


def confusion_matrices(comparison: Comparison) -> Figure:
    """The featured model's confusion matrix as a large heatmap, the others' beside it."""
    large = featured(comparison)
    others = [result for result in comparison.results if result is not large]
    figure = _figure(5.8 if others else 6.2)
    if not others:
        _heatmap(figure.subplots(), large, fontsize=9)
        return figure
    grid = figure.add_gridspec(len(others), 2, width_ratios=[2, 1])
    _heatmap(figure.add_subplot(grid[:, 0]), large, fontsize=9)
    for row, result in enumerate(others):
        _heatmap(figure.add_subplot(grid[row, 1]), result, fontsize=6)
    return figure


def misread_gallery(comparison: Comparison) -> Figure:
    """Test digits that the featured model misreads, the surest misreading first.

    Beside each, the probabilities that the model gave to the ten digits.
    """
    result, test = featured(comparison), comparison.digits.test
    shown = misreadings(result, test)[:MOST_MISREADINGS]
    if not len(shown):
        figure = _figure(1.2)
        sentence = f"The {result.title.lower()} misreads none of the {len(test):,} test digits."
        figure.text(0.5, 0.5, sentence, ha="center", va="center")
        return figure
    columns = 3
    rows = -(-len(shown) // columns)
    figure = _figure(1.4 * rows + 0.4)
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, place in zip(panels, shown, strict=False):
        true = int(test.labels[place])
        _misreading(axes, test.images[place].numpy(), true, result.probabilities[place])
    for axes in figure.axes[len(shown) :]:
        _bare(axes)
    handles = [Patch(**SOLID, label="true digit"), Patch(**HATCHED, label="read as")]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, frameon=False)
    return figure


FIGURES: dict[str, Callable[[Comparison], Figure]] = {
    "accuracy_curves": accuracy_curves,
    "label_distribution": label_distribution,
    "sample_images": sample_images,
    "confusion_matrices": confusion_matrices,
    "misread_gallery": misread_gallery,
}
"""The pictures by the name of their file, in the order of the report."""


def label_counts(split: Split) -> np.ndarray:
    """How many of each digit ``split`` holds, (10,)."""
    return torch.bincount(split.labels, minlength=10).numpy()


def _figure(height: float) -> Figure:
    return Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")


def _open(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])  # an axis that is off is still measured
    axes.set_axis_off()


def _accuracy_panel(axes: Axes, result: Result, images: int) -> None:
    epochs = result.history.epochs
    numbers = np.arange(1, len(epochs) + 1)
    # 0 and 1 lie infinitely far out on a logistic axis: draw them half an image inside.
    edge = 0.5 / images
    trained = np.clip([epoch.train_accuracy for epoch in epochs], edge, 1 - edge)
    tested = np.clip([epoch.test_accuracy for epoch in epochs], edge, 1 - edge)
    axes.plot(numbers, tested, "o-", color=BLUE, ms=4, label="test digits")
    axes.plot(numbers, trained, "s--", color=ORANGE, mfc="white", ms=4, label="training digits")
    axes.set_title(f"{result.title}\ntest {result.accuracy:.2%}", fontsize=10)
    axes.set_xlim(0.5, len(epochs) + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    _open(axes)


def _accuracy_limits(panels: Sequence[Axes]) -> tuple[float, float]:
    """The ticks of accuracy around all that is drawn."""
    values = np.concatenate([line.get_ydata() for axes in panels for line in axes.lines])
    below = [tick for tick in ACCURACY_TICKS if tick < values.min()]
    above = [tick for tick in ACCURACY_TICKS if tick > values.max()]
    return (
        below[-1] if below else values.min() / 2,
        above[0] if above else 1 - (1 - values.max()) / 2,
    )


def _samples(train: Split) -> np.ndarray:
    """The first training digits of each class in [0, 1], (SAMPLES, 10, 28, 28); black if none."""
    tiles = np.zeros((SAMPLES, 10, SIDE, SIDE))
    for digit in DIGITS:
        images = train.images[train.labels == digit][:SAMPLES]
        tiles[: len(images), digit] = images.numpy() / 255
    return tiles


def _augmented_samples(train: Split, seed: int) -> np.ndarray:
    """The first digit of each class as it was learned from in the first epochs, as ``_samples``."""
    present, first = np.unique(train.labels.numpy(), return_index=True)
    places = torch.from_numpy(first)
    tiles = np.zeros((AUGMENTED, 10, SIDE, SIDE))
    for row in range(AUGMENTED):
        draws = draw(seed, row, len(train))[places]
        tiles[row, present] = augment(train.images[places], draws)[:, 0].numpy() * STD + MEAN
    return tiles


def _mosaic(tiles: np.ndarray) -> np.ndarray:
    """Rows and columns of images (R, C, H, W) as one image with thin lines between them."""
    lined = np.pad(tiles, ((0, 0), (0, 0), (0, 1), (0, 1)), constant_values=LINE)
    rows, columns, height, width = lined.shape
    image = lined.transpose(0, 2, 1, 3).reshape(rows * height, columns * width)
    return np.pad(image, ((1, 0), (1, 0)), constant_values=LINE)


def _heatmap(axes: Axes, result: Result, fontsize: float) -> None:
    matrix = result.confusion_matrix
    seaborn.heatmap(
        matrix,
        ax=axes,
        annot=np.where(matrix, matrix.astype(str), ""),
        fmt="",
        annot_kws={"fontsize": fontsize},
        cmap="Blues",
        # Misreadings are few beside what is read right: a root makes them visible.
        norm=PowerNorm(0.4, vmin=0, vmax=matrix.max()),
        cbar=False,
        square=True,
        linewidths=0.5,
        linecolor="#dddddd",
    )
    for text in axes.texts:
        text.set_in_layout(False)  # inside its cell, and slow to measure
    axes.set_title(f"{result.title}: {result.accuracy:.2%}", fontsize=fontsize + 3)
    axes.set_xlabel("read as", fontsize=fontsize + 1)
    axes.set_ylabel("true digit", fontsize=fontsize + 1)
    axes.tick_params(length=0, labelrotation=0, labelsize=fontsize + 1)


def _misreading(axes: Axes, image: np.ndarray, true: int, probabilities: np.ndarray) -> None:
    """One misread digit; beside it a bar for each digit, as long as its probability."""
    read = int(probabilities.argmax())
    left, longest, step = SIDE + 8, SIDE, (SIDE + 2) / 10
    framed = np.pad(image / 255, 1, constant_values=LINE)
    extent = (-1, SIDE + 1, SIDE + 1, -1)
    axes.imshow(framed, cmap="gray_r", vmin=0, vmax=1, interpolation="none", extent=extent)
    heights = (np.arange(10) + 0.5) * step - 1
    bars = axes.barh(heights, probabilities * longest, 0.65 * step, left, color=GREY)
    bars[true].set(**SOLID)
    bars[read].set(**HATCHED)
    for digit, (y, share) in enumerate(zip(heights, probabilities, strict=True)):
        axes.text(left - 2, y, str(digit), ha="right", va="center", fontsize=6.5)
        if digit in (true, read):
            place = left + share * longest + 1.5
            axes.text(place, y, f"{share:.1%}", va="center", fontsize=6.5)
    for artist in (*bars, *axes.texts):
        artist.set_in_layout(False)  # inside the axes, and slow to measure
    axes.set(xlim=(-1, left + longest + 16), ylim=(SIDE + 1, -1))
    axes.set_title(f"{true} read as {read}", loc="left", fontsize=9)
    _bare(axes)
