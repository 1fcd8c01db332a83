"""A grade counts what passed, against what the kit asks, and survives its own JSON."""

import dataclasses
import json

import numpy as np
import pytest

from mnist_lab import grade, kit
from mnist_lab.grade import Cause, GradeError, Result

NO_RELU = Cause(
    message="Your CNN has no ReLU after the second convolution.",
    fault="cnn.no-relu-conv2",
    evidence="Its scores are equal to 3e-13 to those of a network without it.",
    hint="Count the ReLUs.",
    where="cnn.py:18",
    expected=[1.5, 2.0],
    actual=[-1.5, 2.0],
    traceback="cnn.py:18",
    output="hello",
)


def graded(results, tier="quick"):
    return grade.build(
        kit.load(),
        results,
        version="mnist-lab 0.1.0",
        submission="exercises",
        sha256="00ff",
        tier=tier,
        seed=7,
        device="cpu",
        seconds=9.1,
        walls={"network": "enforced"},
    )


def all_passed():
    return {check.id: Result("passed") for check in kit.load().checks}


def test_all_passed_is_100_of_100():
    everything = graded(all_passed())

    assert (everything.score, everything.max_score) == (100, 100)


@pytest.mark.parametrize("outcome", ["failed", "todo", "blocked", "not_run", "error"])
def test_a_check_that_did_not_pass_gives_no_points(outcome):
    assert graded(all_passed() | {"cnn.network": Result(outcome)}).score == 92


def test_a_check_without_a_result_did_not_run_and_still_counts():
    one = graded({"cnn.network": Result("passed")})

    assert (one.score, one.max_score) == (8, 100)
    assert {check.outcome for check in one.checks if not check.passed} == {"not_run"}


def test_the_points_of_an_exercise_are_those_of_its_checks():
    one = graded({"cnn.network": Result("passed"), "cnn.parameters": Result("passed")})
    points = {exercise.id: (exercise.points, exercise.max_points) for exercise in one.exercises}

    assert points["cnn"] == (9, 20)
    assert points["fnn"] == (0, 15)


def test_a_result_of_an_unknown_check_is_refused():
    with pytest.raises(KeyError, match=r"cnn\.magic"):
        graded({"cnn.magic": Result("passed")})


def test_the_next_step_is_the_first_check_that_ran_and_did_not_pass():
    results = all_passed() | {
        "logistic_regression.accuracy": Result("not_run"),
        "fnn.network": Result("failed"),
        "cnn.network": Result("todo"),
    }

    assert graded(results).next_step().id == "fnn.network"


def test_a_check_that_waits_is_the_next_step_only_where_there_is_nothing_else():
    waits = {"fnn.parameters": Result("blocked")}
    failed = {"fnn.shapes": Result("failed", cause=Cause("Wrong."))}
    assert graded(waits).next_step().id == "fnn.parameters"
    assert graded(waits | failed).next_step().id == "fnn.shapes"


def test_there_is_no_next_step_when_all_that_ran_passed():
    assert graded({"cnn.network": Result("passed")}).next_step() is None


def test_the_json_has_the_entries_that_the_design_promises():
    data = graded({"cnn.network": Result("failed", 0.4, NO_RELU)}).to_json()
    check = data["exercises"][3]["checks"][2]

    assert {key: data[key] for key in data if key != "exercises"} == {
        "schema": 1,
        "kit": "mnist-lab 0.1.0",
        "submission": "exercises",
        "sha256": "00ff",
        "tier": "quick",
        "seed": 7,
        "device": "cpu",
        "score": 0.0,
        "max_score": 100.0,
        "seconds": 9.1,
        "walls": {"network": "enforced"},
    }
    assert {key: check[key] for key in check if key not in ("title", "cause")} == {
        "id": "cnn.network",
        "outcome": "failed",
        "points": 0.0,
        "max_points": 8.0,
        "seconds": 0.4,
    }
    assert check["cause"]["fault"] == "cnn.no-relu-conv2"


def test_a_cause_leaves_out_of_the_json_what_it_does_not_have():
    assert Cause("It is too slow.").to_json() == {
        "fault": None,
        "message": "It is too slow.",
        "evidence": "",
        "hint": "",
        "where": "",
    }


def test_a_grade_that_is_written_is_read_back_as_it_was(tmp_path):
    written = graded(all_passed() | {"cnn.network": Result("failed", 0.4, NO_RELU)})

    grade.write(written, tmp_path / "grade.json")

    assert grade.read(tmp_path / "grade.json") == written
    assert [path.name for path in tmp_path.iterdir()] == ["grade.json"]


def test_arrays_and_numbers_that_are_not_finite_become_plain_json(tmp_path):
    cause = Cause("NaN.", expected=np.arange(3), actual={"loss": (float("nan"), np.float32("inf"))})

    grade.write(graded({"cnn.network": Result("failed", 0.0, cause)}), tmp_path / "grade.json")
    data = json.loads((tmp_path / "grade.json").read_text())["exercises"][3]["checks"][2]["cause"]

    assert data["expected"] == [0, 1, 2]
    assert data["actual"] == {"loss": ["nan", "inf"]}


def test_text_that_is_not_valid_unicode_can_be_written(tmp_path):
    cause = Cause("It printed something odd.", output="\udcff")

    grade.write(graded({"cnn.network": Result("failed", 0.0, cause)}), tmp_path / "grade.json")

    assert grade.read(tmp_path / "grade.json").next_step().cause == cause


def claims_more(data):
    data["score"] = 100.0


def passes_by_another_name(data):
    data["exercises"][3]["checks"][2]["outcome"] = "PASSED"


def lacks_the_exercises(data):
    del data["exercises"]


def is_from_the_future(data):
    data["schema"] = 2


def has_an_unknown_entry(data):
    data["exercises"][3]["checks"][2]["cause"]["excuse"] = "the dog"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (claims_more, r"claims 100\.0 of 100\.0 points; its outcomes add up to 0\.0"),
        (passes_by_another_name, "'PASSED' is not an outcome"),
        (lacks_the_exercises, "an entry is missing"),
        (is_from_the_future, "its schema is 2"),
        (has_an_unknown_entry, "excuse"),
    ],
)
def test_json_that_is_not_a_grade_is_refused_with_the_reason(spoil, reason):
    data = graded({"cnn.network": Result("failed", 0.4, NO_RELU)}).to_json()
    spoil(data)

    with pytest.raises(GradeError, match=reason):
        grade.Grade.from_json(data)


@pytest.mark.parametrize("content", [b"", b"[]", b"3", b'{"schema": 1}', b"\xff"])
def test_a_file_that_holds_no_grade_is_named(content, tmp_path):
    path = tmp_path / "grade.json"
    path.write_bytes(content)

    with pytest.raises(GradeError, match=r"grade\.json is not a grade"):
        grade.read(path)


def test_notes_are_kept_where_there_are_some():
    bare = graded({})
    noted = dataclasses.replace(bare, notes=("CNN is defined twice.",))

    assert "notes" not in bare.to_json()
    assert grade.Grade.from_json(json.loads(json.dumps(noted.to_json()))) == noted
