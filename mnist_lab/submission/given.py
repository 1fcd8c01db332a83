"""The models and loaders that a learner's loop is given, on the grader's side of the wall.

The guest sends what its model was called with: the mode, whether a gradient is wished for, the
images, the present weights. What the model computes is computed here, so whoever says that it is in
eval mode gets the numbers of eval mode. Nothing that the guest says earns a point; what it asked
for is noted, to explain results that are wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.submission import answers
from mnist_lab.submission.answers import Batches, Facts, Recipe
from mnist_lab.submission.protocol import Message, WireError

MAX_EVENTS, MAX_STEPS, MAX_RECORDED, MAX_STATES, MAX_RATES = 10_000, 1_000, 24, 40, 100
"""What is noted of a call: events, steps, steps whose gradients are kept, weights that are kept,
learning rates of a step."""

MAX_SEEN = 48
"""Passes whose images and slopes are kept: more than ``train`` is asked for in a few batches."""

MAX_PASSES = 1 << 20
"""Passes through a loader that are told apart."""

MAX_ASKED, MAX_KEPT = 1 << 21, 1 << 25
"""Pixels that a model is asked about at a time, and numbers that are kept of passes that wait for a
backward pass: beyond that the oldest are forgotten."""

RAISED = (IndexError, TypeError, ValueError, RuntimeError)
"""What PyTorch raises of a model that is called with something odd."""

LOSSES: dict[str, dict[str, float]] = {
    "cross_entropy": {},
    "smoothed": {"label_smoothing": 0.1, "ignore_index": 10},
}
"""Settings of ``nn.CrossEntropyLoss`` by the names that recipes have for it."""


Weights = Mapping[str, Tensor]
Modes = Mapping[str, bool]


def _mlp(w: Weights, modes: Modes, images: Tensor) -> Tensor:
    """Flatten, a linear layer, ReLU, a linear layer."""
    hidden = F.linear(images.flatten(1), w["hidden.weight"], w["hidden.bias"])
    return F.linear(hidden.relu(), w["output.weight"], w["output.bias"])


def _normed(w: Weights, modes: Modes, images: Tensor) -> Tensor:
    """As ``_mlp`` with batch normalisation before the ReLU: train and eval mode differ. There is a
    layer of dropout as well, which drops nothing, and has a mode.
    """
    hidden = F.linear(images.flatten(1), w["hidden.weight"], w["hidden.bias"])
    averages = w["norm.running_mean"], w["norm.running_var"]
    if modes["norm"]:
        w["norm.num_batches_tracked"].add_(1)
    normed = F.batch_norm(
        hidden, *averages, w["norm.weight"], w["norm.bias"], training=modes["norm"]
    )
    return F.linear(normed.relu(), w["output.weight"], w["output.bias"])


def _linear(w: Weights, modes: Modes, images: Tensor) -> Tensor:
    """A linear layer of the first pixel. It computes in the guest, where many batches take little
    time.
    """
    return F.linear(images.flatten(1)[:, :1], w["output.weight"], w["output.bias"])


def _scripted(w: Weights, modes: Modes, images: Tensor) -> Tensor:
    """Answers image i, whose first pixel is i, with row i of a table, plus an offset."""
    rows = images.flatten(1)[:, 0].round().long()
    if len(rows) and not -len(w["table"]) <= rows.min() <= rows.max() < len(w["table"]):
        raise ValueError("the model got images that are not the loader's")
    return w["table"][rows] + w["offset"]


@dataclass(frozen=True)
class _Kind:
    """A model: what it computes, its layers by name, and which of its weights are buffers."""

    forward: Callable[[Weights, Modes, Tensor], Tensor]
    layers: Mapping[str, str]
    buffers: frozenset[str] = frozenset()

    def described(self, state: Weights) -> list[list[Any]]:
        """Each layer with its class and what that is made with."""
        sizes = {
            "Linear": lambda name: [*state[f"{name}.weight"].shape[::-1]],
            "BatchNorm1d": lambda name: [len(state[f"{name}.weight"])],
            "Dropout": lambda name: [0.0],
        }
        return [[name, kind, sizes[kind](name)] for name, kind in self.layers.items()]


AVERAGES = frozenset(f"norm.{n}" for n in ("running_mean", "running_var", "num_batches_tracked"))

MODELS = {
    "mlp": _Kind(_mlp, {"hidden": "Linear", "output": "Linear"}),
    "normed": _Kind(
        _normed,
        {"hidden": "Linear", "norm": "BatchNorm1d", "dropout": "Dropout", "output": "Linear"},
        AVERAGES,
    ),
    "linear": _Kind(_linear, {"output": "Linear"}),
    "scripted": _Kind(_scripted, {}, frozenset(["table"])),
}


@dataclass
class _Graph:
    """A forward pass that recorded a graph."""

    inputs: dict[str, Tensor]
    outputs: Tensor
    is_a_copys: bool
    size: int


class Given:
    """What one call of a learner's code is given, and all that it asks of it.

    The model is the recipe's; ``batches`` what the loader hands out; ``calls_left`` how many calls
    with the same follow.
    """

    def __init__(self, recipe: Recipe, batches: Batches) -> None:
        self._recipe, self._batches = recipe, batches
        self._kind = MODELS[recipe.kind]
        self._state = dict(recipe.weights)
        if recipe.kind == "normed":
            self._state["norm.num_batches_tracked"] = torch.tensor(0)
        if recipe.kind == "scripted":
            self._state["offset"] = torch.zeros_like(recipe.weights["table"][0])
        self._shapes = {name: value.shape for name, value in self._state.items()}
        self._graphs: dict[int, _Graph] = {}
        self._tickets = 0
        self.calls_left = 0
        self._gradients: list[dict[str, Tensor]] = []
        self._handed_out: dict[int, set[int]] = {}
        self._seen = Facts()

    def described(self, device: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Tensor]]:
        """The model and the loader as arguments of a call, and the arrays that they need."""
        model = {
            "is": "model",
            "fields": {
                "layers": self._kind.described(self._state),
                "parameters": [name for name in self._state if name not in self._kind.buffers],
                "training": self._recipe.training,
                "device": device,
                "asks": self._recipe.kind != "linear",
            },
        }
        arrays = {f"weights.{name}": value for name, value in self._state.items()}
        size, labels = self._batches.batch_size, self._batches.labels
        if isinstance(size, int):
            loader = {"is": "loader", "fields": {"size": len(labels), "batch_size": size}}
            return model, loader, arrays
        grey, shape = self._batches.images[..., :1, :1], self._batches.images.shape[1:]
        fields = {"sizes": size, "shape": shape}
        loader = {"is": "batches", "fields": fields}
        return model, loader, arrays | {"images": grey, "labels": labels}

    def answer(self, asked: Message) -> Message | None:
        """The answer to a question of the guest's, if it waits for one. What PyTorch raises is
        raised in the guest.

        Raises ``WireError`` for what is no question.
        """
        operations: dict[str, Callable[[Message], Message | None]] = {
            "forward": self._forward,
            "backward": self._backward,
            "examples": self._examples,
            "step": self._step,
        }
        operation = operations.get(str(asked.fields.get("asks")))
        if operation is None:
            raise WireError("it asks for something that was not given")
        try:
            return operation(asked)
        except RAISED as error:
            kind = next(known for known in RAISED if isinstance(error, known))
            return Message({"raises": kind.__name__, "says": str(error)[:1000]})

    def _forward(self, asked: Message) -> Message:
        images = answers.array(asked, "images")
        sent = {n.removeprefix("weights."): v for n, v in asked.arrays.items() if n != "images"}
        modes = answers.entry(asked, "modes", dict)
        wish = answers.entry(asked, "grad", bool)
        if {name: value.shape for name, value in sent.items()} != self._shapes:
            names = {n for n in (*sent, *self._shapes) if n not in sent or n not in self._shapes}
            others = ", ".join(sorted(names or self._shapes))
            raise RuntimeError(
                f"the model does not have the tensors that it was made with: {others}"
            )
        if images.dim() < 2:
            raise ValueError(f"the model got a tensor of the shape {tuple(images.shape)}")
        if images.numel() > MAX_ASKED:
            raise WireError("it asks about too many images at once")
        for name in ("", *self._kind.layers):
            answers.of(modes.get(name), bool, "a mode")
        is_a_copys = answers.entry(asked, "is_a_copy", bool)
        if not is_a_copys:
            self._note_pass(images, sent, modes, wish)
        before = {name: sent[name].clone() for name in self._kind.buffers - {"table"}}
        inputs = {f"weights.{n}": v for n, v in sent.items() if n not in self._kind.buffers}
        if answers.entry(asked, "of_images", bool):
            inputs["images"] = images
        with torch.set_grad_enabled(wish):
            for value in inputs.values():
                value.requires_grad_(wish)
            outputs = self._kind.forward(sent, modes, images)
            for plus in (self._plus(modes), self._recipe.with_gradient if wish else None):
                outputs = outputs if plus is None else outputs + plus.to(outputs.dtype)
        self._tickets += 1
        if wish:
            self._keep(_Graph(inputs, outputs, is_a_copys, images.numel()))
        moved = {
            f"buffers.{name}": sent[name]
            for name, value in before.items()
            if not torch.equal(value, sent[name])
        }
        if moved:
            self._seen.averages = {name: sent[name].clone() for name in before}
        enough = len(self._gradients) >= MAX_RECORDED
        return Message({"ticket": self._tickets, "enough": enough}, {"outputs": outputs, **moved})

    def _plus(self, modes: Modes) -> Tensor | None:
        """What is added to the scores: something else where parts are in another mode."""
        earlier = self.calls_left > 0 and self._recipe.before is not None
        plus = self._recipe.before if earlier else self._recipe.plus
        return plus if plus is None or len(set(modes.values())) == 1 else plus.roll(1) + plus

    def _keep(self, graph: _Graph) -> None:
        self._graphs[self._tickets] = graph
        weights = sum(value.numel() for value in self._recipe.weights.values())
        while sum(each.size + weights for each in self._graphs.values()) > MAX_KEPT:
            del self._graphs[next(iter(self._graphs))]

    def _backward(self, asked: Message) -> Message:
        graph = self._graphs.get(answers.entry(asked, "ticket", int))
        slope = answers.array(asked, "slope")
        if graph is None:
            raise RuntimeError("The graph of this forward pass is not kept any more.")
        if slope.shape != graph.outputs.shape:
            raise WireError("a slope of another shape than the outputs")
        if not graph.is_a_copys:
            self._note("b")
            if len(self._seen.slopes) < MAX_SEEN:
                self._seen.slopes.append(slope)
        inputs = list(graph.inputs.values())
        # Of a number: what PyTorch does for a tensor's slope it imports SymPy for.
        with torch.enable_grad():
            product = (graph.outputs * slope).sum()
        found = torch.autograd.grad(product, inputs, retain_graph=True, allow_unused=True)
        pairs = zip(graph.inputs, found, strict=True)
        return Message({}, {name: value for name, value in pairs if value is not None})

    def _examples(self, asked: Message) -> Message:
        indices, count = answers.entry(asked, "indices", tuple[int, ...]), len(self._batches.labels)
        if len(indices) > count:
            raise WireError("it asks for more examples than there are")
        if indices and not 0 <= min(indices) <= max(indices) < count:
            raise IndexError("There is no such example.")
        number = answers.entry(asked, "pass", int) % MAX_PASSES
        self._seen.passes += 0 in indices
        if number in self._handed_out or len(self._handed_out) < MAX_RECORDED:
            handed_out = self._handed_out.setdefault(number, set())
            handed_out.update(indices)
            if len(handed_out) == count and number not in self._seen.whole:
                self._seen.whole.append(number)
        chosen = self._batches.order(number)[torch.tensor(indices, dtype=torch.int64)]
        return Message(
            {}, {"images": self._batches.images[chosen], "labels": self._batches.labels[chosen]}
        )

    def _step(self, asked: Message) -> None:
        number = answers.entry(asked, "optimizer", int)
        self._seen.steps += 1
        self._note("s")
        if len(self._seen.rates) < MAX_STEPS:
            self._seen.rates.append(answers.entry(asked, "rates", tuple[float, ...])[:MAX_RATES])
            self._seen.betas.append(answers.entry(asked, "betas", tuple[float, ...])[:MAX_RATES])
        if "name" in asked.fields and len(self._seen.optimizers) < MAX_RECORDED:
            self._seen.optimizers[number] = answers.optimizer(asked)
        if len(self._gradients) < MAX_RECORDED:
            found = answers.under(asked, "gradients.")
            if any(self._shapes.get(name) != value.shape for name, value in found.items()):
                raise WireError("gradients of no parameters")
            self._gradients.append({k: v for k, v in found.items() if k in self._recipe.weights})

    def _note(self, event: str) -> None:
        if len(self._seen.events) < MAX_EVENTS:
            self._seen.events.append(event)

    def _note_pass(
        self, images: Tensor, sent: Mapping[str, Tensor], modes: Mapping[str, bool], wish: bool
    ) -> None:
        seen = self._seen
        if len(seen.batches) >= MAX_EVENTS or not images.dim():
            return
        self._note("f")
        seen.batches.append(len(images))
        seen.modes.append(modes[""])
        seen.partly.append(len(set(modes.values())) > 1)
        seen.grad_enabled.append(wish)
        if len(seen.inputs) < MAX_SEEN and images.numel() <= self._batches.images.numel():
            seen.inputs.append(images.detach().clone())
        if len(seen.states) < MAX_STATES:
            now = {n: v for n, v in sent.items() if n not in self._kind.buffers}
            last = seen.states[-1] if seen.states else {}
            if not last or any(not torch.equal(last[name], v) for name, v in now.items()):
                seen.states.append({name: value.detach().clone() for name, value in now.items()})

    def facts(self, left: Message) -> Facts:
        """What was seen, and what the guest says of how the call ``left`` things."""
        return replace(
            self._seen,
            training_after=answers.entry(left, "training_after", bool),
            requires_grad_after=answers.entry(left, "requires_grad_after", bool),
            grad_after=answers.entry(left, "grad_after", bool),
            default_dtype_after=answers.entry(left, "default_dtype_after", str),
            draws_again=answers.entry(left, "draws_again", bool),
        )

    def gradients(self) -> tuple[dict[str, Tensor], ...]:
        """Those that each of the first optimizer's steps found."""
        return tuple(self._gradients)
