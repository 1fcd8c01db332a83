"""A report's folder read back: the ``Comparison`` that it was made from, and the grade."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab.report.folder import ReportError, results

if TYPE_CHECKING:
    from mnist_lab.compare import Comparison, Result
    from mnist_lab.data import Digits
    from mnist_lab.grade import Grade

__all__ = ["ANSWERS", "load", "load_grade"]

ANSWERS = "answers.safetensors"
"""The file with what each model answered: probabilities (N, 10) of the test digits."""


def load(folder: str | Path = ".", data_directory: str | Path | None = None) -> Comparison:
    """The comparison of the report in ``folder``, with its answers and weights; nothing is trained.

    The digits are drawn again as they were, from ``data_directory``, or else ``$MNIST_LAB_DATA``,
    or a folder ``data`` here or one above; they are downloaded if they are nowhere. Raises
    ``ReportError`` if the folder is no report, and what ``data.load`` raises.
    """
    from safetensors.torch import load_file

    from mnist_lab.compare import Comparison
    from mnist_lab.training import Settings

    folder = Path(folder)
    said = results(folder)
    try:
        answers = load_file(folder / ANSWERS)
        models = tuple(
            replace(
                _result(model),
                probabilities=answers[model["name"]].numpy(),
                weights=load_file(folder / model["weights"]),
            )
            for model in said["models"]
        )
        return Comparison(
            digits=_digits(said["data"], data_directory),
            settings=Settings(**said["settings"]),
            device=said["device"],
            results=models,
            missing=tuple(said["missing"]),
            interrupted=said["interrupted"],
            seconds=said["seconds"],
            versions=said["versions"],
            machine=said["machine"],
            beside=tuple(map(_result, said["beside"])),
        )
    except (OSError, KeyError, TypeError) as error:
        raise ReportError(f"The report in {folder.resolve()} is not complete: {error}.") from error


def load_grade(folder: str | Path = ".") -> Grade:
    """The grade of the report in ``folder``. Raises ``ReportError`` if there is none."""
    from mnist_lab.grade import Grade, GradeError

    said = results(Path(folder)).get("grade")
    if not said:
        raise ReportError(f"The report in {Path(folder).resolve()} has no grade.")
    try:
        return Grade.from_json(said)
    except GradeError as error:
        raise ReportError(f"The grade of the report cannot be read: {error}.") from error


def _result(said: Mapping[str, Any]) -> Result:
    """The result of a model, but for its answers and weights."""
    import numpy as np

    from mnist_lab.compare import Result
    from mnist_lab.training import Epoch, History

    epochs = tuple(
        Epoch(**{key: math.nan if value is None else value for key, value in epoch.items()})
        for epoch in said["history"]
    )
    return Result(
        name=said["name"],
        title=said["title"],
        parameters=said["parameters"],
        history=History(epochs, said["stopped"]),
        probabilities=np.zeros((0, 10), dtype=np.float32),
        confusion_matrix=np.array(said["confusion_matrix"]),
        weights={},
    )


def _digits(said: Mapping[str, Any], directory: str | Path | None) -> Digits:
    from mnist_lab import data

    if directory is None and "MNIST_LAB_DATA" not in os.environ:
        near = (Path("data"), Path("..", "data"))
        directory = next((place for place in near if not data.missing(place)), None)
    found = data.load(
        said["source"],
        directory,
        seed=said["seed"],
        train_size=said["train_size"],
        test_size=said["test_size"],
    )
    return replace(found, note=said["note"])
