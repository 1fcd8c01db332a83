"""A class graded in earnest: by forked runs, with learners' code that ends its process, killed and
gone on with. Each learner has done one exercise, so that a run is short.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat import v4

from mnist_lab.grade import Grade
from mnist_lab.grading import run as single
from mnist_lab.grading.batch import journal, run, workers
from mnist_lab.grading.batch.reading import ReaderPool
from mnist_lab.grading.batch.results import Graded, NotGraded, Options
from mnist_lab.grading.batch.submissions import find
from mnist_lab.grading.batch.workers import WorkerPool, grade_here
from mnist_lab.grading.warm import Job, Jobs, Run
from mnist_lab.models import MODELS
from mnist_lab.submission.sandbox import scratch
from mnist_lab.submission.server import default_isolation, environment

pytestmark = pytest.mark.skipif(default_isolation() != "fork", reason="runs are forked on Linux")

ROOT = Path(__file__).parents[2]
PATIENCE = 120
MARK = "MNIST_LAB_TEST_RUN"


def hand_in(folder, name, source=""):
    """A folder with the right ``fnn.py``, which is no two learners' the same, after ``source``."""
    (folder / name).mkdir(parents=True)
    right = (ROOT / "solutions" / "fnn.py").read_text()
    (folder / name / "fnn.py").write_text(f"{right}\n# by {name}\n{source}")


def scores(found):
    return {
        each.name: each.outcome.grade.score if isinstance(each.outcome, Graded) else None
        for each in found.learners
    }


def processes(mark):
    """The processes that have ``mark`` in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{MARK}={mark}".encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found


def wait_until(true):
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A class with notebooks, code that ends its process and code that leaves files behind; its
    mark, and what was left in the folder for temporary files.
    """
    tmp_path = tmp_path_factory.mktemp("class")
    notebooks(tmp_path / "in")
    hand_in(tmp_path / "in", "eve", "import ctypes; ctypes.string_at(0)\n")
    hand_in(tmp_path / "in", "fay", "import os; os._exit(0)\n")
    hand_in(tmp_path / "in", "gil", "raise SystemExit('owned')\n")
    hand_in(tmp_path / "in", "hal", "open('left', 'w').close()\n")
    for file in ("fnn.py", "cnn.py"):
        shutil.copyfile(ROOT / "solutions" / file, tmp_path / "in" / f"flo_{file}")
    with temporary(tmp_path / "temporary") as patch:
        patch.setenv(MARK, tmp_path.name)
        found = run.grade_class(tmp_path / "in", tmp_path / "out", jobs=2)
    return SimpleNamespace(
        found=found, mark=tmp_path.name, left=list((tmp_path / "temporary").iterdir())
    )


def notebooks(folder):
    """The same notebook alone, in a folder and in an archive, and one that is damaged."""
    right = (ROOT / "solutions" / "fnn.py").read_text()
    cells = ["%pip install x", right, f"{right}\nos._exit(0)  # tried out"]
    notebook = v4.new_notebook(cells=[v4.new_code_cell(cell) for cell in cells])
    (folder / "bob").mkdir(parents=True)
    nbformat.write(notebook, folder / "ada.ipynb")
    nbformat.write(notebook, folder / "bob" / "lab.ipynb")
    shutil.make_archive(str(folder / "cleo"), "zip", folder / "bob")
    (folder / "dan.ipynb").write_text('{"cells":')


@contextmanager
def temporary(folder):
    """``folder`` is that for temporary files, but for those of this process itself."""
    scratch.folder().cleanup()
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", None)
        yield patch


def test_notebooks_are_graded_alone_in_a_folder_and_in_an_archive(graded):
    marks = scores(graded.found)
    assert [marks[name] for name in ("ada", "bob", "cleo", "dan")] == [11, 11, 11, None]
    ada, *_, dan = graded.found.learners[:4]
    assert ada.outcome.grade.notes == (
        "FNN is defined twice, in cell 2 and cell 3: the last counts.",
    )
    assert "dan.ipynb is damaged: it is not JSON" in dan.outcome.reason


def test_one_whose_code_ends_its_process_costs_only_itself(graded):
    marks = scores(graded.found)
    assert {name: marks[name] for name in ("eve", "fay", "gil", "hal", "flo")} == {
        "eve": 0,
        "fay": 0,
        "gil": 0,
        "hal": 11,
        "flo": 23,
    }
    assert not graded.found.of_state("in part")
    wait_until(lambda: set(processes(graded.mark)) <= {str(os.getpid())})


def test_a_class_leaves_nothing_behind_in_the_folder_for_temporary_files(graded, tmp_path):
    assert graded.left == []

    hand_in(tmp_path / "in", "ada", "open('left', 'w').close()\n")
    with temporary(tmp_path / "temporary") as patch:
        patch.setenv("MNIST_LAB_WALLS", "process")
        found = run.grade_class(tmp_path / "in", tmp_path / "out", jobs=1)
    assert scores(found) == {"ada": 11}
    assert not list((tmp_path / "temporary").iterdir())


GRADE_CLASS = """
import sys
from pathlib import Path
from mnist_lab.grading.batch import run

run.fingerprint = lambda: "0+tests"  # A file may be saved while this runs.
run.grade_class(Path(sys.argv[1]), Path(sys.argv[2]), seed=5, jobs=1)
"""


def grading(folder, out, mark):
    return subprocess.Popen(
        [sys.executable, "-P", "-c", GRADE_CLASS, str(folder), str(out)],
        env={**os.environ, "PYTHONPATH": str(ROOT), MARK: mark},
    )


def test_a_run_that_is_killed_again_and_again_grades_each_once_and_leaves_nothing_running(tmp_path):
    for name in ("ada", "bob", "cleo"):
        hand_in(tmp_path / "in", name)
    out = tmp_path / "out"
    kept = out / journal.NAME

    for done in (1, 2, 3):  # The last time before the pages are written.
        run = grading(tmp_path / "in", out, tmp_path.name)
        wait_until(lambda n=done: kept.exists() and kept.read_text().count('"grade"') >= n)
        run.send_signal(signal.SIGKILL)
        run.wait()
        wait_until(lambda: not processes(tmp_path.name))
    assert grading(tmp_path / "in", out, "").wait(PATIENCE) == 0
    assert grading(tmp_path / "in", tmp_path / "whole", "").wait(PATIENCE) == 0

    digests = [json.loads(line).get("digest") for line in kept.read_text().splitlines()]
    assert len([digest for digest in digests if digest]) == len(set(digests) - {None}) == 3
    books = [(folder / "gradebook.csv").read_bytes() for folder in (out, tmp_path / "whole")]
    assert books[0] == books[1]


def test_a_run_beyond_its_limit_ends_with_what_it_started(tmp_path, monkeypatch):
    monkeypatch.setenv(MARK, tmp_path.name)
    hand_in(tmp_path, "slow", "import time; time.sleep(600)\n")
    hand_in(tmp_path, "ada")
    with closing(Jobs()) as jobs:
        job = jobs.open()
        late = job.grade(single.arguments(tmp_path / "slow"), limit=4)
        right = job.grade(single.arguments(tmp_path / "ada"), limit=PATIENCE)

    assert (late.status, late.result) == (-signal.SIGKILL, {})
    assert right.result["grade"]["score"] == 11
    wait_until(lambda: not processes(tmp_path.name))


def of_the_grader(process):
    """Whatever else there is ends with these."""
    return b"mnist_lab.grading.warm" in Path(f"/proc/{process}/cmdline").read_bytes()


def of_the_learners(process):
    """All servers of the one process that grades; their environment is their own."""
    if not of_the_grader(process):
        return False
    for task in Path(f"/proc/{process}/task").glob("*/children"):
        for child in task.read_text().split():
            if b"mnist_lab.submission.server" in Path(f"/proc/{child}/cmdline").read_bytes():
                os.kill(int(child), signal.SIGKILL)
    return False


@pytest.mark.parametrize("killed", [of_the_grader, of_the_learners])
def test_the_death_of_all_that_grades_costs_one_attempt(tmp_path, monkeypatch, killed):
    monkeypatch.setenv(MARK, tmp_path.name)
    hand_in(tmp_path / "in", "ada")
    hand_in(tmp_path / "in", "bob", "import time; time.sleep(3)\n")
    options = Options("quick", 3, "0+tests")
    done = {}
    with closing(ReaderPool(tmp_path, 1)) as readers:
        reads = readers.read([(each, 0) for each in find(tmp_path / "in").submissions])
    for read, outcome in grade_here(reads, options, jobs=1):
        if not done:
            for process in processes(tmp_path.name):
                if killed(process):
                    os.kill(int(process), signal.SIGKILL)
        done[read.name] = outcome

    assert {name: outcome.grade.score for name, outcome in done.items()} == {"ada": 11, "bob": 11}
    wait_until(lambda: not processes(tmp_path.name))


def test_a_full_run_keeps_the_accuracies_and_where_the_digits_are_from(tmp_path):
    hand_in(tmp_path / "in", "ada")

    found = run.grade_class(tmp_path / "in", tmp_path / "out", tier="full", jobs=1)

    (reached,) = [each for each in found.accuracy if each.passed]
    assert reached.values[0] > 0.8
    assert found.learners[0].outcome.digits in ("mnist", "sample")
    page = (tmp_path / "out" / "class.html").read_text()
    assert f"{reached.values[0]:.2%}" in page


def test_strict_is_asked_of_every_run_and_a_refusal_is_the_reason(tmp_path, monkeypatch):
    hand_in(tmp_path / "in", "ada")
    asked = []

    class Refusing:
        def open(self):
            return self

        def grade(self, arguments, limit):
            asked.append(arguments)
            return Run(4, "ERROR: The wall network is not enforced here.\n", {})

        def close(self):
            pass

    monkeypatch.setattr(workers, "Jobs", lambda tier: Refusing())
    pool = WorkerPool(Options("quick", 3, "0+tests", strict=True))
    outcome = pool.grade("ada", tmp_path / "in" / "ada", 3)

    assert outcome == NotGraded("The wall network is not enforced here.")
    assert all(each[each.index("--require") + 1] == "strict" for each in asked)
    assert asked


COUNTING = """
import os
from mnist_lab import data
from mnist_lab.diagnosis.networks import trained
from mnist_lab.grading import warm

def counted(*given):
    with open(os.environ["TRAININGS"], "a") as file:
        file.write("x")
    return train(*given)

load, train = data.load, trained._train
data.load, trained._train = lambda: load("sample"), counted
warm.main()
"""


@pytest.fixture
def counting_job(tmp_path):
    """A job whose runs write an x into ``trainings`` for each training."""
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", COUNTING, "one", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=environment() | {"TRAININGS": str(tmp_path / "trainings")},
        )
    with closing(Job(ours, process)) as job:
        yield job


def test_what_starts_with_the_same_weights_is_trained_once(counting_job, tmp_path):
    right = (ROOT / "solutions" / "logistic_regression.py").read_text()
    other = right.replace(
        "super().__init__()", "super().__init__()\n        nn.Linear(1, 1)  # other weights follow"
    )
    assert other != right
    trained = []
    for number, text in enumerate((right, f"{right}\n# Another's.", other, other, right)):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "logistic_regression.py").write_text(text)
        asked = single.arguments(folder, full=True, seed=number, exercise="logistic_regression")
        ended = counting_job.grade(asked, PATIENCE)
        assert ended.result["grade"]["score"] == 10, ended.output
        trained.append(len((tmp_path / "trainings").read_text()))
    assert trained == [1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    ("fnn", "outcome"),
    [(".relu()", "passed"), (".tanh()", "blocked")],
)
def test_the_networks_of_a_submission_that_are_right_train_together(
    counting_job, tmp_path, fnn, outcome
):
    folder = tmp_path / "handed in"
    folder.mkdir()
    for name in MODELS:
        code = (ROOT / "solutions" / f"{name}.py").read_text()
        changed = code.replace(".relu()", fnn) if name == "fnn" else code
        (folder / f"{name}.py").write_text(changed)

    ended = counting_job.grade(single.arguments(folder, full=True, seed=1), PATIENCE)

    graded = Grade.from_json(ended.result["grade"])
    outcomes = {check.id: check.outcome for each in graded.exercises for check in each.checks}
    assert {name: outcomes[f"{name}.accuracy"] for name in MODELS} == {
        "logistic_regression": "passed",
        "fnn": outcome,
        "cnn": "passed",
    }
    assert (tmp_path / "trainings").read_text() == "x"
