"""Answers that say nothing are told from those that are merely wrong, whatever form they have."""

import pytest
import torch

from mnist_lab.diagnosis import degenerate

ROWS = torch.arange(80.0).view(8, 10)


def mistake(failure):
    return failure.mistake if failure else None


@pytest.mark.parametrize(
    ("outputs", "named"),
    [
        (ROWS, None),
        (ROWS * 0, "outputs-one"),
        (ROWS[:1].expand(8, 10), "outputs-same"),
        (ROWS[:, :1].expand(8, 10), "outputs-flat"),
        (ROWS[:0], None),
    ],
)
def test_outputs(outputs, named):
    assert mistake(degenerate.of_outputs("FNN", outputs, outputs[:4])) == named


def test_outputs_that_the_other_images_change_are_not_the_same_for_all():
    alike = ROWS[:1].expand(8, 10)
    assert degenerate.of_outputs("FNN", alike, alike[:4] + 1) is None


@pytest.mark.parametrize(
    ("results", "named"),
    [
        (ROWS.view(8, 1, 2, 5), None),
        (ROWS.view(8, 1, 2, 5) * 0, "images-one"),
        (ROWS[:1].expand(8, 10), "images-same"),
        (ROWS[:, :1].expand(8, 10), "images-flat"),
        (ROWS[:, 0], None),
        (ROWS[:, :0], None),
    ],
)
def test_images(results, named):
    assert mistake(degenerate.of_images("test_transform", results)) == named


@pytest.mark.parametrize(
    ("cells", "named"),
    [
        ([], "table-zero"),
        ([(1, 2), (1, 3)], "table-row"),
        ([(1, 2), (4, 2)], "table-column"),
        ([(1, 2)], "table-cell"),
        ([(1, 2), (2, 1)], None),
    ],
)
def test_tables(cells, named):
    counts = torch.zeros(10, 10, dtype=torch.int64)
    for row, column in cells:
        counts[row, column] += 1
    assert mistake(degenerate.of_table(counts, "")) == named


@pytest.mark.parametrize(
    ("name", "scores", "named"),
    [
        ("evaluate", [(1.0, 0.5), (2.0, 0.25)], None),
        ("evaluate", [(0.0, 0.5), (0.0, 0.25)], "number-zero"),
        ("train", [(1.0, 0.5), (2.0, 0.5)], "epoch-same"),
        ("evaluate", [(float("nan"), 0.5)], "number-not-finite"),
        ("evaluate", [(1.0, 0.5)], None),
    ],
)
def test_scores(name, scores, named):
    assert mistake(degenerate.of_scores(name, scores, "")) == named
