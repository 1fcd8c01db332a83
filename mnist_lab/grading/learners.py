"""A learner's three models as a ``Comparison``, with the kit's own beside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mnist_lab.compare import TITLES, Comparison, compare, result_of
from mnist_lab.data import Digits
from mnist_lab.diagnosis.networks.trained import SETTINGS, Trained
from mnist_lab.grade import Grade


def beside_the_kits(models: Mapping[str, Trained], digits: Digits, grade: Grade) -> Comparison:
    """The learner's ``models`` by exercise, compared; the kit's own are trained to stand beside.

    ``grade`` says why a model is missing.
    """
    own = compare(digits, SETTINGS)
    results = {
        name: result_of(name, model.history, model.logits, digits.test.labels, model.weights)
        for name, model in models.items()
    }
    beside = (replace(result, title=f"{result.title} (the kit's)") for result in own.results)
    return replace(
        own,
        results=tuple(results[name] for name in TITLES if name in results),
        missing=tuple(_why_missing(name, grade) for name in TITLES if name not in results),
        beside=tuple(beside),
    )


def _why_missing(name: str, grade: Grade) -> str:
    check = next(check for check in grade.checks if check.id == f"{name}.accuracy")
    reason = check.cause.message if check.cause else "It was not trained."
    return f"{TITLES[name]}: {reason}"
