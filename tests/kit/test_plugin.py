"""pytest on the grading tests: what learners and their scripts see, and what it is worth."""

import json
import os
import pty
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

import mnist_lab
from mnist_lab import grade, kit, workspace

ROOT = Path(__file__).parents[2]


def graded(submission, *arguments, tests="tests/grading"):
    """Run pytest on the grading tests as a learner would; the run and its grade, if any."""
    file = Path(submission).parent / "grade.json"
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", str(tests)),
            *("--submission", str(submission), "--grade-json", str(file)),
            *arguments,
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=600,
    )
    return run, grade.read(file) if file.exists() else None


@pytest.mark.parametrize(("made_for", "status"), [("0.0.9", 4), (mnist_lab.__version__, 0)])
def test_a_workspace_for_another_kit_says_so(tmp_path, made_for, status):
    workspace.create(tmp_path / "lab")
    settings = tmp_path / "lab" / "pytest.ini"
    settings.write_text(settings.read_text().replace(mnist_lab.__version__, made_for))

    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q"],
        capture_output=True,
        text=True,
        cwd=tmp_path / "lab",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    assert run.returncode == status
    assert (f"made for mnist-lab {made_for}" in run.stderr) == (status == 4)


def run_pytest(folder, *arguments):
    """As somebody types it in ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


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

    for folder, arguments in ((tmp_path / "lab" / "exercises", ()), (tmp_path, ("lab",))):
        run = run_pytest(folder, "--collect-only", "-q", *arguments)
        assert run.returncode == 0, run.stdout + run.stderr
        assert "tests/grading/test_cnn.py" in run.stdout


def test_pytest_above_a_workspace_says_where_to_go(tmp_path):
    workspace.create(tmp_path / "lab")

    run = run_pytest(tmp_path)

    assert run.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert f"cd {tmp_path / 'lab'}" in run.stdout
    assert "Error" not in run.stdout


def test_a_grade_that_cannot_be_written_is_shown_and_never_exit_0(tmp_path, solutions):
    nowhere = tmp_path / "no such folder" / "grade.json"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "--submission", solutions, "--grade-json", nowhere],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )

    assert run.returncode == 1
    assert f"was not written to {nowhere}: No such file or directory." in run.stdout
    assert "Score 85 of 85" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr


@pytest.fixture
def solutions(tmp_path):
    """A submission with everything solved, free to be spoiled."""
    return shutil.copytree(
        ROOT / "solutions", tmp_path / "handed in", ignore=shutil.ignore_patterns("__pycache__")
    )


def outcomes(a_grade):
    return {check.id: check.outcome for check in a_grade.checks}


def test_the_stubs_are_all_to_do_without_a_traceback_and_end_with_the_first_step(tmp_path):
    stubs = shutil.copytree(ROOT / "exercises", tmp_path / "exercises")

    run, result = graded(stubs)

    assert run.returncode == 1
    assert result.score == 0
    assert "Traceback" not in run.stdout + run.stderr
    assert "error" not in run.stdout.lower()
    assert run.stdout.splitlines()[-2].startswith("Next: preprocessing.py")
    quick = {check.id for check in kit.load().checks if check.tier == "quick"}
    assert {outcomes(result)[check] for check in quick} <= {"todo", "blocked"}


def test_the_solutions_get_full_marks_of_the_quick_tier_and_status_zero(solutions):
    run, result = graded(solutions)

    assert run.returncode == 0, run.stdout
    assert "Score 85 of 85" in run.stdout
    assert (result.score, result.max_score) == (85, 100)
    assert outcomes(result)["cnn.accuracy"] == "not_run"


def test_a_part_of_the_checks_that_passes_ends_well_and_says_that_it_is_a_part(solutions):
    run, result = graded(solutions, "-k", "fnn")

    assert run.returncode == 0
    assert result.score == 11
    assert result.exercises[0].points == 0
    assert outcomes(result)["cnn.network"] == "not_run"
    assert "did not run, so this is not full marks" in run.stdout


def test_a_part_of_the_checks_in_which_one_fails_ends_with_1(solutions):
    (solutions / "fnn.py").write_text("class FNN: ...\n")

    assert graded(solutions, "-k", "fnn")[0].returncode == 1


def test_a_name_that_no_check_has_is_answered_with_those_that_there_are(solutions):
    run, result = graded(solutions, "-k", "cmn")

    assert run.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert result is None
    for exercise in kit.load().exercises:
        assert exercise.id in run.stdout


def test_what_was_not_asked_for_is_shown_as_it_was_and_what_is_done_is_said(tmp_path):
    workspace.create(tmp_path / "lab")
    for name in ("fnn", "logistic_regression"):
        shutil.copy(ROOT / "solutions" / f"{name}.py", tmp_path / "lab" / "exercises")

    first = run_pytest(tmp_path / "lab", "-k", "fnn")
    second = run_pytest(tmp_path / "lab", "-k", "logistic")
    third = run_pytest(tmp_path / "lab", "-k", "logistic")

    assert "Feed-forward network is done." in first.stdout
    assert "Feed-forward network    ########....    11 of 15" in second.stdout
    assert "Score 7 of 7 in this part, 18 of 85 in all" in second.stdout
    assert "Logistic regression is done." in second.stdout
    assert "is done." not in third.stdout
    assert "Next: preprocessing.py" in third.stdout


def test_the_first_failure_stops_the_run_with_x(solutions):
    (solutions / "preprocessing.py").write_text("raise RuntimeError('early')\n")

    run, result = graded(solutions, "-x")

    assert run.returncode == 1
    assert outcomes(result)["preprocessing.test_transform"] == "failed"
    assert outcomes(result)["fnn.network"] == "not_run"
    assert "RuntimeError: early" in run.stdout


def test_two_processes_give_the_grade_of_one(solutions):
    (solutions / "cnn.py").write_text("class CNN:\n    pass\n")

    _, alone = graded(solutions)
    run, together = graded(solutions, "-n", "2")

    assert outcomes(alone) == outcomes(together)
    assert run.returncode == 1
    assert "Score" in run.stdout


def test_only_what_failed_last_is_run_again_with_lf(solutions, tmp_path):
    (solutions / "fnn.py").write_text("raise RuntimeError('early')\n")
    cache = ["-o", f"cache_dir={tmp_path / 'cache'}"]
    graded(solutions, *cache)
    shutil.copy(ROOT / "solutions" / "fnn.py", solutions / "fnn.py")

    run, result = graded(solutions, *cache, "--lf")

    assert result.exercises[2].points == 11
    assert outcomes(result)["preprocessing.loaders"] == "not_run"
    assert run.returncode == 0


def test_what_needs_a_failed_check_is_blocked_and_gets_nothing(solutions):
    file = solutions / "cnn.py"
    file.write_text(file.read_text().replace("self.conv2(x).relu()", "self.conv2(x)"))

    run, result = graded(solutions, "-k", "cnn")

    assert outcomes(result)["cnn.network"] == "failed"
    assert outcomes(result)["cnn.behaviour"] == "blocked"
    assert "Waiting" in run.stdout


def test_a_mistake_in_one_file_costs_only_that_exercise(solutions):
    (solutions / "evaluation.py").write_text("def evaluate(:\n")

    run, result = graded(solutions)

    assert result.score == 65
    assert "evaluation.py:1" in run.stdout


def test_prints_are_shown_with_the_failure(solutions):
    (solutions / "fnn.py").write_text("print('am I here?')\n1 / 0\n")

    run, _ = graded(solutions, "-k", "fnn")

    assert "Printed   am I here?" in run.stdout


def test_tracebacks_have_the_learners_frames_alone(solutions):
    file = solutions / "fnn.py"
    file.write_text(
        file.read_text().replace(
            "def forward", "def forward(self, x):\n        return 1 / 0\n\n    def other"
        )
    )

    run, _ = graded(solutions, "-k", "fnn", "--tb=short")

    assert "ZeroDivisionError" in run.stdout
    assert "mnist_lab" not in run.stdout.replace("mnist-lab", "")
    assert "site-packages" not in run.stdout


def test_verbose_lists_every_check(solutions):
    run, _ = graded(solutions, "-k", "fnn", "-v")

    assert all(check.id in run.stdout for check in kit.load().checks)


def test_a_submission_that_is_not_there_is_said_in_a_sentence(tmp_path):
    run, result = graded(tmp_path / "nowhere")

    assert run.returncode == 4
    assert "There is no file or folder" in run.stderr + run.stdout
    assert result is None


def test_a_folder_anywhere_is_graded_without_naming_the_tests(solutions):
    command = [sys.executable, "-m", "pytest", "--submission", str(solutions), "-k", "fnn"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)

    assert "Score 11 of 85" in run.stdout, run.stderr
    assert not (solutions / ".pytest_cache").exists()


def test_one_file_is_a_submission_of_one_exercise(solutions):
    _, result = graded(solutions / "fnn.py")

    assert [exercise.points for exercise in result.exercises] == [0, 0, 11, 0, 0, 0]


def test_what_the_kit_gets_wrong_is_an_error_and_no_points(solutions, tmp_path):
    tests = tmp_path / "grading"
    tests.mkdir()
    (tests / "test_fnn.py").write_text(
        "import pytest\n\n"
        "@pytest.mark.check('fnn.parameters')\n"
        "def test_parameters(exercise):\n"
        "    raise ValueError('a bug of ours')\n"
    )

    run, result = graded(solutions, "-p", "mnist_lab.grading.plugin", "--noconftest", tests=tests)

    assert outcomes(result)["fnn.parameters"] == "error"
    assert "a bug of ours" in run.stdout
    assert run.returncode == 1


def test_the_grade_is_the_same_under_other_seeds(solutions):
    scores = {graded(solutions, "--grade-seed", str(seed))[1].score for seed in (1, 2)}

    assert scores == {85}


def test_the_json_is_that_of_the_design(solutions):
    graded(solutions, "-k", "fnn")
    written = json.loads((solutions.parent / "grade.json").read_text())

    assert written["schema"] == 1
    assert {"kit", "submission", "sha256", "tier", "seed", "device", "walls"} <= written.keys()
    assert written["submission"] == "handed in"


def test_a_terminal_shows_what_is_being_checked_until_the_grade_is_there(solutions):
    master, terminal = pty.openpty()
    command = [sys.executable, "-m", "pytest", "-k", "fnn", "--submission", str(solutions)]
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
