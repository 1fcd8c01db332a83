"""What a test holds: a learner's code that looks local and is a pipe.

Every call returns plain data that the grader made from bytes, or raises ``SubmissionFailure``
with a sentence about the learner's code.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from torch import Tensor

from mnist_lab import kit
from mnist_lab.grade import Cause
from mnist_lab.submission import answers, source
from mnist_lab.submission.answers import (
    Batch,
    Batches,
    Confusion,
    Drawn,
    Epoch,
    Evaluated,
    Facts,
    Gradients,
    Learned,
    Loaders,
    OptimizerUsed,
    Output,
    Parameter,
    Recipe,
    Score,
    Trained,
)
from mnist_lab.submission.caller import Caller, SubmissionFailure
from mnist_lab.submission.process import start
from mnist_lab.submission.protocol import Message
from mnist_lab.submission.remote import Model, Transform
from mnist_lab.submission.sandbox import walls
from mnist_lab.submission.server import Isolation, Server, default_isolation

__all__ = [
    "Batch",
    "Batches",
    "Confusion",
    "Drawn",
    "Epoch",
    "Evaluated",
    "ExerciseHandle",
    "Facts",
    "Gradients",
    "Learned",
    "Loaders",
    "Model",
    "OptimizerUsed",
    "Output",
    "Parameter",
    "Recipe",
    "Score",
    "Submission",
    "SubmissionFailure",
    "Trained",
    "Transform",
]


class Submission:
    """The exercises that one learner handed in, each run apart from the others.

    ``path`` is a folder, an archive of one, a notebook, or one exercise's file. ``isolation`` is
    ``fork`` (from ``server``, or one of its own), ``spawn``, or ``none``: in this process, for a
    debugger, without any protection. Raises ``source.SourceError`` where there is nothing to run.
    Use it as a context manager.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        isolation: Isolation | None = None,
        server: Server | None = None,
    ) -> None:
        self._unpacked = ExitStack()
        with self._unpacked:
            inside = self._unpacked.enter_context(source.opened(path))
            self.files, self._notebook = source.find(inside.path), inside.notebook
            self._unpacked = self._unpacked.pop_all()  # It stays until this is closed.
        self.isolation: Isolation = isolation or default_isolation()
        self._own = Server() if self.isolation == "fork" and server is None else None
        self._server = server or self._own
        self._handles: dict[str, ExerciseHandle] = {}

    def exercise(self, name: str) -> ExerciseHandle:
        """The learner's file for the exercise with the id ``name``; always the same handle."""
        if name not in self._handles:
            asked = kit.load().exercise(name)
            lacking = f"There is no {asked.file} in what was handed in."
            caller = Caller(
                asked.file,
                self.files.get(name),
                lambda: start(self.isolation, self._server),
                lacking=self._notebook.lacks(asked) if self._notebook else lacking,
            )
            self._handles[name] = ExerciseHandle(caller)
        return self._handles[name]

    def placed(self, cause: Cause) -> Cause:
        """``cause`` in the terms of what was handed in: of a notebook these are its cells."""
        return self._notebook.placed(cause) if self._notebook else cause

    @property
    def walls(self) -> Mapping[str, str]:
        """Of each of ``walls.WALLS`` whether it is ``enforced``, ``degraded`` or ``unavailable``.

        Raises ``ServerError`` where nothing can be run.
        """
        if self.isolation == "fork" and self._server is not None:
            self._server.wait()
            return self._server.walls
        return walls.UNTRIED if self.isolation == "none" else walls.OF_SPAWNED

    def close(self) -> None:
        """End everything that the learner's code started."""
        for handle in self._handles.values():
            handle.close()
        if self._own is not None:
            self._own.close()
        self._unpacked.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class ExerciseHandle:
    """One file of a learner, run in a process of its own.

    When that process dies or is stopped, its models and transforms are gone; the next call
    starts another.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    @property
    def file(self) -> str:
        return self._caller.file

    def limit(self, seconds: float) -> AbstractContextManager[None]:
        """All calls inside share ``seconds`` of wall-clock time; importing the file is extra."""
        return self._caller.limit(seconds)

    def take_output(self) -> str:
        """What the learner's code printed since this was last asked; the middle of much is cut."""
        return self._caller.take_output()

    def close(self) -> None:
        """End everything that the learner's file started."""
        self._caller.close()

    def where(self, name: str) -> str:
        """``file:line`` of a class or function, the file alone if that cannot be told."""
        try:
            reply = self._caller.ask("locate", Message({"name": name}), f"Looking for {name}")
            with self._caller.reading(name):
                line = answers.field(reply, "line", int)
        except SubmissionFailure:
            line = 0
        return f"{self.file}:{line}" if 0 < line < 1_000_000 else self.file

    def build(self, name: str, seed: int = 0) -> Model:
        """An instance of the class ``name``, made with no arguments after seeding."""
        return Model(self._caller, name, seed)

    def test_transform(self) -> Transform:
        """What ``test_transform()`` returns."""
        return Transform(self._caller, "test_transform")

    def train_transform(self) -> Transform:
        """What ``train_transform()`` returns."""
        return Transform(self._caller, "train_transform")

    def downsample(self, items: int, size: int, seed: int | None = None) -> Drawn:
        """``downsample`` of a dataset of ``items`` different items; without a seed if ``None``."""
        given = {"size": size} | ({} if seed is None else {"seed": seed})
        doing = f"downsample(dataset of {items}, {_arguments(given)})"
        reply = self._caller.ask("downsample", Message({"items": items, "given": given}), doing)
        with self._caller.reading(doing):
            return answers.drawn(reply)

    def make_loaders(
        self,
        train: Batch,
        test: Batch,
        batch_size: int | None = None,
        *,
        epochs: int = 2,
        seed: int = 0,
    ) -> Loaders:
        """All batches of ``epochs`` passes through both loaders of ``make_loaders``.

        The datasets yield ``(images[i], int(labels[i]))``; no batch size is given if ``None``.
        """
        given = {} if batch_size is None else {"batch_size": batch_size}
        arrays = {
            "train.images": train[0],
            "train.labels": train[1],
            "test.images": test[0],
            "test.labels": test[1],
        }
        doing = f"make_loaders({', '.join(['train_set', 'test_set', *_each(given)])})"
        fields = {"given": given, "epochs": epochs, "seed": seed}
        reply = self._caller.ask("make_loaders", Message(fields, arrays), doing)
        with self._caller.reading(doing):
            return Loaders(*(answers.epochs(reply, name, epochs) for name in ("train", "test")))

    def train_epoch(self, recipe: Recipe, batches: Batches, device: str = "cpu") -> Trained:
        """``train_epoch`` with the recipe's model, SGD and loss, on ``batches``; as often as the
        recipe says, one call after the other.
        """
        return self._trained("train_epoch", recipe, batches, {}, device)

    def train(
        self,
        recipe: Recipe,
        batches: Batches,
        epochs: int | None = None,
        lr: float | None = None,
        device: str = "cpu",
    ) -> Trained:
        """``train`` on ``batches``; ``epochs`` and ``lr`` are not given where ``None``."""
        given = {"epochs": epochs, "lr": lr}
        chosen = {name: value for name, value in given.items() if value is not None}
        return self._trained("train", recipe, batches, chosen, device)

    def evaluate(self, recipe: Recipe, batches: Batches, device: str = "cpu") -> Evaluated:
        """``evaluate`` with the recipe's model on ``batches``."""
        reply = self._loop("evaluate", recipe, batches, {}, device)
        with self._caller.reading("evaluate"):
            return Evaluated(
                answers.score(reply.fields.get("score")),
                self._state(reply, recipe, "evaluate"),
                answers.facts(reply),
            )

    def confusion_matrix(self, recipe: Recipe, batches: Batches, device: str = "cpu") -> Confusion:
        """``confusion_matrix`` with the recipe's model on ``batches``."""
        reply = self._loop("confusion_matrix", recipe, batches, {}, device)
        with self._caller.reading("confusion_matrix"):
            return Confusion(
                self._caller.finite(answers.array(reply, "matrix"), "confusion_matrix"),
                answers.field(reply, "type", str),
                self._state(reply, recipe, "confusion_matrix"),
                answers.facts(reply),
            )

    def _trained(
        self, name: str, recipe: Recipe, batches: Batches, given: Mapping[str, Any], device: str
    ) -> Trained:
        reply = self._loop(name, recipe, batches, given, device)
        with self._caller.reading(name):
            return Trained(
                tuple(map(answers.score, answers.field(reply, "history", list))),
                self._state(reply, recipe, name),
                answers.steps(reply, recipe.weights),
                answers.facts(reply),
                answers.watched(reply, recipe.weights),
            )

    def _state(self, reply: Message, recipe: Recipe, name: str) -> dict[str, Tensor]:
        """The weights after a loop, of the shapes and dtypes that they had before."""
        state = answers.under(reply, "weights.")
        for key, before in recipe.weights.items():
            after = state.get(key)
            if after is None or (after.shape, after.dtype) != (before.shape, before.dtype):
                message = f"After {name} the model's {key} has another shape or dtype than before."
                raise SubmissionFailure(Cause(message, where=self.file))
        return state

    def _loop(
        self, name: str, recipe: Recipe, batches: Batches, given: Mapping[str, Any], device: str
    ) -> Message:
        fields = {
            "given": dict(given),
            "device": device,
            "kind": recipe.kind,
            "training": recipe.training,
            "loss": recipe.loss,
            "lr": recipe.lr,
            "momentum": recipe.momentum,
            "calls": recipe.calls,
            "seed": recipe.seed,
            "batch_size": batches.batch_size,
        }
        arrays = {f"weights.{key}": value for key, value in recipe.weights.items()}
        arrays |= {"images": batches.images, "labels": batches.labels}
        return self._caller.ask(name, Message(fields, arrays), name)


def _arguments(given: Mapping[str, Any]) -> str:
    return ", ".join(_each(given))


def _each(given: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in given.items()]
