"""What a notebook calls: ``check`` grades its exercises, ``compare`` trains its models.

``check`` hands the cells that were run to the same grader as pytest, in processes of its own; no
object of the notebook's is looked at.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_lab import kit
from mnist_lab.grade import Cause, CheckGrade, ExerciseGrade, Grade, Result, build
from mnist_lab.grading import run, terminal
from mnist_lab.grading.warm import JobError, Run
from mnist_lab.report import tables
from mnist_lab.report.pages import render
from mnist_lab.submission import notebook, source
from mnist_lab.submission.sandbox import scratch
from mnist_lab.writing import fill

if TYPE_CHECKING:
    from torch import nn

    from mnist_lab.compare import Comparison

LIMIT = 600.0
"""Seconds after which a run is stuck: its checks have limits of their own."""

COLOURS = {
    "passed": "#009E73",
    "failed": "#D55E00",
    "error": "#D55E00",
    "todo": "#c98500",
    "not_run": "#888888",
}
"""The report's colours, told apart by colour-blind readers; each stands beside its word."""

WORDS = {"todo": "to do", "not_run": "not run", "error": "could not be judged"}


@dataclass(frozen=True)
class Card:
    """How an exercise stands: its state, and of the check to work on now what is the matter."""

    exercise: ExerciseGrade

    @property
    def check(self) -> CheckGrade | None:
        return terminal.explained(self.exercise)

    @property
    def state(self) -> str:
        """``passed``, ``failed``, ``todo``, ``error`` or ``not_run``."""
        outcome = self.check.outcome if self.check else terminal.state(self.exercise)
        return "todo" if outcome == "blocked" else outcome

    @property
    def points(self) -> str:
        """The points that the exercise has, and those that do not run here."""
        exercise = self.exercise
        later = sum(check.max_points for check in exercise.checks if check.outcome == "not_run")
        said = f"{exercise.points:g} of {exercise.max_points - later:g} points"
        return f"{said} ({later:g} more for its accuracy)" if later else said

    @property
    def facts(self) -> Iterator[tuple[str, str]]:
        """What there is to say of the check in one line each: a name and a text."""
        if self.check is None:
            return
        yield "Check", f"{self.check.title} ({self.check.id})"
        if self.check.cause:
            hint = self.check.cause.hint or kit.load().check(self.check.id).hints[0]
            yield from replace(self.check.cause, hint=hint).facts
        waiting = [other.id for other in self.exercise.checks if other.outcome == "blocked"]
        if waiting and self.check.id not in waiting:
            yield "Waiting", ", ".join(waiting)

    def _repr_html_(self) -> str:
        return render("card.html.jinja", card=self, colours=COLOURS, words=WORDS)

    def __repr__(self) -> str:
        return terminal.plain_exercise(self.exercise)


@dataclass(frozen=True)
class Overview:
    """How all exercises stand."""

    grade: Grade

    def _repr_html_(self) -> str:
        attainable, full = kit.load().attainable("quick"), self.grade.max_score
        return render(
            "overview.html.jinja",
            cards=map(Card, self.grade.exercises),
            colours=COLOURS,
            words=WORDS,
            score=f"{self.grade.score:g} of {attainable:g} points; {full - attainable:g} more are "
            "for the accuracy of the trained models.",
            step=self.grade.next_step(),
        )

    def __repr__(self) -> str:
        text = io.StringIO()
        terminal.show(self.grade, text, colour=False)
        return text.getvalue().strip("\n")


class Models:
    """Trained models side by side; ``draw`` makes a picture of them."""

    def __init__(self, comparison: Comparison | None, missing: Sequence[str]) -> None:
        self.comparison, self.missing = comparison, tuple(missing)

    def draw(self, name: str) -> Any:
        """The picture ``name``, one of ``mnist_lab.plots.FIGURES``, as a matplotlib ``Figure``.

        Raises ``ValueError`` for another name.
        """
        from mnist_lab.plots import FIGURES

        if name not in FIGURES:
            raise ValueError(f"There is no picture {name!r}: it is one of {', '.join(FIGURES)}.")
        if self.comparison is None:
            return _said("There is nothing to draw: no model is trained yet.")
        return FIGURES[name](self.comparison)

    def _repr_html_(self) -> str:
        return str(self._shown()._repr_html_())

    def __repr__(self) -> str:
        return repr(self._shown())

    def _shown(self) -> Any:
        if self.comparison is None:
            return _said(*self.missing)
        return tables.of_models(self.comparison)


def _said(*sentences: str) -> tables.Table:
    return tables.Table(("Comparison",), [(each,) for each in sentences])


def check(name: str | None = None) -> Card | Overview:
    """Grade the exercise with the id ``name``, such as ``"cnn"``, or all without one.

    What counts are the cells as they were last run. Raises ``ValueError`` for a name that is no
    exercise's and ``RuntimeError`` outside of IPython.
    """
    exercises = kit.load().exercises
    if name is not None and name not in [exercise.id for exercise in exercises]:
        ids = ", ".join(exercise.id for exercise in exercises)
        raise ValueError(f"There is no exercise {name!r}: they are {ids}.")
    sources, defined = _history()
    asked = [exercise for exercise in exercises if name in (None, exercise.id)]
    there = any(wanted in defined for exercise in asked for wanted in exercise.names)
    grade = _graded(sources, name) if there else _ungraded({})
    grade = _with_undefined(grade, defined)
    if name is None:
        return Overview(grade)
    return Card(next(exercise for exercise in grade.exercises if exercise.id == name))


def compare(
    *models: type[nn.Module], epochs: int = 3, seed: int = 0, digits: str = "auto"
) -> Models:
    """Train ``models``, those of the exercises, side by side on MNIST and test them; without any,
    those that the notebook defines.

    A model that is not written yet is left out, and that is said. ``digits`` is ``"mnist"``,
    ``"sample"`` or ``"auto"``, as ``mnist_lab.data.load`` has them. Raises ``ValueError`` for
    another class, ``RuntimeError`` without models outside of IPython, and what ``data.load``
    raises.
    """
    import torch
    from rich.console import Console

    from mnist_lab import data, training
    from mnist_lab.compare import TITLES, compare
    from mnist_lab.progress import watching

    names = {kit.load().exercise(name).names[0]: name for name in TITLES}
    known = ", ".join(names)
    asked = {model.__name__: model for model in models}
    if not models:
        asked = {name: made for name, made in _history()[1].items() if name in names}
    classes, missing = {}, []
    for name, model in asked.items():
        if name not in names:
            raise ValueError(f"{name} is none of the models: {known}.")
        try:
            with torch.no_grad(), torch.random.fork_rng():
                model()(torch.zeros(2, 1, 28, 28))
            classes[names[name]] = model
        except NotImplementedError:
            missing.append(f"{name} is not written yet.")
        except Exception as error:  # It is the learner's, and the others can be compared.
            missing.append(f"{name} raises {type(error).__name__}: {error}.")
    if not classes:
        return Models(None, missing or [f"The notebook defines none of {known} yet."])
    console = Console(file=sys.stdout, force_terminal=False, force_jupyter=False, width=100)
    loaded = data.load(digits, say=print)  # type: ignore[arg-type]
    if loaded.note:
        print(loaded.note)
    titles = {name: TITLES[name] for name in classes}
    with watching(console, titles, epochs, len(loaded.train)) as watch:
        found = compare(loaded, training.Settings(epochs, seed=seed), classes, watch)
    found = replace(found, missing=(*missing, *found.missing))
    return Models(found if found.results else None, found.missing)


_ready = cache(run.ready)


def _run(path: Path, exercise: str | None) -> Run:
    """Raises ``JobError`` if the process that grades has died; then the next one gets another."""
    runner = _ready()
    try:
        return runner.grade(run.arguments(path, exercise=exercise), LIMIT)
    except BaseException:  # Interrupted, too: an answer that still comes would be another's.
        runner.close()
        _ready.cache_clear()
        raise


def _history() -> tuple[list[tuple[int, str]], Mapping[str, Any]]:
    """What was run, by its number, and the names that it has left."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        raise RuntimeError(
            "check() and compare() are for the cells of a notebook, or of IPython: elsewhere run "
            "`pytest` and `mnist-lab compare`."
        )
    sources = list(enumerate(shell.history_manager.input_hist_raw))
    return [(number, text) for number, text in sources if text.strip()], shell.user_ns


def _graded(sources: Sequence[tuple[int, str]], exercise: str | None) -> Grade:
    """The grade of what was run; where there is none, every check says why."""
    with scratch.folder() as folder:
        file = Path(folder) / "notebook.ipynb"
        file.write_text(notebook.of_history(sources), encoding="utf-8")
        fill(Path(folder), source.beside(Path.cwd()))
        try:
            ended = _run(Path(folder), exercise)
        except JobError as error:
            return _unjudged(str(error), exercise)
    if "grade" not in ended.result:
        said = [line for line in ended.output.splitlines() if line.strip()]
        return _unjudged(said[-1].removeprefix("ERROR: ") if said else "no word", exercise)
    return Grade.from_json({**ended.result["grade"], "submission": file.name})


def _unjudged(why: str, exercise: str | None) -> Grade:
    asked = [c for c in kit.load().checks if c.tier == "quick" and exercise in (None, c.exercise)]
    cause = Cause(f"It could not be graded: {why}", hint="Check again; if it stays, restart.")
    return _ungraded({check.id: Result("error", cause=cause) for check in asked})


def _ungraded(results: Mapping[str, Result]) -> Grade:
    return build(kit.load(), results, submission="notebook.ipynb")


def _with_undefined(grade: Grade, defined: Mapping[str, Any]) -> Grade:
    """``grade``, with the exercises to do of which nothing is defined."""
    return replace(
        grade,
        exercises=tuple(
            exercise
            if any(name in defined for name in kit.load().exercise(exercise.id).names)
            else replace(exercise, checks=tuple(_to_do(exercise)))
            for exercise in grade.exercises
        ),
    )


def _to_do(exercise: ExerciseGrade) -> Iterator[CheckGrade]:
    asked = kit.load().exercise(exercise.id)
    names = " or ".join(asked.names)
    cause = Cause(
        f"The notebook does not define {names} yet.",
        hint="Run the cell that defines it, then this one again.",
    )
    for check in exercise.checks:
        quick = kit.load().check(check.id).tier == "quick"
        yield replace(check, outcome="todo" if quick else "not_run", cause=cause, seconds=0.0)
