"""Whether a kit is whole: its manifest, solutions, stubs, tests and what they are worth agree.

``root`` is a checkout: it holds ``mnist_lab/kit.toml``, ``solutions``, ``exercises`` and
``tests/grading``. Each sentence that comes back is something to mend; none means all is well.
"""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Callable, Iterator
from pathlib import Path

from mnist_lab import handout, stubs
from mnist_lab.grade import CheckGrade, Grade
from mnist_lab.kit import Check, Exercise, Kit, KitError, parse

MAX_SCORE = 100.0


def problems(root: Path) -> list[str]:
    """What is wrong with the files of the kit in ``root``; none of its code is run."""
    try:
        kit = _kit(root)
    except KitError as error:
        return [f"{error}."]
    return [
        *_about_points(kit),
        *_about_folder(root / "solutions", kit),
        *_about_folder(root / "exercises", kit, handout.FILE),
        *_about_tests(root / "tests" / "grading", kit),
        *(sentence for exercise in kit.exercises for sentence in _about_exercise(root, exercise)),
        *_about_notebook(root, kit),
    ]


def problems_of_grades(root: Path, grade: Callable[[Path], Grade]) -> list[str]:
    """What is wrong with what the stubs and the solutions in ``root`` get from ``grade``.

    The stubs must get nothing, and each task must be reported as still to do; the solutions must
    pass every check of the tier that ran.
    """
    kit = _kit(root)
    of_stubs, of_solutions = grade(root / "exercises"), grade(root / "solutions")
    return [
        *(
            f"exercises/{exercise.file}: no check reports as todo: {task.todo}"
            for exercise in kit.exercises
            for task in stubs.tasks(_text(root / "solutions" / exercise.file))
            if not any(
                check.outcome == "todo" for check in of_stubs.checks if check.id in task.checks
            )
        ),
        *(
            f"check {check.id}: on an untouched stub it is {check.outcome}."
            for check in of_stubs.checks
            if check.outcome not in ("todo", "blocked") and not _left_out(check, kit, of_stubs.tier)
        ),
        *(
            f"check {check.id}: on the solution it is {check.outcome}. {_message(check)}".rstrip()
            for check in of_solutions.checks
            if not check.passed and not _left_out(check, kit, of_solutions.tier)
        ),
    ]


def write_stubs(root: Path) -> None:
    """Write ``exercises`` in ``root`` anew from its ``solutions``, the notebook of all as well.

    Raises ``KitError`` or ``StubError`` if they are not in order, ``OSError`` if it cannot.
    """
    kit = _kit(root)
    (root / "exercises").mkdir(exist_ok=True)
    made = {e.file: stubs.generate(_text(root / "solutions" / e.file)) for e in kit.exercises}
    for name, text in {**made, handout.FILE: handout.notebook(kit, made)}.items():
        (root / "exercises" / name).write_text(text, encoding="utf-8")


def notebook(root: Path, requirement: str) -> str:
    """The notebook of the stubs in ``root``, which installs ``requirement`` where it has to."""
    kit = _kit(root)
    made = {e.file: _text(root / "exercises" / e.file) for e in kit.exercises}
    return handout.notebook(kit, made, requirement)


def marked_checks(source: str) -> set[str]:
    """What ``source``, a test module, names: ids in ``pytest.mark.check("...")``, and the ends of
    some as ``*.end`` in ``each("...")``.
    """
    before = {"pytest.mark.check": "", "each": "*."}
    return {
        before[ast.unparse(node.func)] + str(node.args[0].value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in before
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }


def _about_points(kit: Kit) -> Iterator[str]:
    if kit.max_score != MAX_SCORE:
        yield f"kit.toml: the points add up to {kit.max_score:g}, not {MAX_SCORE:g}."


def _about_folder(folder: Path, kit: Kit, *more: str) -> Iterator[str]:
    wanted = {*(exercise.file for exercise in kit.exercises), *more}
    present = {path.name for path in folder.glob("*")} - {"__pycache__"}
    for name in sorted(wanted - present):
        yield f"{folder.name}/{name}: it is missing."
    for name in sorted(present - wanted):
        yield f"{folder.name}/{name}: no exercise has this file."


def _about_tests(folder: Path, kit: Kit) -> Iterator[str]:
    marked = {path.name: marked_checks(_text(path)) for path in sorted(folder.glob("test_*.py"))}
    known = {check.id for check in kit.checks}
    for name, checks in marked.items():
        for check_id in sorted(each for each in checks if not fnmatch.filter(known, each)):
            yield f"tests/grading/{name}: kit.toml has no check {check_id}."
    for check in kit.checks:
        if not any(fnmatch.fnmatch(check.id, each) for each in set().union(*marked.values())):
            yield f"check {check.id}: tests/grading has no test for it."


def _about_exercise(root: Path, exercise: Exercise) -> Iterator[str]:
    where = f"solutions/{exercise.file}"
    if not (root / where).is_file():
        return
    solution = _text(root / where)
    try:
        tasks, module = stubs.tasks(solution), ast.parse(solution)
    except stubs.StubError as error:
        yield f"{where}: {error}."
        return
    except SyntaxError:
        yield f"{where}: it is not Python."
        return
    if not ast.get_docstring(module):
        yield f"{where}: it has no handout."
    defined = [
        node.name for node in module.body if isinstance(node, ast.FunctionDef | ast.ClassDef)
    ]
    for name in exercise.names:
        if name not in defined:
            yield f"{where}: it does not define {name}."
    announced = {check_id for task in tasks for check_id in task.checks}
    for check_id in sorted(announced - {check.id for check in exercise.checks}):
        yield f"{where}: {exercise.id} has no check {check_id}."
    for check in _unannounced(exercise, announced):
        yield f"{where}: no task leads to {check.id}."
    stub = root / "exercises" / exercise.file
    if stub.is_file() and _text(stub) != stubs.generate(solution):
        yield f"exercises/{exercise.file}: it is not the stub of {where}."


def _about_notebook(root: Path, kit: Kit) -> Iterator[str]:
    """Whether the notebook is that of the stubs; what is wrong with those is said elsewhere."""
    file = root / "exercises" / handout.FILE
    if not file.is_file():
        return
    try:
        made = {e.file: stubs.generate(_text(root / "solutions" / e.file)) for e in kit.exercises}
        expected = handout.notebook(kit, made)
    except (OSError, SyntaxError, stubs.StubError, handout.HandoutError):
        return
    if _text(file) != expected:
        yield f"exercises/{handout.FILE}: it is not made of the stubs; mnist-lab check-kit --write."


def _unannounced(exercise: Exercise, announced: set[str]) -> Iterator[Check]:
    """The checks that the stub neither names nor makes wait for one that it names."""
    reached = set(announced)
    for check in exercise.checks:
        if check.id not in reached and reached.isdisjoint(check.needs):
            yield check
        reached.add(check.id)


def _left_out(check: CheckGrade, kit: Kit, tier: str) -> bool:
    """Whether ``check`` did not run and did not have to in a run of ``tier``."""
    return check.outcome == "not_run" and kit.check(check.id).tier not in ("quick", tier)


def _message(check: CheckGrade) -> str:
    return check.cause.message if check.cause else ""


def _kit(root: Path) -> Kit:
    return parse(_text(root / "mnist_lab" / "kit.toml"))


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
