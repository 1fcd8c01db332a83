"""Optimizers as mathematics: Adam, its relatives, and what is taken for Adam.

Each works on all weights at once, laid end to end in one vector; the settings have PyTorch's names
and defaults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

__all__ = ["KINDS", "Optimizer", "Step"]

Step = Callable[[Tensor, Tensor, float], Tensor]
"""From weights, their gradients and the learning rate to the weights after the step."""

Rule = Callable[[Tensor, float], Tensor]
"""From gradients and the learning rate to what is taken from the weights."""


@dataclass(frozen=True)
class Optimizer:
    """A rule of ``KINDS``, its learning rate and those settings that are not the defaults."""

    kind: str
    lr: float
    settings: Mapping[str, Any] = field(default_factory=dict)

    def begin(self) -> Step:
        """An optimizer that has made no step yet."""
        settings = dict(self.settings)
        sign = -1 if settings.pop("maximize", False) else 1
        decay = settings.pop("weight_decay", DECAY.get(self.kind, 0.0))
        decoupled = settings.pop("decoupled_weight_decay", self.kind in DECAY)
        rule = KINDS[self.kind](**settings)

        def step(w: Tensor, g: Tensor, lr: float) -> Tensor:
            if decoupled:
                return (1 - lr * decay) * w - rule(sign * g, lr)
            return w - rule(sign * g + decay * w, lr)

        return step

    def setting(self, name: str) -> Any:
        """A setting, the default if it is not among ``settings``; None where there is none."""
        if name in self.settings:
            return self.settings[name]
        if name == "weight_decay":
            return DECAY.get(self.kind, 0.0)
        if name == "maximize":
            return False
        return (KINDS[self.kind].__kwdefaults__ or {}).get(name)


def sgd(*, momentum: float = 0.0, dampening: float = 0.0, nesterov: bool = False) -> Rule:
    velocity: Tensor | None = None

    def rule(g: Tensor, lr: float) -> Tensor:
        nonlocal velocity
        if not momentum:
            return lr * g
        velocity = g if velocity is None else momentum * velocity + (1 - dampening) * g
        return lr * (g + momentum * velocity if nesterov else velocity)

    return rule


def adam(
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    amsgrad: bool = False,
    corrected: bool = True,
    eps_in_root: bool = False,
) -> Rule:
    """Kingma and Ba, 2015, algorithm 1; AMSGrad: Reddi et al., 2018.

    The last two settings are mistakes of those who write it themselves: no correction of the
    averages' bias towards 0, and epsilon under the root.
    """
    m, v, largest = _zero(), _zero(), _zero()
    t = 0

    def rule(g: Tensor, lr: float) -> Tensor:
        nonlocal m, v, largest, t
        t += 1
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        largest = torch.maximum(largest, v) if amsgrad else v
        m_hat, v_hat = m, largest
        if corrected:
            m_hat, v_hat = m / (1 - betas[0] ** t), largest / (1 - betas[1] ** t)
        root = (v_hat + eps).sqrt() if eps_in_root else v_hat.sqrt() + eps
        return lr * m_hat / root

    return rule


def adamax(*, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> Rule:
    """Kingma and Ba, 2015, algorithm 2."""
    m, u = _zero(), _zero()
    t = 0

    def rule(g: Tensor, lr: float) -> Tensor:
        nonlocal m, u, t
        t += 1
        m = betas[0] * m + (1 - betas[0]) * g
        u = torch.maximum(betas[1] * u, g.abs() + eps)
        return lr / (1 - betas[0] ** t) * m / u

    return rule


def nadam(
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    momentum_decay: float = 4e-3,
) -> Rule:
    """Dozat, "Incorporating Nesterov momentum into Adam", 2016."""
    m, v = _zero(), _zero()
    so_far = torch.ones(())  # PyTorch keeps it in float32
    t = 0

    def mu(t: int) -> float:
        return betas[0] * (1 - 0.5 * 0.96 ** (t * momentum_decay))

    def rule(g: Tensor, lr: float) -> Tensor:
        nonlocal m, v, so_far, t
        t += 1
        so_far = so_far * mu(t)
        product = so_far.item()
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        ahead = (1 - mu(t)) / (1 - product) * g + mu(t + 1) / (1 - product * mu(t + 1)) * m
        return lr * ahead / ((v / (1 - betas[1] ** t)).sqrt() + eps)

    return rule


def radam(*, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> Rule:
    """Liu et al., "On the variance of the adaptive learning rate and beyond", 2020."""
    m, v = _zero(), _zero()
    t = 0
    limit = 2 / (1 - betas[1]) - 1

    def rule(g: Tensor, lr: float) -> Tensor:
        nonlocal m, v, t
        t += 1
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        m_hat = m / (1 - betas[0] ** t)
        rho = limit - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
        if rho <= 5:
            return lr * m_hat
        rectified = (rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho)
        return lr * m_hat * math.sqrt(rectified * (1 - betas[1] ** t)) / (v.sqrt() + eps)

    return rule


def rmsprop(
    *, alpha: float = 0.99, eps: float = 1e-8, momentum: float = 0.0, centered: bool = False
) -> Rule:
    """Hinton's lecture 6e, 2012."""
    squares, mean, velocity = _zero(), _zero(), _zero()

    def rule(g: Tensor, lr: float) -> Tensor:
        nonlocal squares, mean, velocity
        squares = alpha * squares + (1 - alpha) * g**2
        mean = alpha * mean + (1 - alpha) * g
        variance = squares - mean**2 if centered else squares
        velocity = momentum * velocity + g / (variance.sqrt() + eps)
        return lr * velocity

    return rule


def adagrad(
    *, lr_decay: float = 0.0, initial_accumulator_value: float = 0.0, eps: float = 1e-10
) -> Rule:
    """Duchi et al., 2011."""
    squares, t = _zero() + initial_accumulator_value, 0

    def rule(g: Tensor, lr: float) -> Tensor:
        nonlocal squares, t
        t += 1
        squares = squares + g**2
        return lr / (1 + (t - 1) * lr_decay) * g / (squares.sqrt() + eps)

    return rule


def adadelta(*, rho: float = 0.9, eps: float = 1e-6) -> Rule:
    """Zeiler, 2012."""
    squares, moves = _zero(), _zero()

    def rule(g: Tensor, lr: float) -> Tensor:
        nonlocal squares, moves
        squares = rho * squares + (1 - rho) * g**2
        move = (moves + eps).sqrt() / (squares + eps).sqrt() * g
        moves = rho * moves + (1 - rho) * move**2
        return lr * move

    return rule


def rprop(
    *, etas: tuple[float, float] = (0.5, 1.2), step_sizes: tuple[float, float] = (1e-6, 50.0)
) -> Rule:
    """Riedmiller and Braun, 1993."""
    before, sizes = _zero(), _zero()

    def rule(g: Tensor, lr: float) -> Tensor:
        nonlocal before, sizes
        sizes = sizes if sizes.dim() else torch.full_like(g, lr)
        turned = (g * before).sign()
        sizes = torch.where(turned > 0, sizes * etas[1], sizes)
        sizes = torch.where(turned < 0, sizes * etas[0], sizes).clamp(*step_sizes)
        before = torch.where(turned < 0, 0.0, g)
        return before.sign() * sizes

    return rule


def sign() -> Rule:
    """Steps of the same size in every direction."""
    return lambda g, lr: lr * g.sign()


KINDS: dict[str, Callable[..., Rule]] = {
    "adam": adam,
    "adamw": adam,
    "adamax": adamax,
    "nadam": nadam,
    "radam": radam,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
    "adadelta": adadelta,
    "rprop": rprop,
    "sgd": sgd,
    "sign": sign,
}

DECAY = {"adamw": 0.01}
"""The weight decay of those that have one by default, and apart from the gradients (Loshchilov and
Hutter, "Decoupled weight decay regularization", 2019)."""


def _zero() -> Tensor:
    return torch.zeros((), dtype=torch.float64)
