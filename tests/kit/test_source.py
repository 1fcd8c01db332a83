"""A learner's files are found by the names that the kit gives them."""

import pytest

from mnist_lab import kit
from mnist_lab.submission.source import SourceError, digest, find


@pytest.fixture
def folder(tmp_path):
    for name in ("fnn.py", "cnn.py", "notes.py"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_gives_the_exercises_in_it_in_the_kits_order(folder):
    found = find(folder)
    assert list(found.items()) == [("fnn", folder / "fnn.py"), ("cnn", folder / "cnn.py")]


def test_a_file_gives_its_exercise_alone(folder):
    assert find(str(folder / "cnn.py")) == {"cnn": folder / "cnn.py"}


def test_every_exercise_of_the_kit_can_be_found(tmp_path):
    exercises = kit.load().exercises
    for exercise in exercises:
        (tmp_path / exercise.file).touch()
    assert list(find(tmp_path)) == [exercise.id for exercise in exercises]


def test_a_folder_without_exercises_is_refused_with_the_names_wanted(tmp_path):
    (tmp_path / "cnn.py").mkdir()
    with pytest.raises(SourceError, match=r"none of the exercises: preprocessing\.py, "):
        find(tmp_path)


def test_a_file_of_another_name_is_refused_with_the_names_wanted(folder):
    with pytest.raises(SourceError, match=r"notes\.py is not an exercise.*cnn\.py"):
        find(folder / "notes.py")


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(SourceError, match="no file or folder"):
        find(tmp_path / "cnn.py")


def test_a_digest_changes_with_any_name_or_content_and_with_nothing_else(folder):
    first = digest(folder)
    assert first == digest(str(folder))
    (folder / "notes.txt").touch()
    (folder / "notes.py").rename(folder / "layers.py")
    renamed = digest(folder)
    (folder / "layers.py").write_text("WIDTH = 10")
    assert len({first, renamed, digest(folder), digest(folder / "cnn.py")}) == 4
    (folder / "layers.py").write_text("")
    assert digest(folder) == renamed
