"""Archives that were handed in are unpacked without reaching out, or refused with a sentence."""

import io
import stat
import tarfile
import tracemalloc
import zipfile
from functools import partial
from pathlib import Path

import pytest
import torch

from mnist_lab.submission import archive
from mnist_lab.submission.archive import unpack
from mnist_lab.submission.client import Submission
from mnist_lab.submission.refused import SourceError
from mnist_lab.submission.source import read


@pytest.fixture
def into(tmp_path):
    folder = tmp_path / "inside" / "folder"
    folder.mkdir(parents=True)
    return folder


def zipped(path: Path, members) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in members:
            made.writestr(name, content)
    return path


def tarred(path: Path, members, mode="w:gz") -> Path:
    with tarfile.open(path, mode) as made:
        for member, content in members:
            info = member if isinstance(member, tarfile.TarInfo) else tarfile.TarInfo(member)
            info.size = info.size or len(content)
            made.addfile(info, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def link_in_a_zip() -> zipfile.ZipInfo:
    info = zipfile.ZipInfo("fnn.py")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


COMPRESSED = {".gz": "gz", "TGZ": "gz", "bz2": "bz2", ".xz": "xz", "txz": "xz"}
OTHERS = {
    "is empty": b"",
    "is a RAR archive, whatever its name says: hand in the exercises": b"Rar!\x1a",
    "is a 7z archive": b"7z\xbc\xaf\x27\x1c",
    "is a web page": b"\xef\xbb\xbf\n<html>",
}


@pytest.mark.parametrize(
    "name",
    [
        *("work.zip", "work.tar", "work.tar.gz", "WORK.TGZ", "w.tar.bz2"),
        *("w.tbz2", "w.tar.xz", "w.txz"),
    ],
)
@pytest.mark.parametrize("top", ["", "alice/", "Lab 3:4/"])
def test_an_ordinary_archive_is_a_folder(tmp_path, name, top):
    members = [(f"{top}fnn.py", b"x = 1"), (f"{top}cnn.py", b"y = 2")]
    if name.endswith("zip"):
        path = zipped(tmp_path / name, members)
    else:
        path = tarred(tmp_path / name, members, f"w:{COMPRESSED.get(name[-3:], '')}")
    found = read(path)
    assert list(found.originals) == ["fnn", "cnn"]
    assert found.files == {"fnn.py": b"x = 1", "cnn.py": b"y = 2"}
    assert not found.originals["fnn"].exists()


@pytest.mark.parametrize(
    ("name", "kind"), [("a.zip", "w:gz"), ("a.tar", "w:gz"), ("a.tgz", "w:"), ("a.tgz", "zip")]
)
def test_an_archive_with_the_ending_of_another_is_read(tmp_path, name, kind):
    members = [("fnn.py", b"x = 1")]
    if kind == "zip":
        path = zipped(tmp_path / name, members)
    else:
        path = tarred(tmp_path / name, members, kind)
    assert read(path).files == {"fnn.py": b"x = 1"}


def test_an_archive_has_the_digest_of_what_is_in_it(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "fnn.py").write_bytes(b"x = 1")
    path = zipped(tmp_path / "a.zip", [("fnn.py", b"x = 1")])
    assert read(path).sha256 == read(folder).sha256


def test_a_submission_may_be_an_archive(tmp_path):
    code = b"import torch\n\n\nclass FNN(torch.nn.Flatten): pass\n"
    path = zipped(tmp_path / "a.zip", [("fnn.py", code)])
    with Submission(path, isolation="none") as submission:
        assert submission.exercise("fnn").build("FNN")(torch.zeros(2, 1, 28, 28)).shape == (2, 784)


@pytest.mark.parametrize(
    "name",
    ["/etc/redteam.py", "../fnn.py", "a/../../fnn.py", "..\\fnn.py", "C:\\fnn.py", "//x/y.py"],
)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_that_would_land_elsewhere_is_refused(tmp_path, into, name, kind):
    make = zipped if kind == "zip" else tarred
    path = make(tmp_path / ("a.zip" if kind == "zip" else "a.tar.gz"), [(name, b"x")])
    with pytest.raises(SourceError, match="would land elsewhere"):
        unpack(path, into)
    assert [entry.name for entry in into.parent.rglob("*")] == ["folder"]


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (special("fnn.py", tarfile.SYMTYPE, "/etc/passwd"), "a link"),
        (special("fnn.py", tarfile.LNKTYPE, "../fnn.py"), "a link"),
        (special("fnn.py", tarfile.FIFOTYPE), "a device"),
        (special("fnn.py", tarfile.CHRTYPE), "a device"),
        (special("fnn.py", tarfile.BLKTYPE), "a device"),
    ],
)
def test_links_and_devices_in_a_tar_are_refused(tmp_path, into, member, said):
    with pytest.raises(SourceError, match=said):
        unpack(tarred(tmp_path / "a.tar.gz", [(member, b"")]), into)


def test_a_link_in_a_zip_is_refused(tmp_path, into):
    with pytest.raises(SourceError, match="a link"):
        unpack(zipped(tmp_path / "a.zip", [(link_in_a_zip(), b"/etc/passwd")]), into)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_flood_of_members_is_refused(tmp_path, into, kind):
    members = [(f"{index}.py", b"") for index in range(archive.MEMBERS + 1)]
    path = (zipped if kind == "zip" else tarred)(
        tmp_path / ("a.zip" if kind == "zip" else "a.tar.gz"), members
    )
    with pytest.raises(SourceError, match="more than 2,000 members"):
        unpack(path, into)


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("sizes", [[archive.FILE + 1], [20 << 20] * 6])
def test_a_bomb_is_refused_without_being_unpacked_whole(tmp_path, into, kind, sizes):
    members = [(f"{index}.py", bytes(size)) for index, size in enumerate(sizes)]
    path = (zipped if kind == "zip" else tarred)(
        tmp_path / ("a.zip" if kind == "zip" else "a.tar.gz"), members
    )
    assert path.stat().st_size < 1 << 20
    with pytest.raises(SourceError, match="too large when unpacked"):
        unpack(path, into)
    assert sum(file.stat().st_size for file in into.rglob("*.py")) <= archive.TOTAL


def test_what_is_no_code_is_not_unpacked_and_does_no_harm(tmp_path, into):
    members = [
        ("venv/lib/site-packages/x/cnn.py", b"x"),
        (".git/cnn.py", b"x"),
        ("a/._cnn.py", b"x"),
    ]
    members += [("data/images.bin", bytes(archive.TOTAL + 1)), ("lab/cnn.py", b"x = 1")]
    members += [(f"data/{number}", b"") for number in range(archive.MEMBERS)]
    link = special("venv/bin/python", tarfile.SYMTYPE, "/usr/bin/python")
    unpack(tarred(tmp_path / "a.tar.gz", [(link, b""), *members]), into)
    assert [path.name for path in into.rglob("*")] == ["lab", "cnn.py"]


def test_headers_and_lists_of_members_are_refused_before_they_are_read(tmp_path, into):
    named = tarfile.TarInfo("x" * (8 << 20))
    tarred(tmp_path / "a.tar.gz", [(named, b"")])
    long = tarfile.TarInfo("x.bin")
    long.size = archive.SPAN + 1
    (tmp_path / "b.tar").write_bytes(long.tobuf() + bytes(1024))
    zipped(tmp_path / "c.zip", [(f"{number:0200}", b"") for number in range(100)])
    whole = (tmp_path / "c.zip").read_bytes()
    at = whole.rfind(archive.END) + 12
    (tmp_path / "c.zip").write_bytes(whole[:at] + b"\xff\xff\xff\x7f" + whole[at + 4 :])
    for name, said in (
        ("a.tar.gz", "a header of it is too large"),
        ("b.tar", "too large when unpacked"),
        ("c.zip", "more than 50,000 members"),
    ):
        tracemalloc.start()
        with pytest.raises(SourceError, match=said):
            unpack(tmp_path / name, into)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz"])
@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 no zip", b"\x1f\x8b\x08 no gzip", b"\xfd7zXZ no xz", b"x" * 2000]
)
def test_what_is_no_archive_is_refused_with_a_sentence(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz"])
@pytest.mark.parametrize("said", OTHERS)
def test_what_is_no_archive_is_told_what_it_is(tmp_path, name, said):
    (tmp_path / name).write_bytes(OTHERS[said] + bytes(2000) * bool(OTHERS[said]))
    with pytest.raises(SourceError, match=f"{name} {said}"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["cnn.txt", "lab/my_cnn.docx", "cnn.py.rar", "src.7z"])
def test_what_is_not_unpacked_is_said_if_its_name_tells_something(tmp_path, name):
    for path in (tmp_path / "a.zip", tmp_path / "a.tar"):
        members = [(name, b"x"), ("a.png", b"x"), ("__MACOSX/cnn.txt", b"x")]
        (zipped if path.suffix == ".zip" else partial(tarred, mode="w"))(path, members)
        with pytest.raises(SourceError) as refused:
            read(path)
        assert name.rpartition("/")[2] in str(refused.value)
        assert "MACOSX" not in str(refused.value)


def test_a_damaged_zip_is_refused(tmp_path, into):
    path = zipped(tmp_path / "a.zip", [("fnn.py", b"x = 1" * 1000)])
    data = bytearray(path.read_bytes())
    data[40:50] = b"\xff" * 10
    path.write_bytes(bytes(data))
    with pytest.raises(SourceError, match=r"a\.zip can't be unpacked"):
        unpack(path, into)


def test_a_zip_whose_file_is_larger_than_it_says_is_refused(tmp_path, into):
    path = zipped(tmp_path / "a.zip", [("fnn.py", bytes(archive.FILE + 1))])
    said, true = (size.to_bytes(4, "little") for size in (10, archive.FILE + 1))
    path.write_bytes(path.read_bytes().replace(true, said))
    with pytest.raises(SourceError, match=r"a\.zip can't be unpacked"):
        unpack(path, into)
    assert sum(file.stat().st_size for file in into.rglob("*.py")) <= 10
