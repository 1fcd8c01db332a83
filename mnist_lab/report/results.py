"""The numbers of a ``Comparison`` as strict JSON, ``results.json``, and the ``Comparison`` again,
made of them, the answers and weights beside them, and the digits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import mnist_lab
from mnist_lab.report.folder import ReportError, read_results

if TYPE_CHECKING:
    from mnist_lab.compare import Comparison, Result
    from mnist_lab.data import Digits
    from mnist_lab.grade import Grade

SCHEMA = 1

ANSWERS = "answers.safetensors"
"""The file with what each model answered: probabilities (N, 10) of the test digits."""


def as_json(comparison: Comparison, files: Sequence[str], grade: Grade | None = None) -> str:
    """``comparison`` without images and weights; ``files`` are those of the report.

    A number that is not finite, as the loss of a model that diverged, becomes ``null``.
    """
    digits = comparison.digits
    content = {
        "schema": SCHEMA,
        "kit": mnist_lab.__version__,
        "data": {
            "source": digits.source,
            "seed": digits.seed,
            "train_size": len(digits.train),
            "test_size": len(digits.test),
            "note": digits.note,
        },
        "settings": asdict(comparison.settings),
        "device": comparison.device,
        "machine": comparison.machine,
        "versions": comparison.versions,
        "seconds": comparison.seconds,
        "interrupted": comparison.interrupted,
        "missing": comparison.missing,
        "models": [_model(result) for result in comparison.results],
        "beside": [_model(result) for result in comparison.beside],
        "grade": grade.to_json() if grade else None,
        "files": files,
    }
    strict = json.loads(json.dumps(content), parse_constant=lambda name: None)
    return json.dumps(strict, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load(folder: str | Path = ".") -> Comparison:
    """The comparison of the report in ``folder``, with its answers and weights; nothing is trained.

    The digits are drawn again as they were, from ``$MNIST_LAB_DATA``, or a folder ``data`` here or
    one above; they are downloaded if they are nowhere. Raises ``ReportError`` if the folder is no
    report, and what ``data.load`` raises.
    """
    from safetensors.torch import load_file

    from mnist_lab.compare import Comparison
    from mnist_lab.training import Settings

    folder = Path(folder)
    said = read_results(folder)
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
            digits=_digits(said["data"]),
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

    said = read_results(Path(folder)).get("grade")
    if not said:
        raise ReportError(f"The report in {Path(folder).resolve()} has no grade.")
    try:
        return Grade.from_json(said)
    except GradeError as error:
        raise ReportError(f"The grade of the report cannot be read: {error}.") from error


def _model(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "title": result.title,
        "parameters": result.parameters,
        "test_accuracy": result.accuracy,
        "test_accuracy_interval": result.interval,
        "test_loss": result.test_loss,
        "training_seconds": result.history.seconds,
        "stopped": result.history.stopped,
        "history": [asdict(epoch) for epoch in result.history.epochs],
        "confusion_matrix": result.confusion_matrix.tolist(),
        "worst_confusions": [asdict(confusion) for confusion in result.worst_confusions()],
        "weights": f"weights/{result.name}.safetensors",
    }


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


def _digits(said: Mapping[str, Any]) -> Digits:
    from mnist_lab import data

    near = (data.data_directory(), Path("..", "data"))
    directory = next((place for place in near if not data.missing(place)), None)
    found = data.load(
        said["source"],
        directory,
        seed=said["seed"],
        train_size=said["train_size"],
        test_size=said["test_size"],
    )
    return replace(found, note=said["note"])
