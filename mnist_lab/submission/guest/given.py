"""What a learner's function is given: models, loaders, losses, optimizers and datasets.

Parameters are here and are real. What a model computes from them, the batches of a loader, and
gradients come from the grader, who is told in which mode the model is and with which weights.
"""

from __future__ import annotations

import builtins
import copy
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch._C._functorch import get_unwrapped, is_functorch_wrapped_tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.autograd.function import once_differentiable
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.data import DataLoader, Subset

from mnist_lab.submission.guest.places import Recorded, with_a_gpu
from mnist_lab.submission.protocol import APART, HERE, RECORDED, Message

_asks: list[Callable[[Message], Message]] = []


@contextmanager
def asking(ask: Callable[[Message], Message]) -> Iterator[None]:
    """What was given can be used inside: ``ask`` puts its questions to the grader."""
    _asks.append(ask)
    try:
        yield
    finally:
        _asks.pop()


def _ask(what: str, fields: Mapping[str, Any], arrays: Mapping[str, Tensor] = {}) -> Message:
    """The grader's answer; what PyTorch raised there is raised here. To a step there is none."""
    if not _asks:
        raise RuntimeError("This belongs to a call that is over.")
    with torch._C.DisableTorchFunction():  # On the wire there are no devices.
        reply = _asks[-1](Message({"asks": what, **fields}, arrays))
    if "raises" in reply.fields:
        raise getattr(builtins, reply.fields["raises"])(reply.fields["says"])
    return reply


class Model(nn.Module):
    """A model with the layers and weights that were sent. What they compute is not here."""

    def __init__(self, layers: Sequence[Sequence[Any]], weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, kind, sizes in layers:
            self.add_module(name, getattr(nn, kind)(*sizes))
        floats = [value for value in weights.values() if value.is_floating_point()]
        self.to(floats[0].dtype)
        with torch.no_grad():
            for name, value in weights.items():
                layer, _, own = name.rpartition(".")
                if layer:
                    getattr(self.get_submodule(layer), own).copy_(value)
                elif value.requires_grad:
                    self.register_parameter(own, nn.Parameter(value))
                else:
                    self.register_buffer(own, value)
        self._is_a_copy = self._is_known = False
        self._device: torch.device | None = None  # Where it has to be when it is called.

    def forward(self, images: Tensor) -> Tensor:
        parameters, buffers = dict(self.named_parameters()), dict(self.named_buffers())
        inputs = (images, *parameters.values())
        # Whether there will be a graph, asked of PyTorch itself and not of its settings.
        wish = any((each.flatten()[:1] * 1).requires_grad for each in inputs)
        asked = _Pass(self, list(parameters), list(buffers), wish)
        outputs: Tensor = _Forward.apply(asked, *inputs, *buffers.values())
        return outputs.to(images.device)

    def __deepcopy__(self, known: dict[int, Any]) -> Model:
        twin = Model.__new__(type(self))
        known[id(self)] = twin
        twin.__dict__.update(copy.deepcopy(self.__dict__, known))
        twin._is_a_copy = True
        return twin


class Linear(Model):
    """A layer for an image's first pixel. It computes here, where many batches take little time."""

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.get_submodule("output")(images.flatten(1)[:, :1])
        return scores


@dataclass(eq=False)
class _Pass:
    """A forward pass, and the number under which the grader knows it."""

    model: Model
    parameters: list[str]
    buffers: list[str]
    wish: bool
    ticket: int = 0


class _Forward(torch.autograd.Function):
    """The outputs of a model, and their gradients when they are asked for."""

    @staticmethod
    def forward(asked: _Pass, images: Tensor, *tensors: Tensor) -> Tensor:
        devices = {tensor.device for tensor in (images, *tensors)}
        if len(devices) > 1 or asked.model._device not in (None, *devices):
            raise RuntimeError(APART)
        fields = {
            "modes": {name: module.training for name, module in asked.model.named_modules()},
            "grad": asked.wish,
            "of_images": images.requires_grad,
            "is_a_copy": asked.model._is_a_copy,
        }
        named = dict(zip([*asked.parameters, *asked.buffers], tensors, strict=True))
        sent = {f"weights.{name}": value for name, value in named.items()}
        reply = _ask("forward", fields, {"images": images, **sent})
        for name in asked.buffers:
            if (moved := reply.arrays.get(f"buffers.{name}")) is not None:
                named[name].copy_(moved)
        asked.ticket, asked.model._is_known = reply.fields["ticket"], reply.fields["enough"]
        outputs: Tensor = reply.arrays["outputs"].to(images.device)
        return outputs

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.asked, *tensors = inputs
        # Nothing of these is used: as in any model, what is needed for gradients may not change.
        ctx.save_for_backward(*tensors[: 1 + len(ctx.asked.parameters)])

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        (images, *_), asked = ctx.saved_tensors, ctx.asked
        with temporarily_clear_interpreter_stack():  # as there is one inside of torch.func.grad
            while is_functorch_wrapped_tensor(slope):
                slope = get_unwrapped(slope)
            reply = _ask("backward", {"ticket": asked.ticket}, {"slope": slope})
        wanted = ["images", *(f"weights.{name}" for name in asked.parameters)]
        found = [reply.arrays.get(name) for name in wanted]
        of_buffers = [None] * len(asked.buffers)
        return (None, *(g if g is None else g.to(images.device) for g in found), *of_buffers)


class Loader:
    """Batches of images and labels that the grader hands out when they are asked for. Like a list
    of batches it can be gone through again and has a length, and nothing more. As a DataLoader it
    draws a random number for each pass.
    """

    def __init__(self, size: int, batch_size: int) -> None:
        self._starts, self._indices = range(0, size, batch_size), list(range(size))
        self._passes, self._drawn = 0, set[int]()
        self._recorded: Recorded | None = None

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def draws_again(self) -> bool:
        """Whether two passes drew the same number: the random state was set, or set back."""
        return len(self._drawn) < self._passes

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self._passes = number = self._passes + 1
        self._drawn.add(int(torch.empty((), dtype=torch.int64).random_()))
        for start in self._starts:
            chosen = self._indices[start : start + self._starts.step]
            arrays = _ask("examples", {"indices": chosen, "pass": number}).arrays
            if self._recorded:
                self._recorded.put_here(arrays.values())
            yield arrays["images"], arrays["labels"]


class Lent:
    """The arguments of a call as the question describes them, and what is seen of them."""

    def __init__(self, question: Message) -> None:
        self._arrays = question.arrays
        self._model: Model | None = None
        self._recorded: Recorded | None = None
        self._told: dict[int, Optimizer] = {}  # Kept, so that no later one has the same id.
        self._steps = 0  # A step of a subclass that calls its parent's is one inside of another.
        self.arguments = [self._made(each) for each in question.fields["arguments"]]

    def _made(self, said: Any) -> Any:
        if not isinstance(said, dict):
            return said
        kind, fields = said["is"], said.get("fields", {})
        if kind == "model":
            weights = {
                name.removeprefix("weights."): value.requires_grad_(
                    name.removeprefix("weights.") in fields["parameters"]
                )
                for name, value in self._arrays.items()
                if name.startswith("weights.")
            }
            self._model = (Model if fields["asks"] else Linear)(fields["layers"], weights)
            if fields["device"] in (RECORDED, HERE):
                self._recorded, there = Recorded(), fields["device"] == RECORDED
                self._model._device = torch.device(RECORDED if there else "cpu")
                if there:
                    self._recorded.put_there([*self._model.parameters(), *self._model.buffers()])
            else:
                self._model.to(fields["device"])
            return self._model.train(fields["training"])
        if kind == "loader":
            loader = Loader(**fields)
            loader._recorded = self._recorded
            return loader
        if kind == "batches":
            images = self._arrays["images"].expand(-1, *fields["shape"])
            parts = (each.split(fields["sizes"]) for each in (images, self._arrays["labels"]))
            pairs = list(zip(*parts, strict=True))
            return DataLoader(pairs, batch_size=None)  # type: ignore[arg-type]
        if kind == "optimizer":
            assert self._model is not None
            return torch.optim.SGD(self._model.parameters(), **fields)
        if kind == "loss":
            return nn.CrossEntropyLoss(**fields)
        if kind == "tensor":
            return self._arrays[fields["name"]]
        assert kind == "dataset"
        images, labels = (self._arrays[f"{fields['name']}.{part}"] for part in ("images", "labels"))
        images = images.expand(-1, -1, 28, 28) if images.shape[-1] == 1 else images
        pairs = list(zip(images, labels.tolist(), strict=True))
        if fields["plain"]:
            return pairs
        return Subset(pairs, range(len(pairs)))  # type: ignore[arg-type]

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Tell the grader of every optimizer's step inside, and of what is moved to a device that
        is not there.
        """
        with ExitStack() as hooks:
            if self._recorded:
                hooks.enter_context(self._recorded)
                hooks.enter_context(with_a_gpu())
            if type(self._model) is Model:
                for register, told in (
                    (register_optimizer_step_pre_hook, self._before_step),
                    (register_optimizer_step_post_hook, self._after_step),
                ):
                    hooks.callback(register(told).remove)
            yield

    def again(self) -> Lent:
        """The same for another call, in which what the one before left of the model is undone."""
        if self._model is not None:
            self._model.requires_grad_()
        return self

    def _before_step(self, optimizer: Optimizer, given: Any, named: Mapping[str, Any]) -> None:
        if not self._steps and not _has_closure(given, named):
            self._tell_step(optimizer)
        self._steps += 1

    def _after_step(self, optimizer: Optimizer, given: Any, named: Mapping[str, Any]) -> None:
        self._steps -= 1
        # A closure computes the gradients inside of the step.
        if not self._steps and _has_closure(given, named):
            self._tell_step(optimizer)

    def _tell_step(self, optimizer: Optimizer) -> None:
        assert self._model is not None
        groups = optimizer.param_groups
        rates = [group.get("lr") for group in groups]
        betas = [group["betas"][0] for group in groups if isinstance(group.get("betas"), tuple)]
        fields: dict[str, Any] = {
            "optimizer": id(optimizer),
            "rates": [float(rate) for rate in rates if isinstance(rate, numbers.Real | Tensor)],
            "betas": [float(beta) for beta in betas if isinstance(beta, numbers.Real | Tensor)],
        }
        if id(optimizer) not in self._told:
            self._told[id(optimizer)] = optimizer
            of_pytorch = (c for c in type(optimizer).__mro__ if c.__module__.startswith("torch."))
            fields["name"] = next(of_pytorch).__name__  # Of a learner's subclass, the parent's.
            first, *others = map(_plain, groups)
            apart = [k for k in first if any(other.get(k) != first[k] for other in others)]
            fields["options"] = first | {"of_groups": apart}
        # As many gradients as the grader wants to know of.
        parameters = [] if self._model._is_known else self._model.named_parameters()
        gradients = {f"gradients.{name}": p.grad for name, p in parameters if p.grad is not None}
        _ask("step", fields, gradients)

    def left_behind(self) -> Message:
        """What is as the call left it: the model, and PyTorch's settings."""
        loaders = [each for each in self.arguments if isinstance(each, Loader)]
        found = {
            "grad_after": torch.is_grad_enabled(),
            "default_dtype_after": str(torch.get_default_dtype()),
            "draws_again": any(each.draws_again for each in loaders),
        }
        if self._model is None:
            return Message(found)
        found["training_after"] = any(each.training for each in nn.Module.modules(self._model))
        parameters = nn.Module.parameters(self._model)
        found["requires_grad_after"] = all(each.requires_grad for each in parameters)
        # By PyTorch's own methods, whatever the model's have become.
        named = (nn.Module.named_parameters(self._model), nn.Module.named_buffers(self._model))
        weights = {f"weights.{name}": value.detach().clone() for name, value in chain(*named)}
        return Message(found, weights)


def _has_closure(given: Any, named: Mapping[str, Any]) -> bool:
    return any(callable(value) for value in [*given[1:], *named.values()])


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
