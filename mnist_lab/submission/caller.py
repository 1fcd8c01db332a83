"""Calls into one file of a learner: its process, its time, and what went wrong as a sentence."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from mnist_lab import interface
from mnist_lab.grade import Cause
from mnist_lab.submission import answers
from mnist_lab.submission.given import Given
from mnist_lab.submission.process import EndedError, StartError, Worker
from mnist_lab.submission.protocol import Message, WireError

__all__ = ["CALL_LIMIT", "LOAD_LIMIT", "Caller", "SubmissionFailure"]

CALL_LIMIT = 10.0
"""Seconds that a call may take where no check has set its own limit."""

LOAD_LIMIT = 20.0
"""Seconds that importing a learner's file may take. It is outside a check's limit, since the
first check that needs the file would otherwise pay for all."""


class SubmissionFailure(Exception):  # noqa: N818 - a verdict on the learner's code
    """The learner's code did not deliver.

    ``outcome`` is ``failed``, ``todo`` where a stub is still one, or ``error`` where the learner's
    code could not be run at all. ``raised`` is the name of the exception class that their code
    raised, or empty; ``mistake`` what the guest recognised in it.
    """

    def __init__(
        self,
        cause: Cause,
        outcome: Literal["failed", "todo", "error"] = "failed",
        raised: str = "",
        mistake: str = "",
    ) -> None:
        super().__init__(cause.message)
        self.cause, self.outcome = cause, outcome
        self.raised, self.mistake = raised, mistake


class Caller:
    """Asks the process of one file, which is started when first needed.

    A process that died or was stopped is replaced at the next call. A file that can't be imported
    fails every call with the same cause, without being tried again. ``lacking`` is what is said
    where there is no such file.
    """

    def __init__(
        self,
        file: str,
        path: Path | None,
        start: Callable[[], Worker],
        *,
        lacking: str = "It was not handed in.",
    ) -> None:
        self.file, self._lacking = file, lacking
        self._path, self._start = path, start
        self._worker: Worker | None = None
        self._unusable: SubmissionFailure | None = None
        self._left: float | None = None
        self._budget = CALL_LIMIT
        self.generation = 0

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """All calls inside share ``seconds`` of wall-clock time, less what importing takes.

        Only waiting for an answer counts: how long the grader thinks is nothing that a learner
        could do something about.
        """
        before = self._budget, self._left
        self._ready_quietly()
        self._budget = self._left = seconds
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
        worker = self._ready()
        asked = time.monotonic()
        try:
            left = self._budget if self._left is None else self._left
            reply = worker.ask(operation, request, left, given)
        except EndedError as ended:
            raise self._lost(ended, doing, self._budget) from None
        finally:
            if self._left is not None:
                self._left = max(self._left - (time.monotonic() - asked), 0.0)
        return self._checked(reply, doing)

    @contextmanager
    def reading(self, doing: str) -> Iterator[None]:
        """An answer that makes no sense is the learner's failure, not an error here."""
        try:
            yield
        except WireError as error:
            message = f"{doing} gave something that is not an answer: {error}."
            raise SubmissionFailure(Cause(message, where=self.file)) from None

    def finite(self, values: Tensor, doing: str) -> Tensor:
        """``values``, if all of them are numbers and none is infinite."""
        wrong = int((~torch.isfinite(values)).sum())
        if wrong:
            message = f"{doing} gave {wrong} of {values.numel()} values that are NaN or infinite."
            raise SubmissionFailure(Cause(message, where=self.file))
        return values

    def refusal(self, sentence: str) -> SubmissionFailure:
        """That the learner's code gave something else than what was asked for."""
        cause = Cause(sentence, where=self.file, output=self.take_output())
        return SubmissionFailure(cause, raised="ReturnedError")

    def take_output(self) -> str:
        """What the learner's code printed since this was last asked; the middle of much is cut."""
        return "" if self._worker is None else answers.text(self._worker.take_output())

    def close(self) -> None:
        """End everything that the learner's file started."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def _ready_quietly(self) -> None:
        try:
            self._ready()
        except SubmissionFailure:
            return  # The first call says so, where it can be reported.

    def _ready(self) -> Worker:
        """A process that has imported the learner's file."""
        if self._path is None:
            raise SubmissionFailure(Cause(self._lacking))
        if self._unusable is not None:
            raise self._unusable
        if self._worker is None or not self._worker.alive:
            self._worker = self._load(self._path)
        return self._worker

    def _load(self, path: Path) -> Worker:
        try:
            worker = self._start()
        except StartError as error:
            message = f"{self.file} could not be run: {error}."
            raise SubmissionFailure(Cause(message), "error") from error
        self.generation += 1
        self._worker = worker
        doing = f"Importing {self.file}"
        try:
            request = Message({"path": str(path.resolve())})
            self._checked(worker.ask("load", request, LOAD_LIMIT), doing)
        except EndedError as ended:
            self._unusable = self._lost(ended, doing, LOAD_LIMIT)
        except SubmissionFailure as failure:
            self._unusable = failure
        if self._unusable is not None:
            self.close()
            raise self._unusable
        return worker

    def _checked(self, reply: Message, doing: str) -> Message:
        if "error" in reply.fields:
            with self.reading(doing):
                raise self._failure(answers.entry(reply, "error", dict), doing)
        return reply

    def _lost(self, ended: EndedError, doing: str, limit: float) -> SubmissionFailure:
        """The learner's code ended the process, or had to be stopped."""
        sentences = {
            "timeout": f"{doing} did not finish within {limit:g} seconds.",
            "status": f"{doing} {_end(ended.status)}.",
            "garbage": f"{doing} gave something that is not an answer: {ended.detail}.",
        }
        lines = re.findall(r'File "(.*?)", line (\d+)', ended.stack)
        folder = f"{self._path.resolve().parent}{os.sep}" if self._path else ""
        own = [f"{n.removeprefix(folder)}:{at}" for n, at in lines if n.startswith(folder)]
        where = answers.text(own[0]) if own else self.file
        return SubmissionFailure(
            Cause(sentences[ended.kind], where=where, output=answers.text(ended.printed))
        )

    def _failure(self, error: Mapping[str, object], doing: str) -> SubmissionFailure:
        """What the learner's code raised, or returned in place of what was asked for."""
        kind, name, message, where, traceback, mistake, evidence = (
            answers.of(error.get(key), str, key)
            for key in ("kind", "raised", "message", "where", "traceback", "mistake", "evidence")
        )
        first = message.strip().splitlines()[0] if message.strip() else ""
        sentences = {
            "todo": f"{doing} still raises NotImplementedError: it is not written yet.",
            "raised": f"{doing} raised {name}{f': {first}' if first else ''}",
            "exited": f"{doing} ended the program (SystemExit).",
            "memory": f"{doing} asked for more memory than there is.",
            "syntax": f"{where.partition(':')[0]} is not valid Python: {first}.",
            "returned": message,
            "unsendable": f"{doing} gave something that is not an answer: {message}.",
        }
        if kind not in sentences:
            raise WireError(f"an error of the kind {kind!r}")
        known = (interface.OF_CLASSES | interface.OF_FUNCTIONS).get(mistake)
        if known and known.instead:
            sentences[kind] = known.says.format(file=self.file)
        cause = Cause(
            sentences[kind],
            fault=f"{Path(self.file).stem}.{mistake}" if known else None,
            evidence=evidence,
            hint=known.hint if known else "",
            where=where or self.file,
            traceback=traceback,
            output=self.take_output(),
        )
        return SubmissionFailure(cause, "todo" if kind == "todo" else "failed", name, mistake)


def _end(status: int) -> str:
    if status >= 0:
        return f"ended the program with exit status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    return f"was ended by {name}"
