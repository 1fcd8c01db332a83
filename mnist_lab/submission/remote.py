"""Objects that a learner's code made, held from the grader's side: models and transforms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mnist_lab.grade import Cause
from mnist_lab.submission import answers
from mnist_lab.submission.answers import Gradients, Output, Step, Unregistered, Value
from mnist_lab.submission.caller import Caller, Event, SubmissionFailure
from mnist_lab.submission.given import Given
from mnist_lab.submission.protocol import MAX_BODY, MAX_DIMENSIONS, Message, WireError

MOST_WEIGHTS = MAX_BODY // 8
"""Of a model: as many as can be sent in float64."""


@dataclass(frozen=True)
class Called:
    """What calls of a learner's function gave: a value each, the number under which the last is
    ``kept``, and how they ``left`` what they were given.
    """

    values: tuple[Value, ...]
    kept: int
    callable: bool
    left: Message


def called(
    caller: Caller,
    name: str,
    doing: str,
    arguments: Sequence[Any] = (),
    options: Mapping[str, Any] = {},
    arrays: Mapping[str, Tensor] = {},
    *,
    seed: int | None = None,
    calls: int = 1,
    given: Given | None = None,
    accepts: Mapping[str, Any] = {},
    again: bool = False,
) -> Called:
    """Call the learner's function ``name``, ``calls`` times with the same arguments; if ``again``,
    with those that the call before had.

    Arguments are plain, or describe what the guest makes of the ``arrays``. ``accepts`` are more
    that it must take, without being given them.
    """
    caller.expect_own(name)
    values: list[Value] = []
    for number in range(calls):  # Each is answered before the next is asked for.
        kept_arguments = again or number > 0
        fields = {
            "name": name,
            "arguments": list(arguments),
            "options": dict(options),
            "accepts": dict(accepts),
            "seed": None if number else seed,
            "again": kept_arguments,
        }
        if given is not None:
            given.calls_left = calls - number - 1
        reply = caller.ask("call", Message(fields, {} if kept_arguments else arrays), doing, given)
        with caller.reading(doing):
            values.append(answers.value(reply.fields.get("returned"), reply.arrays))
            kept = answers.entry(reply, "kept", int)
            can_be_called = answers.entry(reply, "callable", bool)
    return Called(tuple(values), kept, can_be_called, reply)


class _Remote:
    """An object on the learner's side, which holds it under a number."""

    def __init__(self, caller: Caller, name: str, kept: int) -> None:
        self._caller, self.name, self._id = caller, name, kept
        self._generation = caller.generation

    def _ask(
        self,
        operation: str,
        doing: str,
        fields: Mapping[str, Any] = {},
        arrays: Mapping[str, Tensor] = {},
    ) -> Message:
        if self._generation != self._caller.generation:
            sentence = f"{self.name} is gone: the program that held it had to be stopped."
            raise SubmissionFailure(Cause(sentence), Event("gone", caller=self._caller))
        request = Message({"id": self._id, "name": self.name, **fields}, arrays)
        return self._caller.ask(operation, request, doing)


class Transform(_Remote):
    """A transform that the learner's code made."""

    def __init__(self, caller: Caller, name: str, seed: int | None = None) -> None:
        made = called(caller, name, f"{name}()", seed=seed)
        if not made.callable:
            kind = made.values[0].type
            sentence = f"{name}() is a {kind}, which can't be called with an image."
            raise caller.refusal(sentence, "no-transform", name, type=kind)
        super().__init__(caller, name, made.kept)

    def __call__(self, images: Sequence[Tensor], repeats: int = 1, seed: int = 0) -> Tensor:
        """Each of ``images``, uint8 (H, W), transformed ``repeats`` times after seeding once.

        Given as greyscale PIL images; the results, stacked as they came, are
        (len(images) * repeats, ...), all repeats of the first image first. Raises
        ``SubmissionFailure`` where they are no tensors.
        """
        results, kind = self.of_any_kind(images, repeats, seed)
        if kind:
            sentence = f"{self.name}() gave a {kind}, not a tensor."
            raise self._caller.refusal(sentence, "no-tensor", self.name, type=kind)
        return results

    def of_any_kind(
        self, images: Sequence[Tensor], repeats: int = 1, seed: int = 0
    ) -> tuple[Tensor, str]:
        """As a call, of results that may be pictures or arrays, whose type is then told."""
        arrays = {f"images.{index}": image for index, image in enumerate(images)}
        doing = f"{self.name}()(image)"
        fields = {"images": len(images), "repeats": repeats, "seed": seed}
        reply = self._ask("apply", doing, fields, arrays)
        with self._caller.reading(doing):
            result = self._caller.finite(answers.array(reply, "images"), doing, self.name)
            if result.dim() == 0 or len(result) != len(images) * repeats:
                raise WireError("the wrong number of images")
            return result, answers.text(reply.fields.get("kind", ""))

    def reseeds(self, image: Tensor) -> tuple[str, ...]:
        """Which of ``torch``, ``numpy`` and ``random`` a call on ``image`` seeds anew.

        Those whose global state is the same after calls that began with different ones.
        """
        return self._caller.reseeds(lambda seed: self.of_any_kind([image], seed=seed))

    def reseeds_when_made(self) -> tuple[str, ...]:
        """As ``reseeds``, of the call that makes the transform."""
        doing = f"{self.name}()"
        return self._caller.reseeds(lambda seed: called(self._caller, self.name, doing, seed=seed))


class Model(_Remote):
    """A model that the learner's code made. Called, it gives logits in eval mode.

    ``parameters`` are those that it registered, each object once; ``modules`` has by name how
    PyTorch shows each module, beginning with its type. ``unregistered`` are layers and weights that
    PyTorch does not find.
    """

    def __init__(self, caller: Caller, name: str, seed: int = 0) -> None:
        doing = f"{name}()"
        caller.expect_own(name)
        made = caller.ask("build", Message({"name": name, "seed": seed}), doing)
        with caller.reading(doing):
            super().__init__(caller, name, answers.entry(made, "id", int))
            self.parameters = answers.parameters(made)
            self.modules = answers.entry(made, "modules", Mapping[str, str])
            self.unregistered = answers.entry(made, "unregistered", tuple[Unregistered, ...])
        if (most := max((len(each.shape) for each in self.parameters), default=0)) > MAX_DIMENSIONS:
            sentence = (
                f"{name}() has a weight of {most} dimensions, which is far more than any needs."
            )
            raise caller.refusal(sentence, name=name)
        if (size := sum(math.prod(each.shape) for each in self.parameters)) > MOST_WEIGHTS:
            sentence = f"{name}() has {size:,} weights, which is far more than any digit needs."
            raise caller.refusal(sentence, name=name)

    def another(self) -> Model:
        """One more of its class."""
        return Model(self._caller, self.name)

    def __call__(self, images: Tensor) -> Tensor:
        """The logits of ``images`` in eval mode, without gradients: of any shape, finite."""
        return self.forward(images).logits

    @property
    def file(self) -> str:
        """The name of the learner's file."""
        return self._caller.file

    @property
    def text(self) -> str:
        """What is in it."""
        return self._caller.text(self._caller.file)

    def weights(self) -> dict[str, Tensor]:
        """The parameters and buffers by name."""
        doing = f"The weights of {self.name}"
        found = answers.under(self._ask("weights", doing), "weights.")
        with self._caller.reading(doing):
            for each in self.parameters:
                if each.name not in found or tuple(found[each.name].shape) != each.shape:
                    raise WireError(f"{each.name} has another shape")
        return found

    def set_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Overwrite the parameters or buffers named; the dtypes stay the model's."""
        arrays = {f"weights.{name}": value for name, value in weights.items()}
        self._ask("set_weights", self.name, {}, arrays)

    def double(self) -> Model:
        """Make all floating-point weights float64, in place."""
        return self._cast("float64")

    def float(self) -> Model:
        """Make all floating-point weights float32, in place."""
        return self._cast("float32")

    def forward(
        self,
        images: Tensor,
        *,
        training: bool = False,
        device: str = "cpu",
        images_after: bool = False,
    ) -> Output:
        """The model's output for ``images``, in train mode if asked; with ``images_after`` also the
        images, as the model has left them.
        """
        doing = self._on(images)
        fields = {"training": training, "device": device, "images_after": images_after}
        reply = self._ask("forward", doing, fields, {"images": images})
        with self._caller.reading(doing):
            made = answers.entry(reply, "made", int)
            return Output(self._logits(reply, doing), reply.arrays.get("images", images), made)

    def repeated(
        self, images: Tensor, calls: int, *, training: bool = False, seed: int = 0
    ) -> Tensor:
        """The logits of as many ``calls`` with the same images, (calls, N, ...), after seeding
        once; in train mode with a graph.
        """
        doing = self._on(images, calls)
        fields = {"calls": calls, "training": training, "seed": seed}
        reply = self._ask("repeated", doing, fields, {"images": images})
        with self._caller.reading(doing):
            logits = self._logits(reply, doing)
            if logits.shape[:1] != (calls,):
                raise WireError("the wrong number of outputs")
            return logits

    def reseeds(self, images: Tensor) -> tuple[str, ...]:
        """As a transform's, of a call in train mode."""
        return self._caller.reseeds(lambda seed: self.repeated(images, 1, training=True, seed=seed))

    def reseeds_when_made(self) -> tuple[str, ...]:
        """As ``reseeds``, of the call that makes the model."""
        return self._caller.reseeds(lambda seed: Model(self._caller, self.name, seed))

    def steps(self, images: Tensor, *, training: bool = False) -> list[Step]:
        """What the steps of a forward pass give, and where they are: the learner's word for it."""
        doing = self._on(images)
        reply = self._ask("steps", doing, {"training": training}, {"images": images})
        with self._caller.reading(doing):
            return answers.steps(reply)

    def gradients(self, images: Tensor, cotangent: Tensor, *, training: bool = False) -> Gradients:
        """Gradients of ``(logits * cotangent).sum()`` by parameter."""
        doing = f"The backward pass of {self.name} on images {_shape(images)}"
        arrays = {"images": images, "cotangent": cotangent}
        reply = self._ask("gradients", doing, {"training": training}, arrays)
        with self._caller.reading(doing):
            return answers.gradients(reply, self.parameters)

    def on_fake_device(self) -> str:
        """The device of the output, on a device that has shapes and no numbers.

        Code that names a device or makes tensors on the CPU fails there as on a GPU. Of code that
        looks at numbers nothing is known.
        """
        doing = f"{self.name} on another device than the CPU"
        reply = self._ask("on_fake_device", doing)
        with self._caller.reading(doing):
            return answers.text(reply.fields.get("device"))

    def _cast(self, dtype: str) -> Model:
        self._ask("cast", f"{self.name}().{dtype}", {"dtype": dtype})
        return self

    def _logits(self, reply: Message, doing: str) -> Tensor:
        logits = answers.array(reply, "logits")
        if logits.dtype == torch.bool:
            raise WireError("truth values where scores belong")
        return self._caller.finite(logits, doing, self.name)

    def _on(self, images: Tensor, calls: int = 1) -> str:
        called = f"Calling {self.name} {calls} times" if calls > 1 else self.name
        return f"{called} on images {_shape(images)}{'' if images.any() else ' of zeros'}"


def _shape(images: Tensor) -> str:
    return f"({', '.join(map(str, images.shape))})"
