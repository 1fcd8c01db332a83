"""Grade a class: find the submissions, grade what the journal does not know, write the results."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from mnist_lab import kit
from mnist_lab.grading import run as single
from mnist_lab.grading.batch import analysis, pages
from mnist_lab.grading.batch.analysis import Analysis, Learner
from mnist_lab.grading.batch.handed_in import ClassError, HandedIn, find
from mnist_lab.grading.batch.journal import Journal, JournalError
from mnist_lab.grading.batch.results import (
    Graded,
    NotGraded,
    Options,
    Outcome,
    fingerprint,
)
from mnist_lab.grading.formats.text import one_line
from mnist_lab.submission.source import SourceError

__all__ = ["ClassError", "Progress", "grade_class"]

Engine = Callable[[Sequence[HandedIn], Options], Iterator[tuple[HandedIn, Outcome]]]
"""Grades submissions and gives what comes of each, in the order in which they are done."""


class Progress:
    """Told how a class goes; this one does not care. Subclasses show it."""

    def begins(self, total: int, known: int, options: Options) -> None:
        """``known`` of ``total`` submissions need no grading, the others are graded now."""

    def finished(self, handed: HandedIn, outcome: Outcome) -> None:
        """A submission is done."""


@dataclass(frozen=True)
class _Known:
    """What is known of the submissions before anything is graded."""

    digests: dict[str, str]
    outcomes: dict[str, Outcome]


def grade_class(
    submissions: Path,
    out: Path,
    *,
    tier: Literal["quick", "full"] = "quick",
    seed: int | None = None,
    jobs: int | None = None,
    cluster: str | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> Analysis:
    """Grade every submission in the folder ``submissions`` and write the results to ``out``.

    What the journal in ``out`` knows is not graded again. ``seed`` is the journal's, or a fresh
    one, unless given. ``jobs`` submissions are graded at a time, unless given as many as there are
    cores, and in the quick tier one more, for what waits or hangs; with ``cluster`` it is the
    workers of the Dask scheduler at that address who grade. If ``strict``, nothing is graded where
    a wall is not enforced. Raises ``ClassError``.
    """
    progress = progress or Progress()
    listing = find(submissions)
    started = time.perf_counter()
    try:
        with Journal(out) as journal:
            if seed is None:
                seed = single.fresh_seed() if journal.seed is None else journal.seed
            options = Options(tier, seed, fingerprint(), strict)
            journal.begin(options)
            known = _look_up(listing.submissions, journal, options)
            engine = _engine(jobs or _cores() + (tier == "quick"), cluster)
            # It imports PyTorch, for which there is more time now than at the end.
            threading.Thread(target=_sentences).start()
            _grade(listing.submissions, known, engine, journal, options, progress)
    except JournalError as error:
        raise ClassError(str(error)) from error
    learners = [
        Learner(
            handed.name,
            handed.slug,
            _named(known.outcomes[handed.name], handed.name),
            known.digests.get(handed.name, ""),
        )
        for handed in listing.submissions
    ]
    attainable = kit.load().attainable(tier)
    found = analysis.analyse(learners, attainable, _sentences())
    settings = _settings(found, options, time.perf_counter() - started)
    _write(out, found, settings, listing.ignored)
    return found


def _look_up(submissions: Sequence[HandedIn], journal: Journal, options: Options) -> _Known:
    known = _Known({}, {})
    for handed in submissions:
        try:
            digest = handed.digest()
        except SourceError as error:
            # Where the class lies is nothing that learners are to read.
            reason = str(error).replace(str(handed.path), handed.path.name)
            known.outcomes[handed.name] = NotGraded(one_line(reason))
            continue
        known.digests[handed.name] = digest
        outcome = journal.find(digest, options)
        if outcome is not None and outcome.settled:
            known.outcomes[handed.name] = outcome
    return known


def _grade(
    submissions: Sequence[HandedIn],
    known: _Known,
    engine: Engine,
    journal: Journal,
    options: Options,
    progress: Progress,
) -> None:
    """Add what is not known yet to ``known`` and to the journal; the same files are graded once."""
    waiting: dict[str, list[HandedIn]] = {}
    for handed in submissions:
        if handed.name not in known.outcomes:
            waiting.setdefault(known.digests[handed.name], []).append(handed)
    progress.begins(len(submissions), len(known.outcomes), options)
    if not waiting:
        return
    for first, outcome in engine([owners[0] for owners in waiting.values()], options):
        digest = known.digests[first.name]
        journal.add(digest, options, outcome)
        for handed in waiting[digest]:
            known.outcomes[handed.name] = outcome
            progress.finished(handed, outcome)


def _engine(jobs: int, cluster: str | None) -> Engine:
    if cluster is None:
        from mnist_lab.grading.batch.local import grade_here

        return partial(grade_here, jobs=jobs)
    from mnist_lab.grading.batch.cluster import grade_there

    return partial(grade_there, address=cluster)


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _named(outcome: Outcome, name: str) -> Outcome:
    """``outcome`` for the submission called ``name``; another's may be of the same files."""
    if isinstance(outcome, Graded):
        return replace(outcome, grade=replace(outcome.grade, submission=name))
    return outcome


def _sentences() -> Callable[[str], str | None]:
    """What a known mistake is, by its id."""
    from mnist_lab.diagnosis.faults import bank

    sentences = {fault.id: fault.says for fault in bank().values()}
    return sentences.get


def _settings(found: Analysis, options: Options, seconds: float) -> list[tuple[str, str]]:
    checks = "all, with the accuracy of trained models" if options.tier == "full" else "quick"
    slowest = sorted(found.seconds.items(), key=lambda each: -each[1])[:3]
    settings = [("Kit", options.kit), ("Checks", checks), ("Seed", str(options.seed))]
    if found.seconds:
        each = sorted(found.seconds.values())
        settings += [
            (
                "Time",
                f"{seconds:.0f} s for this run; half took less than "
                f"{each[len(each) // 2]:.1f} s each",
            ),
            ("Slowest", ", ".join(f"{name} {taken:.1f} s" for name, taken in slowest)),
        ]
    walls = sorted(
        {
            f"{wall} {state}"
            for learner in found.learners
            if isinstance(learner.outcome, Graded)
            for wall, state in learner.outcome.grade.walls.items()
        }
    )
    return [*settings, *([("Walls", ", ".join(walls))] if walls else [])]


def _write(
    out: Path, found: Analysis, settings: Sequence[tuple[str, str]], ignored: Sequence[str]
) -> None:
    try:
        for folder in ("grades", "feedback"):
            (out / folder).mkdir(exist_ok=True)
        for learner in found.learners:
            grade = out / "grades" / f"{learner.slug}.json"
            if isinstance(learner.outcome, Graded):
                pages.write_whole(grade, pages.grade_text(learner.outcome))
            else:
                grade.unlink(missing_ok=True)
            for kind, text in pages.feedback(learner, found.attainable).items():
                pages.write_whole(out / "feedback" / f"{learner.slug}.{kind}", text)
        pages.write_whole(out / "class.html", pages.class_page(found, settings, ignored))
        book = pages.gradebook(found.learners, found.attainable)
        pages.write_whole(out / "gradebook.csv", book)
    except OSError as error:
        raise ClassError(
            f"The results cannot be written to {out} ({error.strerror}). What is graded is kept in "
            "its journal: free the place and run the same command again."
        ) from error
