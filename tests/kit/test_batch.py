"""A class: what is handed in, the journal, the gradebook, the pages. The grading is pretended."""

import csv
import errno
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt

from mnist_lab import grade, kit, writing
from mnist_lab.cli import main
from mnist_lab.grade import Cause, Result
from mnist_lab.grading.batch import analysis, journal, pages, reading, run, workers
from mnist_lab.grading.batch.analysis import Analysis, Learner
from mnist_lab.grading.batch.journal import Journal
from mnist_lab.grading.batch.reading import ReaderPool
from mnist_lab.grading.batch.results import NOTHING, Graded, NotGraded, Options, fingerprint
from mnist_lab.grading.batch.submissions import ClassError, find
from mnist_lab.grading.batch.workers import WorkerPool, unpack
from mnist_lab.grading.warm import JobError, Run
from mnist_lab.submission.refused import SourceError

ROOT = Path(__file__).parents[2]
KIT = "0+tests"
FULL_MARKS = {check.id: Result("passed") for check in kit.load().checks}


def graded(results=FULL_MARKS, name="ada", seed=3, tier="quick", **kept):
    return Graded(
        grade.build(
            kit.load(),
            results,
            version="0",
            submission=name,
            sha256="0",
            tier=tier,
            seed=seed,
            seconds=1.5,
        ),
        **kept,
    )


def failed(check, message="It is wrong.", **details):
    return FULL_MARKS | {check: Result("failed", cause=Cause(message, **details))}


@pytest.fixture(autouse=True)
def _one_kit(monkeypatch):
    """The kit's own digest changes whenever one of its files is saved."""
    monkeypatch.setattr(run, "fingerprint", lambda: KIT)


@pytest.fixture
def handed_in(tmp_path):
    folder = tmp_path / "handed-in"
    for name in ("ada", "bob", "cleo"):
        hand_in(folder / name, f"# by {name}\n")
    return folder


def hand_in(folder, source="# nothing yet\n"):
    folder.mkdir(parents=True)
    (folder / "cnn.py").write_text(source)


@pytest.fixture
def engine(monkeypatch):
    """Stands in for the grading: gives ``outcomes`` by name and remembers whom it graded."""

    class Engine:
        def __init__(self):
            self.graded, self.options = [], []
            self.outcomes = {}

        def __call__(self, submissions, options):
            self.options.append(options)
            for each in submissions:
                self.graded.append(each.name)
                yield each, self.outcomes.get(each.name, graded(name=each.name, seed=options.seed))

    made = Engine()
    monkeypatch.setattr(run, "_engine", lambda jobs, cluster: made)
    return made


# What is handed in


def test_a_folder_an_archive_a_notebook_and_a_set_of_files_are_a_submission_each(tmp_path):
    hand_in(tmp_path / "ada")
    for name in ("bob.zip", "cleo.tar.gz", "dan.ipynb", "eve_cnn.py", "eve-fnn.py", "eve_fnn.py"):
        (tmp_path / name).touch()
    for name in (".DS_Store", "__MACOSX", "Thumbs.db", "marks.xlsx"):
        (tmp_path / name).touch()

    found = find(tmp_path)

    names = ["ada", "bob", "cleo", "dan", "eve", "marks.xlsx"]
    assert [each.name for each in found.submissions] == names
    (parts,) = found.submissions[-2].attempts
    assert sorted(parts) == ["cnn.py", "fnn (2).py", "fnn.py"]
    assert found.ignored == ("Thumbs.db",)


def test_of_what_is_called_the_same_each_is_told_by_its_file(tmp_path):
    for name in ("ada", "Ada"):
        hand_in(tmp_path / name)
    for name in ("ada.zip", "ada_cnn.py"):
        (tmp_path / name).touch()

    found = find(tmp_path).submissions

    assert [each.name for each in found] == ["Ada", "ada", "ada.zip", "ada_cnn.py"]


def test_two_learners_of_one_name_are_told_by_their_numbers(tmp_path):
    for number in (34, 12):
        hand_in(tmp_path / f"Anna Li_{number}_assignsubmission_file")

    assert [each.name for each in find(tmp_path).submissions] == ["Anna Li (12)", "Anna Li (34)"]


def test_names_that_only_look_the_same_are_numbered(tmp_path):
    for name in (b"caf\xe9", b"caf\xe8", "é".encode(), "e\u0301".encode()):
        hand_in(tmp_path / os.fsdecode(name))

    names = ["caf\ufffd", "caf\ufffd (2)", "e\u0301", "é (2)"]
    assert sorted(each.name for each in find(tmp_path).submissions) == names


NAMES = ("a\nb", "<b>", "=1+1", "a" * 240, "%3C", "\x1b[31mred", "ä ö", "-rf", "../x", ".x", "CON")


@pytest.mark.parametrize("name", [*NAMES, "nul.txt", "Com1.a.b"])
def test_a_name_becomes_one_of_a_file_that_every_system_takes(name):
    (own,) = pages.file_names([name]).values()

    assert len(own.encode()) < 200
    assert not set(own) & set('<>:"/\\|?*\n\x1b=')
    assert own[0] not in "-."
    assert own.casefold().partition(".")[0] not in ("con", "nul", "com1")


def test_learners_whose_names_differ_in_case_have_files_that_do_not():
    assert list(pages.file_names(["Ada", "ada"]).values()) == ["Ada", "ada (2)"]


def test_a_letter_makes_another_row_and_other_files(tmp_path, engine):
    for name in ("ada", "Ada"):
        hand_in(tmp_path / "in" / name, f"# {name}\n")
    engine.outcomes = {"ada": graded(failed("cnn.network"), name="ada")}

    run.grade_class(tmp_path / "in", tmp_path / "out", seed=3)

    assert [(row["name"], row["score"]) for row in rows(tmp_path / "out")] == [
        ("Ada", "100"),
        ("ada", "92"),
    ]
    for name in ("Ada", "ada (2)"):
        grade = json.loads((tmp_path / "out" / "grades" / f"{name}.json").read_text())
        assert grade["submission"] == name.removesuffix(" (2)")


@pytest.mark.parametrize(
    "name", [".ada/cnn.py", ".ada/lab/lab.ipynb", ".ada.zip", ".ada_cnn.py", "__pycache__/cnn.py"]
)
def test_what_is_passed_over_is_said_if_it_looks_like_work(handed_in, tmp_path, engine, name):
    for each in (name, ".git/refs/cnn.py", ".DS_Store", "._bob.zip", "__MACOSX/._cnn.py", ".x/y"):
        (handed_in / each).parent.mkdir(parents=True, exist_ok=True)
        (handed_in / each).touch()
    (handed_in / ".loop").symlink_to(handed_in / ".loop")
    (handed_in / ".link").symlink_to(handed_in / "ada")
    said = f"Not taken for submissions: {Path(name).parts[0]} (looks like a submission: rename it"

    result = grade_class(handed_in, "--out", tmp_path / "out")

    assert f"{said} to have it graded)." in result.output
    assert f"{said} to have it graded)." in (tmp_path / "out" / "class.html").read_text()
    assert len(rows(tmp_path / "out")) == 3


@pytest.mark.parametrize("name", ["submitted", "feedback", "lab_1_2_final", "Thumbs.db", "cnn.py"])
def test_a_learner_whose_folder_is_called_like_something_else_is_a_learner(handed_in, name):
    hand_in(handed_in / name)

    names = [each.name for each in find(handed_in).submissions]

    assert sorted(names) == sorted(["ada", "bob", "cleo", name])


@pytest.mark.parametrize("listing", [b"", b"\xff\xfe", b"[]", b"ada: 5", b"a: ["])
def test_what_is_no_list_of_gradescopes_is_said_in_plain_words(handed_in, listing):
    (handed_in / "submission_metadata.yml").write_bytes(listing)

    with pytest.raises(ClassError, match=r"\(it is no list of submissions\): export it from Grade"):
        find(handed_in)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["in/download/ada", "in/download/bob"], "Not graded: bob. The exercises in ada count"),
        (["in/download/ada", "in/download/bob", "in/download/cy", "in/dee"], "Not graded: bob, cy"),
    ],
)
def test_what_may_be_a_class_is_said_and_ends_with_status_1(tmp_path, engine, names, said):
    for name in names:
        hand_in(tmp_path / name, f"class CNN:\n    depth = '{name}'\n")

    graded, dry_run = (
        grade_class(tmp_path / "in", *how) for how in (["--out", tmp_path / "out"], ["--dry-run"])
    )

    assert f"\ndownload: {said}" in graded.output
    for result in (graded, dry_run):
        assert f"if it is a class, give {tmp_path / 'in' / 'download'}." in result.output
        assert result.exit_code == 1


@pytest.mark.parametrize(
    "files",
    [
        ["", "old", "older", "oldest"],
        ["exercises", "old", "older"],
        ["Lab 1/Version 1", "Lab 1/Version 2", "Lab 1/Version 10"],
        ["mine", "old"],
    ],
    ids=" ".join,
)
def test_what_one_learner_has_left_is_said_and_no_doubt(handed_in, tmp_path, engine, files):
    for number, name in enumerate(files):
        hand_in(handed_in / "dee" / name, f"class CNN:\n    number = {number}\n")

    result = grade_class(handed_in, "--out", tmp_path / "out")

    assert "dee: Not graded: " in result.output
    assert result.exit_code == 0


def test_results_in_the_folder_of_the_class_are_nobodys(handed_in, tmp_path, engine):
    for _ in range(2):
        result = grade_class(handed_in, "--out", handed_in / "results")
        assert result.exit_code == 0

    assert len(rows(handed_in / "results")) == 3
    assert "Not taken for submissions: results." in grade_class(handed_in, "--dry-run").output


@pytest.mark.parametrize("place", [".", "ada", "ada/results"])
def test_results_never_go_where_submissions_are(handed_in, engine, place):
    result = grade_class(handed_in, "--out", handed_in / place)

    assert result.exit_code == 1
    assert "lies where submissions are: name another folder for the results." in result.output
    assert not engine.graded
    assert not list(handed_in.rglob("journal.jsonl"))


def test_one_submission_is_no_class(tmp_path):
    hand_in(tmp_path / "ada")

    with pytest.raises(ClassError, match="mnist-lab grade"):
        find(tmp_path / "ada")


def test_nothing_handed_in_is_an_error_that_says_what_belongs_there(tmp_path):
    with pytest.raises(ClassError, match="for each learner"):
        find(tmp_path)


def test_what_is_packed_comes_out_the_same_elsewhere(tmp_path):
    hand_in(tmp_path / "in" / "ada", "x = 1\n")
    (tmp_path / "in" / "ada" / "more").mkdir()
    (tmp_path / "in" / "ada" / "more" / "__init__.py").write_text("y = 2\n")
    (tmp_path / "in" / "ada" / "fnn.py").symlink_to("/etc/passwd")
    (tmp_path / "out").mkdir()

    with closing(ReaderPool(tmp_path, 1)) as readers:
        (read,) = readers.read([(find(tmp_path / "in").submissions[0], 0)])
    unpack(read.pack(), tmp_path / "out")

    assert sorted(read.pack()) == ["cnn.py", "more/__init__.py"]
    assert (tmp_path / "out" / "more" / "__init__.py").read_text() == "y = 2\n"


@pytest.mark.parametrize("name", ["../cnn.py", "/tmp/cnn.py", "more/../../cnn.py"])
def test_packed_files_never_land_outside(tmp_path, name):
    with pytest.raises(SourceError, match="outside"):
        unpack({name: b""}, tmp_path)


# The journal


def test_what_the_journal_knows_is_not_graded_again(handed_in, tmp_path, engine):
    run.grade_class(handed_in, tmp_path / "out")
    run.grade_class(handed_in, tmp_path / "out")

    assert engine.graded == ["ada", "bob", "cleo"]


def test_a_changed_submission_alone_is_graded_anew(handed_in, tmp_path, engine):
    run.grade_class(handed_in, tmp_path / "out")
    (handed_in / "bob" / "cnn.py").write_text("# better\n")
    run.grade_class(handed_in, tmp_path / "out")

    assert engine.graded == ["ada", "bob", "cleo", "bob"]


def test_what_is_left_of_who_is_not_in_the_class_any_more_is_said(handed_in, tmp_path, engine):
    grade_class(handed_in, "--out", tmp_path / "out")
    shutil.rmtree(handed_in / "bob")

    result = grade_class(handed_in, "--out", tmp_path / "out")

    assert "Left over from an earlier run in grades and feedback: bob." in result.output
    assert [row["name"] for row in rows(tmp_path / "out")] == ["ada", "cleo"]


@pytest.mark.parametrize("change", [{"tier": "full"}, {"seed": 8}])
def test_other_options_grade_all_anew(handed_in, tmp_path, engine, change):
    run.grade_class(handed_in, tmp_path / "out", seed=7)
    run.grade_class(handed_in, tmp_path / "out", **change)

    assert len(engine.graded) == 6


def test_another_kit_grades_all_anew(handed_in, tmp_path, engine, monkeypatch):
    run.grade_class(handed_in, tmp_path / "out")
    monkeypatch.setattr(run, "fingerprint", lambda: "0+newer")
    run.grade_class(handed_in, tmp_path / "out")

    assert len(engine.graded) == 6


def test_the_kit_is_told_by_its_version_and_its_files():
    assert fingerprint().startswith("0.")
    assert "+" in fingerprint()


@pytest.mark.parametrize("file", ["kit.toml", "diagnosis/mistakes/training.toml", "training.py"])
def test_whatever_decides_a_grade_or_what_is_said_makes_another_kit(tmp_path, monkeypatch, file):
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "mnist_lab", tmp_path / "mnist_lab", ignore=ignore)
    monkeypatch.setattr("mnist_lab.__file__", str(tmp_path / "mnist_lab" / "__init__.py"))
    before = fingerprint.__wrapped__()

    with open(tmp_path / "mnist_lab" / file, "a") as changed:
        changed.write("# changed")

    assert fingerprint.__wrapped__() != before


def test_a_class_draws_one_seed_and_keeps_it(handed_in, tmp_path, engine):
    run.grade_class(handed_in, tmp_path / "out")
    hand_in(handed_in / "dan", "# late\n")
    run.grade_class(handed_in, tmp_path / "out")
    run.grade_class(handed_in, tmp_path / "elsewhere")

    first, second, elsewhere = [options.seed for options in engine.options]
    assert first == second != elsewhere


def test_each_submission_has_a_seed_of_its_own_which_no_page_of_its_shows(handed_in, tmp_path):
    asked = Options("quick", 3, KIT)
    pages = [page for learner in ("ada", "bob") for page in feedback_of(learner).values()]

    assert asked.seed_for("a") == asked.seed_for("a") != asked.seed_for("b")
    assert asked.seed_for("a") != Options("quick", 4, KIT).seed_for("a")
    assert not any("seed" in page.casefold() for page in pages)


def feedback_of(name):
    return pages.feedback(Learner(name, name, graded()), attainable=85)


def test_the_same_files_are_graded_once_and_said_to_be_the_same(handed_in, tmp_path, engine):
    hand_in(handed_in / "dan", "# by ada\n")
    whole = graded()
    noted = replace(whole.grade, notes=("What reading them once more has said.",))
    engine.outcomes = {"ada": replace(whole, grade=noted)}

    found = run.grade_class(handed_in, tmp_path / "out")

    assert engine.graded == ["ada", "bob", "cleo"]
    assert [each.outcome.grade.notes for each in found.learners] == [()] * 4
    assert found.same == [["ada", "dan"]]
    written = json.loads((tmp_path / "out" / "grades" / "dan.json").read_text())
    assert written["submission"] == "dan"


def test_of_equal_notebooks_each_that_lies_or_is_laid_out_otherwise_is_graded(tmp_path, engine):
    code = {"cell_type": "code", "source": "class CNN: pass"}
    text = {"cell_type": "markdown", "source": ""}
    for name in ("ada.ipynb", "bob.ipynb", "cleo/lab.ipynb", "dan/lab.ipynb", "eve/lab.ipynb"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        cells = [text, code] if name[0] == "e" else [code]
        (tmp_path / "in" / name).write_text(json.dumps({"nbformat": 4, "cells": cells}))

    found = run.grade_class(tmp_path / "in", tmp_path / "out")

    assert engine.graded == ["ada", "bob", "cleo", "eve"]
    assert found.same == [["ada", "bob", "cleo", "dan", "eve"]]


def test_what_could_not_be_graded_is_tried_in_the_next_run(handed_in, tmp_path, engine):
    unjudged = FULL_MARKS | {"cnn.network": Result("error", cause=Cause("It could not be run."))}
    engine.outcomes = {"ada": NotGraded("No memory."), "bob": graded(unjudged)}
    found = run.grade_class(handed_in, tmp_path / "out")
    assert [(each.name, each.reason) for each in found.of_state("not graded")] == [
        ("ada", "No memory.")
    ]
    assert [(each.name, each.reason) for each in found.of_state("in part")] == [
        ("bob", "cnn.network")
    ]

    engine.outcomes = {}
    found = run.grade_class(handed_in, tmp_path / "out")

    assert engine.graded == ["ada", "bob", "cleo", "ada", "bob"]
    assert not found.of_state("not graded")


def test_a_stop_half_way_loses_nothing_that_was_done(handed_in, tmp_path, engine, monkeypatch):
    def stops_after_two(submissions, options):
        done = engine(submissions, options)
        yield next(done)
        yield next(done)
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_engine", lambda jobs, cluster: stops_after_two)
    with pytest.raises(KeyboardInterrupt):
        run.grade_class(handed_in, tmp_path / "out")
    monkeypatch.setattr(run, "_engine", lambda jobs, cluster: engine)
    run.grade_class(handed_in, tmp_path / "out")

    assert engine.graded == ["ada", "bob", "cleo"]


def options(seed=3):
    return Options("quick", seed, KIT)


def test_a_line_that_was_cut_short_costs_only_itself(tmp_path):
    with Journal(tmp_path) as kept:
        kept.begin(options())
        kept.add("a", options(), graded())
        kept.add("b", options(), graded())
    path = tmp_path / journal.NAME
    whole = path.read_bytes()

    path.write_bytes(whole[:-40])
    with Journal(tmp_path) as kept:
        assert kept.find("a", options()) == graded()
        assert kept.find("b", options()) is None
        kept.add("b", options(), graded())

    assert path.read_bytes() == whole


def test_a_damaged_line_costs_only_itself(tmp_path):
    with Journal(tmp_path) as kept:
        kept.begin(options(seed=5))
    path = tmp_path / journal.NAME
    noise = [b"\xff\x00", b"[]", b"{}", b'{"run": 1}', b'{"digest": "a", "grade": {}}']
    path.write_bytes(path.read_bytes() + b"\n".join(noise) + b"\n")
    with Journal(tmp_path) as kept:
        kept.add("a", options(), graded())

    with Journal(tmp_path) as kept:
        assert kept.seed == 5
        assert kept.find("a", options()) == graded()


def test_a_forged_score_in_the_journal_is_not_believed(tmp_path):
    with Journal(tmp_path) as kept:
        kept.add("a", options(), graded({}))
    path = tmp_path / journal.NAME
    path.write_text(path.read_text().replace('"score": 0', '"score": 85'))

    with Journal(tmp_path) as kept:
        assert kept.find("a", options()) is None


def test_a_second_run_into_the_same_folder_is_refused(tmp_path):
    pytest.importorskip("fcntl", reason="files are locked by fcntl")
    with Journal(tmp_path), pytest.raises(ClassError, match="Another run"):
        Journal(tmp_path)


@pytest.mark.parametrize("file", ["out", "out/grades", "out/feedback"])
def test_a_folder_that_cannot_be_written_is_said_before_anything_is_graded(
    handed_in, tmp_path, engine, file
):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("a file")

    with pytest.raises(ClassError, match=r"cannot be written .*: name another folder"):
        run.grade_class(handed_in, tmp_path / "out")
    assert not engine.graded


# Attempts and the roster


@pytest.fixture
def attempts(tmp_path):
    """Three attempts of Ada's, as Blackboard gives them out; nothing of Bob's but a roster."""
    for day in (3, 4, 5):
        name = f"Lab_ada_attempt_2026-02-0{day}-10-11-12_cnn.py"
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_text(f"# {day}\n")
    (tmp_path / "list.csv").write_text(
        'Student;ID;Lab 1\n;;85\n"Lovelace; ""Ada""";ADA;1\nŁukasz;7;\nŁukasz;8;\n',
        encoding="utf-8-sig",
    )
    return tmp_path / "in"


@pytest.mark.parametrize("best", [False, True])
def test_of_several_attempts_the_last_counts_or_the_best(attempts, tmp_path, engine, best):
    scores = iter([FULL_MARKS, failed("cnn.network"), failed("fnn.network")])

    def grading(reads, options):
        for read in reads:
            yield read, graded(next(scores), name=read.name)

    engine.__class__.__call__ = lambda self, reads, options: grading(reads, options)
    found = run.grade_class(attempts, tmp_path / "out", best=best)

    (ada,) = found.learners
    note = "Of 3 attempts number 1, the best, counts." if best else "Of 3 attempts the last counts."
    assert ada.outcome.grade.notes == (note,)
    assert ada.outcome.grade.score == 100


def test_the_best_attempt_is_that_with_the_best_mark_after_the_deduction(
    attempts, tmp_path, engine
):
    scores = iter([failed("cnn.network"), failed("cnn.network"), FULL_MARKS])

    def grading(reads, options):
        for read in reads:
            yield read, graded(next(scores), name=read.name)

    engine.__class__.__call__ = lambda self, reads, options: grading(reads, options)
    given = ("--late-rule", "10/day", "--deadline", "2026-02-04 12:00")
    result = grade_class(attempts, "--out", tmp_path / "out", "--best", *given)

    assert "2/3  ada, attempt 2" in result.output
    (ada,) = rows(tmp_path / "out")
    assert (ada["mark"], ada["deduction"]) == ("92", "0")
    said = (tmp_path / "out" / "feedback" / "ada.md").read_text()
    assert "Of 3 attempts number 2, the best, counts." in said


@pytest.mark.parametrize(
    "times",
    [
        ["3 févr. 2026 1006", "28 janv. 2026 906"],
        ["28. Januar 2026 0906", "3. Februar 2026 1006"],
        ["Jan 28, 2026 906 AM", "3. Februar 2026 1006"],
    ],
)
@pytest.mark.parametrize("best", [False, True])
def test_an_order_of_attempts_that_is_not_understood_is_said(tmp_path, engine, times, best):
    for time in times:
        hand_in(tmp_path / "in" / f"12-34 - Ada - {time}", f"# {time}\n")

    result = grade_class(tmp_path / "in", "--out", tmp_path / "out", *["--best"] * best)

    said = "Ada has 2 attempts whose times are not understood: 12-34 - Ada - "
    assert (said in result.output, result.exit_code) == (not best, not best)
    feedback = (tmp_path / "out" / "feedback" / "Ada.md").read_text()
    assert ("Of 2 attempts one whose time is not understood counts." in feedback) == (not best)


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("@cnn.py", "@fnn.py", "\nada: An earlier attempt had cnn.py."),
        ("@cnn.py", "@lab.rar", "hand in a zip. An earlier attempt had cnn.py."),
        ("@cnn.py", "@CNN.py", ""),
        ("@cnn.py", "@lab.zip", ""),
        ("ada.zip", "ada (1).zip", "\nada: ada (1).zip was taken for a later attempt."),
    ],
)
def test_what_an_earlier_attempt_had_is_said(tmp_path, engine, first, last, said):
    hand_in(tmp_path / "in" / "bob")
    for second, name in enumerate((first, last)):
        path = tmp_path / "in" / name.replace("@", f"Lab_ada_attempt_2026-02-03-10-11-0{second}_")
        path.write_text("")
        if path.suffix == ".zip":
            with zipfile.ZipFile(path, "w") as made:
                made.writestr("cnn.py", "class CNN: pass")

    output = grade_class(tmp_path / "in", "--out", tmp_path / "out").output

    assert output.count(said) == 1 if said else " attempt " not in output


def test_the_roster_comes_back_with_the_marks_and_with_who_has_handed_in_nothing(
    attempts, tmp_path, engine
):
    out = tmp_path / "out"
    result = grade_class(
        *(attempts, "--out", out, "--roster", tmp_path / "list.csv"),
        *("--roster-name", "Student", "--roster-score", "Lab 1"),
    )

    assert result.exit_code == 0
    assert "Nothing was handed in by Łukasz (7), Łukasz (8)." in result.output
    marked = 'Student;ID;Lab 1\n;;85\n"Lovelace; ""Ada""";ADA;100\nŁukasz;7;0\nŁukasz;8;0\n'
    assert (out / "roster.csv").read_bytes() == marked.encode("utf-8-sig")
    ada, lukasz, _ = rows(out)
    assert (ada["name"], ada["score"]) == ("ada", "100")
    assert (lukasz["name"], lukasz["score"], lukasz["outcome"]) == (
        "Łukasz (7)",
        "0",
        "nothing handed in",
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--roster-key", "Name"], "no column 'Name': it has Student, ID, Lab 1"),
        (["--roster-score", "Lab 2"], "no column 'Lab 2'"),
        (["--roster-score", "ID"], "The marks cannot go into ID, which tells the learners."),
    ],
)
def test_a_column_that_a_roster_lacks_is_said(attempts, tmp_path, engine, given, said):
    roster = tmp_path / "list.csv"
    result = grade_class(attempts, "--out", tmp_path / "out", "--roster", roster, *given)

    assert result.exit_code == 1
    assert said in result.output


@pytest.mark.parametrize("option", ["--roster", "--late"])
def test_two_rows_of_one_learner_are_said_before_anything_is_graded(
    handed_in, tmp_path, engine, option
):
    (tmp_path / "list.csv").write_text("who,days late\nada,1\nbob,\nada,2\n")
    also = ("--late-rule", "2/day") if option == "--late" else ()

    result = grade_class(handed_in, "--out", tmp_path / "out", option, tmp_path / "list.csv", *also)

    assert result.exit_code == 1
    assert "Rows 2 and 4 of" in result.output
    assert "are both for ada, by the column who. Keep one of them" in result.output
    assert not engine.graded


def test_two_of_a_group_with_one_key_are_said_before_anything_is_graded(
    handed_in, tmp_path, engine
):
    (tmp_path / "list.csv").write_text("who,team\nada,x\nAnna,x\nAnna,x\n")
    given = ("--roster", tmp_path / "list.csv", "--roster-group", "team")

    result = grade_class(handed_in, "--out", tmp_path / "out", *given)

    assert "Rows 3 and 4 of" in result.output
    assert not engine.graded


def test_who_has_handed_in_and_is_not_on_the_list_is_said(handed_in, tmp_path, engine):
    (tmp_path / "list.csv").write_text("who\nada\n")

    result = grade_class(handed_in, "--out", tmp_path / "out", "--roster", tmp_path / "list.csv")

    assert "The column who of list.csv tells whose a row is." in result.output
    assert result.exit_code == 1  # They would lose their marks without anybody noticing.
    assert "Not on the roster: bob, cleo." in result.output
    assert "Not on the roster: bob, cleo." in (tmp_path / "out" / "class.html").read_text()
    assert len(rows(tmp_path / "out")) == 3


def test_a_roster_of_another_class_is_refused(attempts, tmp_path, engine):
    (tmp_path / "list.csv").write_text("Name,Mail\nzoe,z@example.org\n")

    roster = tmp_path / "list.csv"
    result = grade_class(attempts, "--out", tmp_path / "out", "--roster", roster)

    assert "fits a submission by any of its columns, Name, Mail." in result.output


def test_a_dry_run_says_who_has_handed_in_what_and_grades_nothing(attempts, tmp_path, engine):
    (attempts / "dan.rar").touch()
    result = grade_class(attempts, "--dry-run", "--roster", tmp_path / "list.csv")

    assert result.exit_code == 1
    assert not engine.graded
    for part in (
        "the last of 3 attempts: cnn",
        "can't be taken: dan.rar is an archive that is not read",
        "1 of 2 submissions can be graded.",
        "Nothing was handed in by Łukasz (7), Łukasz (8).",
    ):
        assert part in result.output


def test_a_name_that_the_terminal_cannot_show_costs_nothing(attempts, tmp_path):
    command = [sys.executable, "-P", "-c", "from mnist_lab.cli import run; run()", "grade-class"]
    (attempts / "Łukasz").mkdir()
    done = subprocess.run(
        [*command, str(attempts), "--dry-run"],
        env={**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
    )

    assert b"\\u0141ukasz" in done.stdout
    assert b"Traceback" not in done.stderr


# Groups, lateness and pages without names


@pytest.mark.parametrize("group", ["team 7", "x"])
def test_a_group_hands_in_once_and_each_of_it_has_a_row(tmp_path, engine, group):
    """Under its own name, or that of one of its learners."""
    hand_in(tmp_path / "in" / ("team-7" if group == "team 7" else "ada"))
    hand_in(tmp_path / "in" / "cleo", "# alone\n")
    roster = tmp_path / "list.csv"
    roster.write_text(f"who,team\nada,{group}\nbob,{group}\ncleo,\ndan,y\n")
    out = tmp_path / "out"

    result = grade_class(
        tmp_path / "in", "--out", out, "--roster", roster, "--roster-group", "team"
    )

    assert "Nothing was handed in by dan." in result.output
    assert [(row["name"], row["score"]) for row in rows(out)] == [
        ("ada", "100"),
        ("bob", "100"),
        ("cleo", "100"),
        ("dan", "0"),
    ]
    assert len(engine.graded) == 2
    assert roster.read_text().splitlines()[1] + ",100" in (out / "roster.csv").read_text()
    assert "The same files" not in (out / "class.html").read_text()
    assert json.loads((out / "grades" / "bob.json").read_text())["submission"] == "bob"


def test_a_group_of_gradescopes_has_not_copied_from_itself(tmp_path, engine):
    hand_in(tmp_path / "in" / "submission_1")
    (tmp_path / "in" / "submission_metadata.yml").write_text(
        "submission_1:\n  :submitters:\n  - :name: Ada\n  - :name: Bob\n"
    )

    found = run.grade_class(tmp_path / "in", tmp_path / "out")

    assert [name for name, _ in found.grades] == ["Ada", "Bob"]
    assert not found.same


@pytest.mark.parametrize(
    ("rule", "lateness", "deduction"),
    [
        ("10%/day", "24:00:00", 8.5),
        ("10%/day", "24:00:01", 17),
        ("10%/day", "0:00:00", 0),
        ("10%/day", "", 0),
        ("10%/day", "3", 25.5),
        ("10%/day up to 20%", "3 days", 17),
        ("2/hour", "90:00:00", 100),
        ("2/hour up to 15", "90 h", 15),
        ("2.5/week", "1 d", 2.5),
        ("1/hour", '"1 day, 2:10:00"', 27),
        ("1/hour", "61 min", 2),
        ("1/hour", '"1,5"', 2),
        *(("1/day", cell, 0) for cell in ("-", "no", "-1:00:00", '"-1 day, 23:00:00"', "On time")),
        *((rule, "2 days", 4) for rule in ("2 / Day", "4 per day up to 4", "9/DAY UP TO 4")),
    ],
)
def test_lateness_costs_what_the_rule_says_and_never_more_than_there_is(
    handed_in, tmp_path, engine, rule, lateness, deduction
):
    (tmp_path / "late.csv").write_text(f"Name,Lateness (H:M:S)\nada,{lateness}\n")
    out = tmp_path / "out"

    result = grade_class(
        *(handed_in, "--out", out, "--late", tmp_path / "late.csv", "--late-rule", rule),
    )

    assert result.exit_code == 0
    ada, bob, _ = rows(out)
    assert (ada["score"], bob["score"], bob["mark"]) == ("100", "100", "100")
    assert float(ada["deduction"]) == deduction
    assert float(ada["mark"]) == 100 - deduction
    told = (out / "feedback" / "ada.md").read_text()
    assert (f"{deduction:g} points are deducted" in told) == bool(deduction)


@pytest.mark.parametrize("column", ["seconds_late", "Late (Seconds)", "late by, in seconds"])
def test_a_column_of_late_seconds_is_not_of_days(handed_in, tmp_path, engine, column):
    (tmp_path / "late.csv").write_text(f'Name,"{column}"\nada,120\nbob,99999\n')
    given = ("--late", tmp_path / "late.csv", "--late-rule", "5/day")
    out = tmp_path / "out"

    grade_class(handed_in, "--out", out, *given)

    assert [(row["late"], row["mark"]) for row in rows(out)][:2] == [
        ("0:02:00", "95"),
        ("1 day, 3:46:39", "90"),
    ]


@pytest.mark.parametrize("time", ["0001-01-01T00:00", "9998-12-31T23:59"])
def test_a_deadline_beyond_the_calendar_is_a_sentence(handed_in, tmp_path, engine, time):
    given = ("--deadline", time, "--late-rule", "1/day")

    result = grade_class(handed_in, "--out", tmp_path / "out", *given)

    assert result.exit_code == int(time.startswith("0"))
    assert "Traceback" not in result.output


def test_a_number_beyond_all_bounds_does_not_say_how_late(handed_in, tmp_path, engine):
    (tmp_path / "late.csv").write_text("Name,late\nada,99999999999\n")
    given = ("--late", tmp_path / "late.csv", "--late-rule", "1/day")

    result = grade_class(handed_in, "--out", tmp_path / "out", *given)

    assert result.exit_code == 1
    assert "has '99999999999', which does not say how late" in result.output


def test_a_dry_run_reads_the_rule_and_the_list(handed_in, tmp_path, engine):
    (tmp_path / "late.csv").write_text("Name,when\nada,2\n")
    listed = ("--late", tmp_path / "late.csv", "--late-rule", "1/day")

    wrong = grade_class(handed_in, "--dry-run", *listed)
    without = grade_class(handed_in, "--dry-run", "--late-rule", "nonsense")

    assert wrong.exit_code == without.exit_code == 1
    assert 'has no column with "late" in its name' in wrong.output
    assert "Give --late-rule, and with it either --late or --deadline." in without.output


def test_several_assignments_are_no_attempts_at_one(tmp_path, engine):
    for name in ("ada+lab1+2026-02-03 10:11:12.1 UTC", "ada+lab2+2026-03-03 10:11:12.1 UTC"):
        hand_in(tmp_path / "in" / name)
    hand_in(tmp_path / "in" / "bob+lab1+2026-02-03 10:11:12.1 UTC")

    result = grade_class(tmp_path / "in", "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert (
        "ada has handed in several assignments, lab1, lab2, and the last counts." in result.output
    )
    assert "bob has" not in result.output


def test_lists_of_an_earlier_run_are_told(handed_in, tmp_path, engine):
    (tmp_path / "list.csv").write_text("who\nada\nbob\ncleo\n")
    out = tmp_path / "out"
    grade_class(handed_in, "--out", out, "--roster", tmp_path / "list.csv")

    result = grade_class(handed_in, "--out", out, "--no-similar")

    assert "Of an earlier run, not of this one: roster.csv, similar.csv." in result.output


@pytest.mark.parametrize("listed", ["team 7,2 days", "bob,2 days", "ada,2 days\nbob,1 day"])
def test_a_group_is_as_late_as_any_row_says(tmp_path, engine, listed):
    hand_in(tmp_path / "in" / "team-7")
    hand_in(tmp_path / "in" / "cleo", "# alone\n")
    (tmp_path / "list.csv").write_text("who,team\nada,team 7\nbob,team 7\ncleo,\n")
    (tmp_path / "late.csv").write_text(f"name,late\n{listed}\ncleo,\n")
    given = ("--roster", tmp_path / "list.csv", "--roster-group", "team", "--late-rule", "10/day")
    out = tmp_path / "out"

    grade_class(tmp_path / "in", "--out", out, "--late", tmp_path / "late.csv", *given)

    assert [(row["name"], row["mark"]) for row in rows(out)] == [
        ("ada", "80"),
        ("bob", "80"),
        ("cleo", "100"),
    ]


def test_a_late_row_that_fits_nobody_is_said(handed_in, tmp_path, engine):
    (tmp_path / "late.csv").write_text("name,late\nada,2\nBobby Ray,1 day\nzoe,\nmean,0.5\n")
    given = ("--late", tmp_path / "late.csv", "--late-rule", "1/day")

    lines = grade_class(handed_in, "--out", tmp_path / "out", *given).output.splitlines()

    said = [
        "The column name of late.csv tells whose a row is.",
        "Rows of late.csv that fit no submission: 3 (Bobby Ray), 5 (mean).",
    ]
    assert lines[1:3] == said
    page = (tmp_path / "out" / "class.html").read_text()
    assert all(note in page for note in said)


def test_what_is_newer_than_the_deadline_is_late(tmp_path, engine):
    """What systems and tools have left since is not."""
    for name, newest in (("ada", 1_000_000_000), ("bob", 2_000_000_000)):
        hand_in(tmp_path / "in" / name / "deeper", f"# {name}\n")
        os.utime(tmp_path / "in" / name / "deeper" / "cnn.py", (newest, newest + 0.5))
    for name in ("desktop.ini", "deeper/.DS_Store", ".git/x.py", "._cnn.py", "__pycache__/cnn.py"):
        path = tmp_path / "in" / "ada" / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "in" / "ada" / "old.zip").mkdir()
    names = (
        "Lab_cleo_attempt_2020-02-03-10-11-12_cnn.py",
        "Lab_dan_attempt_2030-01-01-00-00-00_cnn.py",
        "12-345 - Eve - Feb 1, 2020 906 AM - cnn.py",
        "12-345 - Fay - 1 Jan, 2026 1201 - cnn.py",
        "gus+lab+2026-01-01 11:00:30 UTC",
        "hal+lab+2026-01-01 11:00:31.123 UTC",
    )
    for name in names:
        if name.endswith("UTC"):
            hand_in(tmp_path / "in" / name, f"# {name}\n")
        else:
            (tmp_path / "in" / name).write_text(f"# {name}\n")
    out = tmp_path / "out"

    result = grade_class(
        tmp_path / "in",
        "--out",
        out,
        "--deadline",
        "2026-01-01T12:00:30+01:00",
        "--late-rule",
        "5/week up to 7",
    )

    assert result.exit_code == 0
    assert not any("." in row["late"] for row in rows(out))
    found = {row["name"]: row["deduction"] for row in rows(out)}
    late = {name: deduction for name, deduction in found.items() if deduction != "0"}
    assert late == {"bob": "7", "dan": "7", "Fay": "5", "hal": "5"}
    assert len(found) == 8


@pytest.mark.parametrize(
    ("times", "is_download"),
    [((0, 100, 290), True), ((0, 100, 900), False), ((-9e8, -9e8, -9e8), False), ((0,), False)],
)
def test_files_of_the_same_minutes_after_the_deadline_are_said_to_be_downloaded(
    tmp_path, engine, times, is_download
):
    for number, time in enumerate(times):
        hand_in(tmp_path / "in" / f"learner {number}", f"# {number}\n")
        os.utime(tmp_path / "in" / f"learner {number}" / "cnn.py", (0, 2e9 + time))
    (tmp_path / "in" / "Lab_dan_attempt_2030-01-01-00-00-00_cnn.py").touch()
    (tmp_path / "in" / "refused.rar").touch()
    given = ("--deadline", "2026-01-01 12:00", "--late-rule", "1/day")

    result = grade_class(tmp_path / "in", "--out", tmp_path / "out", *given)

    said = "submissions have files of the same minutes after the deadline, probably those of the"
    assert (said in result.output) == is_download


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--late-rule", "ten a day", "--deadline", "2026-01-01 12:00"], "is not a rule"),
        *(
            (["--late-rule", "10%/day", "--deadline", time], f"no time '{time}': write it as 2026-")
            for time in ("2026-02-30 12:00", "2026-02-03", "3.2.2026 12:00")
        ),
        (["--late-rule", "10%/day"], "either --late or --deadline"),
        (["--deadline", "2026-01-01 12:00"], "Give --late-rule"),
        (
            ["--late-rule", "10%/day", "--late", "list.csv"],
            "Row 2 of list.csv (ada) has 'soon', which",
        ),
        (["--late-rule", "10%/day", "--late", "none.csv"], "no column"),
        (["--late-rule", "10%/day", "--late", "two.csv"], "A Lateness, days late. Keep one"),
    ],
)
def test_what_is_wrong_with_a_rule_is_said_before_anything_is_graded(
    handed_in, tmp_path, engine, monkeypatch, given, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.csv").write_text("name,late\nada,soon\n")
    (tmp_path / "none.csv").write_text("name,Template\nada,soon\n")
    (tmp_path / "two.csv").write_text("name,A Lateness,days late\nada,1:00,\n")

    result = grade_class(handed_in, "--out", tmp_path / "out", *given)

    assert result.exit_code == 1
    assert said in result.output
    assert not engine.graded


def test_the_anonymous_page_names_nobody_and_the_gradebook_everybody(tmp_path, engine):
    names = ["Ada L", "Bob", "Cleo", "Dan", "Mallory"]
    for name in names:
        hand_in(tmp_path / "in" / name, f"# {name}\n")
    hand_in(tmp_path / "in" / "Fay", "# Ada L\n")
    (tmp_path / "in" / "Gus.rar").touch()
    (tmp_path / "in" / "Thumbs.db").touch()
    (tmp_path / "in" / "Dan" / "Mallory.rar").touch()
    (tmp_path / "list.csv").write_text("name\nAda L\nHal\n")
    wrong = failed("cnn.network", "No ReLU.", fault="x.y")
    unjudged = FULL_MARKS | {"cnn.network": Result("error", cause=Cause("It could not be run."))}
    engine.outcomes = {"Bob": graded(wrong, name="Bob"), "Cleo": graded(unjudged, name="Cleo")}
    out = tmp_path / "out"

    grade_class(tmp_path / "in", "--out", out, "--roster", tmp_path / "list.csv", "--anonymous")

    page = (out / "class.html").read_text()
    for name in (*names, "Fay", "Gus", "Hal"):
        assert name not in page
    book = rows(out)
    assert {row["name"] for row in book} == {*names, "Fay", "Gus", "Hal"}
    aliases = [row["alias"] for row in book]
    assert sorted(aliases) == [f"Learner {number}" for number in range(1, 9)] != aliases
    assert "Seed" not in page  # The order of the numbers is made of it.
    assert all(alias in page for alias in aliases)


# What cannot be graded


def test_what_cannot_be_read_of_a_submission_is_in_its_row_and_in_the_status(
    handed_in, tmp_path, engine
):
    (handed_in / "ada" / "rest.rar").touch()
    for file, exercise in kit.load().files.items():
        (handed_in / "bob" / file).write_text("\n".join(f"{n} = 1" for n in exercise.names))
    (handed_in / "bob" / "holiday.rar").touch()  # Nothing lacks that could be in it.

    result = grade_class(handed_in, "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert [row["outcome"] for row in rows(tmp_path / "out")] == ["in part", "graded", "graded"]
    assert "rest.rar is an archive that is not read" in rows(tmp_path / "out")[0]["reason"]
    assert "rest.rar is an archive" in (tmp_path / "out" / "class.html").read_text()
    assert grade_class(handed_in, "--dry-run").exit_code == 1


@pytest.mark.parametrize("later", ["ada v2", "ada_2", "ada - Version 2", "ada final"])
def test_what_may_be_a_second_attempt_under_another_name_is_said(
    handed_in, tmp_path, engine, later
):
    hand_in(handed_in / later)

    result = grade_class(handed_in, "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert f"ada and {later} count as two learners." in result.output


def test_a_full_disk_is_no_submission_s_fault(handed_in, tmp_path, engine, monkeypatch):
    read = reading.Reader.read

    def of_ada_full(reader, parts, folder):
        if "ada" in parts:
            raise OSError(errno.ENOSPC, "No space left on device")
        return read(reader, parts, folder)

    monkeypatch.setattr(reading.Reader, "read", of_ada_full)

    result = grade_class(handed_in, "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert engine.graded == ["bob", "cleo"]
    assert "(No space left on device): make room there" in rows(tmp_path / "out")[0]["reason"]
    ada = grade.read(tmp_path / "out" / "grades" / "ada.json")
    assert {check.outcome for check in ada.checks} == {"error", "not_run"}


def test_an_empty_folder_costs_only_itself(handed_in, tmp_path, engine):
    (handed_in / "empty").mkdir()

    found = run.grade_class(handed_in, tmp_path / "out")

    assert [each.name for each in found.of_state("not graded")] == ["empty"]
    row = rows(tmp_path / "out")[-1]
    assert (row["name"], row["score"], row["outcome"]) == ("empty", "", "not graded")
    assert "none of the exercises" in row["reason"]
    assert str(tmp_path) not in row["reason"]


class Runner:
    """Ends each run as the next of ``ends`` says."""

    def __init__(self, *ends):
        self.ends, self.closed = list(ends), 0

    def open(self):
        return self

    def grade(self, arguments, limit):
        end = self.ends.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def close(self):
        self.closed += 1


DONE = Run(0, "", {"grade": graded().grade.to_json()})


@pytest.fixture
def pool(monkeypatch):
    """A pool whose one worker ends each run as the next of ``ends`` says."""

    def made(*ends):
        monkeypatch.setattr(workers, "default_isolation", lambda: "fork")
        monkeypatch.setattr(workers, "Jobs", lambda tier: Runner(*ends))
        return WorkerPool(options())

    return made


@pytest.mark.parametrize("end", [JobError("It has ended."), Run(-11, "", {}), OSError("No memory")])
def test_a_run_without_a_grade_is_tried_once_more(tmp_path, pool, end):
    assert pool(end, DONE).grade("ada", tmp_path, 3) == graded()


def test_a_run_that_fails_twice_is_not_graded_and_says_why(tmp_path, pool):
    crash = Run(3, "INTERNALERROR> lots\nINTERNALERROR> MemoryError\n", {})

    outcome = pool(crash, crash, DONE).grade("ada", tmp_path, 3)

    assert outcome == NotGraded("INTERNALERROR> MemoryError")


def test_the_grade_of_a_run_that_broke_off_does_not_count(tmp_path, pool):
    half = Run(3, "INTERNALERROR> half-way\n", DONE.result)

    outcome = pool(half, half).grade("ada", tmp_path, 3)

    assert outcome == NotGraded("INTERNALERROR> half-way")


def test_a_run_that_takes_too_long_says_so(tmp_path, pool):
    late = Run(-9, "", {})

    outcome = pool(late, late).grade("ada", tmp_path, 3)

    assert (
        outcome.reason == f"The grading was stopped or took more than {options().limit:g} seconds."
    )


def test_a_check_that_could_not_be_judged_is_tried_once_more(tmp_path, pool):
    unjudged = FULL_MARKS | {"cnn.network": Result("error", cause=Cause("It could not be run."))}
    first = Run(1, "", {"grade": graded(unjudged).grade.to_json()})

    assert pool(first, DONE).grade("ada", tmp_path, 3) == graded()


# What is written


def rows(out):
    return list(csv.DictReader(io.StringIO((out / "gradebook.csv").read_text())))


def test_the_gradebook_has_a_row_a_learner(handed_in, tmp_path, engine):
    wrong = failed("cnn.network", fault="cnn.no-relu-conv2")
    engine.outcomes = {"bob": graded(wrong, name="bob")}

    run.grade_class(handed_in, tmp_path / "out")

    ada, bob, _ = rows(tmp_path / "out")
    assert (ada["name"], ada["outcome"], ada["faults"]) == ("ada", "graded", "")
    assert float(ada["score"]) - float(bob["score"]) == kit.load().check("cnn.network").points
    assert bob["faults"] == "cnn.no-relu-conv2"


def test_the_same_class_has_the_same_gradebook_byte_for_byte(handed_in, tmp_path, engine):
    for out in ("first", "second"):
        run.grade_class(handed_in, tmp_path / out, seed=3)

    names = ["gradebook.csv", "feedback/ada.md", "feedback/ada.html"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_a_cell_is_never_a_formula(tmp_path, engine):
    for name in ("=HYPERLINK(1)", "+1", "-1", "@SUM(1)"):
        hand_in(tmp_path / "in" / name)

    run.grade_class(tmp_path / "in", tmp_path / "out")

    for row in rows(tmp_path / "out"):
        assert row["name"].startswith("'")


HOSTILE = "<script>alert(1)</script> ``` [x](javascript:y) \x1b[31m\u202e\ud800 | end"


def test_nothing_of_a_learners_is_markup_on_any_page(tmp_path, engine):
    name = "<img src=x onerror=alert(1)>"
    hand_in(tmp_path / "in" / name)
    wrong = failed(
        "cnn.network",
        HOSTILE,
        evidence=HOSTILE,
        where=HOSTILE,
        hint=HOSTILE,
        output=f"{HOSTILE}\n```\n# owned\n",
        traceback=HOSTILE,
        fault="cnn.<b>",
        actual=HOSTILE,
    )
    engine.outcomes = {name: graded(wrong, name=name)}

    run.grade_class(tmp_path / "in", tmp_path / "out")

    written = [path for path in (tmp_path / "out").rglob("*") if path.suffix in (".html", ".md")]
    assert len(written) == 3
    for path in written:
        text = path.read_text()
        page = MarkdownIt().render(text) if path.suffix == ".md" else text
        assert "<script>alert" not in page
        assert "<img" not in page
        assert 'href="javascript' not in page
        assert "<h1>owned" not in page
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_what_was_printed_cannot_end_its_block_of_markdown():
    printed = "```\n# owned\n````\n~~~\n"
    told = pages.feedback(
        Learner("ada", "ada", graded(failed("cnn.network", output=printed))), attainable=85
    )["md"]

    assert "`````text\n```\n# owned\n````\n~~~\n`````" in told


@pytest.mark.parametrize("message", ["- item", "1. item", "=== x", "~~~", "+ item", "# title"])
def test_a_message_cannot_begin_a_block_of_markdown(message):
    told = pages.feedback(
        Learner("ada", "ada", graded(failed("cnn.network", message))), attainable=85
    )["md"]

    assert message not in told.splitlines()


def test_the_feedback_says_what_is_wrong_and_what_to_do():
    wrong = failed("cnn.network", "No ReLU.", evidence="Equal.", hint="Look.", where="cnn.py:3")
    told = pages.feedback(Learner("ada", "ada", graded(wrong)), attainable=85)

    for text in told.values():
        for part in ("No ReLU.", "Equal.", "Look.", "cnn.py:3"):
            assert part in text


def test_a_note_on_how_the_submission_was_read_is_in_the_feedback():
    noted = replace(graded().grade, notes=("The last <b> of two definitions counts.",))
    told = pages.feedback(Learner("ada", "ada", Graded(noted)), attainable=85)

    assert "The last &lt;b&gt; of two definitions counts." in told["html"]
    assert "of two definitions counts." in told["md"]


def test_who_could_not_be_graded_is_told_why():
    told = pages.feedback(Learner("ada", "ada", NotGraded("It is empty.")), attainable=85)

    for text in told.values():
        assert "It is empty." in text


def test_what_cannot_be_graded_has_a_grade_and_a_page_that_say_why(handed_in, tmp_path, engine):
    run.grade_class(handed_in, tmp_path / "out")
    (handed_in / "ada" / "cnn.py").unlink()
    run.grade_class(handed_in, tmp_path / "out")

    left = grade.read(tmp_path / "out" / "grades" / "ada.json")
    assert left.score == 0
    assert "none of the exercises" in left.checks[0].cause.message
    assert "Not graded" in (tmp_path / "out" / "feedback" / "ada.md").read_text()


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    (tmp_path / "page").write_text("before")

    def full(path, content):
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        writing.write(tmp_path / "page", "after")

    assert (tmp_path / "page").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["page"]


# What the class is like


@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (None, ()),
        ("a", (("a",),)),
        ("a+b", (("a",), ("b",))),
        ("a|b", (("a", "b"),)),
        ("a+b|a+c", (("a",), ("b", "c"))),
        ("b+c|d", (("b+c", "d"),)),
    ],
)
def test_the_mistakes_of_a_check_are_taken_apart(fault, found):
    check = next(
        each
        for each in graded(failed("cnn.network", fault=fault)).grade.checks
        if each.id == "cnn.network"
    )

    assert tuple(check.faults) == found


def test_the_most_frequent_mistake_comes_first_and_a_learner_counts_once_in_an_exercise():
    twice = failed("cnn.network", fault="cnn.a") | {
        "fnn.network": Result("failed", cause=Cause("Both.", fault="cnn.a+fnn.b"))
    }
    class_of_three = [
        Learner("ada", "ada", graded(twice)),
        Learner("bob", "bob", graded(failed("fnn.network", "Only b.", fault="fnn.b"))),
        Learner("cleo", "cleo", graded(failed("fnn.network", "Unknown.", fault="fnn.new"))),
    ]

    found = Analysis(class_of_three, 85).mistakes

    assert [(each.exercise, *each.ids, each.says, each.learners) for each in found] == [
        ("fnn", "fnn.b", "Only b.", ("ada", "bob")),
        ("cnn", "cnn.a", "It is wrong.", ("ada",)),
        ("fnn", "cnn.a", "Both.", ("ada",)),
        ("fnn", "fnn.new", "Unknown.", ("cleo",)),
    ]


def test_mistakes_that_are_only_made_together_are_one_entry(tmp_path):
    both = failed("cnn.network", "Both.", fault="cnn.a+cnn.b")
    learners = [Learner("ada", "ada", graded(both)), Learner("bob", "bob", graded(both))]

    found = Analysis(learners, 85)
    assert [[each.ids for each in entry] for entry in found.mistakes_in("cnn")] == [
        [("cnn.a",), ("cnn.b",)]
    ]
    assert "<summary>cnn.a and cnn.b</summary>" in pages.class_page(found, [])

    learners.append(Learner("cleo", "cleo", graded(failed("cnn.network", "A.", fault="cnn.a"))))
    assert len(Analysis(learners, 85).mistakes_in("cnn")) == 2


def test_many_who_have_handed_in_nothing_are_folded_up():
    learners = [Learner(f"learner {number}", f"{number}", NOTHING) for number in range(30)]

    assert "<summary>30 learners</summary>" in pages.class_page(Analysis(learners, 85), [])


def test_the_hardest_check_comes_first():
    found = Analysis(
        [Learner("ada", "ada", graded(failed("fnn.network"))), Learner("bob", "bob", graded())],
        85,
    )

    assert found.checks[0].id == "fnn.network"
    assert found.checks[0].share == 0.5

    page = pages.class_page(found, [])

    others = f"<summary>{len(found.checks) - 1} more</summary>"
    assert page.index("fnn.network") < page.index(others)


def test_what_everybody_passed_is_not_hard():
    found = Analysis([Learner("bob", "bob", graded())], 85)

    page = pages.class_page(found, [])

    said = page.index("Everybody passed every check.")
    assert said < page.index(f"<summary>{len(found.checks)} checks</summary>")


def test_the_median_of_a_class_is_computed_once_however_many_learners_and_checks(monkeypatch):
    computed = []
    monkeypatch.setattr(analysis, "median", lambda values: computed.append(values) or 50.0)
    learners = [Learner(f"ada{n}", f"ada{n}", graded(failed("fnn.network"))) for n in range(4)]

    assert Analysis(learners, 85).checks
    assert len(computed) == 1


def test_marks_fall_into_bars_and_full_marks_into_their_own():
    found = Analysis([Learner("ada", "ada", graded({})), Learner("bob", "bob", graded())], 85)

    assert [count for _, count in found.bars] == [1, *[0] * 9, 1]


def test_the_marks_of_a_class_are_those_after_the_deduction():
    late = replace(Learner("ada", "ada", graded()), late=timedelta(1), deduction=60.0)
    found = Analysis((late, Learner("bob", "bob", graded(failed("cnn.network")))), 100)

    page = pages.class_page(found, [])

    assert "median 66, mean 66.0 of 100 points; 0 with full marks" in page
    assert [edge for edge, count in found.bars if count] == [40, 90]
    assert found.checks[0].below == 0.0


def test_the_accuracy_of_the_class_has_those_who_missed_it_too():
    low = failed("cnn.accuracy", actual=0.5)
    reached = {"cnn": 0.99, "fnn": 0.97, "logistic_regression": 0.9}
    found = Analysis(
        [
            Learner("ada", "ada", graded(tier="full", digits="mnist", accuracy=reached)),
            Learner("bob", "bob", graded(low, tier="full")),
        ],
        100,
    )

    cnn = found.accuracy[-1]
    assert (cnn.passed, cnn.tried, cnn.values) == (1, 2, (0.5, 0.99))


def test_the_page_on_the_class_shows_all_of_it(handed_in, tmp_path, engine):
    hand_in(handed_in / "dan", "# by ada\n")
    (handed_in / "empty").mkdir()
    (handed_in / "Thumbs.db").touch()
    engine.outcomes = {"bob": graded(failed("cnn.network", "No ReLU.", fault="x.y"), name="bob")}

    run.grade_class(handed_in, tmp_path / "out")

    page = (tmp_path / "out" / "class.html").read_text()
    for part in (
        "4 of 5 submissions are graded",
        "none of the exercises",
        "No ReLU.",
        "x.y",
        "handed in by ada, dan",
        "Thumbs.db",
        'href="feedback/ada.html"',
    ):
        assert part in page


# The command


def grade_class(*arguments):
    return CliRunner().invoke(main, ["grade-class", *map(str, arguments)])


def test_the_command_has_a_line_for_each_and_says_where_the_results_are(
    handed_in, tmp_path, engine
):
    result = grade_class(handed_in, "--out", tmp_path / "out", "--seed", 7)

    assert result.exit_code == 0
    first, *lines, last = result.output.splitlines()
    assert first == "3 submissions (3 folders), seed 7."
    assert [line.split()[:2] for line in lines] == [["1/3", "ada"], ["2/3", "bob"], ["3/3", "cleo"]]
    assert last == f"3 of 3 graded: {tmp_path / 'out' / 'class.html'}"


def test_the_command_says_what_it_has_found_and_what_it_does_not_take(handed_in, tmp_path, engine):
    for name in ("dan.ipynb", "eve.zip", "fay.zip", "gus.rar", "hal_cnn.py", "hal_fnn.py"):
        (handed_in / name).touch()
    (handed_in / "Thumbs.db").touch()

    lines = grade_class(handed_in, "--out", tmp_path / "out").output.splitlines()

    assert lines[0].startswith(
        "8 submissions (3 folders, 2 archives, 1 notebook, 1 file, 1 set of files), seed "
    )
    assert lines[1] == "Not taken for submissions: Thumbs.db."


def test_what_is_refused_is_counted_once(handed_in, tmp_path, engine):
    (handed_in / "empty").mkdir()

    result = grade_class(handed_in, "--out", tmp_path / "out")

    assert [line.split()[0] for line in result.output.splitlines()[1:5]] == [
        "1/4",
        "2/4",
        "3/4",
        "4/4",
    ]


def test_the_command_says_what_needs_no_grading(handed_in, tmp_path, engine):
    grade_class(handed_in, "--out", tmp_path / "out")

    result = grade_class(handed_in, "--out", tmp_path / "out")

    assert "3 of them need no grading" in result.output
    assert len(result.output.splitlines()) == 2


def test_the_command_fails_if_one_could_not_be_graded(handed_in, tmp_path, engine):
    engine.outcomes = {"bob": NotGraded("No memory.")}

    result = grade_class(handed_in, "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert "not graded: No memory." in result.output


def test_the_command_says_what_is_wrong_with_what_it_is_given(handed_in, tmp_path, engine):
    result = grade_class(handed_in / "ada", "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert "is one submission" in result.output


def test_the_command_can_be_interrupted(handed_in, tmp_path, engine, monkeypatch):
    def interrupted(submissions, options):
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(run, "_engine", lambda jobs, cluster: interrupted)

    result = grade_class(handed_in, "--out", tmp_path / "out")

    assert result.exit_code == 130
    assert "run the same command again" in result.output


def test_without_dask_the_command_says_what_to_install(handed_in, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)

    result = grade_class(handed_in, "--out", tmp_path / "out", "--cluster", "tcp://127.0.0.1:9")

    assert result.exit_code == 1
    assert "pip install distributed" in result.output
