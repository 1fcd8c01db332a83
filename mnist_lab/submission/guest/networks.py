"""Questions about a learner's network: make one, set its weights, compute outputs and gradients."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice, takewhile
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.func import functional_call
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.nn.parameter import UninitializedParameter
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mnist_lab.submission.guest.learner import Learner, ReturnedError, seed_all
from mnist_lab.submission.guest.values import a_tensor, shape_of, type_of
from mnist_lab.submission.protocol import DTYPES, Message

__all__ = [
    "build",
    "cast",
    "forward",
    "gradients",
    "on_fake_device",
    "repeated",
    "set_weights",
    "steps",
    "try_gpu",
    "weights",
]


def build(learner: Learner, question: Message) -> Message:
    """An instance of a class of models; lazy layers get their sizes from two blank images."""
    name = question.fields["name"]
    make = learner.named(name)
    seed_all(question.fields["seed"])
    model = make()
    if not isinstance(model, nn.Module):
        raise ReturnedError(
            f"{name}() is a {type_of(model)}, not a torch.nn.Module.",
            "no-module",
            type=type_of(model),
        )
    if any(isinstance(p, UninitializedParameter) for p in model.parameters()):
        mode = model.training
        with torch.no_grad():
            model.eval()(torch.zeros(2, 1, 28, 28))
        model.train(mode)
    if {id(p) for p in model.parameters()} != {id(p) for _, p in model.named_parameters()}:
        raise ReturnedError(f"The parameters() of {name} are not those of its layers.")
    told = {
        "id": learner.keep(model),
        "parameters": [_described(*named) for named in model.named_parameters()],
        "modules": {name: _shown(each) for name, each in islice(model.named_modules(), 1000)},
        "unregistered": list(_unregistered(model))[:100],
    }
    return Message(told)


def weights(learner: Learner, question: Message) -> Message:
    """Parameters and buffers."""
    named = _named(_model(learner, question))
    return Message({}, {f"weights.{name}": value for name, value in named})


def set_weights(learner: Learner, question: Message) -> Message:
    """Overwrite parameters and buffers."""
    named = dict(_named(_model(learner, question)))
    with torch.no_grad():
        for name, value in question.arrays.items():
            named[name.removeprefix("weights.")].copy_(value)
    return Message()


def cast(learner: Learner, question: Message) -> Message:
    """Make floating-point weights of another dtype."""
    _model(learner, question).to(DTYPES[question.fields["dtype"]])
    return Message()


def forward(learner: Learner, question: Message) -> Message:
    """Logits of images; where they were computed is as asked, the answer is from the CPU.

    The images are sent back too where it is asked for, as the call has left them.
    """
    model, fields = _model(learner, question), question.fields
    with _moved(model, fields["device"]):
        images = _images(learner, question.arrays["images"]).to(fields["device"])
        _in_mode(model, fields["training"])
        with torch.no_grad(), _counting() as made:
            logits = a_tensor(model(images), type(model).__name__)
    after = {"images": images} if fields["images_after"] else {}
    return Message({"made": len(made)}, {"logits": logits, **after})


def _images(learner: Learner, images: Tensor) -> Tensor:
    """The tensor of the time before if that has the same images, by which old answers are known."""
    last = learner.images
    alike = last.dtype == images.dtype and not last.requires_grad
    if not (alike and torch.equal(last, images)):
        learner.images = images
    return learner.images


def repeated(learner: Learner, question: Message) -> Message:
    """Logits of the same images, call after call, after seeding once."""
    model, fields = _model(learner, question), question.fields
    name = type(model).__name__
    seed_all(fields["seed"])
    _in_mode(model, fields["training"])
    with torch.set_grad_enabled(fields["training"]):
        logits = [
            a_tensor(model(question.arrays["images"].clone()), name).detach().clone()
            for _ in range(fields["calls"])
        ]
    shapes = dict.fromkeys(map(shape_of, logits))
    if len(shapes) > 1:
        raise ReturnedError(
            f"{name} gave outputs of different shapes for the same images: {', '.join(shapes)}.",
            "other-shape",
        )
    return Message({}, {"logits": torch.stack(logits)})


def steps(learner: Learner, question: Message) -> Message:
    """What each step of a forward pass gives, and where it is (see ``_Watched``)."""
    model = _model(learner, question).train(question.fields["training"])
    watched = _Watched(str(learner.path), model)
    with torch.no_grad(), watched:
        model(question.arrays["images"])
    arrays = {f"steps.{number}": value for number, value in enumerate(watched.values)}
    return Message({"places": watched.places}, arrays)


def gradients(learner: Learner, question: Message) -> Message:
    """Gradients of the cotangent's product with the logits."""
    model, fields = _model(learner, question), question.fields
    images = question.arrays["images"]
    _in_mode(model, fields["training"]).zero_grad()
    logits = a_tensor(model(images), type(model).__name__)
    cotangent = question.arrays["cotangent"].to(logits.dtype)
    if logits.shape != cotangent.shape:
        raise ReturnedError(
            f"{type(model).__name__} gave {shape_of(logits)} for images {shape_of(images)}, "
            f"not {shape_of(cotangent)}.",
            "other-shape",
        )
    if not logits.requires_grad:
        raise ReturnedError(
            f"{type(model).__name__} gave an output that no gradient flows through.",
            "no-gradient",
        )
    (logits * cotangent).sum().backward()
    found = {
        f"parameters.{name}": parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return Message({}, {**found, "logits": logits})


def on_fake_device(learner: Learner, question: Message) -> Message:
    """A forward pass on a device that has shapes and no numbers; where it goes is ``unknown`` if
    the learner's code looks at numbers, or asks autocast for a device that it does not know.
    """
    model = _model(learner, question)
    model.eval()
    dtype = next((p.dtype for p in model.parameters()), torch.float32)
    images = torch.zeros(3, 1, 28, 28, dtype=dtype, device="meta")
    state = {name: value.to("meta") for name, value in _placed(model)}
    with torch.no_grad():
        try:
            with _OneDevice():
                logits = functional_call(model, state, (images,), tie_weights=False)
        except Exception as refused:  # Fake tensors know more of a GPU, and take far longer.
            try:
                logits = _of_fake_tensors(model, images)
            except RuntimeError as error:
                is_known = isinstance(error, UNKNOWN) or str(error) in SAID
                if not is_known or isinstance(refused, TypeError):  # NumPy takes the CPU's alone.
                    raise
                return Message({"device": "unknown"})
    return Message({"device": str(a_tensor(logits, type(model).__name__).device)})


UNKNOWN = (DataDependentOutputException, DynamicOutputShapeException)
SAID = (
    ".numpy() is not supported for tensor subclasses.",
    "unsupported scalarType",
    "User specified an unsupported autocast device_type 'meta'",
)


def try_gpu(learner: Learner, question: Message) -> Message:
    """Nothing, once a GPU has computed something; what PyTorch raises where it can't."""
    square = torch.ones(2, 2, device="cuda")
    return Message({"sum": (square @ square).sum().item()})


class _OneDevice(TorchDispatchMode):
    """Lets nothing pass that has tensors of several devices."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = tree_leaves((args, kwargs))
        if len({each.device for each in given if isinstance(each, Tensor)}) > 1:
            raise RuntimeError("tensors of several devices")
        return func(*args, **(kwargs or {}))


class _Watched(TorchFunctionMode):
    """Keeps the ``values`` of floating-point tensors as they are made or changed, with ``places``:
    the line of the learner's file, 0 outside of it, the PyTorch module that was called there, and
    whether that is ``inside`` of another one.
    """

    def __init__(self, path: str, model: nn.Module) -> None:
        super().__init__()
        self.values: list[Tensor] = []
        self.places: list[dict[str, Any]] = []
        self._path = path
        self._names = {id(module): name for name, module in model.named_modules()}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        value = args[0] if result is None and args else result  # x[x < 0] = 0 gives nothing.
        is_kept = isinstance(value, Tensor) and value.is_floating_point()
        if is_kept and len(self.values) < MOST_STEPS:
            self.values.append(value.detach().clone())
            self.places.append(self._place(sys._getframe(1)))
        return result

    def _place(self, frame: FrameType | None) -> dict[str, Any]:
        modules: dict[str, None] = {}
        while frame is not None and frame.f_code.co_filename != self._path:
            name = self._names.get(id(frame.f_locals.get("self")))
            modules |= {name: None} if name is not None else {}
            frame = frame.f_back
        line = frame.f_lineno if frame else 0
        return {"line": line, "module": next(iter(modules), ""), "inside": len(modules) > 1}


MOST_STEPS = 60
"""Of a forward pass that are told: a network for each image of a batch has more."""


def _of_fake_tensors(model: nn.Module, images: Tensor) -> Any:
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        state = {name: mode.from_tensor(value).to("meta") for name, value in _placed(model)}
        return functional_call(model, state, (torch.zeros_like(images),), tie_weights=False)


def _unregistered(model: nn.Module) -> Iterator[dict[str, Any]]:
    """Attributes of a model that hold layers or weights where PyTorch does not look for them, its
    class's own among them.
    """
    own = {f"{prefix}.".lstrip("."): vars(module) for prefix, module in model.named_modules()}
    learners = takewhile(lambda kind: kind is not nn.Module, type(model).__mro__)
    of_classes = {f"{kind.__name__}.": vars(kind) for kind in learners}
    for prefix, attributes in (*own.items(), *of_classes.items()):
        of_a_class = attributes is of_classes.get(prefix)
        for name, value in attributes.items():
            if name.startswith("_") or (isinstance(value, nn.Module) and not of_a_class):
                continue
            is_several = isinstance(value, dict | list | tuple)
            held = tree_leaves(value)
            modules = [part for part in held if isinstance(part, nn.Module)]
            tensors = [
                part for part in held if isinstance(part, Tensor) and part.is_floating_point()
            ]
            tensors += [weight for part in modules for weight in part.parameters()]
            if tensors:
                kind = type_of(value) if is_several or modules else "Tensor"
                yield {
                    "name": f"{prefix}{name}",
                    "type": "class" if of_a_class else kind,
                    "parts": len(value) if is_several else 1,
                    "shapes": [list(tensor.shape) for tensor in tensors[:100]],
                }


def _shown(module: nn.Module) -> str:
    """The type of a module, and of PyTorch's own what it was made with: ``MaxPool2d(...)``."""
    kind = type_of(module)
    is_own = type(module).__module__.startswith("torch.nn.")
    return f"{kind}({module.extra_repr()})"[:200] if is_own else kind


@contextmanager
def _counting() -> Iterator[list[str]]:
    """The names of parameters that are made meanwhile."""
    made: list[str] = []

    def note(module: nn.Module, name: str, parameter: Any) -> None:
        if isinstance(parameter, nn.Parameter):
            made.append(name)

    handle = register_module_parameter_registration_hook(note)
    try:
        yield made
    finally:
        handle.remove()


def _model(learner: Learner, question: Message) -> nn.Module:
    return learner.objects[question.fields["id"]]


def _in_mode(model: nn.Module, training: bool) -> nn.Module:
    """As whoever uses it puts it into a mode: not anew for each batch."""
    if any(each.training != training for each in nn.Module.modules(model)):
        (model.train if training else model.eval)()
    return model


def _named(model: nn.Module) -> list[tuple[str, Tensor]]:
    """Parameters and buffers, each once, whatever names it has."""
    return [*model.named_parameters(), *model.named_buffers()]


def _placed(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The same, but once for each place in a module where they are kept."""
    for prefix, module in model.named_modules():
        yield from module.named_parameters(prefix, recurse=False, remove_duplicate=False)
        yield from module.named_buffers(prefix, recurse=False, remove_duplicate=False)


@contextmanager
def _moved(model: nn.Module, device: str) -> Iterator[None]:
    """``model`` on ``device`` for a while."""
    if device == "cpu":
        yield
        return
    model.to(device)
    try:
        yield
    finally:
        model.to("cpu")


def _described(name: str, value: Tensor) -> dict[str, Any]:
    return {
        "name": name,
        "shape": list(value.shape),
        "dtype": str(value.dtype).removeprefix("torch."),
        "requires_grad": value.requires_grad,
    }
