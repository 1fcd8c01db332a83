"""The list of a course is read as spreadsheets save it, and comes back with the marks."""

import unicodedata

import pytest

from mnist_lab.grading.batch.roster import Roster
from mnist_lab.grading.batch.submissions import ClassError, Submission


def filled(folder, data, *names):
    """The roster with these bytes, in which each of ``names`` gets 7."""
    (folder / "list.csv").write_bytes(data)
    submissions = [Submission(name, name, ({},)) for name in names]
    roster = Roster.read(folder / "list.csv", submissions)
    return roster.filled(submissions, dict.fromkeys(names, 7.0))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Name,,,\nada,x,y,\nbob,,,\n", "Name,,,,Score\nada,x,y,,7\nbob,,,,0\n"),
        ("Name,Note,Note,Score\nada,a,b,\n", "Name,Note,Note,Score\nada,a,b,7\n"),
        ("Name,Mail\nada,a,b\n", "Name,Mail,,Score\nada,a,b,7\n"),
        ("Note,Note,Name\nx,ada,ada\n", "Note,Note,Name,Score\nx,ada,ada,7\n"),
    ],
)
def test_columns_that_share_a_name_or_have_none_stay_where_they_are(tmp_path, text, expected):
    assert filled(tmp_path, text.encode(), "ada") == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("first", ["", "sep=;\n", "\n"])
def test_it_is_read_however_a_spreadsheet_saves_it(tmp_path, encoding, ends, first):
    text = first + '"Last, first";ID\n"Šimek, Zoë";1\n'

    data = text.replace("\n", ends).encode(encoding)

    assert filled(tmp_path, data, "šimekzoë") == "Last, first;ID;Score\nŠimek, Zoë;1;7\n"


def test_a_name_is_the_same_however_its_accents_are_stored(tmp_path):
    one, other = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
    assert one != other
    for listed, named in ((one, other), (other, one)):
        assert filled(tmp_path, f"Name\n{listed}\n".encode(), named) == f"Name,Score\n{listed},7\n"


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"Name\n\0ada\n", "Name\nada\n".encode("utf-16-le")]
)
def test_what_is_no_table_is_refused_in_a_sentence(tmp_path, data):
    with pytest.raises(ClassError, match="no CSV file with a line of column names"):
        filled(tmp_path, data, "ada")
