"""Objects that a learner's code made, held from the grader's side: models and transforms."""

from __future__ import annotations

import builtins
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mnist_lab.grade import Cause
from mnist_lab.submission import answers
from mnist_lab.submission.answers import Gradients, Learned, Output
from mnist_lab.submission.caller import Caller, SubmissionFailure
from mnist_lab.submission.protocol import Message, WireError

__all__ = ["Model", "Transform"]


class _Remote:
    """An object on the learner's side, made by ``operation``."""

    def __init__(self, caller: Caller, operation: str, fields: Mapping[str, Any]) -> None:
        self._caller, self.name = caller, str(fields["name"])
        doing = f"{self.name}()"
        self._made = caller.ask(operation, Message(fields), doing)
        self._generation = caller.generation
        with caller.reading(doing):
            self._id = answers.field(self._made, "id", int)

    def _ask(
        self,
        operation: str,
        doing: str,
        fields: Mapping[str, Any] | None = None,
        arrays: Mapping[str, Tensor] | None = None,
    ) -> Message:
        if self._generation != self._caller.generation:
            raise SubmissionFailure(
                Cause(f"{self.name} is gone: the program that held it had to be stopped.")
            )
        request = Message({"id": self._id, **(fields or {})}, arrays or {})
        return self._caller.ask(operation, request, doing)


class Transform(_Remote):
    """A transform that the learner's code made."""

    def __init__(self, caller: Caller, name: str) -> None:
        super().__init__(caller, "make_transform", {"name": name})

    def __call__(self, images: Sequence[Tensor], repeats: int = 1, seed: int = 0) -> Tensor:
        """Each of ``images``, uint8 (H, W), transformed ``repeats`` times after seeding once.

        Given as greyscale PIL images; the results, stacked as they came, are
        (len(images) * repeats, ...), all repeats of the first image first. Raises
        ``SubmissionFailure`` where they are no tensors.
        """
        results, kind = self.of_any_kind(images, repeats, seed)
        if kind:
            raise SubmissionFailure(Cause(f"{self.name}() gave a {kind}, not a tensor."))
        return results

    def of_any_kind(
        self, images: Sequence[Tensor], repeats: int = 1, seed: int = 0
    ) -> tuple[Tensor, str]:
        """As a call, of results that may be pictures or arrays, whose type is then told."""
        arrays = {f"images.{index}": image for index, image in enumerate(images)}
        doing = f"{self.name}()(image)"
        fields = {"images": len(images), "repeats": repeats, "seed": seed}
        reply = self._ask("transform", doing, fields, arrays)
        with self._caller.reading(doing):
            result = self._caller.finite(answers.array(reply, "images"), doing)
            if result.dim() == 0 or len(result) != len(images) * repeats:
                raise WireError("the wrong number of images")
            return result, answers.text(reply.fields.get("kind", ""))

    def reseeds(self, image: Tensor) -> tuple[str, ...]:
        """Which of ``torch``, ``numpy`` and ``random`` a call on ``image`` seeds anew.

        Those whose global state is the same after calls that began with different ones.
        """
        doing = f"{self.name}()(image)"
        reply = self._ask("reseeds", doing, {}, {"image": image})
        with self._caller.reading(doing):
            return answers.many(reply, "reseeds", str)

    def reseeds_when_made(self) -> tuple[str, ...]:
        """As ``reseeds``, of the call that makes the transform."""
        doing = f"{self.name}()"
        reply = self._ask("reseeds_when_made", doing, {"name": self.name})
        with self._caller.reading(doing):
            return answers.many(reply, "reseeds", str)


class Model(_Remote):
    """A model that the learner's code made. Called, it gives logits in eval mode.

    ``parameters`` and ``buffers`` are those that it registered, each object once; ``modules``
    names the types of its modules. ``unregistered`` are layers and weights that are none of them.
    """

    def __init__(self, caller: Caller, name: str, seed: int = 0) -> None:
        super().__init__(caller, "build", {"name": name, "seed": seed})
        with caller.reading(f"{name}()"):
            self.parameters = answers.parameters(self._made, "parameters")
            self.buffers = answers.parameters(self._made, "buffers")
            self.modules = list(answers.many(self._made, "modules", str))
            self.unregistered = answers.unregistered(self._made)

    def __call__(self, images: Tensor) -> Tensor:
        """The logits of ``images`` in eval mode, without gradients: of any shape, finite."""
        return self.forward(images).logits

    def weights(self) -> dict[str, Tensor]:
        """The parameters and buffers by name."""
        return answers.under(self._ask("weights", self.name), "weights.")

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
        grad: bool = False,
        device: str = "cpu",
    ) -> Output:
        """The model's output for ``images``, in train mode and with gradients if asked."""
        doing = self._on(images)
        fields = {"training": training, "grad": grad, "device": device}
        reply = self._ask("forward", doing, fields, {"images": images})
        with self._caller.reading(doing):
            logits = answers.array(reply, "logits")
            if logits.dtype == torch.bool:
                raise WireError("truth values where scores belong")
            return Output(
                self._caller.finite(logits, doing),
                reply.arrays.get("images", images),
                answers.field(reply, "requires_grad", bool),
                answers.field(reply, "training_after", bool),
                answers.field(reply, "made", int),
            )

    def gradients(
        self, images: Tensor, cotangent: Tensor, *, training: bool = False, device: str = "cpu"
    ) -> Gradients:
        """Gradients of ``(logits * cotangent).sum()`` by parameter and with respect to images."""
        doing = f"The backward pass of {self.name} on images {_shape(images)}"
        arrays = {"images": images, "cotangent": cotangent}
        fields = {"training": training, "device": device}
        reply = self._ask("gradients", doing, fields, arrays)
        with self._caller.reading(doing):
            return answers.gradients(reply, self.parameters, images)

    def fit(
        self,
        images: Tensor,
        labels: Tensor,
        steps: int,
        lr: builtins.float = 1e-3,
        device: str = "cpu",
        *,
        until: builtins.float = 0.0,
    ) -> list[builtins.float]:
        """The cross-entropy before each of ``steps`` steps of Adam on this one batch.

        The last is the first that is below ``until``, if one is.
        """
        doing = f"Training {self.name} on one batch"
        fields = {"steps": steps, "lr": lr, "device": device, "until": until}
        reply = self._ask("fit", doing, fields, {"images": images, "labels": labels})
        with self._caller.reading(doing):
            losses = [
                answers.number(value, "a loss") for value in answers.field(reply, "losses", list)
            ]
            done = bool(losses) and (len(losses) == steps or losses[-1] < until)
            if not done or len(losses) > steps:
                raise WireError("the wrong number of losses")
            return losses

    def learn(
        self,
        images: Tensor,
        labels: Tensor,
        test_images: Tensor,
        *,
        epochs: int = 10,
        seed: int = 0,
        device: str = "cpu",
    ) -> Learned:
        """The lab's own training on uint8 ``images`` (N, 28, 28), in place.

        After each epoch the logits of ``test_images``, whose labels never get there.
        """
        doing = f"Training {self.name} for {epochs} epochs"
        arrays = {"images": images, "labels": labels, "test_images": test_images}
        fields = {"epochs": epochs, "seed": seed, "device": device}
        reply = self._ask("learn", doing, fields, arrays)
        with self._caller.reading(doing):
            return answers.learned(reply, len(test_images))

    def on_fake_device(self, size: int = 3) -> tuple[tuple[int, ...], str]:
        """The shape and device of the output, on a device that has shapes and no numbers.

        Code that names a device or makes tensors on the CPU fails there as on a GPU. Of code that
        looks at numbers nothing is known.
        """
        doing = f"{self.name} on another device than the CPU"
        reply = self._ask("on_fake_device", doing, {"size": size})
        with self._caller.reading(doing):
            return answers.many(reply, "shape", int), answers.field(reply, "device", str)

    def _cast(self, dtype: str) -> Model:
        self._ask("cast", f"{self.name}().{dtype}", {"dtype": dtype})
        return self

    def _on(self, images: Tensor) -> str:
        return f"{self.name} on images {_shape(images)}"


def _shape(images: Tensor) -> str:
    return f"({', '.join(map(str, images.shape))})"
