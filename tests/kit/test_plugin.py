"""pytest on the grading tests: what learners and their scripts see, and what it is worth."""

import json
import os
import pty
import shutil
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

import pytest
from lab import PATIENCE, Lab

import mnist_lab
from mnist_lab import grade, kit, workspace

ROOT = Path(__file__).parents[2]


def run_pytest(folder, *arguments):
    """As somebody types it in ``folder``."""
    return run_command(folder, sys.executable, "-m", "pytest", *arguments)


def run_pytest_itself(folder, *arguments):
    """The same without what ``python -m`` does, which finds modules in ``folder`` first."""
    return run_command(folder, Path(sys.executable).with_name("pytest"), *arguments)


def run_command(folder, *command):
    return subprocess.run(
        [*map(str, command)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=PATIENCE,
    )


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with closing(Lab(tmp_path_factory.mktemp("workspace") / "lab")) as lab:
        yield lab


@pytest.fixture
def lab(opened):
    """A workspace with nothing but stubs."""
    opened.clear()
    return opened


@pytest.fixture
def solved(lab):
    """A workspace with everything solved, free to be spoiled."""
    for file in (ROOT / "solutions").glob("*.py"):
        shutil.copy(file, lab.exercises)
    return lab


def outcomes(a_grade):
    return {check.id: check.outcome for check in a_grade.checks}


# Where pytest is started


@pytest.mark.parametrize(("made_for", "status"), [("0.0.9", 4), (mnist_lab.__version__, 0)])
def test_a_workspace_for_another_kit_says_so(tmp_path, made_for, status):
    workspace.create(tmp_path / "lab")
    settings = tmp_path / "lab" / "pytest.ini"
    settings.write_text(settings.read_text().replace(mnist_lab.__version__, made_for))

    run = run_pytest(tmp_path / "lab", "--collect-only", "-q")

    assert run.returncode == status
    assert (f"made for mnist-lab {made_for}" in run.stderr) == (status == 4)


def test_another_project_has_its_own_options_and_marks(tmp_path):
    (tmp_path / "conftest.py").write_text(
        "def pytest_addoption(parser):\n"
        '    parser.addoption("--full", action="store_true")\n'
        '    parser.addoption("--report", help="theirs")\n'
    )
    (tmp_path / "test_theirs.py").write_text(
        "import sys\n"
        "import pytest\n"
        '@pytest.mark.check("x")\n'
        "def test_it(request):\n"
        '    assert request.config.getoption("--full")\n'
        '    assert "mnist_lab.grading.plugin" not in sys.modules\n'
    )

    run = run_pytest(tmp_path, "--full", "-q")

    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 passed" in run.stdout
    assert "Score" not in run.stdout


def test_pytest_anywhere_in_a_workspace_runs_its_grading_tests(tmp_path):
    workspace.create(tmp_path / "lab")

    named = (("lab",), ("lab/exercises",), ("lab/exercises/fnn.py",))
    for folder, arguments in (
        (tmp_path / "lab" / "exercises", ()),
        *((tmp_path, n) for n in named),
    ):
        run = run_pytest(folder, "--collect-only", "-q", *arguments)
        assert run.returncode == 0, run.stdout + run.stderr
        assert "tests/grading/test_networks.py" in run.stdout


def test_a_folder_in_a_workspace_that_is_called_like_a_library_hides_none(tmp_path):
    workspace.create(tmp_path / "lab")
    for name in ("torch", "numpy"):
        (tmp_path / "lab" / name).mkdir()
        (tmp_path / "lab" / name / "__init__.py").write_text("raise RuntimeError('not me')")

    run = run_pytest_itself(tmp_path / "lab", "--collect-only", "-q")

    assert run.returncode == 0, run.stdout + run.stderr
    assert "tests/grading/test_networks.py" in run.stdout


def test_pytest_above_a_workspace_says_where_to_go(tmp_path):
    workspace.create(tmp_path / "my lab")

    run = run_pytest(tmp_path)

    assert run.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert f"cd '{tmp_path / 'my lab'}'" in run.stdout
    assert "Error" not in run.stdout


def test_where_no_plugins_are_loaded_pytest_says_why_nothing_is_graded(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    workspace.create(tmp_path / "lab")

    run = run_pytest(tmp_path / "lab")

    assert run.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "PYTEST_DISABLE_PLUGIN_AUTOLOAD is set: unset it" in run.stdout


def test_a_grade_that_cannot_be_written_is_shown_and_never_exit_0(tmp_path):
    nowhere = tmp_path / "no such folder" / "grade.json"

    run = run_pytest(ROOT, "--submission", ROOT / "solutions", "--grade-json", nowhere, "-v")

    assert run.returncode == 1
    assert f"was not written to {nowhere}: No such file or directory." in run.stdout
    assert "Score 85 of 85" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr
    assert all(check.id in run.stdout for check in kit.load().checks), "-v lists every check"


def test_a_terminal_shows_what_is_being_checked_until_the_grade_is_there():
    master, terminal = pty.openpty()
    command = [sys.executable, "-m", "pytest", "-k", "fnn", "--submission", str(ROOT / "solutions")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    run = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=terminal)
    os.close(terminal)
    shown = b""
    with suppress(OSError):  # how Linux says that nobody writes there any more
        while part := os.read(master, 4096):
            shown += part
    os.close(master)
    before, _, after = shown.decode().partition("Preprocessing")

    assert run.wait() == 0
    assert "Getting ready" in before
    assert "Checking fnn.network" in before
    assert "Checking" not in after
    assert "Score 11 of 85" in after


# What a run says


def test_the_stubs_are_all_to_do_without_a_traceback_and_end_with_the_first_step(lab):
    run, result = lab.pytest()

    assert run.status == 1
    assert result.score == 0
    assert "Traceback" not in run.output
    assert "error" not in run.output.lower()
    assert run.output.splitlines()[-2].startswith("Next: preprocessing.py")
    quick = {check.id for check in kit.load().checks if check.tier == "quick"}
    assert {outcomes(result)[check] for check in quick} <= {"todo", "blocked"}


@pytest.mark.parametrize("seed", [1, 2])
def test_the_solutions_get_full_marks_of_the_quick_tier_and_status_zero(solved, seed):
    run, result = solved.pytest("--grade-seed", seed)

    assert run.status == 0, run.output
    assert "Score 85 of 85" in run.output
    assert (result.score, result.max_score) == (85, 100)
    assert outcomes(result)["cnn.accuracy"] == "not_run"


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("    model.train()\n", "", "def train_epoch("),
        ("    optimizer = torch", "    torch.manual_seed(0)\n    optimizer = torch", "def train("),
    ],
)
def test_a_mistake_in_one_of_two_functions_is_where_that_begins(lab, tmp_path, old, new, where):
    code = (ROOT / "solutions" / "training.py").read_text().replace(old, new)
    (tmp_path / "training.py").write_text(code)

    _, result = lab.pytest("-k", "training", "--submission", tmp_path)

    (state,) = (
        check for each in result.exercises for check in each.checks if check.outcome == "failed"
    )
    line = code.splitlines().index(where) + 1
    assert (state.id, state.cause.where) == ("training.state", f"training.py:{line}")


def test_a_part_of_the_checks_that_passes_ends_well_and_says_that_it_is_a_part(lab, tmp_path):
    asked = ("--submission", ROOT / "solutions", "--grade-json", tmp_path / "grade.json")

    run, result = lab.pytest("-k", "fnn", *asked)

    assert run.status == 0
    assert result.score == 11
    assert result.exercises[0].points == 0
    assert outcomes(result)["cnn.network"] == "not_run"
    assert "did not run, so this is not full marks" in run.output
    written = json.loads((tmp_path / "grade.json").read_text())
    assert written["schema"] == 1
    assert {"kit", "submission", "sha256", "tier", "seed", "device", "walls"} <= written.keys()
    assert written["submission"] == "solutions"


def test_a_part_of_the_checks_in_which_one_fails_ends_with_1(solved):
    (solved.exercises / "fnn.py").write_text("class FNN: ...\n")

    assert solved.pytest("-k", "fnn")[0].status == 1


def test_a_name_that_no_check_has_is_answered_with_those_that_there_are(lab):
    run, result = lab.pytest("-k", "cmn")

    assert run.status == pytest.ExitCode.NO_TESTS_COLLECTED
    assert result is None
    for exercise in kit.load().exercises:
        assert exercise.id in run.output
    assert max(map(len, run.output.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "graded"),
    [
        (["exercises/fnn.py"], {"fnn"}),
        (["fnn", "exercises/cnn.py"], {"fnn", "cnn"}),
        (["exercises"], {exercise.id for exercise in kit.load().exercises}),
        (["exercises/fnn.py", "-k", "parameters or steps"], {"fnn.parameters"}),
        (["-k", "fnn.parameters"], {"fnn.parameters"}),
    ],
)
def test_an_exercise_is_graded_by_its_file_or_name_and_a_check_by_its_id(lab, arguments, graded):
    _, result = lab.pytest(*arguments)

    ran = {check for check, outcome in outcomes(result).items() if outcome != "not_run"}
    assert ran
    assert graded in (ran, {check.partition(".")[0] for check in ran})


def test_what_is_listed_is_not_called_missing(lab):
    run, _ = lab.pytest("-k", "fnn", "--collect-only", "-q")

    assert "test_networks.py" in run.output
    assert "No check" not in run.output


def test_what_was_not_asked_for_is_shown_as_it_was_and_what_is_done_is_said(lab):
    for name in ("fnn", "logistic_regression"):
        shutil.copy(ROOT / "solutions" / f"{name}.py", lab.exercises)

    first, second, third = (lab.pytest("-k", each)[0].output for each in ("fnn", "logi", "logi"))

    assert "Feed-forward network is done." in first
    assert "Feed-forward network    ########....    11 of 15" in second
    assert "Score 7 of 7 in this part, 18 of 85 in all" in second
    assert "Logistic regression is done." in second
    assert "is done." not in third
    assert "Next: preprocessing.py" in third


def test_the_first_failure_stops_the_run_with_x(solved):
    (solved.exercises / "preprocessing.py").write_text("raise RuntimeError('early')\n")

    run, result = solved.pytest("-x")

    assert run.status == 1
    assert outcomes(result)["preprocessing.test_transform"] == "failed"
    assert outcomes(result)["fnn.network"] == "not_run"
    assert "RuntimeError: early" in run.output


def test_two_processes_give_the_grade_of_one(solved, tmp_path):
    (solved.exercises / "cnn.py").write_text("class CNN:\n    pass\n")
    file = tmp_path / "grade.json"

    _, alone = solved.pytest()
    run = run_pytest(solved.folder, "-n", "2", "--grade-json", file)

    assert outcomes(alone) == outcomes(grade.read(file))
    assert alone.score == 73
    assert run.returncode == 1
    assert "Score" in run.stdout


def test_only_what_failed_last_is_run_again_with_lf(solved):
    (solved.exercises / "fnn.py").write_text("raise RuntimeError('early')\n")
    solved.pytest("-k", "fnn or logistic")
    shutil.copy(ROOT / "solutions" / "fnn.py", solved.exercises)

    run, result = solved.pytest("--lf")

    assert result.exercises[2].points == 11
    assert outcomes(result)["logistic_regression.network"] == "not_run"
    assert run.status == 0


def test_what_needs_a_failed_check_is_blocked_and_gets_nothing(solved):
    file = solved.exercises / "cnn.py"
    file.write_text(file.read_text().replace("self.conv2(x).relu()", "self.conv2(x)"))

    run, result = solved.pytest("-k", "cnn")

    assert outcomes(result)["cnn.network"] == "failed"
    assert outcomes(result)["cnn.behaviour"] == "blocked"
    assert "Waiting" in run.output


NOT_EACH_TIME = {
    "cnn.parameters": (
        "        x = self.pool(self.conv1(images).relu())\n",
        "        if not seen:\n            seen.append(1)\n            raise OSError('not yet')\n",
        "not yet",
    ),
    "training.state": (
        "        optimizer.step()\n",
        "        seen.extend(dict(model.named_buffers()))\n"
        "        if seen:\n            optimizer.step()\n",
        "does not train the same way each time",
    ),
    "evaluation.state": (
        "    return total_loss / examples, correct / examples\n",
        "    seen.extend(name for name, _ in model.named_buffers() if 'norm' in name)\n"
        "    if seen:\n        correct = 0\n",
        "does not give the same results each time",
    ),
}
"""Code that is wrong at its first call, or from the first model with batch normalisation on: a line
of a solution, what is put before it, what is said.
"""


@pytest.mark.parametrize("check", NOT_EACH_TIME)
def test_what_fails_is_told_though_the_check_that_would_tell_it_passes(solved, check):
    line, before, says = NOT_EACH_TIME[check]
    exercise = check.partition(".")[0]
    file = solved.exercises / f"{exercise}.py"
    file.write_text(file.read_text().replace(line, before + line, 1) + "\n\nseen = []\n")

    run, result = solved.pytest("-k", exercise)

    assert [name for name, each in outcomes(result).items() if each == "failed"] == [check]
    assert says in " ".join(run.output.split())


def test_a_mistake_in_one_file_costs_only_that_exercise(solved):
    (solved.exercises / "evaluation.py").write_text("def evaluate(:\n")

    run, result = solved.pytest()

    assert result.score == 65
    assert "evaluation.py:1" in run.output


def test_what_pytorch_warns_the_grader_of_is_kept_from_learners(solved):
    """Their centred images are explained by spreads, and there is none of a single image."""
    text = (solved.exercises / "fnn.py").read_text()
    centred = text.replace(
        "images.flatten(start_dim=1)).relu()", "(images - images.mean()).flatten(start_dim=1))"
    )
    (solved.exercises / "fnn.py").write_text(centred)

    run, result = solved.pytest("-k", "fnn")

    assert outcomes(result)["fnn.network"] == "failed"
    assert "warning" not in run.output.lower()


def test_prints_are_shown_with_the_failure(solved):
    (solved.exercises / "fnn.py").write_text("print('am I here?')\n1 / 0\n")

    assert "Printed   am I here?" in solved.pytest("-k", "fnn")[0].output


def test_tracebacks_have_the_learners_frames_alone(solved):
    file = solved.exercises / "fnn.py"
    raising = "def forward(self, x):\n        return 1 / 0\n\n    def other"
    file.write_text(file.read_text().replace("def forward", raising))

    run, _ = solved.pytest("-k", "fnn", "--tb=short")

    assert "ZeroDivisionError" in run.output
    assert "mnist_lab" not in run.output.replace("mnist-lab", "")
    assert "site-packages" not in run.output


def test_a_submission_that_is_not_there_is_said_in_a_sentence(lab, tmp_path):
    run, result = lab.pytest("--submission", tmp_path / "nowhere")

    assert run.status == 4
    assert "There is no file or folder" in run.output
    assert result is None


@pytest.mark.parametrize("part", ["", "fnn.py"])
def test_a_folder_or_a_file_anywhere_is_graded_without_naming_the_tests(lab, tmp_path, part):
    shutil.copy(ROOT / "solutions" / "fnn.py", tmp_path)

    run, result = lab.pytest("--submission", tmp_path / part)

    assert "Score 11 of 85" in run.output
    assert [exercise.points for exercise in result.exercises] == [0, 0, 11, 0, 0, 0]
    assert not (tmp_path / ".pytest_cache").exists()


def test_what_the_kit_gets_wrong_is_an_error_and_no_points(solved, tmp_path):
    (tmp_path / "grading").mkdir()
    (tmp_path / "grading" / "test_other.py").write_text(
        "import pytest\n\n"
        "@pytest.mark.check('fnn.parameters')\n"
        "def test_parameters(exercise):\n"
        "    raise ValueError('a bug of ours')\n"
    )

    run, result = solved.pytest(
        *(tmp_path / "grading", "--noconftest", "--submission", solved.exercises)
    )

    assert outcomes(result)["fnn.parameters"] == "error"
    assert "a bug of ours" in run.output
    assert run.status == 1
