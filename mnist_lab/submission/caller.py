"""Calls into one file of a learner: its process, its time, and what went wrong as a sentence."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from mnist_lab import kit
from mnist_lab.grade import Cause
from mnist_lab.submission import answers, definitions
from mnist_lab.submission.answers import Raised
from mnist_lab.submission.given import Given
from mnist_lab.submission.printed import without_noise
from mnist_lab.submission.process import EndedError, StartError
from mnist_lab.submission.protocol import Message, WireError
from mnist_lab.submission.server import patience

if TYPE_CHECKING:
    from mnist_lab.submission.process import Worker

CALL_LIMIT = 10.0
"""Seconds that a call may take where no check has set its own limit."""

MOST_TEXT = 200_000
"""Bytes of a learner's file that are looked at to word a message."""

LOAD_LIMIT = 20.0
"""Seconds that importing a learner's file may take. It is outside a check's limit, since the
first check that needs the file would otherwise pay for all."""


@dataclass(frozen=True, kw_only=True)
class Event(Raised):
    """What went wrong, as plain facts for those who put it into words.

    Its ``kind`` may also be ``lacking``, ``left-above``, ``timeout``, ``status``, ``garbage`` or
    ``not-finite``. ``name`` of the learner's was in use for ``operation``; ``doing`` says so in
    their terms. When the time was over, ``stack`` is what ran, in the words of ``faulthandler``.
    """

    caller: Caller
    doing: str = ""
    operation: str = ""
    name: str = ""


class SubmissionFailure(Exception):  # noqa: N818 - a verdict on the learner's code
    """The learner's code did not deliver.

    ``outcome`` is ``failed``, ``todo`` where a stub is still one, or ``error`` where the learner's
    code could not be run at all. ``cause`` says so in one sentence; ``mnist_lab.diagnosis.events``
    finds better ones for most kinds of ``event``.
    """

    def __init__(
        self,
        cause: Cause,
        event: Event,
        outcome: Literal["failed", "todo", "error"] = "failed",
    ) -> None:
        super().__init__(cause.message)
        self.cause, self.event, self.outcome = cause, event, outcome


class Caller:
    """Asks the process of one file, which is started when first needed.

    A process that died or was stopped is replaced at the next call. A file that can't be imported
    fails every call with the same cause, without being tried again. ``files`` are it and what it
    may import, by name, or nothing; ``folder`` is where they are, if they are. ``lacking`` is what
    is said where there is no such file, ``instead`` are files that may be meant, and ``beside`` is
    the text of what else was handed in with it.
    """

    def __init__(
        self,
        file: str,
        files: Mapping[str, bytes],
        start: Callable[[], Worker],
        *,
        folder: Path | None = None,
        lacking: str = "It was not handed in.",
        instead: Sequence[str] = (),
        beside: str = "",
    ) -> None:
        self.file, self._lacking = file, lacking
        self.instead, self.beside = tuple(instead), beside
        self._files, self._folder, self._start = files, folder, start
        self._worker: Worker | None = None
        self._unusable: SubmissionFailure | None = None
        self._left: float | None = None
        self._budget = CALL_LIMIT
        self.generation = 0

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """All calls inside share ``seconds`` of wall-clock time, less what importing takes; more
        where the machine is busy.

        Only waiting for an answer counts: how long the grader thinks is nothing that a learner
        could do something about.
        """
        before = self._budget, self._left
        with suppress(SubmissionFailure):  # The first call says so, where it can be reported.
            self._ready()
        self._budget, self._left = seconds, seconds * patience()
        try:
            yield
        finally:
            self._budget, self._left = before

    def ask(
        self, operation: str, request: Message, doing: str, given: Given | None = None
    ) -> Message:
        """The reply of the learner's side; ``doing`` says in their terms what is tried, ``given``
        answers what it asks meanwhile.

        Raises ``SubmissionFailure``, and nothing else.
        """
        name = str(request.fields.get("name", ""))
        event = Event("", caller=self, doing=doing, operation=operation, name=name)
        worker = self._ready(operation, name)
        asked = time.monotonic()
        try:
            left = self._budget * patience() if self._left is None else self._left
            reply = worker.ask(operation, request, left, given)
        except EndedError as ended:
            raise self._lost(ended, event, self._budget) from None
        finally:
            if self._left is not None:
                self._left = max(self._left - (time.monotonic() - asked), 0.0)
        return self._checked(reply, event)

    def reseeds(self, do: Callable[[int], Any]) -> tuple[str, ...]:
        """Which of ``torch``, ``numpy`` and ``random`` are in the same state after the call ``do``
        whatever they were seeded with before it.
        """
        states = []
        for seed in (1, 2):
            do(seed)
            states.append(self.ask("random_states", Message(), "Looking for seeds").arrays)
        first, second = states
        return tuple(
            name for name in first if name in second and torch.equal(first[name], second[name])
        )

    def expect_own(self, name: str) -> None:
        """Raise ``SubmissionFailure`` where ``name`` is only imported, and not from a file that was
        handed in.
        """
        source = self._imported.get(name, "")
        own = {Path(part).stem for file in self._files for part in file.split("/")}
        if source and source.partition(".")[0] not in own:
            sentence = f"{name} in {self.file} is imported from {source}."
            raise self.refusal(sentence, "imported", name, source=source)

    @cached_property
    def _imported(self) -> Mapping[str, str]:
        return definitions.imported(self.text(self.file))

    @property
    def is_there(self) -> bool:
        """Whether there is such a file."""
        return self.file in self._files

    def text(self, file: str) -> str:
        """What is in ``file`` beside the learner's, or in their own; empty where there is none."""
        return self._files.get(file, b"")[:MOST_TEXT].decode("utf-8", "replace")

    @contextmanager
    def reading(self, doing: str) -> Iterator[None]:
        """An answer that makes no sense is the learner's failure, not an error here."""
        try:
            yield
        except (WireError, RecursionError) as error:  # Of lists in lists in lists.
            message = f"{doing} gave something that is not an answer: {error}."
            raise self._told(message, "garbage", doing=doing, said=str(error)) from None

    def finite(self, values: Tensor, doing: str, name: str) -> Tensor:
        """``values`` that the learner's ``name`` gave, if all are numbers and none is infinite."""
        wrong = int((~torch.isfinite(values)).sum())
        if wrong:
            message = f"{doing} gave {wrong} of {values.numel()} values that are NaN or infinite."
            raise self._told(message, "not-finite", doing=doing, name=name, said=message)
        return values

    def refusal(
        self, sentence: str, mistake: str = "", name: str = "", **facts: str
    ) -> SubmissionFailure:
        """That what the learner calls ``name`` gave something else than what was asked for."""
        return self._told(
            sentence,
            "returned",
            operation="call",
            name=name,
            bound="function",
            raised="ReturnedError",
            said=sentence,
            mistake=mistake,
            facts=facts,
        )

    def _told(self, message: str, kind: str, **more: Any) -> SubmissionFailure:
        cause = Cause(message, where=self.file, output=self.take_output())
        return SubmissionFailure(cause, Event(kind, caller=self, **more))

    def take_output(self) -> str:
        """What the learner's code printed since this was last asked; the middle of much is cut."""
        return "" if self._worker is None else _of_the_learner(self._worker.take_output())

    def close(self) -> None:
        """End everything that the learner's file started."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _ready(self, operation: str = "load", name: str = "") -> Worker:
        """A process that has imported the learner's file, which is asked for ``name``."""
        if not self.is_there:
            lacking = self._lacking
            raise self._told(lacking, "lacking", operation=operation, name=name, said=lacking)
        if self._unusable is not None:
            raise self._unusable
        if self._worker is None or not self._worker.alive:
            self._worker = self._load()
        return self._worker

    def _load(self) -> Worker:
        event = Event("", caller=self, doing=f"Importing {self.file}", operation="load")
        try:
            worker = self._start()
        except StartError as error:
            cause = Cause(f"{self.file} could not be run: {error}.")
            raise SubmissionFailure(cause, event, "error") from error
        self.generation += 1
        self._worker = worker
        folder = str(self._folder.resolve()) if self._folder else ""
        arrays = {_plain(name): _as_array(content) for name, content in self._files.items()}
        request = Message({"file": self.file, "folder": folder}, arrays)
        try:
            self._checked(worker.ask("load", request, LOAD_LIMIT * patience()), event)
        except EndedError as ended:
            self._unusable = self._lost(ended, event, LOAD_LIMIT)
        except SubmissionFailure as failure:
            self._unusable = failure
        if self._unusable is not None:
            self.close()
            raise self._unusable
        return worker

    def _checked(self, reply: Message, event: Event) -> Message:
        if "error" in reply.fields:
            with self.reading(event.doing):
                raise self._failure(answers.entry(reply, "error", Raised), event)
        return reply

    def _lost(self, ended: EndedError, event: Event, limit: float) -> SubmissionFailure:
        """The learner's code ended the process, or had to be stopped."""
        said = {
            "timeout": f"did not finish within {limit:g} seconds",
            "status": _end(ended.status),
            "garbage": f"gave something that is not an answer: {ended.detail}",
        }[ended.kind]
        lines = re.findall(r'File "(.*?)", line (\d+)', ended.stack)
        own = [f"{name}:{at}" for name, at in lines if name in self._files]
        # The first is the line that runs, the last the line of the file that led there.
        where = answers.text(own[-1 if event.operation == "load" else 0]) if own else ""
        stack, told = answers.text(ended.stack), ended.detail or said
        event = replace(event, kind=ended.kind, said=told, where=where, stack=stack)
        output = _of_the_learner(ended.printed)
        cause = Cause(f"{event.doing} {said}.", where=where or self.file, output=output)
        return SubmissionFailure(cause, event)

    def _failure(self, error: Raised, event: Event) -> SubmissionFailure:
        """What the learner's code raised, or returned in place of what was asked for."""
        if len(error.part) not in (0, 2):
            raise WireError("a part of a line that does not begin or end")
        kind, doing, where = error.kind, event.doing, error.where
        first = error.said.strip().splitlines()[0] if error.said.strip() else ""
        if kind == "todo":
            kind = self._is_to_do(where)
        sentences = {
            "todo": f"{doing} still raises NotImplementedError: it is not written yet.",
            "left-above": f"{doing} raised NotImplementedError above code that is written.",
            "raised": f"{doing} raised {error.raised}{f': {first}' if first else ''}",
            "exited": f"{doing} ended the program (SystemExit).",
            "memory": f"{doing} asked for more memory than there is.",
            "syntax": f"{where.partition(':')[0]} is not valid Python: {first}.",
            "returned": error.said,
            "unsendable": f"{doing} gave something that is not an answer: {error.said}.",
        }
        if kind not in sentences:
            raise WireError(f"an error of the kind {kind!r}")
        cause = Cause(
            sentences[kind],
            where=where or self.file,
            traceback="" if kind == "todo" else error.stack,
            output=self.take_output(),
        )
        event = replace(event, **{**vars(error), "kind": kind, "said": first})
        return SubmissionFailure(cause, event, "todo" if kind == "todo" else "failed")

    def _is_to_do(self, where: str) -> str:
        """Which kind a NotImplementedError is that was raised at ``where``."""
        file, _, line = where.partition(":")
        if file != self.file or file not in kit.load().files:
            return "raised"
        names = kit.load().files[file].names
        return definitions.of_a_stub(self.text(file), int(line or 0), names)


def _plain(name: str) -> str:
    """The name of a file as it can be sent."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _as_array(content: bytes) -> Tensor:
    if not content:
        return torch.empty(0, dtype=torch.uint8)
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


def _of_the_learner(printed: str) -> str:
    return answers.text(without_noise(printed))


def _end(status: int) -> str:
    if status >= 0:
        return f"ended the program with exit status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"was ended by {name}"
