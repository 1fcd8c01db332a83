"""The pytest plugin: a test marked ``check("cnn.network")`` grades a learner's submission.

It runs the submission behind the wall, turns what the tests raise into outcomes, and collects them
into one ``Grade``. Tests without the mark are left to pytest.
"""

from __future__ import annotations

import gc
import json
import re
import sys
import textwrap
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

import mnist_lab
from mnist_lab import grade, kit, workspace
from mnist_lab.grade import Cause, CheckGrade, Grade, Result
from mnist_lab.grading import terminal
from mnist_lab.submission.sandbox import scratch
from mnist_lab.submission.sandbox.walls import refusal, summary
from mnist_lab.submission.server import Server, default_isolation, unsupported

if TYPE_CHECKING:
    from mnist_lab.data import Digits
    from mnist_lab.diagnosis import CheckFailure, Waiting
    from mnist_lab.diagnosis.draws import Grader
    from mnist_lab.diagnosis.networks.trained import Trained
    from mnist_lab.grading.warm import Given
    from mnist_lab.submission.caller import SubmissionFailure
    from mnist_lab.submission.client import ExerciseHandle, Submission
    from mnist_lab.submission.remote import Model
    from mnist_lab.submission.source import HandedIn

PROPERTY = "mnist-lab"
"""The user property under which a test's report carries its ``Result``, as JSON."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of grading."""
    parser.addini("mnist_lab", "the version of mnist-lab that a workspace's tests are for")
    group = parser.getgroup("mnist-lab", "grading with mnist-lab")
    group.addoption(
        "--submission",
        metavar="PATH",
        type=Path,
        help="the folder, archive, notebook or exercise's file to grade (default: exercises)",
    )
    group.addoption(
        "--full", action="store_true", help="also train the models and check their accuracy"
    )
    group.addoption(
        "--grade-seed",
        metavar="N",
        type=int,
        default=0,
        help="draws the grader's weights, images and batches (default: 0)",
    )
    group.addoption(
        "--isolation",
        choices=["fork", "spawn", "none"],
        default=None,
        help="how the submission's processes start; none runs it in this one, for a debugger",
    )
    group.addoption(
        "--require",
        choices=["strict"],
        default=None,
        help="strict: grade only where every wall around the submission is enforced",
    )
    group.addoption("--walls", action="store_true", help="say at the end which walls were enforced")
    group.addoption(
        "--grade-json", metavar="FILE", type=Path, help="write the grade as JSON to this file"
    )
    group.addoption(
        "--report",
        metavar="DIR",
        type=Path,
        help="with --full: compare the submission's models with the kit's own in a report",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config, args: list[str]) -> None:
    """Run the tests of the workspace, whatever folder of it pytest is started in and whatever
    folder is to be graded.

    pytest looks for its settings before it knows our options, so it takes the PATH of
    ``--submission PATH`` for a folder of tests and loses the settings, ``testpaths`` above all.
    """
    here = early_config.invocation_params.dir
    known, lab = early_config.known_args_namespace, workspace.above(here)
    if lab and not known.file_or_dir and (early_config.inipath is None or here != lab):
        args.append(str(lab / "tests/grading"))
        early_config._rootpath = lab  # else the cache is written into what is graded


def pytest_configure(config: pytest.Config) -> None:
    """Register the mark and the run's ``Grading``."""
    config.addinivalue_line("markers", "check(id): the check of kit.toml that the test is")
    config.addinivalue_line("markers", "gpu: needs a GPU that PyTorch can use")
    config.addinivalue_line("filterwarnings", "ignore::UserWarning")  # About its own arithmetic.
    if (here := str(config.rootpath)) in sys.path:  # Nothing in a workspace hides a library.
        sys.path.remove(here)
        sys.path.append(here)
    if sentence := _other_kit(str(config.getini("mnist_lab") or "")):
        raise pytest.UsageError(sentence)
    if sentence := unsupported(config.getoption("--isolation") or default_isolation()):
        raise pytest.UsageError(sentence)
    _grade_what_is_named(config)
    if config.getoption("--report") and not config.getoption("--full"):
        raise pytest.UsageError("--report needs --full: only then are the models trained.")
    if config.getoption("--report") and getattr(config.option, "numprocesses", None):
        raise pytest.UsageError("--report needs all checks in one process: leave out -n.")
    try:
        config.stash[GRADING] = Grading(config)
    except OSError as error:
        raise pytest.UsageError(scratch.cannot_write(error)) from None
    config.pluginmanager.register(config.stash[GRADING], "mnist-lab-grading")


def _other_kit(made_for: str) -> str:
    """That a workspace was made for another kit than the one that is installed, as a sentence."""
    installed = mnist_lab.__version__
    if not made_for or made_for.split(".")[:2] == installed.split(".")[:2]:
        return ""
    return (
        f"This workspace was made for mnist-lab {made_for}, and {installed} is installed. Install "
        "that version, or make a new workspace with `mnist-lab new` and copy your exercises there."
    )


def _grade_what_is_named(config: pytest.Config) -> None:
    """Where every path is an exercise's file or name, or the folder of all, run the tests that
    grade these: what learners write holds no tests.
    """
    here = config.invocation_params.dir
    lab = workspace.above(here) or workspace.above(config.rootpath)
    if lab is None:
        return
    named = [_exercises(here / argument.partition("::")[0], lab) for argument in config.args]
    if not all(named):
        return
    option = config.option
    one_of = " or ".join(dict.fromkeys(chain(*named)))
    option.keyword = f"({option.keyword}) and ({one_of})" if option.keyword else one_of
    config.args[:] = [str(lab / "tests/grading")]


def _exercises(path: Path, lab: Path) -> list[str]:
    """Those whose file or name ``path`` is, or all for the folder with the files."""
    folder, every = lab / "exercises", [exercise.id for exercise in kit.load().exercises]
    if path.resolve() == folder.resolve():
        return every
    if path.resolve().parent == folder.resolve() and path.name in kit.load().files:
        return [kit.load().files[path.name].id]
    return [path.name] if path.name in every and not path.exists() else []


@pytest.fixture
def exercise(request: pytest.FixtureRequest) -> Iterator[ExerciseHandle]:
    """The learner's code for the exercise of the check, within the check's time."""
    check = check_of(request.node)
    if check is None:
        raise pytest.UsageError("Only a test that is marked as a check has an exercise.")
    grading = request.config.stash[GRADING]
    handle = grading.submission().exercise(check.exercise, gpu=check.tier == "gpu")
    with handle.limit(check.limit), one_thread() as grading.threads:
        yield handle


@pytest.fixture
def threads(request: pytest.FixtureRequest, exercise: ExerciseHandle) -> int:
    """How many may be used where there is much to compute; one where others are graded beside."""
    return request.config.stash[GRADING].threads


@contextmanager
def one_thread() -> Iterator[int]:
    """Small tensors on one thread: several wait for one another, long where cores are busy. As many
    as there are else.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield before
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def model(request: pytest.FixtureRequest, exercise: ExerciseHandle) -> Model:
    """A new model of the learner's, of the class that the exercise asks for."""
    check = check_of(request.node)
    assert check is not None
    return exercise.build(kit.load().exercise(check.exercise).names[0])


@pytest.fixture(scope="session")
def grader(request: pytest.FixtureRequest) -> Grader:
    """The grader's own draws, from --grade-seed."""
    from mnist_lab.diagnosis.draws import Grader

    options = request.config.option
    return Grader(options.grade_seed, full=options.full)


@pytest.fixture(scope="session")
def mnist(request: pytest.FixtureRequest) -> Digits:
    """MNIST, or the sample where it cannot be had."""
    from mnist_lab import data

    return request.config.stash[GRADING].digits or data.load()


@pytest.fixture(scope="session")
def trained_together(request: pytest.FixtureRequest, grader: Grader, mnist: Digits) -> None:
    """Train the networks that are ready for it, on one stream of digits, before their checks ask
    for it one by one.
    """
    import torch

    from mnist_lab.diagnosis import CheckFailure
    from mnist_lab.diagnosis.networks import checks, trained
    from mnist_lab.submission.caller import SubmissionFailure

    grading = request.config.stash[GRADING]
    first = {}
    for check in filter(grading.is_ready, kit.load().checks):
        handle = grading.submission().exercise(check.exercise)
        # What fails here fails in its own check, which says why.
        with handle.limit(check.limit), one_thread(), suppress(CheckFailure, SubmissionFailure):
            model = handle.build(kit.load().exercise(check.exercise).names[0])
            first[check.exercise] = checks.first_weights(check.exercise, model, grader)
    trained.train(first, mnist, torch.get_num_threads())


@pytest.fixture(scope="session")
def learned(request: pytest.FixtureRequest) -> dict[str, Trained]:
    """Where an accuracy check leaves the trained model, by exercise, for the report."""
    return request.config.stash[GRADING].learned


def check_of(item: pytest.Item) -> kit.Check | None:
    """The check that a test is marked as."""
    marker = item.get_closest_marker("check")
    return kit.load().check(marker.args[0]) if marker else None


class Grading:
    """One run: how its checks ended so far, and the grade at the end.

    Under pytest-xdist each process that runs tests has one for the checks that it runs, and the
    process that collects the reports has the one that grades.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.path: Path = config.getoption("--submission") or config.rootpath / "exercises"
        self.tier: Literal["quick", "full"] = "full" if config.getoption("--full") else "quick"
        self.results: dict[str, Result] = {}
        self._waits: dict[kit.Check, Waiting] = {}
        # Of a process that is ready for many runs, and has read what they grade.
        self._given: Given | None = config.pluginmanager.get_plugin("mnist-lab-given")
        self.digits = self._given.digits if self._given else None
        self.learned: dict[str, Trained] = {}
        self.grade: Grade | None = None
        self.kept: Grade | None = None
        self.former: Grade | None = None
        self.unwritten = ""
        self.walls: dict[str, str] = {}
        self.started = time.perf_counter()
        self.verbosity = config.option.verbose
        self.alone = _asks_for_grading_alone(config)
        if self.alone:
            config.option.verbose = -2  # pytest's own lines give way to the grade
            gc.disable()  # until PyTorch is imported, which takes a quarter longer otherwise
            config.add_cleanup(gc.enable)
            # Hypothesis's plugin imports all of it at the end, a second for nothing to be said.
            config.pluginmanager.unregister(name="hypothesispytest")
        self._waiting = self._begin_waiting()
        self._opened: Submission | None = None
        self._server = self._begin_server()
        self.threads = 1

    def _begin_waiting(self) -> terminal.Waiting | None:
        """The line of a terminal that says what is being done; a debugger wants it for itself."""
        option = self.config.option
        elsewhere = option.collectonly or option.usepdb or hasattr(self.config, "workerinput")
        shown = self.alone and not elsewhere and sys.stdout.isatty()
        return terminal.Waiting(sys.stdout) if shown else None

    def _begin_server(self) -> Server | None:
        """The server that is there, or a new one, while pytest imports torch: both take seconds."""
        if self._given:
            return self._given.server
        option = self.config.option
        forks = (self.config.getoption("--isolation") or default_isolation()) == "fork"
        elsewhere = option.collectonly or getattr(option, "numprocesses", None)
        return Server() if forks and self.alone and not elsewhere else None

    def submission(self) -> Submission:
        """What is graded, opened when first needed."""
        if self._opened is None:
            from mnist_lab.submission.client import Submission
            from mnist_lab.submission.refused import SourceError

            isolation = self.config.getoption("--isolation")
            try:
                if self.config.getoption("--submission") and not self._given:
                    from mnist_lab.grading.batch.reading import try_out

                    try_out(self.path)  # It may be anybody's.
                self._opened = Submission(self.path, isolation=isolation, server=self._server)
            except SourceError as error:
                raise pytest.UsageError(str(error)) from error
        return self._opened

    def is_ready(self, check: kit.Check) -> bool:
        """Whether a check is of the full tier and nothing that it needs is amiss."""
        needed = [self.results.get(name) for name in check.needs]
        return check.tier == "full" and all(each and each.outcome == "passed" for each in needed)

    # Collection

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            if check := check_of(item):
                item.extra_keyword_matches.add(check.id)  # So `-k cnn.network` finds it.
        checks = [check.id for item in items if (check := check_of(item))]
        if twice := {name for name in checks if checks.count(name) > 1}:
            raise pytest.UsageError(f"Several tests are marked as {', '.join(sorted(twice))}.")
        # What trains comes last: the networks then train together.
        order = sorted(kit.load().checks, key=lambda check: check.tier == "full")
        items.sort(key=lambda item: order.index(c) if (c := check_of(item)) else len(order))

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        gc.enable()
        # It starts now, where it has not yet, and there is something else to import meanwhile.
        checks = list(filter(None, map(check_of, session.items)))
        if checks and not self.config.option.collectonly:
            self.submission()
            if self.tier == "full" and any(check.tier == "full" for check in checks):
                self._read_digits()
            if self.config.getoption("--require") == "strict":
                self._look_at_walls()
                if sentence := refusal(self.walls):
                    raise pytest.UsageError(sentence)

    def _read_digits(self) -> None:
        """Read them while the server imports what it needs; it is told later why they can't be."""
        from mnist_lab import data

        if not self._given:
            with suppress(data.DataError):
                self.digits = data.load()

    def _look_at_walls(self) -> None:
        """Note what is known of the walls; nothing is known where the server can't be started."""
        from mnist_lab.submission.server import ServerError

        with suppress(ServerError):
            self.walls = dict(self.submission().walls)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Any:
        """Checks that need each other stay in one process: those of a file, of a network in it."""
        from xdist.scheduler import LoadScopeScheduling

        def scope(nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            return (self.alone and test.partition("[")[2]) or file

        made = LoadScopeScheduling(config, log)
        made._split_scope = scope
        return made if config.getoption("dist") == "load" else None

    # Running

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        if (check := check_of(item)) is None:
            return
        if self._waiting is not None:
            self._waiting.say(f"Checking {check.id}")
        if check.tier == "full" and self.tier != "full":
            pytest.skip("needs --full")
        if check.tier == "gpu" and not _there_is_a_gpu():
            pytest.skip("needs a GPU that PyTorch can use")
        if check.tier == "gpu" and (reason := self.submission().no_gpu):
            pytest.skip(f"needs a GPU that a submission's process can use, and here: {reason}")
        for needed in check.needs:
            if needed in self.results and self.results[needed].outcome not in ("passed", "not_run"):
                from mnist_lab.diagnosis import Waiting

                raise Waiting(needed)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        check = check_of(item)
        with self._untraced(call) if check else nullcontext():
            report = yield
        if check is None or (call.when != "call" and call.excinfo is None):
            return report
        result = self.results[check.id] = self._result(item, call, check)
        if not self.walls and result.outcome not in ("not_run", "blocked"):
            self._look_at_walls()
        for judged in (check, *self._settled()):
            packed = grade.graded(judged, self.results[judged.id]).to_json()
            report.user_properties.append((PROPERTY, json.dumps([packed, self.walls])))
        if report.failed and result.cause:
            report.longrepr = terminal.plain(result.cause)
        return report

    @contextmanager
    def _untraced(self, call: pytest.CallInfo[None]) -> Iterator[None]:
        """Spare pytest the traceback, which takes longer than the check, where none is shown."""
        from mnist_lab.diagnosis import CheckFailure, Waiting
        from mnist_lab.submission.caller import SubmissionFailure

        style, raised = self.config.option.tbstyle, call.excinfo and call.excinfo.value
        if isinstance(raised, CheckFailure | SubmissionFailure | Waiting):
            self.config.option.tbstyle = "no"
        try:
            yield
        finally:
            self.config.option.tbstyle = style

    def _result(self, item: pytest.Item, call: pytest.CallInfo[None], check: kit.Check) -> Result:
        """How a check ended, from what its test raised."""
        from mnist_lab.diagnosis import CheckFailure, Waiting
        from mnist_lab.submission.caller import SubmissionFailure

        raised = call.excinfo.value if call.excinfo else None
        match raised:
            case None:
                return Result("passed", call.duration)
            case CheckFailure():
                return Result("failed", call.duration, self._complete(check, raised))
            case SubmissionFailure():
                return Result(raised.outcome, call.duration, self._complete(check, raised))
            case Waiting():
                self._waits[check] = raised
                return Result("blocked", 0.0, Cause(f"It waits for {raised.needed}."))
            case pytest.skip.Exception():
                return Result("not_run", 0.0, Cause(f"It {raised.msg}."))
        cause = Cause(
            f"The kit could not judge this: {type(raised).__name__}: {raised}",
            hint="This is not a mistake of the learner's: show it to those who run the course.",
            traceback=str(item.repr_failure(call.excinfo)) if call.excinfo else "",
        )
        return Result("error", call.duration, cause)

    def _settled(self) -> Iterator[kit.Check]:
        """The checks that have waited for one that has passed after all: they fail."""
        for check, waiting in list(self._waits.items()):
            needed, failure = self.results.get(waiting.needed), waiting.failure
            if failure is not None and needed is not None and needed.outcome == "passed":
                del self._waits[check]
                self.results[check.id] = Result("failed", 0.0, self._complete(check, failure))
                yield check

    def _complete(self, check: kit.Check, raised: CheckFailure | SubmissionFailure) -> Cause:
        """Its cause in the best words there are, with the place and what was printed. The hints of
        a check are for what is computed, where nothing happened before.
        """
        from mnist_lab.diagnosis import events

        exercise = self.submission().exercise(check.exercise, gpu=check.tier == "gpu")
        cause = events.told(raised, exercise)
        completed = replace(
            cause,
            hint=cause.hint or check.hints[0],
            where=cause.where or _place(exercise, _asked_name(check, cause)),
            output=cause.output or exercise.take_output(),
        )
        return self.submission().placed(completed)

    # Reporting

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for packed, walls in _unpacked(report):
            check = CheckGrade.from_json(packed)
            self.results[check.id] = Result(check.outcome, check.seconds, check.cause)
            self.walls = self.walls or walls

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        return ("", "", "") if self.alone and _unpacked(report) else None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._waiting is not None:
            self._waiting.end()
        if self._opened is not None:
            self._opened.close()
        if not self.results or hasattr(self.config, "workerinput"):
            return
        self.grade = self._grade()
        self._remember(self.grade)
        part = len(self.results) < len(kit.load().checks)
        done = part or self.grade.score >= kit.load().attainable(self.tier)
        ended = (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if file := self.config.getoption("--grade-json"):
            try:
                grade.write(self.grade, file)
            except OSError as error:
                self.unwritten = f"The grade was not written to {file}: {error.strerror}."
        if (self.unwritten or not done) and session.exitstatus in ended:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(tryfirst=True)
    def pytest_unconfigure(self) -> None:
        if self._waiting is not None:
            self._waiting.end()
        if self._server is not None:
            self._server.close()
            # pytest and Python look for garbage at their end, which takes long where PyTorch is.
            gc.freeze()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.grade is None:
            if self.alone and self.config.option.keyword and not self.config.option.collectonly:
                names = ", ".join(exercise.id for exercise in kit.load().exercises)
                said = (
                    f"No check has {self.config.option.keyword!r} in its name. Those of an "
                    f"exercise: pytest -k NAME, with one of {names}."
                )
                terminalreporter.write_line(textwrap.fill(said, terminal.WIDTH))
            return
        if out := self.config.getoption("--report"):
            terminalreporter.write_line(self._report(self.grade, out))
        writer = self.config.get_terminal_writer()
        terminal.show(
            self.grade,
            writer._file,
            colour=writer.hasmarkup,
            every_check=self.verbosity > 0,
            tracebacks=self.config.option.tbstyle not in ("auto", "no"),
            kept=self.kept,
            former=self.former,
        )
        if self.config.getoption("--walls"):
            terminalreporter.write_line(summary(self.walls))
        if self.unwritten:
            writer.line(self.unwritten)

    def _report(self, graded: Grade, out: Path) -> str:
        """Write the report into ``out``; a sentence on where it is, or why it is not."""
        if not self.learned:
            return "No model was trained, so there is no report."
        from mnist_lab import data, report
        from mnist_lab.grading.learners import beside_the_kits

        try:
            report.check(out)
            comparison = beside_the_kits(self.learned, data.load(), graded)
            return f"Report: {report.write(comparison, out, graded)}"
        except report.ReportError as error:
            return f"There is no report: {error}"

    def _remember(self, graded: Grade) -> None:
        """Keep the grade of the workspace's own exercises; those of others are none of it."""
        from mnist_lab.grading import memory

        here = self.config.invocation_params.dir
        lab = workspace.above(here) or here
        if self.path.resolve() == (lab / "exercises").resolve():
            self.former = memory.last(lab)
            self.kept = memory.remember(lab, graded, self._handed_in().originals)

    def _handed_in(self) -> HandedIn:
        """What was graded; where other processes do that, it is read here."""
        from mnist_lab.submission import source

        if self._opened is not None:
            return self._opened.handed_in
        return source.read(self.path)

    def _grade(self) -> Grade:
        handed_in = self._handed_in()
        return grade.build(
            kit.load(),
            self.results,
            submission=self.path.resolve().name,
            sha256=handed_in.sha256,
            tier=self.tier,
            seed=self.config.getoption("--grade-seed"),
            device="cuda" if _there_is_a_gpu() else "cpu",
            seconds=time.perf_counter() - self.started,
            walls=self.walls,
            notes=handed_in.notes,
        )


GRADING = pytest.StashKey[Grading]()


def _asks_for_grading_alone(config: pytest.Config) -> bool:
    """Whether every path asked for is, or is in, a folder ``grading``."""
    paths = [argument.split("::")[0] for argument in config.args]
    return bool(paths) and all("grading" in Path(path).absolute().parts for path in paths)


def _asked_name(check: kit.Check, cause: Cause) -> str:
    """The class or function that a failed check is about. What was observed of one of two begins
    with its name, while "train" in a sentence may be a mode.
    """
    names = kit.load().exercise(check.exercise).names
    first = cause.evidence.partition(" ")[0]
    words = re.findall(r"\w+", f"{first} {cause.message} {check.title}")
    return next((word for word in words if word in names), names[0])


def _place(exercise: ExerciseHandle, name: str) -> str:
    """``file:line`` of a function or of a class's ``forward``; the file alone where it has none."""
    from mnist_lab.diagnosis.outline import outline

    found = outline(exercise.text(exercise.file))
    nodes = found.imported | found.assigned | found.top
    node = found.methods(name).get("forward", nodes.get(name))
    return f"{exercise.file}:{node.lineno}" if node else exercise.file


def _there_is_a_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _unpacked(report: pytest.TestReport) -> list[list[Any]]:
    kept = getattr(report, "user_properties", ())  # a report of collection has none
    return [json.loads(str(value)) for name, value in kept if name == PROPERTY]
