"""A stub is its solution with each fenced region replaced, and nothing else."""

import pytest

from mnist_lab import stubs

SOLUTION = '''"""Add numbers."""


def add(a: int, b: int) -> int:
    """The sum."""
    # >>> Add the two numbers.
    total = a + b

    return total
    # <<< sums.add, sums.zero


def twice(a: int) -> int:
    # >>> Double it.
    return 2 * a
    # <<< sums.twice
'''

STUB = '''"""Add numbers."""


def add(a: int, b: int) -> int:
    """The sum."""
    # TODO: Add the two numbers.
    raise NotImplementedError("sums.add, sums.zero")


def twice(a: int) -> int:
    # TODO: Double it.
    raise NotImplementedError("sums.twice")
'''


def test_each_region_becomes_a_todo_that_names_its_checks():
    assert stubs.generate(SOLUTION) == STUB


def test_the_tasks_are_those_of_the_regions_in_order():
    first, second = stubs.tasks(SOLUTION)

    assert (first.todo, first.checks) == ("Add the two numbers.", ("sums.add", "sums.zero"))
    assert (second.todo, second.checks) == ("Double it.", ("sums.twice",))


def test_a_worked_example_in_a_docstring_is_not_a_fence():
    example = SOLUTION.replace("Add numbers.", "Add numbers.\n\n>>> add(1, 2)\n3\n")

    assert ">>> add(1, 2)\n3" in stubs.generate(example)


@pytest.mark.parametrize(
    ("written", "instead", "reason"),
    [
        ("    # <<< sums.twice\n", "", "line 14: a region opens and does not close"),
        ("    # >>> Double it.\n", "", "line 15: a region closes that was not opened"),
        ("    # <<< sums.add, sums.zero\n", "", "line 13: a region opens inside another"),
        ("# >>> Double it.", "# >>>", "line 14: it does not say in a sentence what to do"),
        ("# <<< sums.twice", "# <<<", "line 16: it names no check"),
        ("    # <<< sums.twice", "# <<< sums.twice", "line 16: it is indented otherwise"),
        (SOLUTION, "add = sum\n", "there is no region for a learner to fill"),
    ],
)
def test_fences_that_do_not_pair_up_are_refused_with_the_line(written, instead, reason):
    with pytest.raises(stubs.StubError, match=reason):
        stubs.generate(SOLUTION.replace(written, instead))
