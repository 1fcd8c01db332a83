"""The numbers of a ``Comparison`` as strict JSON, ``results.json``, for other programs."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import mnist_lab

if TYPE_CHECKING:
    from mnist_lab.compare import Comparison, Result
    from mnist_lab.grade import Grade

__all__ = ["SCHEMA", "as_json"]

SCHEMA = 1


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
    return json.dumps(_strict(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


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


def _strict(value: Any) -> Any:
    """``value`` with ``None`` for each number that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _strict(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
