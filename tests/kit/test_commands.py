"""The commands around the exercises: hint, status, new, grade, doctor, check-kit."""

import errno
import json
import os
import shutil
import tempfile
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest
from click.testing import CliRunner

from mnist_lab import check_kit, grade, kit, workspace, writing
from mnist_lab.cli import GROUPS, main
from mnist_lab.grade import Result
from mnist_lab.grading import memory
from mnist_lab.submission.server import environment

ROOT = Path(__file__).parents[2]


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def a_grade(results, submission="exercises"):
    return grade.build(
        kit.load(),
        results,
        version="0",
        submission=submission,
        sha256="0",
        tier="quick",
        seed=0,
    )


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def files(here):
    """Exercise files that were saved long ago."""
    found = {}
    for exercise in kit.load().exercises:
        file = here / exercise.file
        file.touch()
        os.utime(file, (0, 0))
        found[exercise.id] = file
    return found


def test_a_hint_is_that_of_the_check(here):
    output = run("hint", "cnn.network").output

    assert output.startswith("cnn.network: ")
    assert " ".join(kit.load().check("cnn.network").hints[0].split()) in " ".join(output.split())
    assert max(map(len, output.splitlines())) <= 80


def test_an_exercise_has_a_hint_by_the_name_of_its_file(here):
    assert run("hint", "cnn.py").output == run("hint", "cnn").output


def test_more_is_the_second_hint(here):
    output = run("hint", "cnn.network", "--more").output

    assert " ".join(kit.load().check("cnn.network").hints[1].split()) in " ".join(output.split())


def test_the_hint_of_an_exercise_is_that_of_its_first_open_check(here, files):
    memory.remember(here, a_grade({"cnn.parameters": Result("passed")}), files)

    assert run("hint", "cnn").output.startswith("cnn.shapes: ")


@pytest.mark.parametrize(
    ("name", "exercise"), [("log", "logistic_regression"), ("4", "cnn"), ("CNN", "cnn")]
)
def test_a_hint_is_found_by_a_number_or_how_a_name_begins(here, name, exercise):
    assert run("hint", name).output.startswith(f"{exercise}.parameters: ")


def test_without_a_name_the_hint_is_that_of_the_next_check(here, files):
    memory.remember(here, a_grade({"preprocessing.test_transform": Result("passed")}), files)

    assert run("hint").output.startswith("preprocessing.train_transform: ")


def test_help_groups_every_command_and_cuts_no_sentence_short():
    text = run("--help").output

    assert set(chain(*GROUPS.values())) == set(main.commands)
    assert all(name in text for name in main.commands)
    assert "..." not in text.partition("Learn:")[2]


def test_a_hint_for_nothing_says_what_there_is(here):
    result = run("hint", "rnn")

    assert result.exit_code == 1
    assert "preprocessing, logistic_regression" in result.output


@pytest.mark.parametrize("command", ["hint", "status"])
def test_in_a_folder_that_is_gone_a_command_says_so(here, command):
    (here / "gone").mkdir()
    os.chdir(here / "gone")
    (here / "gone").rmdir()
    try:
        result = run(command)
    finally:
        os.chdir(here)

    assert "The folder that you are in is not there any more" in result.output


def test_a_name_that_is_too_long_or_begins_with_a_dash_is_no_error_of_ours(here):
    assert "File name too long" in run("new", "a" * 300).output
    assert "Next: cd ./-x, then pytest." in run("new", "--", "-x").output


@pytest.mark.parametrize("place", [".", "nowhere/grade.json"])
def test_a_place_that_no_grade_can_go_to_is_refused_before_anything_is_graded(here, place):
    result = run("grade", "exercises", "--grade-json", place)

    assert result.exit_code == 2
    assert "Invalid value for '--grade-json'" in result.output


def test_options_of_pytest_in_the_environment_are_not_those_of_a_run(monkeypatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "--nonsense")
    monkeypatch.setenv("PYTEST_PLUGINS", "nonsense")

    assert not environment().keys() & {"PYTEST_ADDOPTS", "PYTEST_PLUGINS"}


def test_without_a_place_for_temporary_files_the_folder_is_not_said_to_be_gone(here, monkeypatch):
    monkeypatch.setattr("tempfile._candidate_tempdir_list", lambda: [str(here / "nowhere")])
    monkeypatch.setattr("mnist_lab.submission.sandbox.scratch._own", tempfile._get_default_tempdir)
    (here / "class" / "ada").mkdir(parents=True)

    result = run("grade-class", "class", "--dry-run")

    assert result.exit_code == 1
    assert "No usable temporary directory" in " ".join(result.output.split())


def test_an_archive_of_a_class_is_to_be_unpacked_first(here):
    (here / "class.zip").write_bytes(b"PK")

    result = run("grade-class", "class.zip", "--out", "results")

    assert result.exit_code == 1
    assert "Unpack an archive of a class first" in " ".join(result.output.split())


def test_without_a_grade_status_says_what_to_do(here):
    result = run("status")

    assert result.exit_code == 1
    assert "run `pytest`" in result.output


def test_status_is_the_grade_of_the_last_runs_together(here, files):
    memory.remember(here, a_grade({"cnn.parameters": Result("passed")}), files)
    memory.remember(here, a_grade({"fnn.shapes": Result("passed")}), files)

    kept = memory.last(here)

    assert kept.score == 2
    assert "Score 2 of 85" in run("status").output


def test_what_was_known_of_a_file_that_has_changed_is_forgotten(here, files):
    memory.remember(here, a_grade({"cnn.parameters": Result("passed")}), files)
    os.utime(files["cnn"], (4e9, 4e9))

    kept = memory.remember(here, a_grade({"fnn.shapes": Result("passed")}), files)

    assert kept.score == 1


def test_a_spoiled_memory_is_no_memory(here):
    (here / ".mnist-lab").mkdir()
    (here / ".mnist-lab" / "grade.json").write_text("{")

    assert memory.last(here) is None


def test_a_new_workspace_has_exercises_and_tests_and_no_solutions(here):
    assert run("new", "lab").exit_code == 0

    for exercise in kit.load().exercises:
        stub = (here / "lab" / "exercises" / exercise.file).read_text()
        assert "NotImplementedError" in stub
    assert (here / "lab" / "exercises" / "mnist_lab.ipynb").exists()
    assert (here / "lab" / "tests" / "grading" / "test_networks.py").exists()
    assert not (here / "lab" / "solutions").exists()
    assert not list((here / "lab").rglob("__pycache__"))


def test_what_to_do_next_can_be_typed_as_it_is_said(here):
    assert run("new", "my lab").output.endswith("Next: cd 'my lab', then pytest.\n")


def test_a_workspace_never_overwrites(here):
    (here / "lab").mkdir()
    (here / "lab" / "thesis.tex").write_text("years of work")

    result = run("new", "lab")

    assert result.exit_code == 1
    assert "not empty" in result.output
    assert [path.name for path in (here / "lab").iterdir()] == ["thesis.tex"]


def test_watch_says_where_the_workspace_is(here, monkeypatch):
    run("new", "lab")
    monkeypatch.chdir(here / "lab" / "exercises")

    result = run("watch")

    assert result.exit_code == 1
    assert f"Go to that of your workspace first: cd {here / 'lab'}." in result.output


def test_a_full_disk_leaves_no_half_of_a_workspace(here, monkeypatch):
    def full(folder, files):
        writing.fill(folder, dict([*files.items()][:3]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(workspace, "fill", full)

    assert "mnist-lab: The disk is full: free some space for lab" in run("new", "lab").output
    assert not (here / "lab").exists()


def test_a_file_is_no_place_for_a_workspace(here):
    (here / "lab").write_text("mine")

    assert "lab is a file: name a new folder." in run("new", "lab").output


def test_the_doctor_says_where_the_digits_are_and_how_to_get_them(here, monkeypatch):
    monkeypatch.delenv("MNIST_LAB_DATA", raising=False)

    result = run("doctor")

    assert result.exit_code == 0
    assert "mnist-lab download --data data" in result.output
    assert "torch" in result.output


def test_the_doctor_says_so_where_a_package_does_not_work(here, monkeypatch):
    def broken(name):
        raise RuntimeError(f"operator {name}::nms does not exist")

    monkeypatch.setattr("importlib.import_module", broken)

    result = run("doctor")

    assert result.exit_code == 1
    assert "cannot be imported (RuntimeError: operator torch::nms does not exist)" in result.output
    assert "pip install --force-reinstall torch torchvision" in result.output


@pytest.mark.usefixtures("in_forks")
def test_grade_ignores_what_the_submission_brings_along(here):
    handed_in = shutil.copytree(ROOT / "solutions", here / "handed-in")
    (handed_in / "conftest.py").write_text("raise SystemExit('owned')\n")
    (handed_in / "pytest.ini").write_text("[pytest]\naddopts = --collect-only\n")
    (handed_in / "fnn.py").write_text("1 / 0\n")

    result = run("grade", handed_in, "--grade-json", here / "grade.json", "--grade-seed", 3)

    written = json.loads((here / "grade.json").read_text())
    assert result.exit_code == 1
    assert written["score"] == 74
    assert written["seed"] == 3


@pytest.mark.usefixtures("in_forks")
def test_the_stubs_are_all_to_do_and_the_solutions_pass_all():
    from mnist_lab.grading import run as grading

    assert check_kit.problems_of_grades(ROOT, grading.grade) == []


def test_a_grade_of_another_kit_is_not_remembered(here, files):
    strange = a_grade({})
    memory.remember(here, replace(strange, exercises=strange.exercises[:2]), files)

    assert memory.last(here) is None
