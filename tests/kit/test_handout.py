"""The exercises as one notebook: prose that reads well, stubs that are tagged, always the same."""

import json
from pathlib import Path

import nbformat
import pytest

from mnist_lab import handout, kit, stubs

ROOT = Path(__file__).parents[2]
SOLUTIONS = {
    exercise.file: (ROOT / "solutions" / exercise.file).read_text()
    for exercise in kit.load().exercises
}
STUBS = {file: stubs.generate(solution) for file, solution in SOLUTIONS.items()}


@pytest.fixture(scope="module")
def made():
    return nbformat.reads(handout.notebook(kit.load(), STUBS), as_version=4)


def cells(made, kind):
    return [cell for cell in made.cells if cell.cell_type == kind]


def test_it_is_valid_and_the_same_every_time(made):
    nbformat.validate(made)

    assert handout.notebook(kit.load(), STUBS) == handout.notebook(kit.load(), STUBS)
    assert len({cell.id for cell in made.cells}) == len(made.cells)


def test_each_exercise_has_prose_a_tagged_stub_and_a_check_in_the_kits_order(made):
    tagged = [place for place, cell in enumerate(made.cells) if cell.metadata.get("tags")]
    tags = [made.cells[place].metadata.tags for place in tagged]

    assert tags == [[exercise.id] for exercise in kit.load().exercises]
    for place, (tag,) in zip(tagged, tags, strict=True):
        before, stub, after = made.cells[place - 1 : place + 2]
        assert before.cell_type == "markdown"
        assert STUBS[kit.load().exercise(tag).file].endswith(f"{stub.source}\n")
        assert after.source == f'check("{tag}")'


def test_nothing_of_a_handout_is_lost(made):
    for exercise in kit.load().exercises:
        stub = STUBS[exercise.file]
        handed = stub.partition('"""')[2].partition('"""')[0]
        wanted = handed.partition("\n")[2].replace("``", "`").replace("`mnist", "`!mnist").split()
        cell = next(c for c in made.cells if c.source.startswith(f"## {handed.partition('.')[0]}"))
        there = iter(cell.source.split())

        assert all(word in there for word in wanted), exercise.id


def test_headings_columns_and_examples_look_like_themselves():
    text = (
        "Exercise 9: sums. ``pytest -k sums`` grades it.\n\nWrite ``add``:\n\n"
        "    a  ->  b\n\n    Prose after a list.\n\nWhy\n    Because:\n\n        x  =  1\n\n"
        "    >>> add(1, 2)\n    3\n"
    )

    assert handout.markdown(text, kit.load().exercise("fnn")) == (
        '## Exercise 9: sums\n\n`check("fnn")` grades it. Plan about 20 minutes.\n\n'
        "Write `add`:\n\n    a  ->  b\n\nProse after a list.\n\n### Why\n\nBecause:\n\n"
        "    x  =  1\n\n```pycon\n>>> add(1, 2)\n3\n```\n"
    )


def test_it_has_no_line_of_a_solution(made):
    for solution in SOLUTIONS.values():
        for task in stubs.tasks(solution):
            region = "\n".join(solution.splitlines()[task.first + 1 : task.last])
            assert region not in "\n".join(cell.source for cell in made.cells)


def test_the_kit_is_installed_only_where_it_is_missing(made):
    setup = cells(made, "code")[0].source

    assert setup.index("import mnist_lab") < setup.index("except ImportError")
    assert setup.index("except ImportError") < setup.index("%pip install")
    assert handout.notebook(kit.load(), STUBS, 'x @ "y"').count(r"KIT = \"x @ \\\"y\\\"\"") == 1


def test_a_stub_without_a_handout_is_named():
    with pytest.raises(handout.HandoutError, match=r"cnn\.py has no handout"):
        handout.notebook(kit.load(), STUBS | {"cnn.py": "x = 1"})


def test_the_file_in_the_exercises_is_this_one(made):
    text = (ROOT / "exercises" / handout.FILE).read_text()

    assert json.loads(text) == json.loads(nbformat.writes(made))
