"""Do the transforms, ``downsample`` and ``make_loaders`` do what their handout asks for?"""

from __future__ import annotations

import pytest

from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.pictures import checks
from mnist_lab.submission.client import ExerciseHandle


@pytest.mark.check("preprocessing.test_transform")
def test_test_transform(exercise: ExerciseHandle, grader: Grader) -> None:
    checks.check_test_transform(exercise, grader)


@pytest.mark.check("preprocessing.train_transform")
def test_train_transform(exercise: ExerciseHandle, grader: Grader) -> None:
    checks.check_train_transform(exercise, grader)


@pytest.mark.check("preprocessing.downsample")
def test_downsample(exercise: ExerciseHandle, grader: Grader) -> None:
    checks.check_downsample(exercise, grader)


@pytest.mark.check("preprocessing.loaders")
def test_make_loaders(exercise: ExerciseHandle, grader: Grader) -> None:
    checks.check_make_loaders(exercise, grader)
