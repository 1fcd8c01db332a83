"""Grade a class: find and read the submissions, grade what the journal does not know, write the
results.
"""

from __future__ import annotations

import errno
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Literal

from rich.console import Console

from mnist_lab import grade as grades
from mnist_lab import kit
from mnist_lab.grading import run as single
from mnist_lab.grading.batch import pages, similar
from mnist_lab.grading.batch.analysis import Analysis, Learner
from mnist_lab.grading.batch.journal import NAME, Journal
from mnist_lab.grading.batch.late import Late
from mnist_lab.grading.batch.progress import Progress
from mnist_lab.grading.batch.reading import Read, ReaderPool
from mnist_lab.grading.batch.results import (
    NOTHING,
    Graded,
    NotGraded,
    Options,
    Outcome,
    fingerprint,
)
from mnist_lab.grading.batch.roster import Roster
from mnist_lab.grading.batch.similar import Pair
from mnist_lab.grading.batch.submissions import (
    ClassError,
    Listing,
    Submission,
    find,
)
from mnist_lab.grading.formats.text import one_line
from mnist_lab.submission.sandbox import scratch
from mnist_lab.writing import cannot_write, write

FOLDERS = ("grades", "feedback")

LISTS = ("roster.csv", "similar.csv")
"""What a run writes only where it is asked to."""

ELSEWHERE = "The gradebook says why."
"""What stands on the page in place of what may tell a name."""

Engine = Callable[[Sequence[Read], Options], Iterator[tuple[Read, Outcome]]]
"""Grades submissions and gives what comes of each, in the order in which they are done."""


def grade_class(
    submissions: Path,
    out: Path,
    *,
    tier: Literal["quick", "full"] = "quick",
    seed: int | None = None,
    jobs: int | None = None,
    cluster: str | None = None,
    strict: bool = False,
    best: bool = False,
    roster: Callable[[Sequence[Submission]], Roster] | None = None,
    late: Callable[[Sequence[Submission]], Late] | None = None,
    alike: bool = True,
    anonymous: bool = False,
    progress: Progress | None = None,
) -> Analysis:
    """Grade every submission in the folder ``submissions`` and write the results to ``out``.

    What the journal in ``out`` knows is not graded again. ``seed`` is the journal's, or a fresh
    one, unless given; each submission has its own, made of it. ``jobs`` submissions are graded at a
    time, unless given as many as there are cores, and in the quick tier one more, for what waits or
    hangs; with ``cluster`` it is the workers of the Dask scheduler at that address who grade. If
    ``strict``, nothing is graded where a wall is not enforced. Of several attempts the last counts,
    or the ``best`` by its mark. With a ``roster``, made when the submissions are known, who has
    handed in nothing is a learner too, and its file is written with the marks; ``late`` says what
    is deducted of them. Submissions that are ``alike`` are listed, and if ``anonymous`` the page on
    the class names nobody. Raises ``ClassError``.
    """
    progress = progress or Progress(Console(quiet=True))
    listing, listed = _listed(submissions, out, roster)
    missing = listed.missing(listing.submissions) if listed else []
    names = [*(each.name for each in listing.submissions), *missing]
    lateness = late(listing.submissions) if late else None
    started = time.perf_counter()
    with Journal(out) as journal, scratch.folder() as folder:
        _make_folders(out)
        if seed is None:
            seed = single.fresh_seed() if journal.seed is None else journal.seed
        options = Options(tier, seed, fingerprint(), strict)
        journal.begin(options)
        reads = _read(listing, Path(folder), best)
        if lateness:
            listing = replace(listing, notes=(*listing.notes, *lateness.warnings(reads)))
        engine = _engine(jobs or _cores() + (tier == "quick"), cluster)
        outcomes = _grade(listing, reads, engine, journal, options, progress)
        attainable = kit.load().attainable(tier)
        files = pages.file_names(names)
        tried = [
            (read, _learner(read, outcome, files[read.name], lateness, attainable, best))
            for read, outcome in zip(reads, outcomes, strict=True)
        ]
        counted = _counted(tried)
        pairs = _pairs(counted) if alike else []
        learners = [learner for _, learner in counted]
        learners += [Learner(name, files[name], NOTHING) for name in missing]
        told = tuple(_told(each, attainable, options, out) for each in learners)
        found = Analysis(told, attainable)
    aliases = _aliases(found, seed) if anonymous else {}
    shown = _unnamed(found, aliases) if anonymous else found
    settings = _settings(shown, options, time.perf_counter() - started)
    if anonymous:  # Who knows it and the names can tell whose numbers are whose.
        del settings["Seed"]
    beside = ((), ()) if anonymous else (listing.ignored, listing.notes)
    page = pages.class_page(shown, [*settings.items()], beside[0], pairs, aliases, beside[1])
    written: dict[str, str | bytes] = {
        "class.html": page,
        "gradebook.csv": pages.gradebook(found, aliases),
    }
    if alike:
        written["similar.csv"] = similar.table(pairs)
    if listed:
        marks = {each.name: each.mark for each in found.learners if each.mark is not None}
        written["roster.csv"] = listed.filled(listing.submissions, marks)
    _write(out, written)
    own = {*files.values()}
    left = {_owner(path) for path in (out / "grades").glob("*.json") if path.stem not in own}
    lists = [each for each in LISTS if each not in written and (out / each).exists()]
    progress.keeps(left, lists)
    return found


def look(
    submissions: Path,
    out: Path | None = None,
    roster: Callable[[Sequence[Submission]], Roster] | None = None,
    late: Callable[[Sequence[Submission]], Late] | None = None,
) -> tuple[Listing, list[Read], list[str]]:
    """What would be graded: the submissions in a folder, the last attempt of each, read, and who
    of the roster has handed in nothing. Raises ``ClassError``.
    """
    listing, listed = _listed(submissions, out, roster)
    if late:
        late(listing.submissions)
    with scratch.folder() as folder:
        reads = _read(listing, Path(folder), best=False)
    return listing, reads, listed.missing(listing.submissions) if listed else []


def _read(listing: Listing, folder: Path, best: bool) -> list[Read]:
    asked = [
        (replace(submission, is_ordered=best or submission.is_ordered), attempt)
        for submission in listing.submissions
        for attempt in range(len(submission.attempts))
        if best or attempt == len(submission.attempts) - 1
    ]
    with closing(ReaderPool(folder, min(_cores(), len(asked)))) as readers:
        return readers.read(asked)


def _grade(
    listing: Listing,
    reads: Sequence[Read],
    engine: Engine,
    journal: Journal,
    options: Options,
    progress: Progress,
) -> list[Outcome]:
    """What comes of each, by what the journal knows or by grading. The same files are graded once,
    and of notebooks those alone that are called the same, since feedback names file and cell.
    """
    often = Counter(read.name for read in reads)
    names = [
        f"{each.name}, attempt {each.attempt + 1}" if often[each.name] > 1 else each.name
        for each in reads
    ]
    outcomes: dict[int, Outcome] = {}
    waiting: dict[str, list[int]] = {}
    for at, read in enumerate(reads):
        if read.reason:
            outcomes[at] = NotGraded(read.reason, refused=not read.is_blameless)
        elif (found := journal.find(read.told_by, options)) and found.settled:
            outcomes[at] = found
        else:
            waiting.setdefault(read.told_by, []).append(at)
    known = sum(isinstance(each, Graded) for each in outcomes.values())
    progress.begins(listing, reads, known, options)
    for at, outcome in outcomes.items():
        if isinstance(outcome, NotGraded):
            progress.finished(names[at], outcome)
    graded = engine([reads[owners[0]] for owners in waiting.values()], options) if waiting else ()
    for first, outcome in graded:
        journal.add(first.told_by, options, outcome)
        for at in waiting[first.told_by]:
            outcomes[at] = outcome
            progress.finished(names[at], outcome)
    return [outcomes[at] for at in range(len(reads))]


def _counted(tried: Sequence[tuple[Read, Learner]]) -> list[tuple[Read, Learner]]:
    """The attempt of each learner that has the best mark, or is the last of those."""
    best: dict[str, tuple[Read, Learner]] = {}
    for read, learner in tried:
        if read.name not in best or _worth(learner) >= _worth(best[read.name][1]):
            best[read.name] = read, learner
    return list(best.values())


def _worth(learner: Learner) -> float:
    return -1.0 if learner.mark is None else learner.mark


def _learner(
    read: Read, outcome: Outcome, slug: str, late: Late | None, attainable: float, best: bool
) -> Learner:
    """A learner with this attempt; which it is and what is deducted is said in the notes too."""
    group, unread = read.submission.group, " ".join(read.unread)
    learner = Learner(read.name, slug, outcome, read.digest, group, unread=unread)
    if not isinstance(outcome, Graded):
        return learner
    notes = [*read.notes]
    if (count := len(read.submission.attempts)) > 1:
        which = f"number {read.attempt + 1}, the best," if best else "the last"
        if not read.submission.is_ordered:
            which = "one whose time is not understood"
        notes.insert(0, f"Of {count} attempts {which} counts.")
    if late:
        by = late.by(read)
        deduction = late.rule.deduction(by, outcome.grade.score, attainable)
        learner = replace(learner, late=by, deduction=deduction)
        if deduction:
            how_late = str(by).removesuffix(", 0:00:00")
            left = f"{deduction:g} points are deducted, which leaves {learner.mark:g}."
            notes.insert(0, f"Handed in {how_late} late: {left}")
    # The grade may be another's with the same files.
    grade = replace(outcome.grade, submission=read.name, notes=tuple(notes))
    return replace(learner, outcome=replace(outcome, grade=grade))


def _pairs(counted: Sequence[tuple[Read, Learner]]) -> list[Pair]:
    """The learners whose submissions are alike; all of a group have the same one."""
    owners = {each.owner: read for read, each in counted}
    return similar.compare({read.name: read.prints for read in owners.values()})


def _aliases(found: Analysis, seed: int) -> dict[str, str]:
    """A number for each learner by name, in an order that tells nothing."""
    names = [learner.name for learner in found.learners]
    names.sort(key=lambda name: sha256(f"{seed}:{name}".encode()).digest())
    return {name: f"Learner {number}" for number, name in enumerate(names, start=1)}


def _unnamed(found: Analysis, aliases: Mapping[str, str]) -> Analysis:
    """The learners by their numbers, without what may tell who they are."""
    known = {each.name: each for each in found.learners}
    hidden = []
    for name, alias in aliases.items():
        outcome = known[name].outcome
        if isinstance(outcome, NotGraded) and not outcome.is_missing:
            outcome = NotGraded(ELSEWHERE)
        unread = ELSEWHERE if known[name].unread else ""
        hidden.append(replace(known[name], name=alias, outcome=outcome, unread=unread))
    return replace(found, learners=tuple(hidden))


def _listed(
    submissions: Path,
    out: Path | None,
    roster: Callable[[Sequence[Submission]], Roster] | None,
) -> tuple[Listing, Roster | None]:
    """The submissions in a folder, and the roster with the learners of its groups among them."""
    listing = find(submissions, out)
    if roster is None:
        return listing, None
    listed = roster(listing.submissions)
    members = listed.of_members(listing.submissions)
    notes = tuple(listed.notes(members))
    is_doubtful = bool(listed.unlisted(members))
    found = replace(listing, submissions=tuple(members), notes=notes, is_doubtful=is_doubtful)
    return found, listed


def _engine(jobs: int, cluster: str | None) -> Engine:
    if not cluster:
        from mnist_lab.grading.batch.workers import grade_here

        return partial(grade_here, jobs=jobs)
    from mnist_lab.grading.batch.cluster import grade_there

    return partial(grade_there, address=cluster)


def _owner(path: Path) -> str:
    """Whose grade is in a file, or else what that is called."""
    with suppress(OSError, grades.GradeError):
        return grades.read(path).submission
    return path.stem


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _told(learner: Learner, attainable: float, options: Options, out: Path) -> Learner:
    """The learner, whose grade and feedback are written; without feedback there is no grade."""
    try:
        feedback = pages.feedback(learner, attainable)
    except Exception as error:  # Whatever it is, the others are not to suffer.
        reason = one_line(f"The feedback cannot be written ({type(error).__name__}).")
        learner = replace(learner, outcome=NotGraded(reason))
        feedback = pages.feedback(learner, attainable)
    files = {f"feedback/{learner.slug}.{kind}": text for kind, text in feedback.items()}
    _write(out, {f"grades/{learner.slug}.json": pages.grade_text(learner, options)} | files)
    return learner


def _settings(found: Analysis, options: Options, seconds: float) -> dict[str, str]:
    taken = sorted((grade.seconds, name) for name, grade in found.grades)
    walls = {f"{wall} {state}" for _, grade in found.grades for wall, state in grade.walls.items()}
    settings = {
        "Kit": options.kit,
        "Checks": "all, with the accuracy of trained models" if options.tier == "full" else "quick",
        "Seed": f"{options.seed}; that of each submission is in its grade",
    }
    if taken:
        half, slowest = taken[len(taken) // 2][0], taken[:-4:-1]
        settings["Time"] = f"{seconds:.0f} s for this run; half took less than {half:.1f} s each"
        settings["Slowest"] = ", ".join(f"{name} {each:.1f} s" for each, name in slowest)
    if walls:
        settings["Walls"] = ", ".join(sorted(walls))
    return settings


def _write(out: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files by their path in ``out``."""
    with _writing(out):
        for name, content in files.items():
            write(out / name, content)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kept = f"What is graded is kept in {out / NAME}."
        raise ClassError(f"{cannot_write(out, error)} {kept}") from error


def _make_folders(out: Path) -> None:
    """Have the folders of the results, or say that they cannot be had before anything is graded."""
    with _writing(out):
        for name in FOLDERS:
            (out / name).mkdir(exist_ok=True)
            if not os.access(out / name, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
