"""The corpus is what its manifest says, and its right submissions are right by a plain reference.

A right submission that loses marks is therefore the grading's fault.
"""

import fnmatch

import corpus
import plain
import pytest
import torch

from mnist_lab import kit

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # some submissions cause them

VARIANTS = corpus.load()
RIGHT = [variant for variant in VARIANTS if variant.right]
WRONG = [variant for variant in VARIANTS if not variant.right]


def by_name(variants):
    return pytest.mark.parametrize("variant", variants, ids=lambda variant: variant.name)


@pytest.fixture(autouse=True)
def _same_state_afterwards():
    """Submissions run in this process here, and some leave torch changed. Nothing is compiled,
    which takes longer than all the rest.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(), torch.compiler.set_stance("force_eager"):
        yield
    torch.set_num_threads(threads)
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)


@by_name(RIGHT)
def test_a_right_submission_does_what_a_plain_reference_does(variant, tmp_path):
    folder = corpus.materialise(variant, tmp_path / "submission")
    for exercise in variant.exercises:
        plain.verify(folder / f"{exercise}.py")


@by_name([variant for variant in WRONG if not variant.hostile])
def test_a_wrong_submission_does_not(variant, tmp_path):
    assert not solves(variant, corpus.materialise(variant, tmp_path / "submission"))


def solves(variant, folder):
    try:
        for exercise in variant.exercises:
            plain.verify(folder / f"{exercise}.py")
    except Exception:  # whatever a learner's mistake may raise
        return False
    return True


@pytest.mark.parametrize("file", sorted(corpus.SOLUTIONS.glob("*.py")), ids=lambda file: file.stem)
def test_the_solutions_do_what_the_plain_reference_does(file):
    plain.verify(file)


def test_there_are_sixty_of_each():
    assert len(RIGHT) >= 60
    assert len(WRONG) >= 60


@pytest.mark.parametrize("variants", [RIGHT, WRONG], ids=["right", "wrong"])
def test_they_are_spread_over_all_exercises(variants):
    exercises = [exercise for variant in variants for exercise in variant.exercises]
    assert set(exercises) == set(plain.VERIFIERS)
    assert min(map(exercises.count, plain.VERIFIERS)) >= 9


def test_the_manifest_lists_every_file_of_the_corpus():
    listed = {f"{variant.name}/{file}" for variant in RIGHT for file in variant.files}
    there = (corpus.SUBMISSIONS / "right").glob("*/*.py")
    assert {f"{file.parent.name}/{file.name}" for file in there} <= listed


@by_name(WRONG)
def test_a_wrong_submission_names_checks_of_the_exercise_that_it_replaces(variant):
    checks = [c.id for exercise in kit.load().exercises for c in exercise.checks]
    assert variant.fails
    for pattern in variant.fails:
        assert fnmatch.filter(checks, pattern)
        assert pattern.split(".")[0] in variant.exercises


def test_a_variant_is_the_solutions_with_its_files_in_place(tmp_path):
    variant = RIGHT[0]
    folder = corpus.materialise(variant, tmp_path / "submission")
    assert {file.name for file in folder.glob("*.py")} == {
        file.name for file in corpus.SOLUTIONS.glob("*.py")
    }
    for file in folder.glob("*.py"):
        text = (corpus.SOLUTIONS / file.name).read_text()
        assert file.read_text() == variant.files.get(file.name, text)


def test_an_edit_of_what_is_not_there_is_refused():
    with pytest.raises(ValueError, match="occurs 2 times"):
        corpus.edited("a, a", [("a", "b")], "twice")
