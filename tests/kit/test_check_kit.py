"""``check-kit`` finds nothing in this kit, and what is broken in a kit where something is."""

import doctest
import importlib.util
import shutil
from pathlib import Path

import pytest

from mnist_lab import check_kit, grade, kit
from mnist_lab.diagnosis.networks import checks
from mnist_lab.grade import Cause, Result

ROOT = Path(__file__).parents[2]
FILES = [exercise.file for exercise in kit.load().exercises]


@pytest.fixture
def copy(tmp_path):
    """A checkout of the kit that a test may break, with a test named for every check."""
    for folder in ("solutions", "exercises"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "mnist_lab").mkdir()
    shutil.copy(ROOT / "mnist_lab" / "kit.toml", tmp_path / "mnist_lab")
    (tmp_path / "tests" / "grading").mkdir(parents=True)
    marks = "".join(f'@pytest.mark.check("{c.id}")\ndef test(): ...\n' for c in kit.load().checks)
    (tmp_path / "tests" / "grading" / "test_all.py").write_text(marks)
    return tmp_path


def edit(path, written, instead):
    text = path.read_text()
    assert written in text
    path.write_text(text.replace(written, instead, 1))


def graded(outcomes, tier="quick"):
    """A grade of the kit with ``outcomes`` by check id."""
    results = {name: Result(outcome) for name, outcome in outcomes.items()}
    return grade.build(kit.load(), results, version="", submission="", sha256="", tier=tier, seed=0)


def of_tier(outcome, *tiers):
    return {check.id: outcome for check in kit.load().checks if check.tier in tiers}


def found(copy, stubs=None, solutions=None, tier="quick"):
    """What is found when stubs and solutions end as they should, but for these outcomes."""
    tiers = ("quick",) if tier == "quick" else ("quick", "full")
    grades = {
        "exercises": graded(of_tier("todo", *tiers) | (stubs or {}), tier),
        "solutions": graded(of_tier("passed", *tiers) | (solutions or {}), tier),
    }
    return check_kit.problems_of_grades(copy, lambda folder: grades[folder.name])


def test_this_kit_is_whole():
    assert check_kit.problems(ROOT) == []


@pytest.mark.parametrize("folder", ["exercises", "solutions"])
@pytest.mark.parametrize("file", FILES)
def test_a_stub_and_a_solution_define_what_the_kit_asks_for(folder, file):
    exercise = next(exercise for exercise in kit.load().exercises if exercise.file == file)

    assert all(hasattr(imported(ROOT / folder / file), name) for name in exercise.names)


@pytest.mark.parametrize("file", FILES)
def test_the_worked_example_of_a_handout_is_true(file):
    failures, examples = doctest.testmod(imported(ROOT / "solutions" / file))

    assert examples > 0
    assert failures == 0


@pytest.mark.parametrize("name", ["logistic_regression", "fnn", "cnn"])
def test_a_handout_states_the_accuracy_and_the_loss_that_are_asked_for(name):
    handout = " ".join(imported(ROOT / "solutions" / f"{name}.py").__doc__.split())
    size, steps, loss = checks.OVERFIT[name]
    low, high = checks.NO_BETTER_THAN_GUESSING

    assert f"at least {100 * checks.ACCURACY['mnist'][name]:g} % of the test digits" in handout
    assert f"({100 * checks.ACCURACY['sample'][name]:g} % where MNIST" in handout
    assert f"loss lies between {low:g} and {high:g}" in handout
    assert f"{steps} steps of Adam" in handout
    assert f"on one batch of {size} digits bring it below {loss:g}" in handout


def imported(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_nothing_is_found_in_a_copy_that_is_whole(copy):
    assert check_kit.problems(copy) == []


def test_python_caches_beside_the_exercises_are_not_strays(copy):
    (copy / "exercises" / "__pycache__").mkdir(exist_ok=True)

    assert check_kit.problems(copy) == []


@pytest.mark.parametrize(
    ("file", "written", "instead", "sentence"),
    [
        (
            "mnist_lab/kit.toml",
            '"Two DataLoaders that differ in one argument. Look up what `shuffle` and `drop_last` '
            'do."',
            '""',
            "check preprocessing.loaders: it must have two hints, a nudge and nearly the answer.",
        ),
        (
            "mnist_lab/kit.toml",
            "points = 4",
            "points = 5",
            "kit.toml: the points add up to 101, not 100.",
        ),
        (
            "exercises/cnn.py",
            "# TODO: Pass",
            "# Pass",
            "exercises/cnn.py: it is not the stub of solutions/cnn.py.",
        ),
        (
            "exercises/mnist_lab.ipynb",
            "# TODO: Pass",
            "# Pass",
            "exercises/mnist_lab.ipynb: it is not made of the stubs; mnist-lab check-kit --write.",
        ),
        (
            "mnist_lab/kit.toml",
            "minutes = 20",
            "minutes = 25",
            "exercises/mnist_lab.ipynb: it is not made of the stubs; mnist-lab check-kit --write.",
        ),
        (
            "solutions/cnn.py",
            "        # <<< cnn.parameters\n",
            "",
            "a region opens inside another.",
        ),
        (
            "solutions/cnn.py",
            "# <<< cnn.parameters",
            "# <<< cnn.layers",
            "solutions/cnn.py: cnn has no check cnn.layers.",
        ),
        (
            "solutions/training.py",
            "# <<< training.steps, training.results, training.state",
            "# <<< training.results, training.state",
            "solutions/training.py: no task leads to training.steps.",
        ),
        (
            "solutions/fnn.py",
            "class FNN",
            "class Net",
            "solutions/fnn.py: it does not define FNN.",
        ),
        (
            "solutions/fnn.py",
            '"""Exercise 3',
            'HANDOUT = """Exercise 3',
            "solutions/fnn.py: it has no handout.",
        ),
        (
            "solutions/fnn.py",
            "class FNN(nn.Module):",
            "class FNN(nn.Module:",
            "solutions/fnn.py: it is not Python.",
        ),
        (
            "tests/grading/test_all.py",
            '@pytest.mark.check("fnn.shapes")',
            "",
            "check fnn.shapes: tests/grading has no test for it.",
        ),
        (
            "tests/grading/test_all.py",
            '@pytest.mark.check("fnn.shapes")',
            '@pytest.mark.check("fnn.shape")',
            "tests/grading/test_all.py: kit.toml has no check fnn.shape.",
        ),
    ],
)
def test_what_is_broken_is_found(copy, file, written, instead, sentence):
    edit(copy / file, written, instead)

    assert any(problem.endswith(sentence) for problem in check_kit.problems(copy))


@pytest.mark.parametrize("folder", ["exercises", "solutions"])
def test_a_stray_file_is_found(copy, folder):
    (copy / folder / "notes.txt").touch()

    assert check_kit.problems(copy) == [f"{folder}/notes.txt: no exercise has this file."]


@pytest.mark.parametrize(
    "file", ["exercises/cnn.py", "solutions/cnn.py", "exercises/mnist_lab.ipynb"]
)
def test_a_missing_file_is_found(copy, file):
    (copy / file).unlink()

    assert check_kit.problems(copy) == [f"{file}: it is missing."]


def test_only_a_check_that_is_named_outright_counts_as_marked():
    tests = (
        '@pytest.mark.check("fnn.shapes")\n@each("gpu")\ndef test(): ...\npytest.mark.check(name)'
    )

    assert check_kit.marked_checks(tests) == {"fnn.shapes", "*.gpu"}


def test_writing_the_stubs_anew_mends_them(copy):
    shutil.rmtree(copy / "exercises")

    check_kit.write_stubs(copy)

    assert check_kit.problems(copy) == []


@pytest.mark.parametrize("tier", ["quick", "full"])
def test_nothing_is_found_where_stubs_are_undone_and_solutions_pass(copy, tier):
    assert found(copy, tier=tier) == []


def test_a_stub_may_leave_checks_blocked_by_those_that_are_undone(copy):
    assert found(copy, stubs={"cnn.network": "blocked"}) == []


@pytest.mark.parametrize("outcome", ["passed", "failed", "error", "not_run"])
def test_a_stub_that_is_not_undone_is_found(copy, outcome):
    sentence = f"check fnn.network: on an untouched stub it is {outcome}."

    assert found(copy, stubs={"fnn.network": outcome}) == [sentence]


def test_a_task_that_no_check_reports_is_found(copy):
    sentence = "exercises/preprocessing.py: no check reports as todo: Create the two loaders."

    assert found(copy, stubs={"preprocessing.loaders": "blocked"}) == [sentence]


@pytest.mark.parametrize("outcome", ["failed", "todo", "blocked", "error", "not_run"])
def test_a_solution_that_does_not_pass_is_found(copy, outcome):
    sentence = f"check fnn.network: on the solution it is {outcome}."

    assert found(copy, solutions={"fnn.network": outcome}) == [sentence]


@pytest.mark.parametrize("name", ["cnn.network", "cnn.accuracy"])
def test_a_full_run_that_leaves_out_a_check_is_found(copy, name):
    sentence = f"check {name}: on the solution it is not_run."

    assert found(copy, solutions={name: "not_run"}, tier="full") == [sentence]


def test_a_gpu_check_that_ran_and_failed_is_found(copy):
    sentence = "check cnn.gpu: on the solution it is failed."

    assert found(copy, solutions={"cnn.gpu": "failed"}) == [sentence]


def test_the_reason_for_a_failed_check_is_told(copy):
    results = {name: Result("passed") for name in of_tier("passed", "quick")}
    results["fnn.shapes"] = Result("failed", 0.1, Cause("The outputs have 9 columns."))
    of_solutions = grade.build(
        kit.load(), results, version="", submission="", sha256="", tier="quick", seed=0
    )
    grades = {"exercises": graded(of_tier("todo", "quick")), "solutions": of_solutions}

    assert check_kit.problems_of_grades(copy, lambda folder: grades[folder.name]) == [
        "check fnn.shapes: on the solution it is failed. The outputs have 9 columns."
    ]
