"""``kit.toml`` is what the course promises, and a broken one is refused with a reason."""

import subprocess
import sys

import pytest

from mnist_lab import kit

ONE_CHECK = """
[[exercise]]
id = "sums"
title = "Sums"
file = "sums.py"
names = ["add"]
minutes = 5

[[exercise.check]]
id = "sums.add"
title = "add adds"
points = 3
hints = ["Think of plus.", "return a + b"]
"""

SECOND_CHECK = """
[[exercise.check]]
id = "sums.zero"
title = "zero changes nothing"
points = 1.5
tier = "full"
limit = 60
needs = ["sums.add"]
hints = ["What is left?", "return a"]
"""


def test_the_exercises_are_worth_what_the_course_says():
    assert {exercise.id: exercise.points for exercise in kit.load().exercises} == {
        "preprocessing": 15,
        "logistic_regression": 10,
        "fnn": 15,
        "cnn": 20,
        "training": 20,
        "evaluation": 20,
    }


def test_all_checks_give_100_points_and_those_without_full_training_85():
    assert kit.load().max_score == 100
    assert kit.load().attainable("full") == 100
    assert kit.load().attainable("quick") == 85


def test_no_check_waits_for_one_that_needs_a_gpu_or_the_full_tier():
    checks = {check.id: check for check in kit.load().checks}

    assert all(checks[needed].tier == "quick" for c in checks.values() for needed in c.needs)


def test_a_check_needs_only_checks_of_its_own_exercise():
    assert all(
        needed.startswith(f"{check.exercise}.")
        for check in kit.load().checks
        for needed in check.needs
    )


def test_what_is_not_said_of_a_check_has_a_default():
    check = kit.parse(ONE_CHECK).check("sums.add")

    assert (check.tier, check.needs, check.limit) == ("quick", (), 10.0)


def test_what_is_said_of_a_check_is_kept():
    assert kit.parse(ONE_CHECK + SECOND_CHECK).check("sums.zero") == kit.Check(
        id="sums.zero",
        exercise="sums",
        title="zero changes nothing",
        points=1.5,
        tier="full",
        needs=("sums.add",),
        hints=("What is left?", "return a"),
        limit=60.0,
    )


def test_a_quick_run_cannot_give_the_points_of_the_full_tier():
    both = kit.parse(ONE_CHECK + SECOND_CHECK)

    assert (both.attainable("quick"), both.attainable("full")) == (3, 4.5)


def test_asking_for_an_unknown_exercise_names_the_known_ones():
    with pytest.raises(KeyError, match="no exercise is called 'differences'; there are sums"):
        kit.parse(ONE_CHECK).exercise("differences")


def test_asking_for_an_unknown_check_names_those_of_its_exercise():
    with pytest.raises(KeyError, match=r"no check is called 'sums\.ad'; there are sums\.add"):
        kit.parse(ONE_CHECK).check("sums.ad")


@pytest.mark.parametrize(
    ("said", "instead", "reason"),
    [
        ('"return a + b"', '" "', "check sums.add: it must have two hints"),
        ('"Think of plus.", ', "", "check sums.add: it must have two hints"),
        ('title = "add adds"', 'title = ""', "check sums.add: it has no title"),
        ("points = 3", "", "check sums.add: missing 1 required positional argument: 'points'"),
        ("points = 3", "points = 0", "check sums.add: it must be worth something"),
        ("points = 3", 'points = 3\ntier = "gpu"', "it needs a GPU, so it must be worth nothing"),
        ("points = 3", 'points = 3\ntier = "slow"', "'slow' is not one of the tiers"),
        ("points = 3", "points = 3\nlimit = 0", "its limit must be a positive number"),
        ("points = 3", "point = 3\npoints = 3", "got an unexpected keyword argument 'point'"),
        ("points = 3", 'points = 3\nneeds = ["sums.zero"]', "which is not a check before it"),
        ("points = 3", 'points = "3"', "check sums.add: '>' not supported"),
        ('id = "sums.add"', 'id = "add"', "its id must begin with 'sums'"),
        ('file = "sums.py"', 'file = "../sums.py"', "is not the name of a Python file"),
        ('names = ["add"]', "names = []", "it must have checks and a list of the names"),
        ('names = ["add"]', 'names = "add"', "it must have checks and a list of the names"),
        (ONE_CHECK, "", "kit.toml: it must hold exercises and nothing else"),
        ("[[exercise]]", "[[exercise", "kit.toml is not TOML"),
        (ONE_CHECK, ONE_CHECK + ONE_CHECK, "exercise sums: it is there twice"),
        (
            ONE_CHECK,
            ONE_CHECK + SECOND_CHECK.replace("zero", "add").replace('["sums.add"]', "[]"),
            "check sums.add: it is there twice",
        ),
    ],
)
def test_a_broken_manifest_is_refused_with_the_reason(said, instead, reason):
    with pytest.raises(kit.KitError, match=reason.replace(".", r"\.")):
        kit.parse(ONE_CHECK.replace(said, instead))


@pytest.mark.parametrize("module", ["kit", "grade", "stubs", "check_kit"])
def test_reading_the_kit_loads_no_torch(module):
    script = f"import sys, mnist_lab.{module}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
