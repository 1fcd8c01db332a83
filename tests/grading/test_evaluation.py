"""Do ``evaluate`` and ``confusion_matrix`` measure what their handout asks for?"""

from __future__ import annotations

import pytest

from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.measures import checks
from mnist_lab.submission.client import ExerciseHandle


@pytest.mark.check("evaluation.evaluate")
def test_evaluate(exercise: ExerciseHandle, grader: Grader) -> None:
    checks.check_evaluate(exercise, grader)


@pytest.mark.check("evaluation.confusion_matrix")
def test_confusion_matrix(exercise: ExerciseHandle, grader: Grader) -> None:
    checks.check_confusion_matrix(exercise, grader)


@pytest.mark.check("evaluation.state")
def test_state(exercise: ExerciseHandle, grader: Grader) -> None:
    checks.check_state(exercise, grader)


@pytest.mark.gpu
@pytest.mark.check("evaluation.gpu")
def test_gpu(exercise: ExerciseHandle, grader: Grader) -> None:
    checks.check_gpu(exercise, grader)
