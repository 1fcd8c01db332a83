"""What can be seen while a learner's loop runs, noted without changing what it computes."""

from __future__ import annotations

import numbers
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

__all__ = ["Spy"]

MAX_EVENTS = 10_000
MAX_GRADIENTS = 24
"""Steps whose gradients are kept, and passes that are described: enough for any check, and the
answer stays small however long a loop runs."""

MAX_STATES, MAX_STEPS = 40, 1000
"""Weights that are kept, each before the first forward pass with them, and learning rates."""


class Spy:
    """Watches ``model`` while ``watching()``; ``fields()`` and the lists of tensors say what it
    saw.

    ``gradients``: those of each of the first steps. ``states``: the parameters at the forward
    passes, each time that they are others than before. ``inputs``: the images of the first forward
    passes. ``slopes``: the gradients of the loss with respect to the outputs, at the first backward
    passes.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.batches: list[int] = []
        self.modes: list[bool] = []
        self.grad_enabled: list[bool] = []
        self.fresh: list[bool] = []
        self.steps = 0
        self.optimizers: dict[int, tuple[Optimizer, dict[str, Any]]] = {}
        self.gradients: list[dict[str, Tensor]] = []
        self.states: list[dict[str, Tensor]] = []
        self.inputs: list[Tensor] = []
        self.slopes: list[Tensor] = []
        self.events: list[str] = []
        self.rates: list[list[float]] = []
        self.seed = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch what is done inside; afterwards nothing is left on model or torch."""
        self.seed = torch.initial_seed()
        handles = [
            self.model.register_forward_pre_hook(self._before_forward, with_kwargs=True),
            self.model.register_forward_hook(self._after_forward),
            register_optimizer_step_pre_hook(self._before_step),
            register_optimizer_step_post_hook(self._after_step),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def fields(self) -> dict[str, Any]:
        """What was seen, as the fields of ``answers.Facts`` but for the loader's."""
        return {
            "batches": self.batches,
            "modes": self.modes,
            "grad_enabled": self.grad_enabled,
            "fresh": self.fresh,
            "steps": self.steps,
            "optimizers": [
                {"name": type(optimizer).__name__, "options": options}
                for optimizer, options in self.optimizers.values()
            ],
            "events": "".join(self.events),
            "rates": self.rates,
            "training_after": self.model.training,
            "requires_grad_after": all(p.requires_grad for p in self.model.parameters()),
            "grad_after": torch.is_grad_enabled(),
            "default_dtype_after": str(torch.get_default_dtype()),
            "reseeded": torch.initial_seed() != self.seed,
        }

    def _before_forward(self, model: nn.Module, given: Any, named: Mapping[str, Any]) -> None:
        images = next(iter([*given, *named.values()]), None)
        if len(self.batches) < MAX_EVENTS and isinstance(images, Tensor) and images.dim():
            self.batches.append(len(images))
            self.modes.append(model.training)
            self.grad_enabled.append(torch.is_grad_enabled())
            self._note("f")
            if len(self.inputs) < MAX_GRADIENTS:
                self.inputs.append(images.detach().clone())
            if len(self.states) < MAX_STATES:
                self._keep_state()

    def _keep_state(self) -> None:
        now = dict(self.model.named_parameters())
        last = self.states[-1] if self.states else {}
        if not last or any(not torch.equal(last[name], value) for name, value in now.items()):
            self.states.append({name: value.detach().clone() for name, value in now.items()})

    def _note(self, event: str) -> None:
        if len(self.events) < MAX_EVENTS:
            self.events.append(event)

    def _after_forward(self, model: nn.Module, given: Any, logits: Tensor) -> None:
        if logits.requires_grad:
            logits.register_hook(self._before_backward)

    def _before_backward(self, slope: Tensor) -> None:
        self._note("b")
        if len(self.slopes) < MAX_GRADIENTS:
            self.slopes.append(slope.detach().clone())
        if len(self.fresh) < MAX_EVENTS:
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            self.fresh.append(not any(bool(gradient.any()) for gradient in gradients))

    def _before_step(self, optimizer: Optimizer, args: Any, named: Mapping[str, Any]) -> None:
        if not _has_closure(args, named):
            self._step(optimizer)

    def _after_step(self, optimizer: Optimizer, args: Any, named: Mapping[str, Any]) -> None:
        # A closure computes the gradients inside of the step.
        if _has_closure(args, named):
            self._step(optimizer)

    def _step(self, optimizer: Optimizer) -> None:
        self.steps += 1
        self._note("s")
        if len(self.rates) < MAX_STEPS:
            rates = [group.get("lr") for group in optimizer.param_groups]
            self.rates.append([float(r) for r in rates if isinstance(r, numbers.Real | Tensor)])
        if id(optimizer) not in self.optimizers and len(self.optimizers) < MAX_GRADIENTS:
            self.optimizers[id(optimizer)] = optimizer, _plain(optimizer.param_groups[0])
        if len(self.gradients) < MAX_GRADIENTS:
            self.gradients.append(
                {
                    name: parameter.grad.detach().clone()
                    for name, parameter in self.model.named_parameters()
                    if parameter.grad is not None
                }
            )


def _has_closure(args: Any, named: Mapping[str, Any]) -> bool:
    return any(callable(value) for value in [*args[1:], *named.values()])


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those options of an optimizer that JSON can take."""

    def plain(value: object) -> Any:
        if isinstance(value, bool | str | type(None)):
            return value
        if isinstance(value, numbers.Real):
            return float(value)
        return str(value)[:100]

    return {
        name: [plain(item) for item in value] if isinstance(value, tuple) else plain(value)
        for name, value in options.items()
        if name != "params"
    }
