"""Answers that say nothing: no number, nothing at all, or the same whatever is asked.

How they are told is in ``mistakes/events.toml``, by the words that are used here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mnist_lab.diagnosis import CheckFailure
from mnist_lab.grade import Cause


def degenerate(mistake: str, name: str, seen: str, **facts: str) -> CheckFailure:
    """The failure for what the learner calls ``name``, known by what was ``seen``."""
    message = f"What {name} gives is the same whatever goes in, or nothing."
    return CheckFailure(Cause(message, evidence=seen), mistake, {"of": name, "seen": seen, **facts})


def of_scores(name: str, scores: Sequence[tuple[float, float]], seen: str) -> CheckFailure | None:
    """Of several (loss, accuracy), which ought to be different; None where they are."""
    whose = "epoch" if name == "train" else "number"
    for what, values in zip(("loss", "accuracy"), zip(*scores, strict=True), strict=False):
        facts = {"what": what, "value": f"{values[0]:g}"}
        if not math.isfinite(values[0]):
            return degenerate(f"{whose}-not-finite", name, seen, **facts)
        if len(values) > 1 and len(set(values)) == 1:
            return degenerate(f"{whose}-{'same' if values[0] else 'zero'}", name, seen, **facts)
    return None


def of_weights(
    name: str, before: Sequence[Mapping[str, Tensor]], last: Mapping[str, Tensor]
) -> CheckFailure | None:
    """Of the weights ``before`` each step that was seen and the ``last`` ones; None where all are
    finite.
    """
    finite = [all(map(_is_finite, weights.values())) for weights in (*before, last)]
    if all(finite):
        return None
    seen = "" if all(finite[:-1]) else f"They are so from step {finite.index(False)} on."
    return degenerate("weights-not-finite", name, seen)


def _is_finite(values: Tensor) -> bool:
    return bool(torch.isfinite(values).all())


def of_outputs(name: str, outputs: Tensor, fewer: Tensor) -> CheckFailure | None:
    """Of a network's (N, 10) for random images, and those of a few of these asked on their own;
    None where images and digits are told apart.
    """
    if len(outputs) == 0:
        return None
    first = outputs[0]
    same_images = bool((outputs == first).all()) and bool((fewer == first).all())
    same_digits = bool((outputs == outputs[:, :1]).all())
    shown = [f"{each + 0.0:.4g}" for each in first.tolist()]  # no -0
    seen = f"For the first of {len(outputs)} random images, with random weights: "
    seen += f"{', '.join(shown)}."
    facts = {"value": shown[0]}
    if same_images and same_digits:
        return degenerate("outputs-one", name, seen, **facts)
    if same_images:
        return degenerate("outputs-same", name, seen)
    return degenerate("outputs-flat", name, seen) if same_digits else None


def of_images(name: str, results: Tensor) -> CheckFailure | None:
    """Of the results (N, ...) of a transform for different pictures; None where they differ."""
    flat = results.reshape(len(results), -1)
    if flat.shape[1] < 2:
        return None  # another form is told as that
    is_flat = bool((flat == flat[:, :1]).all())
    is_same = bool((flat == flat[:1]).all())
    value = f"{flat[0, 0].item() + 0.0:.4f}"
    seen = f"Seen in {len(flat)} results for pictures of 28x28 pixels, which are not alike."
    if is_flat and is_same:
        return degenerate("images-one", name, seen, value=value)
    if is_same:
        return degenerate("images-same", name, seen)
    return degenerate("images-flat", name, seen) if is_flat else None


def of_table(counts: Tensor, seen: str) -> CheckFailure | None:
    """Of a confusion matrix (10, 10); None where it has counts in several rows and columns."""
    rows, columns = (counts.any(axis).nonzero().flatten().tolist() for axis in (1, 0))
    name, total = "confusion_matrix", f"{counts.sum().item():g}"
    if not rows:
        return degenerate("table-zero", name, seen)
    if len(rows) == 1 < len(columns):
        return degenerate("table-row", name, seen, place=str(rows[0]), total=total)
    if len(columns) == 1 < len(rows):
        return degenerate("table-column", name, seen, place=str(columns[0]), total=total)
    if (counts == counts[0, 0]).all():
        return degenerate("table-same", name, seen, value=f"{counts[0, 0].item():g}")
    return degenerate("table-cell", name, seen, total=total) if len(rows) == 1 else None
