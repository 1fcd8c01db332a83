"""What is asked of a learner's training and evaluation: its loops, run with a spy."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mnist_lab.submission.protocol import Message
from mnist_lab.submission.recipes import LOSSES, CountedLoader, make_model
from mnist_lab.submission.spies import Spy
from mnist_lab.submission.workbench import ReturnedError, Workbench, a_pair, seed_all, type_of

__all__ = ["confusion_matrix", "evaluate", "train", "train_epoch"]

SEED = 0x6D6E697374
"""Added to the seeds of a recipe, so that no seed that a learner may choose is the same."""


def train_epoch(bench: Workbench, request: Message) -> Message:
    """Epochs of the learner's, one call after the other, with an SGD that is given to it."""
    fields = request.fields
    model, loader, spy = _setting(request)
    optimizer = torch.optim.SGD(model.parameters(), lr=fields["lr"], momentum=fields["momentum"])
    loss = LOSSES[fields["loss"]]()
    function = bench.named("train_epoch")
    with spy.watching():
        values = [
            function(model, loader, optimizer, loss, **_device(fields))
            for _ in range(fields["calls"])
        ]
    return _trained(spy, loader, values, "train_epoch")


def train(bench: Workbench, request: Message) -> Message:
    """The learner's whole training."""
    model, loader, spy = _setting(request)
    function = bench.named("train")
    with spy.watching():
        history = function(model, loader, **request.fields["given"], **_device(request.fields))
    if not isinstance(history, list | tuple):
        raise ReturnedError(
            f"train gave a {type_of(history)}, not a list of one (loss, accuracy) an epoch."
        )
    # One pair of numbers in the place of the list: the learner's answer for one epoch.
    alone = len(history) == 2 and all(isinstance(part, numbers.Real) for part in history)
    return _trained(spy, loader, [history] if alone else list(history), "train")


def evaluate(bench: Workbench, request: Message) -> Message:
    """The learner's evaluation."""
    model, loader, spy = _setting(request)
    function = bench.named("evaluate")
    with spy.watching():
        value = function(model, loader, **_device(request.fields))
    fields = {**_seen(spy, loader), "score": _score(value, "evaluate")}
    return Message(fields, _state(model))


def confusion_matrix(bench: Workbench, request: Message) -> Message:
    """The learner's confusion matrix."""
    model, loader, spy = _setting(request)
    function = bench.named("confusion_matrix")
    with spy.watching():
        value = function(model, loader, **_device(request.fields))
    try:
        matrix = torch.as_tensor(np.asarray(value) if isinstance(value, list | tuple) else value)
    except (TypeError, ValueError, RuntimeError):
        raise ReturnedError(
            f"confusion_matrix gave a {type_of(value)} that is no table of numbers."
        ) from None
    fields = {**_seen(spy, loader), "type": type_of(value)}
    return Message(fields, {**_state(model), "matrix": matrix})


def _setting(request: Message) -> tuple[nn.Module, CountedLoader, Spy]:
    """The model, on its device, and the loader that a learner's loop is given, with a spy."""
    fields, arrays = request.fields, request.arrays
    prefix = "weights."
    state = {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
    model = make_model(fields["kind"], state).to(fields["device"]).train(fields["training"])
    loader = CountedLoader(arrays["images"], arrays["labels"], fields["batch_size"])
    seed_all(SEED + fields["seed"])
    return model, loader, Spy(model)


def _device(fields: Any) -> dict[str, str]:
    """The device argument, which is left to its default on a CPU."""
    return {} if fields["device"] == "cpu" else {"device": fields["device"]}


def _trained(spy: Spy, loader: CountedLoader, history: list[Any], name: str) -> Message:
    found = _state(spy.model)
    for step, gradients in enumerate(spy.gradients):
        found |= {f"gradients.{step}.{key}": value for key, value in gradients.items()}
    for index, state in enumerate(spy.states):
        found |= {f"states.{index}.{key}": value for key, value in state.items()}
    found |= {f"inputs.{index}": value for index, value in enumerate(spy.inputs)}
    found |= {f"slopes.{index}": value for index, value in enumerate(spy.slopes)}
    scores = [_score(value, name) for value in history[:1000]]
    fields = {**_seen(spy, loader), "history": scores, "recorded": len(spy.gradients)}
    return Message(fields, found)


def _seen(spy: Spy, loader: CountedLoader) -> dict[str, Any]:
    return {**spy.fields(), "passes": loader.passes}


def _state(model: nn.Module) -> dict[str, Tensor]:
    return {f"weights.{name}": value for name, value in model.state_dict().items()}


def _score(value: Any, name: str) -> dict[str, Any]:
    loss, accuracy = a_pair(value, name)
    return {
        "loss": _number(loss, f"The loss that {name} gave"),
        "accuracy": _number(accuracy, f"The accuracy that {name} gave"),
        "types": [_kind(loss), _kind(accuracy)],
    }


def _kind(value: Any) -> str:
    graph = isinstance(value, Tensor) and value.requires_grad
    return f"{type_of(value)} with a graph" if graph else type_of(value)


def _number(value: Any, what: str) -> float:
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, Tensor | np.ndarray) and math.prod(value.shape) == 1:
        return float(value.item())
    raise ReturnedError(f"{what} is a {type_of(value)}, not a number.")
