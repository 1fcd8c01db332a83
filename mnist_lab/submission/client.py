"""What a test holds: a learner's code that looks local and is a pipe.

Every call returns plain data that the grader made from bytes, or raises ``SubmissionFailure``
with a sentence about the learner's code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnist_lab import kit
from mnist_lab.grade import Cause
from mnist_lab.submission import answers, source
from mnist_lab.submission.answers import (
    Batch,
    Batches,
    Confusion,
    Drawn,
    Evaluated,
    Loaders,
    Recipe,
    Score,
    Trained,
    Value,
)
from mnist_lab.submission.caller import Caller
from mnist_lab.submission.given import LOSSES, Given
from mnist_lab.submission.process import EndedError, StartError, start
from mnist_lab.submission.protocol import HERE, Message, WireError
from mnist_lab.submission.remote import Called, Model, Transform, called
from mnist_lab.submission.sandbox import walls
from mnist_lab.submission.server import Isolation, Server, default_isolation

MOST_COUNTS = 4096
"""Of a confusion matrix: 10x10 are asked for."""

SEED = 0x6D6E697374
"""Added to the seeds of a recipe, so that no seed that a learner may choose is the same."""

ITEM = "An item of the drawn dataset"

GPU_LIMIT = 60.0
"""Seconds for the first use of CUDA in a process."""

MOST_EPOCHS = 1000
"""Results of epochs that are read."""


class Submission(AbstractContextManager["Submission"]):
    """The exercises that one learner handed in, each run apart from the others.

    ``path`` is a folder, an archive of one, a notebook, or one exercise's file. ``isolation`` is
    ``fork`` (from ``server``, or one of its own), ``spawn``, or ``none``: in this process, for a
    debugger, without any protection. Raises ``SourceError`` where there is nothing to run.
    Use it as a context manager.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        isolation: Isolation | None = None,
        server: Server | None = None,
    ) -> None:
        self.handed_in = source.read(path)
        self.isolation: Isolation = isolation or default_isolation()
        self._own = Server() if self.isolation == "fork" and server is None else None
        self._server = server or self._own
        self._handles: dict[tuple[str, bool], ExerciseHandle] = {}

    def exercise(self, name: str, *, gpu: bool = False) -> ExerciseHandle:
        """The learner's file for the exercise with the id ``name``; always the same handle, and
        another that may use a ``gpu``.
        """
        if (name, gpu) not in self._handles:
            asked, inside = kit.load().exercise(name), self.handed_in
            lacking, beside = f"There is no {asked.file} in what was handed in.", ""
            if inside.notebook:
                lacking = f"The notebook does not define {' or '.join(asked.names)}."
                beside = inside.notebook.others
            self._handles[name, gpu] = ExerciseHandle(
                asked.file,
                inside.files if name in inside.originals else {},
                lambda: start(self.isolation, self._server, gpu=gpu),
                folder=inside.folder,
                lacking=lacking,
                instead=inside.alike.get(asked.file, ()),
                beside=beside,
            )
        return self._handles[name, gpu]

    @cached_property
    def no_gpu(self) -> str:
        """Why a submission's processes cannot use a GPU, as one of them has found; empty if they
        can.
        """
        try:
            worker = start(self.isolation, self._server, gpu=True)
        except StartError as error:
            return f"none could be started ({error})"
        try:
            reply = worker.ask("try_gpu", Message(), GPU_LIMIT)
        except EndedError as ended:
            return f"it ended ({ended.kind} {ended.status})"
        finally:
            worker.stop()
        raised = reply.fields.get("error")
        return answers.text(raised.get("said")) if isinstance(raised, dict) else ""

    def placed(self, cause: Cause) -> Cause:
        """``cause`` in the terms of what was handed in: of a notebook these are its cells."""
        notebook = self.handed_in.notebook
        return notebook.placed(cause) if notebook else cause

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

    def __exit__(self, *raised: object) -> None:
        self.close()


class ExerciseHandle(Caller):
    """One file of a learner, run in a process of its own.

    When that process dies or is stopped, its models and transforms are gone; the next call
    starts another.
    """

    def build(self, name: str, seed: int = 0) -> Model:
        """An instance of the class ``name``, made with no arguments after seeding."""
        return Model(self, name, seed)

    def call(self, name: str, *arguments: Tensor | float | str, **options: Any) -> Value:
        """What the learner's function ``name`` returns; a tensor arrives contiguous."""
        arrays = {str(at): each for at, each in enumerate(arguments) if isinstance(each, Tensor)}
        described = [
            {"is": "tensor", "fields": {"name": str(at)}} if str(at) in arrays else each
            for at, each in enumerate(arguments)
        ]
        (value,) = called(self, name, name, described, options, arrays).values
        return value

    def test_transform(self) -> Transform:
        """What ``test_transform()`` returns."""
        return Transform(self, "test_transform")

    def train_transform(self, seed: int | None = None) -> Transform:
        """What ``train_transform()`` returns, made after seeding."""
        return Transform(self, "train_transform", seed)

    def downsample(
        self,
        dataset: Batch,
        size: int,
        seed: int | None = None,
        reads: int = 1,
        *,
        again: bool = False,
        plain: bool = False,
    ) -> Drawn:
        """``downsample`` of a dataset with these images, which differ in their first pixels, and
        labels; without a seed if ``None``. What it gives is read as often, the last time counts.
        If ``again``, the learner's code still has the dataset from the call before; if ``plain`` it
        is a list.
        """
        images, labels = dataset
        options = {"size": size} | ({} if seed is None else {"seed": seed})
        doing = f"downsample(dataset of {len(labels)}, {', '.join(_each(options))})"
        arrays = _arrays("dataset", dataset)
        lent = [_dataset("dataset", plain)]
        made = called(self, "downsample", doing, lent, options, arrays, again=again)
        fields = {"id": made.kept, "name": "downsample"}
        for _ in range(reads):
            reply = self.ask("items", Message(fields), doing)
        with self.reading(doing):
            if "odd" in reply.fields:
                self._pair(answers.value(reply.fields["odd"], reply.arrays), ITEM, "downsample")
            columns = answers.value(reply.fields.get("columns"), reply.arrays).parts
            if len(columns) != 2:
                raise WireError("items that are no pairs")
            shown, digits = map(answers.table, columns)
            if columns[0].is_ == "list" and not columns[0].parts:
                return Drawn((), labels_kept=True)
        numbers = {pixel: number for number, pixel in enumerate(_first_pixels(images))}
        drawn = [] if shown is None else [numbers.get(pixel) for pixel in _first_pixels(shown)]
        known = [number for number in drawn if number is not None]
        if shown is None or None in drawn or not torch.equal(shown, images[known]):
            message = f"{doing} gave an item whose image is none of the dataset's."
            raise self.refusal(message, "other-items", "downsample")
        own = labels[known].double()
        return Drawn(tuple(known), digits is not None and torch.equal(digits.double(), own))

    def make_loaders(
        self,
        train: Batch,
        test: Batch,
        batch_size: int | None = None,
        *,
        epochs: int = 2,
        most: int | None = None,
        seed: int = 0,
        plain: bool = False,
    ) -> Loaders:
        """All batches of ``epochs`` passes through both loaders of ``make_loaders``, or the first
        ``most`` of each pass.

        The datasets yield ``(images[i], int(labels[i]))``, of 1x1 pixels 28x28 such, and are lists
        if ``plain``; no batch size is given if ``None``.
        """
        options = {} if batch_size is None else {"batch_size": batch_size}
        doing = f"make_loaders({', '.join(['train_set', 'test_set', *_each(options)])})"
        arguments = [_dataset("train", plain), _dataset("test", plain)]
        arrays = _arrays("train", train) | _arrays("test", test)
        made = called(self, "make_loaders", doing, arguments, options, arrays, seed=seed)
        self._pair(made.values[-1], "make_loaders", "make_loaders")
        fields = {"id": made.kept, "passes": epochs, "most": most}
        reply = self.ask("batches", Message(fields), doing)
        with self.reading(doing):
            passes = answers.value(reply.fields.get("passes"), reply.arrays).parts
            found = [
                tuple(self._batches(name, each.parts[place]) for each in passes)
                for place, name in enumerate(("train", "test"))
                if all(len(each.parts) == 2 for each in passes)
            ]
            if len(found) != 2 or len(passes) != epochs:
                raise WireError("the wrong number of epochs")
            return Loaders(*found)

    def train_epoch(self, recipe: Recipe, batches: Batches, device: str = "cpu") -> Trained:
        """``train_epoch`` with the recipe's model, SGD and loss, on ``batches``; as often as the
        recipe says, one call after the other.
        """
        settings = {"lr": recipe.lr, "momentum": recipe.momentum}
        more = [
            {"is": "optimizer", "fields": settings},
            {"is": "loss", "fields": LOSSES[recipe.loss]},
        ]
        made, given = self._loop("train_epoch", recipe, batches, more, {}, device)
        return self._trained("train_epoch", recipe, made, given, made.values)

    def train(
        self,
        recipe: Recipe,
        batches: Batches,
        epochs: int | None = None,
        lr: float | None = None,
        device: str = "cpu",
    ) -> Trained:
        """``train`` on ``batches``; ``epochs`` and ``lr`` are not given where ``None``."""
        options = {"epochs": epochs, "lr": lr}
        chosen = {name: value for name, value in options.items() if value is not None}
        made, given = self._loop("train", recipe, batches, [], chosen, device)
        (history,) = made.values
        self._expect_history(history, epochs)
        # One pair of numbers in the place of the list: the learner's answer for one epoch.
        alone = len(history.parts) == 2 and all(part.is_ == "number" for part in history.parts)
        scores = (history,) if alone else history.parts
        return self._trained("train", recipe, made, given, scores)

    def evaluate(self, recipe: Recipe, batches: Batches, device: str = "cpu") -> Evaluated:
        """``evaluate`` with the recipe's model on ``batches``, the last call's."""
        made, given = self._loop("evaluate", recipe, batches, [], {}, device)
        with self.reading("evaluate"):
            return Evaluated(
                self._score(made.values[-1], "evaluate"),
                self._state(made.left, recipe, "evaluate"),
                given.facts(made.left),
            )

    def confusion_matrix(self, recipe: Recipe, batches: Batches, device: str = "cpu") -> Confusion:
        """``confusion_matrix`` with the recipe's model on ``batches``, the last call's."""
        made, given = self._loop("confusion_matrix", recipe, batches, [], {}, device)
        with self.reading("confusion_matrix"):
            returned = made.values[-1]
            matrix = answers.table(returned)
            if matrix is None or matrix.numel() > MOST_COUNTS:
                raise self.refusal(
                    f"confusion_matrix gave a {returned.type} that is not a table of numbers.",
                    "no-table",
                    "confusion_matrix",
                    type=answers.described(returned),
                )
            return Confusion(
                self.finite(matrix, "confusion_matrix", "confusion_matrix"),
                returned.type,
                self._state(made.left, recipe, "confusion_matrix"),
                given.facts(made.left),
            )

    def _loop(
        self,
        name: str,
        recipe: Recipe,
        batches: Batches,
        more: list[Any],
        options: Mapping[str, Any],
        device: str,
    ) -> tuple[Called, Given]:
        """A call with the recipe's model, the loader and ``more``; the device is left to its
        default on a CPU.
        """
        given = Given(recipe, batches)
        model, loader, arrays = given.described(device)
        place = "cpu" if device == HERE else device
        chosen = {**options, **({} if device == "cpu" else {"device": place})}
        made = called(
            self,
            name,
            name,
            [model, loader, *more],
            chosen,
            arrays,
            seed=SEED + recipe.seed,
            calls=1 if name == "train" else recipe.calls,
            given=given,
            accepts={} if "device" in chosen else {"device": device},
        )
        return made, given

    def _expect_history(self, history: Value, epochs: int | None) -> None:
        """A list of pairs, not one of single numbers or a list for each of the two."""
        lists = len(history.parts) == 2 != epochs and all(map(_of_numbers, history.parts))
        parts, kind = history.parts, answers.described(history)
        message = f"train gave {kind}, not a list of one (loss, accuracy) an epoch."
        mistake = ""
        if history.is_ not in ("list", "tuple"):
            mistake = "no-history"
        elif not parts:
            mistake = "empty-history"
        elif lists and all(len(part.parts) != 2 for part in parts):
            mistake = "two-lists"
        elif _of_numbers(history) and (history.is_ == "list" or len(parts) != 2):
            mistake = "one-list"
        if mistake:
            raise self.refusal(message, mistake, "train", type=kind)

    def _trained(
        self, name: str, recipe: Recipe, made: Called, given: Given, scores: Sequence[Value]
    ) -> Trained:
        with self.reading(name):
            return Trained(
                tuple(self._score(score, name) for score in scores[:MOST_EPOCHS]),
                self._state(made.left, recipe, name),
                given.gradients(),
                given.facts(made.left),
            )

    def _state(self, left: Message, recipe: Recipe, name: str) -> dict[str, Tensor]:
        """The weights after a loop, of the shapes and dtypes that they had before."""
        state = answers.under(left, "weights.")
        for key, before in recipe.weights.items():
            after = state.get(key)
            if after is None or (after.shape, after.dtype) != (before.shape, before.dtype):
                came, now = _form(before), "gone" if after is None else _form(after)
                message = f"After {name} a tensor of the model is {now}, where it was {came}."
                raise self.refusal(message, "other-model", name, came=came, now=now)
        return state

    def _batches(self, name: str, found: Value) -> tuple[Batch, ...]:
        what = f"The {name} loader"
        pairs = [self._pair(batch, what, "make_loaders") for batch in found.parts]
        tensors = [
            (images.array, labels.array)
            for images, labels in pairs
            if images.is_ == labels.is_ == "tensor"
        ]
        known = [
            (a, b) for a, b in tensors if a is not None and b is not None and a.dim() and b.dim()
        ]
        if len(known) < len(pairs):
            message = f"The {name} loader gave batches that are no numbers."
            raise self.refusal(message, "odd-batches", "make_loaders", loader=name)
        return tuple(
            (
                self.finite(images, what, "make_loaders"),
                self.finite(labels, what, "make_loaders"),
            )
            for images, labels in known
        )

    def _pair(self, found: Value, what: str, name: str) -> tuple[Value, Value]:
        if found.is_ not in ("tuple", "list") or len(found.parts) != 2:
            kind = answers.described(found)
            raise self.refusal(
                f"{what} gave {kind}, not a pair.", "no-pair", name, what=what, type=kind
            )
        return found.parts[0], found.parts[1]

    def _score(self, found: Value, name: str) -> Score:
        loss, accuracy = self._pair(found, name, name)
        return Score(
            self._number(loss, "loss", name),
            self._number(accuracy, "accuracy", name),
            (_kind(loss), _kind(accuracy)),
        )

    def _number(self, found: Value, what: str, name: str) -> float:
        if found.is_ == "number":
            return found.number
        if found.array is not None and found.array.numel() == 1:
            return found.array.item()
        kind = answers.described(found)
        message = f"The {what} that {name} gave is {kind}, not a number."
        raise self.refusal(message, "no-number", name, what=what, type=kind)


def _of_numbers(found: Value) -> bool:
    """Whether it is a list of numbers, as plain ones or as tensors."""
    numbers = [
        p.is_ == "number" or (p.array is not None and p.array.dim() == 0) for p in found.parts
    ]
    return found.is_ in ("list", "tuple") and bool(numbers) and all(numbers)


def _kind(found: Value) -> str:
    if found.is_ == "number":
        return "float"  # whatever library it is of
    return f"{found.type} with a graph" if found.graph else found.type


def _form(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def _dataset(name: str, plain: bool) -> dict[str, Any]:
    return {"is": "dataset", "fields": {"name": name, "plain": plain}}


def _arrays(name: str, dataset: Batch) -> dict[str, Tensor]:
    return {f"{name}.images": dataset[0], f"{name}.labels": dataset[1]}


def _first_pixels(images: Tensor) -> list[float]:
    if not images.dim() or not images.numel():
        return []
    pixels: list[float] = images.reshape(len(images), -1)[:, 0].tolist()
    return pixels


def _each(given: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in given.items()]
