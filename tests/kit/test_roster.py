"""The list of a course is read as spreadsheets save it, and comes back with the marks."""

import codecs
import unicodedata
from pathlib import Path

import pytest

from mnist_lab.grading.batch.roster import Roster
from mnist_lab.grading.batch.submissions import ClassError, Submission, find


def filled(folder, data, *names):
    """The text of the roster with these bytes, in which each of ``names`` gets 7."""
    return given_back(folder, data, *names).decode()


def given_back(folder, data, *names):
    (folder / "list.csv").write_bytes(data)
    submissions = [handed_in(name) for name in names]
    roster = Roster.read(folder / "list.csv", submissions)
    return roster.filled(submissions, dict.fromkeys(names, 7.0))


def handed_in(name, *ids):
    return Submission(name, ({"cnn.py": Path(name)},), ids)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Name,,,\nada,x,y,\nbob,,,\n", "Name,,,,Score\nada,x,y,,7\nbob,,,,0\n"),
        ("Name,Note,Note,Score\nada,a,b,\n", "Name,Note,Note,Score\nada,a,b,7\n"),
        ("Name,Mail\nada,a,b\n", "Name,Mail,,Score\nada,a,b,7\n"),
        ("Name,Score\nada,9\nbob,\n", "Name,Score,Score 2\nada,9,7\nbob,,0\n"),
        ("Note,Note,Name\nx,ada,ada\n", "Note,Note,Name,Score\nx,ada,ada,7\n"),
    ],
)
def test_columns_that_share_a_name_or_have_none_stay_where_they_are(tmp_path, text, expected):
    assert filled(tmp_path, text.encode(), "ada") == expected


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("Name,Old\nada,1.5\n", "6.5"),
        ("Name;Old\nada;\n", "6,5"),
        ("Name;Old\nada;1.5\n", "6.5"),
        ("Name\tOld\nada\t1,5\n", "6,5"),
        ('Name,Old\nada,"-1,5"\n', '"6,5"'),
    ],
)
def test_a_mark_is_written_with_the_decimal_sign_of_the_file(tmp_path, text, mark):
    (tmp_path / "list.csv").write_text(text)
    roster = Roster.read(tmp_path / "list.csv", [handed_in("ada")])

    assert roster.filled([handed_in("ada")], {"ada": 6.5}).decode().endswith(f"{mark}\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("first", ["", "sep=;\n", "\n"])
def test_it_is_read_however_a_spreadsheet_saves_it(tmp_path, encoding, ends, first):
    text = first + '"Last, first";ID\n"Šimek, Zoë";1\n'

    data = text.replace("\n", ends).encode(encoding)

    expected = first + "Last, first;ID;Score\nŠimek, Zoë;1;7\n"
    assert given_back(tmp_path, data, "šimekzoë") == expected.replace("\n", ends).encode(encoding)


def test_lines_inside_of_cells_and_column_names_with_a_plus_stay_as_they_are(tmp_path):
    text = 'Last + First,First,"A\nnote"\r\nx,ada,"1\n2\r\n3\r4"\r\n'

    given = given_back(tmp_path, text.encode(), "ada").decode()

    assert given == text.replace('note"\r\n', 'note",Score\r\n').replace('4"\r', '4",7\r')


def test_big_endian_text_and_quotes_around_every_cell_come_back(tmp_path):
    text = '"Name";"Score"\n"Zoë; the first";""\n'
    mark = codecs.BOM_UTF16_BE

    given = given_back(tmp_path, mark + text.encode("utf-16-be"), "zoë the first")

    assert given == mark + text.replace('""', '"7"').encode("utf-16-be")


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("mac_roman", ["Zoë", "José", "Jürgen Müller"]),
        ("cp850", ["Zoë", "José", "Jürgen Müller"]),
        ("cp1250", ["Łukasz", "Šimon"]),
        ("cp1251", ["Иван", "Ольга"]),
        ("cp1254", ["Şule", "Işıl"]),
        ("gb18030", ["王伟", "李娜"]),
        ("cp932", ["山田太郎", "佐藤"]),
        ("cp949", ["김철수", "이영희"]),
    ],
)
def test_it_is_read_in_the_encoding_in_which_it_has_the_names(tmp_path, encoding, names):
    data = "\n".join(["Name", *names]).encode(encoding)

    lines = given_back(tmp_path, data, *names).decode(encoding).splitlines()
    assert lines[1:] == [f"{name},7" for name in names]


def test_a_name_is_the_same_however_its_accents_are_stored(tmp_path):
    one, other = (unicodedata.normalize(form, "José") for form in ("NFC", "NFD"))
    assert one != other
    for listed, named in ((one, other), (other, one)):
        assert filled(tmp_path, f"Name\n{listed}\n".encode(), named) == f"Name,Score\n{listed},7\n"


@pytest.mark.parametrize(
    "data",
    [b"", b"\n\n", b"Name\n\0ada\n", "Name\nada\n".encode("utf-16-le"), b"PK\3\4 xlsx\0"],
)
def test_what_is_no_table_is_refused_in_a_sentence(tmp_path, data):
    said = "no CSV file with a line of column names: save the list as CSV UTF-8"
    with pytest.raises(ClassError, match=said):
        filled(tmp_path, data, "ada")


@pytest.mark.parametrize(
    "text",
    [
        b'Name,ID\nada,1\n"bob,2\neve,3\n',
        b'Name,ID\nada,1\n"bob,2\neve,3\ngus,4"\nfay,5\n',
        b'Name\nada\n"bob\neve\n',
    ],
)
def test_a_quotation_mark_that_is_not_closed_is_said(tmp_path, text):
    with pytest.raises(ClassError, match="a quotation mark in row 3 that is not closed"):
        filled(tmp_path, text, "ada", "bob")


def test_a_note_of_several_lines_with_commas_is_a_cell(tmp_path):
    data = b'Name,Note\nada,"late, by a day\nexcused, by mail\n"\nbob,\n'

    assert "ada" in filled(tmp_path, data, "ada", "bob")


def test_a_list_without_learners_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(ClassError, match="a line of column names and no learner below it"):
        filled(tmp_path, b"Name,ID\n", "ada")


@pytest.mark.parametrize("text", ["Ada Love,1\nBob Ray,2\n", "1;Love;Ada\n2;Ray;Bob\n"])
def test_a_list_that_begins_with_a_learner_is_refused_in_a_sentence(tmp_path, text):
    with pytest.raises(ClassError, match=r"begins with a learner, .*: write the names of the col"):
        filled(tmp_path, text.encode(), "Bob Ray", "Ada Love")


def test_numbers_that_excel_has_shortened_are_said(tmp_path):
    with pytest.raises(ClassError, match=r"Excel has made numbers 2,02112E\+11: export the"):
        filled(tmp_path, b"ID;Name\n2,02112E+11;Ada\n", "202112340001")


def test_empty_rows_stay(tmp_path):
    text = ";;\nName;ID;\nada;1;\n;;\n\nbob;2;\n\n"

    given = filled(tmp_path, text.encode(), "ada")

    assert given == ";;\nName;ID;;Score\nada;1;;7\n;;;\n\nbob;2;;0\n\n"


# Whose a row is


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("ada,1\nbob,2\nada,1\n", "Rows 2 and 4 of .* are both for ada, by the column Name"),
        ("bob,2\n\nada,1\nada,3\n", "Rows 4 and 5 of .* are both for ada, by the column Name"),
        ("Ada,1\nA-da,3\nbob,2\n", "Rows 2 and 3 of .* are both for ada, by the column Name"),
    ],
)
def test_two_rows_of_one_learner_are_told_with_what_to_do(tmp_path, rows, said):
    remedy = ". Keep one of them, .*--roster-group, or name another column with --roster-key."
    with pytest.raises(ClassError, match=said + remedy):
        filled(tmp_path, f"Name,Row\n{rows}".encode(), "ada", "bob")


def test_rows_of_one_name_that_have_handed_in_nothing_are_told_apart_by_their_keys(tmp_path):
    (tmp_path / "list.csv").write_text("Name,ID\nAnna,1\nAnna,2\nada,3\nada (3),4\n")
    submissions = [handed_in("3")]
    roster = Roster.read(tmp_path / "list.csv", submissions, name="Name")

    assert roster.missing(submissions) == ["Anna (1)", "Anna (2)", "ada (3)"]


@pytest.mark.parametrize(
    ("listed", "names", "marks"),
    [
        (["Ada Lovelace", "Bob Ross"], ["lovelace_ada", "ross-bob"], [7, 7]),
        (["Ada Lovelace", "Zoë", "Cy"], ["ada_lovelace_lab", "zoë_lab"], [7, 7, 0]),
        (["ada@x.edu", "a.b@x.edu"], ["ada", "a-b"], [7, 7]),
        (["bob", "bob-r", "zed"], ["lab-1-bob-r", "lab-1-bob"], [7, 7, 0]),
        (["bob", "cy"], ["lab-bob", "bob-lab", "cy"], [0, 7]),
        (["Ada", "Bob", "cy"], ["ada-byron", "bob-king", "cy"], [0, 0, 7]),
        (["bob", "bob", "cy"], ["lab-bob", "cy"], [0, 0, 7]),
        (["bob lab", "lab bob", "cy"], ["1-bob-lab", "cy"], [0, 0, 7]),
        (["1", "2", "cy"], ["lab-1-ada", "lab-2-bob", "cy"], [0, 0, 7]),
        (
            ["Ada Lovelace", "Ada M Lee", "Bob Ross"],
            ["lovelaceada", "leeadam", "rossbob"],
            [7, 7, 7],
        ),
        (["Ada King Lovelace", "Eve Li"], ["Ada Lovelace", "Eve Mae Li"], [7, 7]),
        (["Ada B Li", "Ada C Li", "cy"], ["Li Ada", "cy"], [0, 0, 7]),
        (["Jürgen Łuk", "José Díaz"], ["Luk_Juergen_jl_1", "diazjose"], [7, 7]),
        (["O'Brien Conor", "D’Angelo Li"], ["lab-conor-obrien", "li-dangelo"], [7, 7]),
        (["Anne-Marie Li", "Lee Ming-Hao"], ["lab1_annemarie_li", "lee_minghao_2"], [7, 7]),
        (["0012345", "#007", "cy"], ["lab1_12345_li", "7", "cy"], [7, 7, 7]),
    ],
)
def test_a_name_is_found_by_its_words_where_there_is_no_other_choice(
    tmp_path, listed, names, marks
):
    lines = filled(tmp_path, "\n".join(["Who", *listed]).encode(), *names).splitlines()

    assert lines[1:] == [f"{key},{mark}" for key, mark in zip(listed, marks, strict=True)]


def test_first_and_last_names_are_a_name_together(tmp_path):
    text = "Last,First,Nr\nLovelace,Ada,1\nByron,Ada,2\nRoss,Bob,3\n"
    (tmp_path / "list.csv").write_text(text)
    submissions = [handed_in("Ada Byron"), handed_in("Bob Ross")]

    roster = Roster.read(tmp_path / "list.csv", submissions)

    assert roster.matched(submissions) == [None, *submissions]
    assert roster.missing(submissions) == ["Lovelace Ada"]


def test_lines_above_the_names_of_the_columns_stay_where_they_are(tmp_path):
    above = '"Lab 1","Points"\n\n'
    text = "ID,Last Name,First Name,grade\nal,Lovelace,Ada,\nbr,Ross,Bob,\nbr,Li,Eve,\n"

    given = filled(tmp_path, (above + text).encode(), "Lovelace, Ada(al)", "Ross, Bob(br)")

    assert given == above + (
        "ID,Last Name,First Name,grade,Score\nal,Lovelace,Ada,,7\nbr,Ross,Bob,,7\nbr,Li,Eve,,0\n"
    )


def test_an_empty_line_between_learners_is_not_above_the_names_of_the_columns(tmp_path):
    assert filled(tmp_path, b"Name,ID\nada,1\n\nbob,2\n", "ada", "bob").startswith("Name,ID,Score")


@pytest.mark.parametrize(
    ("logins", "others", "rows"),
    [
        ("s_miller ada", "miller", "ada,7|miller,0|s_miller,7"),
        ("s_miller s_ray", "ada", "ada,0|s_miller,7|s_ray,7"),
        ("s_miller", "ada", "ada,0|s_miller,7"),
        ("s_miller s_ray", "miller", "are both for"),
        ("s_miller", "miller", "are both for"),
    ],
)
def test_a_login_with_an_underscore_gives_nobody_anothers_marks(tmp_path, logins, others, rows):
    (tmp_path / "in").mkdir()
    for login in logins.split():
        (tmp_path / "in" / f"Lab_{login}_attempt_2026-02-03-10-11-12_cnn.py").touch()
    (tmp_path / "list.csv").write_text("\n".join(["Login", *sorted(f"{logins} {others}".split())]))
    submissions = find(tmp_path / "in").submissions
    roster = Roster.read(tmp_path / "list.csv", submissions)

    try:
        told = roster.filled(submissions, {each.name: 7.0 for each in submissions}).decode()
    except ClassError as error:
        told = str(error)

    assert rows in told.replace("\n", "|")


@pytest.mark.parametrize(
    "ending", ["rar", "7z", "tar.zst", "xz", "zipx", "tbz2", "pdf", "docx", "txt", "zip.part"]
)
def test_who_handed_in_what_cannot_be_read_has_handed_in_something(tmp_path, ending):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / f"Ada.{ending}").touch()
    (tmp_path / "list.csv").write_text("Name\nada\nbob\n")
    submissions = find(tmp_path / "in").submissions
    roster = Roster.read(tmp_path / "list.csv", submissions)

    assert roster.missing(submissions) == ["bob"]
    assert roster.filled(submissions, {}).decode().splitlines()[1:] == ["ada,", "bob,0"]


def test_who_has_no_account_has_handed_in_nothing(tmp_path):
    text = "identifier,github_username\na@x,adal\ne@x,\nb@x,bobr\n"
    (tmp_path / "list.csv").write_text(text)
    submissions = [handed_in("lab-1-adal"), handed_in("lab-1-bobr")]

    roster = Roster.read(tmp_path / "list.csv", submissions)

    assert roster.missing(submissions) == ["e@x"]
    assert roster.filled(submissions, {}).decode().splitlines()[2] == "e@x,,0"


def test_a_group_is_of_its_members_without_a_number_too(tmp_path):
    (tmp_path / "list.csv").write_text("Name,ID,Group\nAda,1,\nBob,2,\nTim,,team\nTom,,team\n")
    submissions = [handed_in("ada", "1"), handed_in("bob", "2"), handed_in("team")]
    roster = Roster.read(tmp_path / "list.csv", submissions, group="Group")

    members = roster.of_members(submissions)

    assert [each.name for each in members] == ["Tim", "Tom", "ada", "bob"]
    assert roster.missing(members) == []


@pytest.mark.parametrize("also", [(), ("readme",), ("Dee", "4"), ("?",)])
def test_a_group_that_has_the_number_of_a_row_is_not_its_learners(tmp_path, also):
    (tmp_path / "list.csv").write_text("No,Name,Team\n1,Ada,2\n2,Bob,2\n3,Cy,1\n4,Dee,-\n5,Eve,\n")
    submissions = [handed_in("1"), handed_in("2"), *([handed_in(*also)] if also else [])]

    for key in (None, "No"):
        roster = Roster.read(tmp_path / "list.csv", submissions, group="Team", key=key)
        members = roster.of_members(submissions)

        folders = {each.name: each.attempts[0]["cnn.py"].name for each in members}
        assert folders == {"Ada": "2", "Bob": "2", "Cy": "1"} | {name: name for name in also[:1]}


@pytest.mark.parametrize(("names", "key"), [(["ada", "1", "2"], "Name"), (["1", "2"], "No")])
def test_what_only_counts_the_rows_is_the_key_where_no_other_column_fits(tmp_path, names, key):
    (tmp_path / "list.csv").write_text("No,Name\n2,Ada\n1,Bob\n,Total\n")
    submissions = [handed_in(name) for name in names]

    roster = Roster.read(tmp_path / "list.csv", submissions)

    assert next(roster.notes(submissions)) == f"The column {key} of list.csv tells whose a row is."


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        ("    Points Possible,,85\nada,1,\nbob,2,\n", "row 2 (Points Possible)"),
        ("\nText,Number,\nada,1,\nbob,2,\n", "row 3 (Text)"),
        ('ada,1,\nbob,2,\n"Student, Test",3,\n', "row 4 (Student, Test)"),
        ("ada,1,50\nbob,2,-\nTop marks,,85\n", "row 4 (Top marks)"),
        ("ada,1,\nbob,2,0.0\nMittelwert,,\nTotal,,\n", "row 4 (Mittelwert), row 5 (Total)"),
        ("Student,ID,\nada,1,\nbob,2,n/a\ncy,3,EX\n", "row 2 (Student), row 5 (cy)"),
    ],
)
def test_a_row_that_is_nobodys_stays_as_it_is_and_is_told(tmp_path, rows, left):
    (tmp_path / "list.csv").write_text(f"Student,ID,Score\n{rows}")
    submissions = [handed_in("ada")]
    roster = Roster.read(tmp_path / "list.csv", submissions, score="Score")

    lines = roster.filled(submissions, {"ada": 7}).decode().splitlines()

    before = f"Student,ID,Score\n{rows}".splitlines()
    assert [line for line in lines if line not in before] == ["ada,1,7", "bob,2,0"]
    assert roster.missing(submissions) == ["bob"]
    assert f"Left as they are in list.csv, as no learner's: {left}." in [*roster.notes(submissions)]


def test_who_has_a_number_is_somebody_with_a_word_where_others_have_numbers(tmp_path):
    text = "Name,ID,Old\ncy,3,EX\nada,1,5\nbob,2,6\n"

    assert filled(tmp_path, text.encode(), "ada").splitlines()[1] == "cy,3,EX,0"


def test_canvas_rows_are_nobodys_by_any_key(tmp_path):
    text = 'Student,ID,Score\n    Mögliche Punkte,,85\nada,1,\nbob,2,\n"Student, Test",x,\n'

    assert filled(tmp_path, text.encode(), "1") == (
        text.replace("ada,1,", "ada,1,7").replace("bob,2,", "bob,2,0")
    )


def test_a_row_that_fits_two_submissions_is_told_with_both(tmp_path):
    (tmp_path / "list.csv").write_text("Name,Mail\nAnna,a@x\nBob,b@x\n")
    submissions = [handed_in(f"Anna ({number})", number, "Anna") for number in ("12", "34")]
    roster = Roster.read(tmp_path / "list.csv", submissions)

    said = r"Row 2 of .* \(Anna\) fits more than one submission: Anna \(12\), Anna \(34\)\. Keep"
    with pytest.raises(ClassError, match=said):
        roster.matched(submissions)


def test_the_column_that_tells_learners_apart_is_found(tmp_path):
    (tmp_path / "list.csv").write_text("Name,Identifier\nAnna,Teilnehmer/in 012\nAnna,Person 345\n")
    submissions = [handed_in(f"Anna ({number})", "Anna", number) for number in ("345", "012")]

    roster = Roster.read(tmp_path / "list.csv", submissions)

    assert roster.matched(submissions) == submissions[::-1]


def test_a_column_with_a_name_that_two_have_is_not_the_one_that_tells_them(tmp_path):
    (tmp_path / "list.csv").write_text("Name,SID\nAda,007\n")
    submissions = [handed_in("Ada (1)", "Ada", "8"), handed_in("Ada (2)", "Ada", "7")]

    roster = Roster.read(tmp_path / "list.csv", submissions)

    assert roster.matched(submissions) == submissions[1:]


@pytest.mark.parametrize(
    ("listed", "names", "marks"),
    [
        (["007", "0012"], ["007", "0012"], [7, 7]),
        (["7", "12"], ["007", "0012"], [7, 7]),
        (["007", "0012"], ["7", "12"], [7, 7]),
        (["7.0", "12.0"], ["007", "0012"], [7, 7]),
        (["7", "007", "12.0"], ["007", "120"], [0, 7, 0]),
        (["Ada", "ada"], ["ada"], [0, 7]),
        (["Ada", "ada"], ["ada", "Ada"], [7, 7]),
    ],
)
def test_what_a_spreadsheet_does_to_numbers_takes_nobodys_marks(tmp_path, listed, names, marks):
    lines = filled(tmp_path, "\n".join(["ID", *listed]).encode(), *names).splitlines()

    assert lines[1:] == [f"{key},{mark}" for key, mark in zip(listed, marks, strict=True)]
