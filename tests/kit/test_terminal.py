"""A grade on the terminal: the first mistake of each exercise, the score, the next step."""

import io
from dataclasses import replace

import pytest

from mnist_lab import cli, grade, kit
from mnist_lab.grade import Cause, Result
from mnist_lab.grading import terminal

FAILED = Result(
    "failed",
    0.4,
    Cause(
        "Your CNN has no ReLU after its second convolution.",
        evidence="Equal to 3e-13 to a network without it.",
        hint="Read the table of the handout line by line.",
        where="cnn.py:18",
        output="hello\nfrom the learner\n",
        traceback='  File "cnn.py", line 18, in forward',
    ),
)


def graded(results, tier="quick"):
    everything = {
        check.id: Result("passed") for check in kit.load().checks if check.tier == "quick"
    }
    return grade.build(
        kit.load(),
        everything | results,
        version="0",
        submission="exercises",
        sha256="0",
        tier=tier,
        seed=0,
        seconds=9.1,
    )


def shown(a_grade, **options):
    file = io.StringIO()
    terminal.show(a_grade, file, colour=options.pop("colour", False), **options)
    return file.getvalue()


def test_an_exercise_is_one_line_with_its_points_and_state():
    lines = shown(graded({})).splitlines()

    assert [line.split()[0] for line in lines[1:7]] == [
        exercise.title.split()[0] for exercise in kit.load().exercises
    ]
    assert "12 of 20   passed, 8 not run" in lines[4]


def test_full_marks_of_the_quick_tier_end_with_the_score():
    assert shown(graded({})).splitlines()[-1] == "Score 85 of 85 (15 more with --full), 9.1 s"


def test_the_first_failed_check_is_explained_and_what_waits_for_it_is_one_line():
    text = shown(
        graded(
            {
                "cnn.network": FAILED,
                "cnn.behaviour": Result("blocked"),
                "cnn.learns": Result("blocked"),
            }
        )
    )

    assert "Your CNN has no ReLU after its second convolution." in text
    assert "Known by  Equal to 3e-13 to a network without it." in text
    assert "Hint      Read the table" in text
    assert "Where     cnn.py:18" in text
    assert "Waiting   behaviour, learns" in text
    assert "Printed   hello" in text
    assert "from the learner" in text
    assert text.splitlines()[-2:] == [
        "Next: cnn.py, cnn.network",
        "      pytest -k cnn    mnist-lab hint cnn.network",
    ]


def test_two_commands_that_do_not_fit_beside_each_other_have_a_line_each():
    text = shown(graded({"logistic_regression.parameters": FAILED}))

    assert text.splitlines()[-2:] == [
        "      pytest -k logistic_regression",
        "      mnist-lab hint logistic_regression.parameters",
    ]


def test_each_other_failed_check_has_one_line_below_the_first():
    results = {"cnn.shapes": FAILED, "cnn.network": FAILED, "cnn.behaviour": FAILED}

    text = shown(graded(results))

    assert text.count("Your CNN has no ReLU") == 1
    assert "\nAlso failing: cnn.network (8 points)\nAlso failing: cnn.behaviour (" in text


def test_a_line_that_is_not_python_is_shown_with_its_caret():
    cause = Cause(
        "cnn.py:3: a colon is missing.", where="cnn.py:3", code="class CNN()\n           ^"
    )

    text = shown(graded({"cnn.shapes": Result("failed", 0, cause)}))

    assert "Where     cnn.py:3\n            class CNN()\n                       ^\n" in text


def test_tracebacks_are_shown_when_asked_for():
    results = graded({"cnn.network": FAILED})

    assert "line 18, in forward" not in shown(results)
    assert "line 18, in forward" in shown(results, tracebacks=True)


def test_a_stub_is_no_failure_but_the_next_step():
    text = shown(graded({"preprocessing.test_transform": Result("todo", 0, Cause("not yet"))}))

    assert "not yet" not in text
    assert "Next: preprocessing.py, test_transform resizes" in text


def test_points_that_did_not_run_are_said():
    text = shown(graded({"fnn.network": Result("not_run")}))

    assert "5 of these points did not run, so this is not full marks." in text


def test_an_error_of_the_kit_is_explained_as_loudly_as_a_failure():
    text = shown(graded({"fnn.network": Result("error", 0, Cause("The kit could not judge."))}))

    assert "The kit could not judge." in text


def test_every_check_is_listed_when_asked_for():
    text = shown(graded({}), every_check=True)

    assert all(check.id in text for check in kit.load().checks)


@pytest.mark.parametrize("every_check", [False, True])
def test_everything_fits_eighty_columns(every_check):
    long = Cause("A sentence about the code that goes on and on " * 5, evidence="1e-13 " * 40)
    results = {check.id: Result("failed", 0.1, long) for check in kit.load().checks if check.points}

    text = shown(graded(results, "full"), every_check=every_check)

    assert max(map(len, text.splitlines())) <= 80


def test_without_colour_there_are_no_control_sequences():
    assert "\x1b" not in shown(graded({"cnn.network": FAILED}))
    assert "\x1b" in shown(graded({"cnn.network": FAILED}), colour=True)


@pytest.mark.parametrize("printed", ["\n", "  \n\n", ""])
def test_blank_lines_that_were_printed_are_not_shown(printed):
    cause = Cause("It is wrong.", output=printed)

    assert "Printed" not in shown(graded({"cnn.network": Result("failed", 0.1, cause)}))
    assert terminal.plain(cause)


def test_how_a_submission_was_read_is_told_below_the_score():
    note = "CNN is defined twice, in cell 4 (In [3]) and cell 9 (In [12]): the last counts."

    lines = shown(replace(graded({}), notes=(note,))).splitlines()

    assert lines[-2:] == [
        "Note: CNN is defined twice, in cell 4 (In [3]) and cell 9 (In [12]): the last",
        "      counts.",
    ]


def test_the_next_step_in_a_notebook_names_no_file():
    notebook = replace(graded({"cnn.network": FAILED}), submission="ada.ipynb")

    assert shown(notebook).splitlines()[-2:] == [
        "Next: Convolutional network, cnn.network",
        '      check("cnn")    mnist-lab hint cnn.network',
    ]


def test_the_check_to_work_on_is_the_first_that_failed_else_the_first_that_is_to_do():
    found = graded({"cnn.shapes": Result("todo"), "cnn.network": FAILED})
    cnn = next(exercise for exercise in found.exercises if exercise.id == "cnn")
    fnn = next(exercise for exercise in found.exercises if exercise.id == "fnn")
    todo = replace(fnn, checks=tuple(replace(check, outcome="todo") for check in fnn.checks))

    assert terminal.explained(cnn).id == "cnn.network"
    assert terminal.explained(fnn) is None
    assert terminal.explained(todo).id == "fnn.parameters"
    assert "Known by  Equal to 3e-13" in terminal.plain_exercise(cnn)


def test_an_error_is_wrapped_between_words_and_a_path_is_left_whole(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    path = "/folder" * 8

    with pytest.raises(SystemExit):
        cli.fail(f"{'word ' * 20}{path} {'word ' * 20}")

    lines = capsys.readouterr().err.splitlines()
    assert max(len(line) for line in lines if path not in line) <= 40
    assert sum(path in line for line in lines) == 1
