"""Files are written whole, and nothing else is written in their place."""

import os
import sys
from contextlib import suppress

import pytest

from mnist_lab.writing import whole, write


def test_a_link_stays_and_what_it_is_to_is_written(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.zip").symlink_to(tmp_path / "real" / "file.zip")

    write(tmp_path / "link.zip", "new")

    assert (tmp_path / "link.zip").is_symlink()
    assert (tmp_path / "real" / "file.zip").read_text() == "new"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(OSError, match="It is not a file"):
        write(tmp_path / "pipe", "new")

    assert (tmp_path / "pipe").is_fifo()


def test_what_fails_leaves_the_file_as_it_was(tmp_path):
    (tmp_path / "file").write_text("old")

    with suppress(ZeroDivisionError), whole(tmp_path / "file") as scratch:
        scratch.write_text("new")
        raise ZeroDivisionError

    assert [each.name for each in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "old"
