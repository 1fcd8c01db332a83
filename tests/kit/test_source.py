"""A learner's files are found by the names that the kit gives them, at any depth and spelling."""

import ctypes
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from mnist_lab import kit
from mnist_lab.submission.refused import SourceError
from mnist_lab.submission.source import exercise_file, read


@pytest.fixture
def folder(tmp_path):
    for name in ("fnn.py", "cnn.py", "notes.py"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_gives_the_exercises_in_it_in_the_kits_order(folder):
    found = read(folder).originals
    assert list(found.items()) == [("fnn", folder / "fnn.py"), ("cnn", folder / "cnn.py")]


def test_a_file_gives_its_exercise_alone(folder):
    assert read(str(folder / "cnn.py")).originals == {"cnn": folder / "cnn.py"}


def test_every_exercise_of_the_kit_can_be_found(tmp_path):
    exercises = kit.load().exercises
    for exercise in exercises:
        (tmp_path / exercise.file).touch()
    assert list(read(tmp_path).originals) == [exercise.id for exercise in exercises]


def test_a_folder_without_exercises_is_refused_with_the_names_wanted(tmp_path):
    (tmp_path / "cnn.py").mkdir()
    with pytest.raises(SourceError, match=r"none of the exercises: preprocessing\.py, "):
        read(tmp_path)


def test_a_file_of_another_name_is_refused_with_the_names_wanted(folder):
    with pytest.raises(SourceError, match=r"notes\.py is not an exercise.*cnn\.py"):
        read(folder / "notes.py")


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no file or folder"):
        read(tmp_path / "cnn.py")


def test_a_digest_changes_with_any_name_or_content_and_with_nothing_else(folder):
    first = read(folder).sha256
    assert first == read(str(folder)).sha256
    (folder / "notes.txt").touch()
    (folder / "notes.py").rename(folder / "layers.py")
    renamed = read(folder).sha256
    (folder / "layers.py").write_text("WIDTH = 10")
    assert len({first, renamed, read(folder).sha256, read(folder / "cnn.py").sha256}) == 4
    (folder / "layers.py").write_text("")
    assert read(folder).sha256 == renamed


# Spellings and places


@pytest.mark.parametrize(
    "name",
    [
        *("CNN.py", "cnn (1).py", "cnn.PY", "cnn-1.py", "Copy of cnn.py", "cnn copy 2.py"),
        *("cnn.py.txt", "cnn.py.py", "Kopie von cnn.py", "cnn - Copie (2).py", "cnnのコピー.py"),
        *("Копия cnn.py", "Late Submission - cnn.py", "20260203101112_cnn.py"),
    ],
)
def test_a_file_is_taken_by_what_its_name_is_meant_to_be(tmp_path, name):
    (tmp_path / name).write_text("class CNN: pass")

    assert read(tmp_path).originals == {"cnn": tmp_path / name}
    assert read(tmp_path / name).originals == {"cnn": tmp_path / name}
    assert read(tmp_path).notes == (f"{name} was taken for cnn.py: that is the name to hand in.",)


@pytest.mark.parametrize(
    "name", ["my_cnn.py", "cnn.pyc", "cnn", "cnn.ipynb", "cnnfnn.py", "_cnn.py", "12_cnn.py"]
)
def test_other_names_are_no_exercise(name):
    assert exercise_file(name) == ""


def test_of_two_spellings_the_one_that_is_begun_counts(tmp_path):
    stub = "class CNN:\n    def forward(self):\n        raise NotImplementedError\n"
    (tmp_path / "cnn.py").write_text(stub)
    (tmp_path / "cnn (1).py").write_text("class CNN: pass\n")

    found = read(tmp_path)

    assert found.files["cnn.py"] == b"class CNN: pass\n"
    assert "cnn.py was not graded: cnn (1).py counts." in found.notes


def test_a_file_with_the_line_ends_of_old_macs_is_read(tmp_path):
    (tmp_path / "cnn.py").write_bytes(b"import torch\rclass CNN:\r    size = 1\r")

    assert list(read(tmp_path).originals) == ["cnn"]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "name", [".work/cnn.py", ".cnn.py", "lab/.cnn.py", "cnn_final.py", "mnist_lab.py"]
)
def test_what_is_not_looked_at_for_its_name_is_said(tmp_path, name, packed):
    path = tmp_path / "lab.zip" if packed else tmp_path
    if packed:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "class CNN: pass\n")
    else:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("class CNN: pass\n")

    said = "lab/.cnn.py" if name.startswith("lab") else name.partition("/")[0]
    with pytest.raises(SourceError, match=rf"for its name: {said}\."):
        read(path)


@pytest.mark.parametrize("name", ["cnn_final.py", "cnn.txt", ".cnn.py", "lab/solution.py"])
@pytest.mark.parametrize("stub", ["cnn.py", "exercises/cnn.py", "lab.ipynb"])
def test_work_under_another_name_is_said_beside_a_stub_and_beside_no_more(tmp_path, name, stub):
    own = name if "/" in name else str(Path(stub).with_name(name))
    made(tmp_path, {own: DONE, "tests/test_cnn.py": DONE, "fnn_old.py": ""})
    made(tmp_path, {stub: notebook_of(STUB) if "ipynb" in stub else STUB})

    said = f"Not looked at, for its name: {own}. Hand in each exercise under the name of its file."
    assert read(tmp_path).notes == (said,)

    for done in (DONE, f"from solution import CNN\n\n{STUB}".replace("class CNN", "class Old")):
        made(tmp_path, {stub: notebook_of(done) if "ipynb" in stub else done})
        assert read(tmp_path).notes == ()


@pytest.mark.parametrize("name", ["cnn - Copy.py", "cnn - copy (2).py", "cnn .py", " cnn.py "])
def test_copies_of_windows_and_blanks_around_a_name_are_taken(tmp_path, name):
    (tmp_path / name).write_text("class CNN: pass\n")

    found = read(tmp_path)

    assert found.originals == {"cnn": tmp_path / name}
    assert found.folder is None
    assert "cnn.py was taken for cnn.py" not in " ".join(found.notes)


@pytest.mark.parametrize("name", ["a" * 300, "a" * 300 + ".zip", "a" * 300 + ".ipynb", "a\0b"])
def test_what_can_be_the_name_of_nothing_is_not_there(name):
    with pytest.raises(SourceError, match="There is no file or folder"):
        read(name)


def test_names_with_a_dot_in_an_archive_never_keep_the_rest_from_being_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "lab.zip", "w") as archive:
        for name in ("fnn.py", "fnn.py/.x.py", "../.y.py", "/.z.py", "a/" * 60 + ".w.py"):
            archive.writestr(name, "")
        for number in range(200):
            archive.writestr(f".venv/{number}/.{number}.py", "")

    assert list(read(tmp_path / "lab.zip").originals) == ["fnn"]


@pytest.mark.parametrize(
    ("counts", "other"),
    [
        ("cnn (1).py", "cnn.py"),
        ("CNN(10).py", "cnn (2).py"),
        ("cnn.py", "cnn - Copy (2).py"),
        ("cnn.py", "CNN.py"),
        ("cnn.py", "cnn-1.py"),
    ],
)
def test_of_two_spellings_the_newest_or_the_right_one_counts(tmp_path, counts, other):
    for name in (counts, other):
        (tmp_path / name).write_text(f"# {name}")

    assert read(tmp_path).originals == {"cnn": tmp_path / counts}
    assert f"{other} was not graded: {counts} counts." in read(tmp_path).notes


def made(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def zipped(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


STUB = "class CNN:\n    def forward(self):\n        raise NotImplementedError\n"
DONE = "class CNN: pass"


def test_exercises_are_found_at_any_depth_and_the_begun_ones_count(tmp_path):
    made(tmp_path, {"exercises/cnn.py": STUB, "mine/deeper/cnn.py": DONE, "venv/pyvenv.cfg": ""})
    made(tmp_path, {"venv/lib/cnn.py": DONE, ".git/cnn.py": DONE, "__MACOSX/cnn.py": DONE})

    assert read(tmp_path).originals == {"cnn": tmp_path / "mine" / "deeper" / "cnn.py"}
    assert read(tmp_path).notes == ()

    made(tmp_path, {"exercises/cnn.py": DONE, "old/cnn.py": DONE})
    assert read(tmp_path).originals == {"cnn": tmp_path / "exercises" / "cnn.py"}
    said = "Not graded: old, mine/deeper. The exercises in exercises count;"
    assert read(tmp_path).notes[0].startswith(said)


def test_of_what_counts_together_it_is_said_what_does_not_count(tmp_path):
    made(tmp_path, numbered(1, "v1/cnn.py", "v1/fnn.py") | numbered(2, "v2/fnn.py"))

    found = read(tmp_path)

    assert found.files["fnn.py"].endswith(b"number = 2")
    assert found.notes[-2:] == (
        "The exercises in v1, v2 count together.",
        "Not graded in v1: fnn.py; v2 counts.",
    )


def numbered(number, *files):
    return {file: f"class {file.split('/')[-1][:-3].upper()}: number = {number}" for file in files}


@pytest.mark.parametrize(
    "files",
    [
        ["4_cnn/cnn.py", "3_fnn/fnn.py"],
        ["cnn.py", "src/fnn.py"],
        ["cnn.zip", "fnn.zip"],
        ["cnn.ipynb", "fnn.ipynb"],
        ["cnn.py", "fnn.ipynb"],
        ["cnn.py", "deeper/still/fnn.zip"],
    ],
)
def test_exercises_that_lie_apart_count_together(tmp_path, files):
    for name, text in zip(files, numbered(7, "cnn.py", "fnn.py").values(), strict=True):
        if name.endswith(".zip"):
            zipped(tmp_path / name, {f"{Path(name).stem}.py": text})
        else:
            made(tmp_path, {name: notebook_of(text) if name.endswith(".ipynb") else text})

    found = read(tmp_path)

    assert list(found.originals) == ["fnn", "cnn"]
    assert all(b"number = 7" in content for content in found.files.values())
    assert "count together." in found.notes[-1]


def notebook_of(text):
    return json.dumps({"nbformat": 4, "cells": [{"cell_type": "code", "source": text}]})


def test_modules_beside_exercises_that_lie_apart_come_along(tmp_path):
    made(tmp_path, {"a/layers.py": "x = 1", **numbered(1, "a/cnn.py", "b/fnn.py")})

    assert set(read(tmp_path).files) == {"layers.py", "cnn.py", "fnn.py"}


def test_helpers_in_folders_come_along_and_are_called_as_from_above_too(tmp_path):
    made(tmp_path / "lab", {"cnn.py": "from lab.layers import x\nclass CNN: pass", "layers.py": ""})
    made(tmp_path / "lab", {"a/b/c.py": "", "my-own/d.py": "", "__pycache__/e.py": ""})
    (tmp_path / "copy").mkdir()

    found = read(tmp_path / "lab")
    found.write(tmp_path / "copy")

    own = {"cnn.py", "layers.py", "a/b/c.py"}
    assert set(found.files) == own | {f"lab/{file}" for file in own}
    assert read(tmp_path / "copy").sha256 == found.sha256


def test_of_too_many_helpers_those_in_packages_come_along_and_that_is_said(tmp_path):
    made(tmp_path, {"cnn.py": DONE, "own/__init__.py": "", **dict.fromkeys(MANY, "")})

    assert set(read(tmp_path).files) == {"cnn.py", "own/__init__.py"}
    said = "in the top folder: folders without an __init__.py were not taken along."
    assert read(tmp_path).notes[0].endswith(said)
    assert set(read(tmp_path / "cnn.py").files) == {"cnn.py", "own/__init__.py"}


MANY = [f"course/module_{number}.py" for number in range(200)]


def test_what_two_places_have_is_taken_from_one_of_them(tmp_path):
    made(tmp_path, numbered(1, "old/cnn.py", "old/fnn.py") | numbered(2, "work/cnn.py"))

    assert b"number = 1" in read(tmp_path).files["cnn.py"]
    assert "Not graded: work." in read(tmp_path).notes[0]


def test_what_lies_deeper_counts_only_beside_what_is_found_first(tmp_path):
    made(tmp_path, numbered(1, "cnn.py") | numbered(2, "old/cnn.py", "old/fnn.py"))

    assert list(read(tmp_path).originals) == ["cnn"]
    assert "Not graded: old." in read(tmp_path).notes[0]


def test_of_two_places_with_the_same_none_comes_along(tmp_path):
    made(tmp_path, numbered(1, "cnn.py", "a/fnn.py", "b/fnn.py"))

    assert list(read(tmp_path).originals) == ["cnn"]
    assert "Not graded: a, b." in read(tmp_path).notes[0]


def test_of_places_that_differ_by_a_number_the_last_counts(tmp_path):
    made(tmp_path, numbered(1, "Lab/Version 2/cnn.py", "Lab/Version 2/fnn.py"))
    made(tmp_path, numbered(2, "Lab/Version 10/cnn.py"))

    files = read(tmp_path).files
    assert b"number = 2" in files["cnn.py"]
    assert b"number = 1" in files["fnn.py"]

    made(tmp_path, numbered(2, "Lab/Version 10/fnn.py"))
    assert all(b"number = 2" in content for content in read(tmp_path).files.values())
    assert "Not graded: Lab/Version 2." in read(tmp_path).notes[0]


@pytest.mark.parametrize("names", [("lab", "lab 2"), ("hw", "hw (1)"), ("cnn_", "cnn_3")])
def test_a_copy_with_a_number_is_later_than_the_one_without(tmp_path, names):
    for number, name in enumerate(names):
        made(tmp_path, numbered(number, f"{name}/cnn.py"))

    assert b"number = 1" in read(tmp_path).files["cnn.py"]
    assert f"Not graded: {names[0]}." in read(tmp_path).notes[0]


def test_of_an_exercise_that_is_spread_over_two_notebooks_it_is_said_what_to_do(tmp_path):
    made(tmp_path, {"a.ipynb": notebook_of("def evaluate(): return 1")})
    made(tmp_path, {"b.ipynb": notebook_of("def confusion_matrix(): return 1")})

    said = (
        "Not graded: b.ipynb. The exercises in a.ipynb count; to have others graded, hand them in"
    )
    assert read(tmp_path).notes == (f"{said} alone, or move their code there.",)


def test_a_zip_in_a_folder_and_a_zip_in_a_zip_are_opened(tmp_path):
    inner = zipped(tmp_path / "inner.zip", {"lab/cnn.py": DONE}).read_bytes()
    made(tmp_path, {"ada/exercises/cnn.py": STUB})
    zipped(tmp_path / "ada" / "lab.zip", {"work/inner.zip": inner})
    outer = zipped(tmp_path / "outer.zip", {"lab.zip": inner, ".DS_Store": b"", "a/._b": b""})

    for path in (tmp_path / "ada", outer):
        assert read(path).files["cnn.py"].decode() == DONE


def test_a_broken_archive_beside_exercises_costs_nothing_and_is_said(tmp_path):
    made(tmp_path, {"lab/cnn.py": STUB, "lab/more.zip": "no zip", "lab/notes.rar": ""})

    assert list(read(tmp_path).originals) == ["cnn"]
    assert read(tmp_path).notes == (
        "notes.rar is an archive that is not read: hand in a zip.",
        "more.zip can't be unpacked: it is damaged.",
    )


@pytest.mark.parametrize("count", [10, 11])
@pytest.mark.parametrize("name", ["{}.ipynb", "{}.zip"])
def test_notebooks_and_archives_that_are_too_many_are_named(tmp_path, name, count):
    for number in range(count):
        place, done = tmp_path / name.format(10 + number), number == count - 1
        if name == "{}.zip":
            zipped(place, {"cnn.py" if done else "a.py": DONE})
        else:
            place.write_text(notebook_of(DONE if done else "x = 1"))

    if count == 10:
        assert list(read(tmp_path).originals) == ["cnn"]
    else:
        with pytest.raises(
            SourceError, match=rf"^Not looked at: {name.format(20)}, since there are"
        ):
            read(tmp_path)


def test_an_archive_too_deep_in_others_is_named(tmp_path):
    inner = zipped(tmp_path / "inner.zip", {"cnn.py": DONE}).read_bytes()
    for name in ("c.zip", "b.zip", "a.zip"):
        inner = zipped(tmp_path / name, {f"in {name}": inner}).read_bytes()

    assert list(read(tmp_path / "b.zip").originals) == ["cnn"]
    with pytest.raises(SourceError, match=r"^Not looked at: in a\.zip/in b\.zip/in c\.zip, since"):
        read(tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["lab.zip.part", "cnn.py.crdownload", ".cnn.py.icloud"])
def test_what_was_not_downloaded_to_its_end_is_said_so(tmp_path, name):
    (tmp_path / "ada").mkdir()
    (tmp_path / "ada" / name).touch()

    for path in (tmp_path / "ada", tmp_path / "ada" / name):
        with pytest.raises(SourceError, match=rf"^{name} was not downloaded to its end: hand in"):
            read(path)


def test_an_environment_in_the_folder_of_the_exercises_costs_nothing(tmp_path):
    made(tmp_path, {"pyvenv.cfg": "", "lab/cnn.py": DONE, "lib/fnn.py": DONE, "Scripts/fnn.py": ""})

    assert list(read(tmp_path).originals) == ["cnn"]


def unprivileged():
    """Have even root obey permissions, as all others have to."""
    drop_from_bounding_set, override, read_search = 24, 1, 2
    for privilege in (override, read_search):
        ctypes.CDLL(None).prctl(drop_from_bounding_set, privilege, 0, 0, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these privileges")
def test_what_may_not_be_read_is_said_and_costs_nothing_else(tmp_path):
    made(tmp_path, {"lab/cnn.py": DONE, "lab/fnn.py": DONE})
    (tmp_path / "lab" / "cnn.py").chmod(0)
    (tmp_path / "lab" / "fnn.py").chmod(0o400)
    (tmp_path / "lab").chmod(0o500)
    script = (
        "import sys\n"
        "from mnist_lab.submission.source import SourceError, read\n"
        "found = read(sys.argv[1])\n"
        "print(*found.originals, *found.notes)\n"
        "try:\n    read(sys.argv[1] + '/cnn.py')\n"
        "except SourceError as error:\n    print(error)\n"
    )

    run = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "lab")],
        preexec_fn=unprivileged,
        capture_output=True,
        text=True,
    )

    assert run.stdout.splitlines() == [
        "fnn cnn.py may not be read: it lacks the permission.",
        "cnn.py may not be read: it lacks the permission.",
    ], run.stderr


@pytest.mark.parametrize("place", ["cnn.py", "lab", "lab/deeper"])
def test_a_link_is_never_followed(tmp_path, place):
    made(tmp_path, {"ada/lab/cnn.py": DONE, "mallory/fnn.py": "", "mallory/lab/x": ""})
    target = tmp_path / "mallory" / place
    if target.is_dir():
        (target / "x").unlink()
        target.rmdir()
    target.symlink_to(tmp_path / "ada" / "lab" / ("cnn.py" if "py" in place else ""))

    assert list(read(tmp_path / "mallory").originals) == ["fnn"]


def test_a_thousand_packages_in_one_another_and_a_name_of_bytes_do_no_harm(tmp_path):
    place = made(tmp_path / "ada\udce9", {"cnn.py": DONE, "\udce9.py": "x = 1"})
    (tmp_path / "target").mkdir()
    descend(place, 1100)

    try:
        found = read(place)
        found.write(tmp_path / "target")
    finally:
        subprocess.run(["rm", "-rf", place], check=True)  # Python itself can't remove them.

    assert found.sha256 == read(tmp_path / "target").sha256
    assert (tmp_path / "target" / "\udce9.py").exists()


def test_what_lies_too_deep_is_said_not_to_have_been_looked_at(tmp_path):
    made(tmp_path, {"/".join(["d"] * 25) + "/cnn.py": DONE})

    with pytest.raises(SourceError, match="more than 20 folders deep was not looked at"):
        read(tmp_path)


def descend(folder, depth):
    """Packages in one another, deeper than a path can be written."""
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("p", dir_fd=handle)
        below = os.open("p", os.O_RDONLY, dir_fd=handle)
        os.close(os.open("__init__.py", os.O_CREAT, dir_fd=below))
        os.close(handle)
        handle = below
    os.close(handle)


def test_more_files_than_anybody_writes_are_refused_and_cost_a_lone_exercise_nothing(tmp_path):
    made(tmp_path, {"cnn.py": DONE, **{f"module_{number}.py": "" for number in range(200)}})

    with pytest.raises(SourceError, match=r"more than 200 Python files.* in the top folder"):
        read(tmp_path)
    assert list(read(tmp_path / "cnn.py").files) == ["cnn.py"]

    (tmp_path / "cnn.py").write_bytes(bytes((4 << 20) + 1))
    with pytest.raises(SourceError, match=r"more than 4 MB of them, in cnn\.py"):
        read(tmp_path / "cnn.py")


def test_a_folder_with_the_name_of_an_exercise_does_not_get_in_its_way(tmp_path):
    made(tmp_path, {"lab/cnn (1).py": DONE, "lab/cnn.py/__init__.py": "x = 1"})

    found = read(tmp_path / "lab")
    (tmp_path / "copy").mkdir()
    found.write(tmp_path / "copy")

    assert list(found.originals) == ["cnn"]
    assert read(tmp_path / "copy").sha256 == found.sha256
