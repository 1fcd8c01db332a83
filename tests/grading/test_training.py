"""Do ``train_epoch`` and ``train`` train as their handout asks? Each step is replayed."""

from __future__ import annotations

import pytest

from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.loops import checks
from mnist_lab.submission.client import ExerciseHandle


@pytest.mark.check("training.steps")
def test_steps(exercise: ExerciseHandle, grader: Grader) -> None:
    checks.check_steps(exercise, grader)


@pytest.mark.check("training.results")
def test_results(exercise: ExerciseHandle, grader: Grader) -> None:
    checks.check_results(exercise, grader)


@pytest.mark.check("training.train")
def test_train(exercise: ExerciseHandle, grader: Grader) -> None:
    checks.check_train(exercise, grader)


@pytest.mark.check("training.state")
def test_state(exercise: ExerciseHandle, grader: Grader) -> None:
    checks.check_state(exercise, grader)


@pytest.mark.gpu
@pytest.mark.check("training.gpu")
def test_gpu(exercise: ExerciseHandle, grader: Grader) -> None:
    checks.check_gpu(exercise, grader)
