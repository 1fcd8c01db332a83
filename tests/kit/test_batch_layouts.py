"""What course systems give out is found: forty learners each, with the exercises they did."""

import gzip
import io
import json
import lzma
import os
import re
import resource
import struct
import subprocess
import tarfile
import tempfile
import zipfile
import zlib
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnist_lab.grading.batch import reading
from mnist_lab.grading.batch.reading import ReaderPool
from mnist_lab.grading.batch.run import look
from mnist_lab.grading.batch.submissions import find
from mnist_lab.grading.plugin import Grading
from mnist_lab.submission.notebook import of_history
from mnist_lab.submission.refused import SourceError

CLASS = 40
NAMES = {"cnn": "CNN", "fnn": "FNN", "logistic_regression": "LogisticRegression"}
DONE = {f"{name}.py": f"class {wanted}: pass\n" for name, wanted in NAMES.items()}
STUBS = {
    f"{name}.py": f"class {wanted}:\n    def forward(self):\n        raise NotImplementedError\n"
    for name, wanted in NAMES.items()
}


def files_of(number):
    """One to three exercises, which no two learners have the same."""
    done = list(DONE.items())[: 1 + number % 3]
    return {name: text.replace("pass", f"number = {number}") for name, text in done}


def zipped(files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def tarred(files):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return made.getvalue()


def notebook(files):
    return of_history(list(enumerate(files.values(), start=1))).replace("mnist-lab-history", "x")


def under(folder, files):
    return {f"{folder}/{name}": content for name, content in files.items()}


def write(root, files):
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def plain(who, number):
    return under(who, files_of(number))


def workspace(who, number):
    return {
        **under(f"{who}/my-lab/exercises", STUBS | files_of(number)),
        f"{who}/my-lab/exercises/mnist_lab.ipynb": notebook(STUBS),
        f"{who}/my-lab/tests/grading/test_networks.py": "",
        f"{who}/my-lab/venv/pyvenv.cfg": "",
        f"{who}/my-lab/venv/lib/cnn.py": DONE["cnn.py"],
    }


def moodle(who, number):
    folder = f"{who}_{70000 + number}_assignsubmission"
    return {
        f"{folder}_file/lab.zip": zipped(files_of(number)),
        f"{folder}_onlinetext/onlinetext.html": "<p>Here it is.</p>",
    }


def moodle_flat(who, number):
    return {
        f"{who}_{70000 + number}_assignsubmission_file_{name}": text
        for name, text in files_of(number).items()
    }


def canvas(who, number):
    prefix = f"{who}_{'LATE_' if number % 7 == 0 else ''}{12000 + number}"
    files = {}
    for at, (name, text) in enumerate(files_of(number).items()):
        files[f"{prefix}_{90000 + 10 * number + at}_{name}"] = "1 / 0\n"
        again = name.replace(".py", "-1.py")
        files[f"{prefix}_{90500 + 10 * number + at}_{again}"] = text
    return files


def blackboard(who, number):
    prefix = f"Lab 1_{who}_attempt_2026-02"
    files = {f"{prefix}-03-10-11-12.txt": "", f"{prefix}-04-10-11-12.txt": ""}
    files[f"{prefix}-03-10-11-12_lab.ipynb"] = notebook(DONE)
    return files | {f"{prefix}-04-10-11-12_{name}": text for name, text in files_of(number).items()}


def brightspace(who, number):
    first = f"{400 + number}-77 - {who} - Jan 20, 2026 1159 PM"
    last = f"{400 + number}-77 - {who} - Feb 3, 2026 906 AM"
    return {f"{first}/cnn.py": "1 / 0\n", **under(last, files_of(number)), "index.html": "<p>"}


def google_classroom(who, number):
    return {f"{who} - {name}": text for name, text in files_of(number).items()}


def gradescope(who, number):
    files = under(f"submission_{5000 + number}", files_of(number))
    return {**files, "submission_metadata.yml": METADATA}


METADATA = "".join(
    f"submission_{5000 + number}:\n  :submitters:\n  - :name: learner{number:02}\n"
    f"    :sid: '{number}'\n    :email: l{number}@example.org\n"
    for number in range(CLASS)
)


def sakai(who, number):
    folder = f"Lab 1/Lovelace, {who}({who})"
    return {
        f"{folder}/Feedback Attachment(s)/cnn.py": DONE["cnn.py"],
        **under(f"{folder}/Submission attachment(s)", files_of(number)),
        f"{folder}/timestamp.txt": "20260203101112131",
        "Lab 1/grades.csv": "",
    }


def nbgrader(who, number):
    return {f"submitted/{who}/lab/lab.ipynb": notebook(files_of(number))}


def classroom(who, number):
    return {
        **under(f"{who}/exercises", files_of(number)),
        f"{who}/.git/HEAD": "ref: refs/heads/main\n",
        f"{who}/README.md": "# Lab\n",
        f"{who}/.github/workflows/grade.yml": "",
    }


def mac(who, number):
    files = under("lab", files_of(number))
    debris = {".DS_Store": "", "__MACOSX/lab/._cnn.py": "x", "lab/._cnn.py": "x", "._lab": "x"}
    made = tarred(debris | files) if number % 2 else zipped(debris | files)
    return {f"{who}{'.tar.gz' if number % 2 else '.zip'}": made}


def windows(who, number):
    spelled = {
        "cnn.py": "CNN.py",
        "fnn.py": "fnn (1).PY",
        "logistic_regression.py": "logistic_regression.py.txt",
    }
    files = {f"lab\\{spelled[name]}": text for name, text in files_of(number).items()}
    return {f"{who}.zip": zipped(files)}


def nested(who, number):
    return {f"{who}.zip": zipped({"all/lab.zip": zipped(under("x/y", files_of(number)))})}


def written_by_cells(who, number):
    cells = [f"%%writefile exercises/{name}\n{text}" for name, text in files_of(number).items()]
    return {f"{who} (1).ipynb": notebook(dict(enumerate(cells)))}


LAYOUTS = (
    plain,
    workspace,
    moodle,
    moodle_flat,
    canvas,
    blackboard,
    brightspace,
    google_classroom,
    gradescope,
    sakai,
    nbgrader,
    classroom,
    mac,
    windows,
    nested,
    written_by_cells,
)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_every_learner_is_found_with_what_counts(tmp_path, layout):
    for number in range(CLASS):
        write(tmp_path / "class", layout(f"learner{number:02}", number))

    _, reads, _ = look(tmp_path / "class")

    found = {re.search(r"learner\d+", read.name)[0]: read for read in reads}
    assert sorted(found) == [f"learner{number:02}" for number in range(CLASS)]
    for number in range(CLASS):
        read = found[f"learner{number:02}"]
        assert read.reason == ""
        assert {f"{name}.py" for name in read.exercises} >= set(files_of(number))
    assert len({read.digest for read in reads}) == CLASS


SYSTEMS = {
    "12-34 - Ada Lovelace - Feb 3, 2026 906 AM - cnn.py": ("Ada Lovelace", "cnn.py"),
    "12-34 - Ada Lovelace- February 3, 2026 906 AM - cnn.py": ("Ada Lovelace", "cnn.py"),
    "12-34 - Ada Lovelace - 3. Februar 2026 1406": ("Ada Lovelace", None),
    "ada+lab+2026-02-03 10:11:12.131415 UTC+x7f": ("ada", None),
    "Lab_1_a_lovelace_attempt_2026-02-03-10-11-12_cnn.py": ("lovelace", "cnn.py"),
    "a_b@example.org_2_handin.zip": ("a_b@example.org", "handin.zip"),
    "Lovelace, Ada(al)_Submission attachment(s)_cnn.py": ("Lovelace, Ada(al)", "cnn.py"),
    "anon_x7Kd2_90001_cnn.py": ("anon_x7Kd2", "cnn.py"),
    "LATE_anon_x7Kd2_90001_cnn.py": ("anon_x7Kd2", "cnn.py"),
    "love_lace_LATE_12345_90001_cnn.py": ("love_lace", "cnn.py"),
    "lovelaceada_12345_text.html": ("lovelaceada", None),
    "1gruppe_12345_90001_cnn.py": ("1gruppe", "cnn.py"),
    "Ada Lovelace - Copy of mnist_lab.ipynb": ("Ada Lovelace", "Copy of mnist_lab.ipynb"),
    "mnist_lab_Ada Lovelace.ipynb": ("Ada Lovelace", "mnist_lab.ipynb"),
    "logistic_regression - Ada Lovelace.py": ("Ada Lovelace", "logistic_regression.py"),
    "cnn - Copy.py": ("cnn - Copy.py", None),
    "cnn_notes.py": ("cnn_notes.py", None),
    "2026_02_03_ada_cnn.py": ("2026_02_03_ada", "cnn.py"),
    "ada.ipynb.json": ("ada", None),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_name_tells_whose_it_is_and_what_the_learner_called_it(tmp_path, name):
    (tmp_path / name).touch() if name[-6:].count(".") else (tmp_path / name).mkdir()
    write(tmp_path, {"zed/cnn.py": "", "zoe/cnn.py": ""})

    (found,) = [each for each in find(tmp_path).submissions if each.name[0] != "z"]

    learner, called = SYSTEMS[name]
    assert found.name == learner
    assert list(found.attempts[0]) == [called or name]


@pytest.mark.parametrize(
    "times",
    [
        ["{} - 9 March, 2026 0906", "{} - 10 March, 2026 0906", "{} - 2 April, 2026 0906"],
        ["{} - Mar 9, 2026 906 PM", "{} - Mar 10, 2026 906 AM", "{} - Mar 10, 2026 1206 PM"],
        ["{} - 9. März 2026 906", "{} - 9. März 2026 1206", "{} - 10. März 2026 800"],
        ["{} - Sept 28, 2026 906 AM", "{} - Oct 3, 2026 906 AM"],
        ["{} - 28 Sept, 2026 906", "{} - 3 October, 2026 906"],
        ["{} - 2026-01-28 906 PM", "{} - 2026-02-03 1006 AM", "{} - 2026-02-03 906 PM"],
        ["ada+lab+2026-02-03 10:11:12.131415 UTC", "ada+lab+2026-02-04 10:11:12 CET"],
        ["{} - 28.01.2026 0906", "{} - 03.02.2026 0906"],
    ],
)
def test_the_last_by_the_times_in_the_names_counts(tmp_path, times):
    handed_in = [time.format("12-34 - Ada") for time in times]
    write(tmp_path, {f"{each}/cnn.py": "" for each in handed_in} | {"zed/cnn.py": ""})

    ada = find(tmp_path).submissions[0]

    assert [name for attempt in ada.attempts for name in attempt] == handed_in
    assert ada.is_ordered


SAME = {
    "Ada - cnn.py, Ada - helpers.py, Ada - x.ipynb": "Ada: cnn.py, helpers.py, x.ipynb",
    "cnn - Bo Ray.py, x - Bo Ray.ipynb, lab - Bo Ray.zip": "Bo Ray: cnn.py, x.ipynb, lab.zip",
    "cnn - Bo Ray.py, cnn - Bo Ray (1).py": "Bo Ray: cnn.py, cnn (1).py",
    "cnn_Bo Ray.py, cnn_Bo Ray 1.py": "Bo Ray: cnn.py, cnn (1).py",
    "cnn - Bo 1.py, cnn - Bo 2.py": "Bo 1: cnn.py. Bo 2: cnn.py",
    "Ada_cnn.py, ada_fnn.py": "Ada: cnn.py, fnn.py",
    "Ada_cnn.py, ada_cnn.py, ada_fnn.py": "Ada: cnn.py. ada: cnn.py, fnn.py",
    "\xe9_cnn.py, e\u0301_fnn.py": "e\u0301: cnn.py, fnn.py",
    "bo_cnn.py, bo.zip": "bo.zip: bo.zip. bo_cnn.py: cnn.py",
    "x - Ada.zip, x - Bo.zip": "x - Ada: x - Ada.zip. x - Bo: x - Bo.zip",
    "Flo (1).zip, Flo.zip, Flo (10).zip, Flo (2).zip": "Flo: Flo.zip | Flo (1).zip | "
    "Flo (2).zip | Flo (10).zip",
    "Flo (1).zip, Flo (2).zip": "Flo (1): Flo (1).zip. Flo (2): Flo (2).zip",
    "Ada - cnn.py, Ada - lab/cnn.py": "Ada: cnn.py. Ada - lab: Ada - lab",
    "Ada - cnn.py, Ada - lab.zip, lab - Ada.zip": "Ada: cnn.py, lab.zip, lab (2).zip",
    "(1), Flo.zip": "(1): (1). Flo: Flo.zip",
    "Flo (1).zip, Flo.ipynb": "Flo: Flo.ipynb. Flo (1): Flo (1).zip",
}


@pytest.mark.parametrize("files", SAME)
def test_files_of_one_learner_are_one_submission(tmp_path, files):
    write(tmp_path, dict.fromkeys(files.split(", "), "") | plain("zoe", 1))

    found = [
        f"{each.name}: {' | '.join(', '.join(attempt) for attempt in each.attempts)}"
        for each in find(tmp_path).submissions
        if each.name != "zoe"
    ]

    wanted = [{*re.split(", |: ", each)} for each in SAME[files].split(". ")]
    assert [{*re.split(", |: ", each)} for each in found] == wanted


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("lab_1_12345_{}.zip", "lab_1_12345_{}"),
        ("lab_2026_11_{}.ipynb", "lab_2026_11_{}"),
        ("Group_{0}_12345_of_{0}.zip", "Group_{0}_12345_of_{0}"),
        ("lab_1_12345_{}_cnn.py", "lab_1_12345_{}"),
        ("lovelace_1_12345_cnn-{}.py", "lovelace"),
        ("lovelace_1_12345_lab-{}.zip", "lovelace"),
        ("lovelace{}_1_12345_lab-{}.zip", "lovelace{}"),
    ],
)
def test_names_of_an_own_scheme_are_nothing_of_canvas(tmp_path, name, called):
    write(tmp_path, {name.format(number, number): "" for number in (1, 2, 3)} | plain("zoe", 1))

    names = [each.name for each in find(tmp_path).submissions]

    assert names == [*dict.fromkeys(called.format(number) for number in (1, 2, 3)), "zoe"]


@pytest.mark.parametrize(
    ("heads", "names"),
    [
        (["Lab_ada", "Lab_s_miller"], ["ada", "s_miller"]),
        (["Lab_1_b_ray", "Lab_1_b_ray_jr", "Lab_1_ada"], ["ada", "b_ray", "b_ray_jr"]),
        (["Lab_1_ada", "Test_2_bob"], ["ada", "bob"]),
        (["Lab_s_miller"], ["miller"]),
    ],
)
def test_a_login_begins_after_what_all_of_blackboards_names_have_in_common(tmp_path, heads, names):
    write(tmp_path, {f"{head}_attempt_2026-02-03-10-11-12_cnn.py": "" for head in heads})

    assert [each.name for each in find(tmp_path).submissions] == names


def test_two_whose_names_end_alike_are_two(tmp_path):
    name = "Lab_1_{}_lovelace_attempt_2026-02-03-10-11-12_cnn.py"
    write(tmp_path, {name.format("a"): "", name.format("b"): ""})

    assert len(find(tmp_path).submissions) == 2


@pytest.mark.parametrize("layout", [gradescope, sakai], ids=lambda layout: layout.__name__)
def test_an_export_in_a_folder_of_its_own_is_the_class(tmp_path, layout):
    for number in range(2):
        files = layout(f"learner{number:02}", number)
        write(tmp_path, under("export", files) if layout is gradescope else files)

    names = [each.name for each in find(tmp_path).submissions]
    assert [name.partition("(")[2][:-1] or name for name in names] == ["learner00", "learner01"]


@pytest.mark.parametrize("layout", [plain, workspace, windows], ids=lambda layout: layout.__name__)
@pytest.mark.parametrize(
    "called", ["ada bob cyd", "1001 1002 1003", "team1 team2 team3", "s01 s02 s03"]
)
def test_a_class_may_lie_in_a_folder_of_any_name(tmp_path, layout, called):
    names = called.split()
    for number, name in enumerate(names):
        write(tmp_path / "Lab 1 (final)", layout(name, number))

    assert [each.name for each in find(tmp_path).submissions] == names


@pytest.mark.parametrize(
    "files",
    [
        ["lab/cnn.py", "lab 2/cnn.py", "lab 3/cnn.py"],
        ["mine/cnn.py", "mine 2/cnn.py", "mine (3)/cnn.py"],
        ["Version 1/cnn.py", "Version 2/cnn.py", "Version 10/cnn.py"],
        ["attempt1/cnn.py", "attempt2/cnn.py", "attempt3/cnn.py"],
        ["1 networks/cnn.py", "2 loops/training.py", "3 end/evaluation.py"],
        ["cnn/cnn.ipynb", "fnn/fnn.ipynb", "training/training.ipynb"],
        ["exercises/cnn.py", "solutions/cnn.py", "backup/cnn.py"],
        ["fnn.py", "old/cnn.py", "older/cnn.py", "oldest/cnn.py"],
    ],
    ids=" ".join,
)
def test_one_learners_folders_are_no_class(tmp_path, files):
    write(tmp_path, {f"ada/{file}": "x" for file in files})

    assert [each.name for each in find(tmp_path).submissions] == ["ada"]


@pytest.mark.parametrize(
    ("files", "beside"),
    [
        (["ada/cnn.py", "bob/fnn.py"], 0),
        (["ada.ipynb", "bob.ipynb"], 0),
        (["ada/cnn.py", "bob/cnn.py", "cy/cnn.py"], 1),
        (["1/cnn.py", "2/cnn.py", "10/cnn.py"], 1),
        (["Lab 1/team1/cnn.py", "Lab 1/team2/cnn.py", "Lab 1/team3/cnn.py"], 1),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_what_may_be_a_class_is_not_taken_for_one_learner_without_a_word(
    tmp_path, files, beside, packed
):
    made = {name: DONE.get(Path(name).name) or notebook(DONE) for name in files}
    write(tmp_path, {"all.zip": zipped(made)} if packed else under("all", made))
    write(tmp_path, plain("dee", 1) if beside else {})

    doubts = [read.doubt(not beside) for read in look(tmp_path)[1]]

    give = "unpack it and give that folder" if packed else f"give {tmp_path / 'all'}"
    assert doubts[0].endswith(f": if it is a class, {give}.")
    assert not any(doubts[1:])


@pytest.mark.parametrize(
    "name",
    ["Ada_7_assignsubmission_file", "12-34 - Ada - Feb 3, 2026 906 AM", "Lovelace, Ada(ada)"],
)
def test_what_a_system_says_is_one_learners_is_no_class(tmp_path, name):
    for folder in ("old", "new", "mine"):
        write(tmp_path, under(f"{name}/{folder}", DONE))

    assert [read.doubt(True) for read in look(tmp_path)[1]] == [""]


def test_the_last_attempt_counts_and_all_are_known(tmp_path):
    write(tmp_path, blackboard("ada", 1) | canvas("bob", 2))

    ada, bob = find(tmp_path).submissions

    assert [sorted(attempt) for attempt in ada.attempts] == [["lab.ipynb"], ["cnn.py", "fnn.py"]]
    assert [len(attempt) for attempt in bob.attempts] == [3, 3]
    assert {path.name[-5:] for path in bob.attempts[1].values()} == {"-1.py"}


def test_a_group_is_a_row_for_each_of_its_learners(tmp_path):
    write(tmp_path, {"submission_1/cnn.py": "x"})
    people = "  - :name: Ada\n  - :name: Łukasz\n    :sid: '7'\n"
    (tmp_path / "submission_metadata.yml").write_text(f"submission_1:\n  :submitters:\n{people}")

    _, (ada, lukasz), _ = look(tmp_path)

    assert (ada.name, lukasz.name, lukasz.submission.ids[-1]) == ("Ada", "Łukasz", "7")
    assert ada.digest == lukasz.digest != ""


@pytest.mark.parametrize("name", ["ada.rar", "ada.7z", "ada.pdf", "ada.tar.zst", "my notes.py"])
def test_what_cannot_be_taken_is_a_row_with_its_reason(tmp_path, name):
    write(tmp_path, {name: "x", **plain("bob", 1), **plain("cleo", 2), "cnn.py": "a stray file"})

    reads = {read.name: read for read in look(tmp_path)[1]}

    assert len(reads) == 4
    (reason,) = [read.reason for read in reads.values() if read.reason]
    assert "hand in a zip" in reason or "is not an exercise" in reason


def test_what_systems_leave_and_a_list_of_the_course_are_nobodys(tmp_path):
    left = ("Icon\r", "~$list.xlsx", "@eaDir/x", "lost+found/x", "list.csv", "ehthumbs.db")
    write(tmp_path, plain("ada", 2) | plain("bob", 1) | dict.fromkeys(left, "x"))

    listing, reads, _ = look(tmp_path)

    assert [read.name for read in reads] == ["ada", "bob"]
    assert "list.csv" in listing.ignored


def test_links_at_any_level_give_nobody_anything(tmp_path):
    write(tmp_path / "class", plain("ada", 2) | {"ada.zip": zipped(files_of(1))})
    for name, target in (
        ("mallory", "ada"),
        ("oscar.zip", "ada.zip"),
        ("trudy_cnn.py", "ada/cnn.py"),
    ):
        (tmp_path / "class" / name).symlink_to(tmp_path / "class" / target)
    for place, target in (("eve", "ada"), ("mike/exercises", "ada"), ("pat/cnn.py", "ada/cnn.py")):
        (tmp_path / "class" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "class" / place).symlink_to(tmp_path / "class" / target)

    reads = look(tmp_path / "class")[1]

    assert sorted(read.name for read in reads if not read.reason) == ["ada", "ada.zip"]
    assert all(not list(read.exercises) for read in reads if read.reason)


def test_a_pipe_or_a_device_is_a_row_that_says_so_at_once(tmp_path):
    write(tmp_path, plain("ada", 2))
    for name in ("bob_cnn.py", "cleo.ipynb", "dana.zip", "ada/mnist_lab.ipynb", "ada/helper.py"):
        os.mkfifo(tmp_path / name)

    reads = look(tmp_path)[1]

    assert [read.name for read in reads if not read.reason] == ["ada"]
    told = [read.reason for read in reads if read.reason]
    assert len(told) == 3
    assert all("a pipe or a device" in reason for reason in told)


def test_a_reason_names_what_was_handed_in_and_no_folder_of_this_machine(tmp_path):
    names = ["lovelaceada_1_90001_essay.pdf", "bob_2_90002_notes.txt", "bob_2_90003_plan.txt"]
    write(tmp_path, {**plain("cleo", 2), **dict.fromkeys(names, "x")})

    told = {read.name: read.reason for read in look(tmp_path)[1] if read.reason}

    assert told["lovelaceada"].startswith("essay.pdf has none of the exercises")
    assert told["bob"].startswith("What was handed in has none of the exercises")


def test_what_vanishes_before_it_is_read_is_a_row_that_says_so(tmp_path):
    write(tmp_path, plain("ada", 2) | {"bob.zip": zipped(files_of(1))})
    listed = {each.name: each for each in find(tmp_path).submissions}
    (tmp_path / "bob.zip").unlink()

    with closing(ReaderPool(tmp_path / "scratch", 1)) as readers:
        (tmp_path / "scratch").mkdir(exist_ok=True)
        (read,) = readers.read([(listed["bob"], 0)])

    assert read.reason == "bob.zip is not there any more."


# Attacks, and bad luck


def cells(source):
    code = {"cell_type": "code", "source": source}
    done = {"cell_type": "code", "source": DONE["cnn.py"]}
    return json.dumps({"nbformat": 4, "cells": [code, done]})


def empty_members(count):
    entry = struct.pack("<4s6H3L5H2L7s", b"PK\1\2", *[0] * 9, 7, *[0] * 6, b"0000.py")
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(entry) * count, 0, 0)
    return entry * count + end


def long_name():
    made = io.BytesIO()
    with gzip.open(made, "w", compresslevel=1) as stream:
        info = tarfile.TarInfo("././@LongLink")
        info.type, info.size = tarfile.GNUTYPE_LONGNAME, 400 << 20
        stream.write(info.tobuf())
        for _ in range(400):
            stream.write(b"a" * (1 << 20))
    return made.getvalue()


def huge_dictionary():
    """An archive that asks for 4 GB of memory to be unpacked."""
    made = bytearray(lzma.compress(bytes(10240)))
    end = 12 + 4 * made[12]  # Of the header of its block, before the checksum.
    made[made.index(b"\x21\x01", 12) + 2] = 40
    made[end : end + 4] = struct.pack("<L", zlib.crc32(made[12:end]))
    return bytes(made)


ATTACKS = {
    "memory.tar.xz": (huge_dictionary, "more than 1 GB of memory"),
    "backslashes.ipynb": (lambda: cells('"""' + "\\" * 60 + "\n"), ""),
    "blanks.ipynb": (lambda: cells("x" + " " * 400_000 + "y"), ""),
    "statements.ipynb": (lambda: cells("x;" * 300_000), ""),
    "lines.ipynb": (lambda: cells("x\n" * 300_000), ""),
    "lists.ipynb": (lambda: "[" + "[]," * (16 << 20) + "[]]", "memory|seconds|no nbformat"),
    "members.zip": (lambda: empty_members(400_000), "more than 50,000 members"),
    "fewer.zip": (lambda: empty_members(100_000), "more than 2,000 members|can't be unpacked"),
    "name.tar.gz": (long_name, "a header of it is too large"),
    "zeros.zip": (lambda: zipped({"cnn.py": bytes(60 << 20)}), "too large"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_read_or_refused_within_its_limits(tmp_path, name):
    attack, said = ATTACKS[name]
    write(tmp_path, {name: attack(), **plain("ada", 1)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    reads = {read.name: read for read in look(tmp_path)[1]}

    odd = reads[name.split(".")[0]]
    assert re.search(said, odd.reason) if said else odd.exercises == ["cnn"]
    assert reads["ada"].exercises == ["fnn", "cnn"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


@pytest.mark.parametrize("name", ["lists.ipynb", "members.zip", "name.tar.gz", "memory.tar.xz"])
@pytest.mark.parametrize("place", ["", "ada"])
def test_one_submission_alone_has_the_same_limits(tmp_path, name, place):
    attack, said = ATTACKS[name]
    write(tmp_path / place, {name: attack()})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(SourceError, match=said):
        reading.try_out(tmp_path / place if place else tmp_path / name)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 << 10


@pytest.mark.parametrize("submission", [Path("ada.ipynb"), None])
def test_what_a_command_is_given_is_tried_out_before_it_is_opened(submission, monkeypatch):
    def refuse(path):
        raise SourceError("It is too much.")

    monkeypatch.setattr(reading, "try_out", refuse)
    grading = Grading.__new__(Grading)
    grading._opened = grading._server = grading._given = None
    grading.path = submission or Path("nowhere")
    options = {"--submission": submission, "--isolation": "none"}
    grading.config = SimpleNamespace(getoption=options.get)
    said = "It is too much" if submission else "no file or folder"
    with pytest.raises(pytest.UsageError, match=said):
        grading.submission()


def test_what_never_was_is_not_said_to_have_vanished(tmp_path):
    reading.try_out(tmp_path / "nowhere")  # Whoever opens it says that it isn't there.


def test_a_file_of_300_mb_is_refused(tmp_path):
    write(tmp_path, {"ada/cnn.py": "", "bob.zip": "", "eve.ipynb": "", "mia_cnn.py": ""})
    for path in (path for path in tmp_path.rglob("*") if path.is_file()):
        os.truncate(path, 300 << 20)

    for read in look(tmp_path)[1]:
        assert re.search(r"MB", read.reason)


@pytest.mark.parametrize("name", ["ada", ".ada", "index.html"])
def test_a_thousand_folders_in_one_another_do_no_harm(tmp_path, name):
    write(tmp_path / "class", {**under(name, files_of(1)), **plain("bob", 2), **plain("cleo", 0)})
    handle = os.open(tmp_path / "class" / name, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)

    try:
        reads = {read.name: read for read in look(tmp_path / "class")[1]}
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "class"], check=True)

    assert not any(read.reason for read in reads.values())
    assert reads.keys() == {"bob", "cleo", name} - {".ada"}


def test_reading_that_takes_too_long_or_dies_costs_only_itself(tmp_path, monkeypatch):
    write(tmp_path, {**plain("ada", 1), **plain("bob", 2), "eve.ipynb": "[" + "0," * (8 << 20)})
    (tmp_path / ".scratch").mkdir()
    monkeypatch.setattr(reading, "SECONDS", 0.01)
    assert {"seconds" in read.reason for read in look(tmp_path)[1]} == {True}

    monkeypatch.setattr(reading, "SECONDS", 60)
    with closing(ReaderPool(tmp_path / ".scratch", 1)) as readers:
        found = [(each, 0) for each in find(tmp_path).submissions]
        first = readers.read(found[:1])
        readers._readers[0]._process.kill()
        killed, last = readers.read(found[:2])

    assert (first[0].reason, last.reason) == ("", "")
    assert killed.reason == "Reading it ended the process that did it."


# Whatever is handed in

PARTS = st.sampled_from(
    [
        "cnn.py",
        "cnn (1).py",
        "fnn.PY",
        "a.ipynb",
        "x.zip",
        "y.tar.gz",
        "z.rar",
        "__init__.py",
        "lab",
        "exercises",
        "é",
        "\udcff",
        ".git",
        "venv",
        "pyvenv.cfg",
        "p" * 120,
        "a\nb",
        "%",
    ]
)
CONTENTS = st.one_of(
    st.sampled_from(
        [*DONE.values(), *STUBS.values(), "\0", "\\" * 40, '"""' + "\\" * 60, "(" * 300]
    ),
    st.binary(max_size=40),
    st.just('{"nbformat": 4, "cells": [{"cell_type": "code", "source": ["class CNN: pass"]}]}'),
    st.just(b"PK\x05\x06" + b"\xff" * 18),
    st.just(zipped({"cnn.py": "x", "../fnn.py": "x"})),
    st.just(tarred({"lab/cnn.py": DONE["cnn.py"]})),
    st.sampled_from([0, 1, 2]),
)
TREES = st.dictionaries(
    st.lists(PARTS, min_size=1, max_size=5).map("/".join), CONTENTS, min_size=1, max_size=6
)


def plant(root, tree):
    """Files of bytes and text; a number is a link to one of three places, or a pipe."""
    for name, content in tree.items():
        path = root / os.fsencode(name)
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if isinstance(content, int):
                target = [b"/etc/passwd", b"../honest1", b"."][content]
                os.symlink(target, path)
            else:
                with open(path, "xb") as file:
                    file.write(content if isinstance(content, bytes) else content.encode("utf-8"))
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue


class Bytes(bytes):
    """A path of bytes, which need not be text."""

    def __truediv__(self, name):
        return os.path.join(self, name)


@pytest.fixture(scope="module")
def readers(tmp_path_factory):
    with closing(ReaderPool(tmp_path_factory.mktemp("readers"), 1)) as pool:
        yield pool


@settings(
    max_examples=int(os.environ.get("MNIST_LAB_TREES", "100")),
    suppress_health_check=[HealthCheck.too_slow],
)
@given(trees=st.lists(TREES, min_size=1, max_size=4), packed=st.sampled_from(["", "zip", "tar.gz"]))
def test_whatever_is_handed_in_costs_nobody_else_anything(readers, trees, packed):
    with tempfile.TemporaryDirectory() as place:
        costs_nobody_anything(Path(place), readers, trees, packed)


def costs_nobody_anything(folder, readers, trees, packed):
    for number in range(2):
        write(folder, plain(f"honest{number}", number))
    for number, tree in enumerate(trees):
        files = {
            name: content if isinstance(content, bytes) else str(content)
            for name, content in tree.items()
        }
        if packed == "zip":
            shown = {name.replace("\udcff", "ÿ"): content for name, content in files.items()}
            (folder / f"odd{number}.zip").write_bytes(zipped(shown))
        elif packed:
            (folder / f"odd{number}.tar.gz").write_bytes(tarred(files))
        else:
            plant(Bytes(os.fsencode(folder / f"odd{number}")), tree)

    found = find(folder).submissions
    reads = {read.name: read for read in readers.read([(each, 0) for each in found])}

    for number in range(2):
        read = reads[f"honest{number}"]
        assert {f"{name}.py" for name in read.exercises} == set(files_of(number))
    honest = [reads[f"honest{number}"].digest for number in range(2)]
    for read in reads.values():
        assert bool(read.reason) != bool(read.digest)
        assert "It cannot be read (" not in read.reason
        assert str(folder) not in read.reason
        assert read.digest not in honest or read.name.startswith("honest")
