"""Grades as other programs read them: golden files, their schemas, and text that means harm.

``GOLDEN=write pytest tests/kit/test_formats.py`` writes the golden files anew.
"""

import base64
import csv
import io
import json
import os
import re
import stat
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt

from mnist_lab import cli, kit
from mnist_lab.grade import Cause, CheckGrade, ExerciseGrade, Grade
from mnist_lab.grading import formats, run
from mnist_lab.grading.formats import FORMATS, actions, text
from mnist_lab.grading.warm import Run

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden"
FILES = {
    "json": "grade.json",
    "gradescope": "results.json",
    "classroom": "autograding.json",
    "junit": "junit.xml",
    "annotations": "annotations.txt",
    "summary": "summary.md",
    "csv": "grade.csv",
}

HOSTILE = (
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b1m NUL \x00 half \ud83d whole 😀 bell \x07 "
    "<script>alert(1)</script> <!-- & ]]> </pre></details> **bold** [link](javascript:x) `code` "
    "| cell | @octocat ~~gone~~ $x$ \u202eturned\u2066 ﾿ \ufffe\uffff ünïcödé 数字"
)
LINES = (
    "one\n::error file=a.py,line=1::forged\r\n::set-output name=x::y\n##[error]old\n"
    "::stop-commands::x\n=HYPERLINK(1)\n# heading\n\n- item\n```\nfence"
)


def a_grade():
    """A grade of a kit of its own, so that no golden file depends on kit.toml."""
    return Grade(
        kit="0.0.0",
        submission="hand<ed>-in",
        sha256="00ff",
        tier="quick",
        seed=7,
        device="cpu",
        seconds=12.3456,
        walls={"network": "enforced"},
        exercises=(
            ExerciseGrade(
                "fnn",
                "Feed-forward network",
                (
                    CheckGrade("fnn.parameters", "It has 203,530 parameters", "passed", 3.0, 0.25),
                    CheckGrade(
                        "fnn.network",
                        "The outputs are those of linear, ReLU, linear",
                        "failed",
                        5.5,
                        0.125,
                        Cause(
                            "The output is off.",
                            fault="fnn.no-relu",
                            evidence="Equal to 3e-13 to a network without it, 100% sure.",
                            hint="Count the ReLUs.",
                            where="fnn.py:18",
                            output=HOSTILE + "\n" + LINES,
                            traceback='  File "fnn.py", line 18, in forward\n' + HOSTILE,
                        ),
                    ),
                    CheckGrade("fnn.behaviour", "It is one", "blocked", 1.5, cause=Cause("Wait.")),
                    CheckGrade(
                        "fnn.accuracy", "It reads digits", "not_run", 4.0, cause=Cause("--full.")
                    ),
                ),
            ),
            ExerciseGrade(
                "cnn",
                "Convolutional <b>network</b> | *",
                (
                    CheckGrade("cnn.todo", "It is there", "todo", 1.0, 0.01, Cause("Not yet.")),
                    CheckGrade(
                        "cnn.hostile", "Its file is kind", "failed", 2.0, 0.0, Cause(HOSTILE)
                    ),
                    CheckGrade(
                        "cnn.lines",
                        "It has one line",
                        "failed",
                        2.0,
                        0.0,
                        Cause(LINES, where="a,b%:c.py:3", hint="=1+1", evidence="-1 @x"),
                    ),
                    CheckGrade(
                        "cnn.long", "It ends", "failed", 2.0, 0.0, Cause("=very long " * 9999)
                    ),
                    CheckGrade(
                        "cnn.judged",
                        "It can be judged",
                        "error",
                        2.0,
                        0.0,
                        Cause("The kit could not judge this: +1"),
                    ),
                    CheckGrade("cnn.bare", "It says why", "failed", 2.0),
                ),
            ),
        ),
    )


def many_mistakes(outcome="failed", checks=30):
    checks = tuple(
        CheckGrade(f"cnn.c{i}", f"Check {i}", outcome, 1.0, 0.0, Cause(HOSTILE * 40))
        for i in range(checks)
    )
    exercises = (ExerciseGrade("cnn", "CNN", checks),)
    return Grade("0", "x", "0", "full", 0, "cpu", exercises)


@pytest.mark.parametrize("name", FORMATS)
def test_the_text_is_that_of_the_golden_file(name):
    file, made = GOLDEN / FILES[name], FORMATS[name](a_grade())
    if os.environ.get("GOLDEN") == "write":
        file.write_text(made, encoding="utf-8", newline="")

    assert made == file.read_bytes().decode()


@pytest.mark.parametrize("name", sorted(set(FORMATS) - {"json"}))
def test_no_control_character_and_no_half_character_gets_out(name):
    made = FORMATS[name](a_grade())

    assert "\ud83d" not in made.encode("utf-8").decode()
    assert re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", made) is None
    assert r"\u001b" not in made
    assert r"\ud83d\ud83d" not in made


# Gradescope

VISIBILITY = {"enum": ["hidden", "after_due_date", "after_published", "visible"]}
FORMAT = {"enum": ["text", "html", "simple_format", "md", "ansi"]}
GRADESCOPE = {
    "type": "object",
    "required": ["score", "tests"],
    "additionalProperties": False,
    "properties": {
        "score": {"type": "number"},
        "execution_time": {"type": "number"},
        "output": {"type": "string"},
        "output_format": FORMAT,
        "test_output_format": FORMAT,
        "test_name_format": FORMAT,
        "visibility": VISIBILITY,
        "stdout_visibility": VISIBILITY,
        "extra_data": {"type": "object"},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["score", "max_score"],
                "additionalProperties": False,
                "properties": {
                    "score": {"type": "number", "minimum": 0},
                    "max_score": {"type": "number", "minimum": 0},
                    "status": {"enum": ["passed", "failed"]},
                    "name": {"type": "string"},
                    "name_format": FORMAT,
                    "number": {"type": "string"},
                    "output": {"type": "string"},
                    "output_format": FORMAT,
                    "tags": {"type": "array", "items": {"type": "string"}},
                    "visibility": VISIBILITY,
                    "extra_data": {"type": "object"},
                },
            },
        },
        "leaderboard": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "value"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string"},
                    "value": {"type": ["number", "string"]},
                    "order": {"enum": ["asc", "desc"]},
                },
            },
        },
    },
}


def nothing_graded():
    return formats.ungraded("There is no file.", "failed", submission="x", full=True)


@pytest.mark.parametrize("full", [False, True])
def test_what_cannot_be_graded_fails_the_checks_that_would_have_run(full):
    graded = formats.ungraded("There is no file.", "failed", submission="x", full=full)
    failed = {check.id for check in graded.checks if check.outcome == "failed"}

    assert "cnn.network" in failed
    assert ("cnn.accuracy" in failed) == full
    assert "cnn.gpu" not in failed


@pytest.mark.parametrize("graded", [a_grade(), nothing_graded(), many_mistakes()])
def test_gradescope_gets_what_its_specification_asks_for(graded):
    results = json.loads(FORMATS["gradescope"](graded))

    jsonschema.validate(results, GRADESCOPE)
    assert results["score"] == sum(test["score"] for test in results["tests"]) == graded.score
    assert sum(test["max_score"] for test in results["tests"]) == graded.max_score
    assert len(results["tests"]) == len(graded.checks)


def test_only_what_passed_has_passed_on_gradescope():
    results = json.loads(FORMATS["gradescope"](a_grade()))
    passed = [test["extra_data"]["id"] for test in results["tests"] if test["status"] == "passed"]

    assert passed == ["fnn.parameters"]


def test_gradescope_shows_a_learners_text_as_text():
    results = json.loads(FORMATS["gradescope"](a_grade()))
    shown = [results, *results["tests"]]

    assert {place["output_format"] for place in shown} == {"text"}
    assert {test["name_format"] for test in results["tests"]} == {"text"}


def test_gradescope_gives_the_one_reason_why_nothing_could_be_graded():
    results = json.loads(FORMATS["gradescope"](nothing_graded()))

    assert results["score"] == 0
    assert results["output"] == "0 of 100 points.\nThere is no file."


# GitHub Classroom

CLASSROOM = {
    "type": "object",
    "required": ["version", "status", "max_score", "tests"],
    "additionalProperties": False,
    "properties": {
        "version": {"const": 3},
        "status": {"enum": ["pass", "fail", "error"]},
        "max_score": {"type": "number"},
        "tests": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "status", "score", "message", "test_code", "line_no"],
                "properties": {
                    "name": {"type": "string"},
                    "status": {"enum": ["pass", "fail", "error"]},
                    "score": {"type": "number"},
                    "message": {"type": ["string", "null"]},
                    "test_code": {"type": "string"},
                    "filename": {"type": "string"},
                    "line_no": {"type": "integer"},
                },
            },
        },
    },
}


@pytest.mark.parametrize("graded", [a_grade(), nothing_graded(), many_mistakes(checks=60)])
def test_classroom_gets_version_3_with_tests_that_add_up(graded):
    made = FORMATS["classroom"](graded)
    results = json.loads(base64.b64decode(base64.b64encode(made.encode())))

    jsonschema.validate(results, CLASSROOM)
    assert sum(test["score"] for test in results["tests"]) == graded.score
    assert len(base64.b64encode(made.encode())) < 128 << 10


def test_classroom_prints_nothing_that_is_a_command():
    for test in json.loads(FORMATS["classroom"](a_grade()))["tests"]:
        printed = f"{test['name']} {test['message']} {test['filename']}"
        assert not re.search(r"\n|::|##\[", printed)


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("passed", "pass"), ("not_run", "pass"), ("todo", "fail"), ("error", "error")],
)
def test_the_status_for_classroom_is_the_worst_of_the_checks(outcome, status):
    graded = many_mistakes(outcome)

    assert json.loads(FORMATS["classroom"](graded))["status"] == status


# JUnit

ATTRIBUTES = {  # of junit-10.xsd: required, allowed
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log"},
    ),
    "properties": (set(), set()),
    "property": ({"name", "value"}, set()),
    "testcase": ({"name"}, {"time", "classname", "group"}),
    "failure": (set(), {"type", "message"}),
    "error": (set(), {"type", "message"}),
    "skipped": (set(), {"type", "message"}),
    "system-out": (set(), set()),
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase", "system-out", "system-err"},
    "properties": {"property"},
    "testcase": {"skipped", "error", "failure", "system-out", "system-err"},
}


@pytest.mark.parametrize("name", ["gradescope", "junit", "annotations", "summary"])
def test_the_line_that_is_not_python_is_shown_with_its_caret(name):
    check = CheckGrade("cnn.c", "It reads", "failed", 1.0, 0.0, Cause("No.", code="def f(\n     ^"))
    grade = Grade("0", "x", "0", "full", 0, "cpu", (ExerciseGrade("cnn", "CNN", (check,)),))

    made = FORMATS[name](grade)

    assert re.search(r"def f\((\n|\\n|%0A) {5}\^", made), made


def violations(element):
    required, allowed = ATTRIBUTES[element.tag]
    if missing := required - set(element.keys()):
        yield f"{element.tag} lacks {missing}"
    if strange := set(element.keys()) - required - allowed:
        yield f"{element.tag} has {strange}"
    if not re.fullmatch(r"\d+(\.\d+)?", element.get("time", "0")):
        yield f"{element.tag} takes {element.get('time')}"
    for child in element:
        if child.tag not in CHILDREN.get(element.tag, ()):
            yield f"{child.tag} in {element.tag}"
        yield from violations(child)


@pytest.mark.parametrize("graded", [a_grade(), nothing_graded(), many_mistakes()])
def test_junit_keeps_to_the_schema_of_xunit2(graded):
    root = ElementTree.fromstring(FORMATS["junit"](graded).encode())

    assert root.tag == "testsuites"
    assert list(violations(root)) == []


def test_junit_counts_what_it_holds():
    root = ElementTree.fromstring(FORMATS["junit"](a_grade()).encode())

    for suite in root:
        for counter, tag in (
            ("tests", "testcase"),
            ("failures", "testcase/failure"),
            ("errors", "testcase/error"),
            ("skipped", "testcase/skipped"),
        ):
            assert int(suite.get(counter)) == len(suite.findall(tag))
    for counter in ("tests", "failures", "errors"):
        assert int(root.get(counter)) == sum(int(suite.get(counter)) for suite in root)
    assert [root.get(name) for name in ("tests", "failures", "errors")] == ["10", "6", "1"]


def test_a_message_survives_xml_as_it_was_written():
    root = ElementTree.fromstring(FORMATS["junit"](a_grade()).encode())
    failure = root.find(".//testcase[@name='hostile']/failure")

    assert failure.text == text.clean(HOSTILE)
    assert "]]>" in failure.text


# GitHub Actions

COMMAND = re.compile(r"::(notice|warning|error) ((?:\w+=[^,:]*,?)+)::([^\n]*)")


def test_an_annotation_is_one_line_and_its_properties_are_whole():
    lines = FORMATS["annotations"](a_grade()).splitlines()
    commands = [COMMAND.fullmatch(line) for line in lines]

    assert all(commands)
    assert [command[1] for command in commands] == ["notice", *["error"] * 6, "warning"]
    assert commands[1][2] == "file=hand<ed>-in/fnn.py,line=18,title=fnn.network"
    assert "100%25 sure" in commands[1][3]


def test_a_comma_in_a_files_name_begins_no_other_property():
    cause = Cause("It is off.", where="a,title=forged.py:3")
    checks = (CheckGrade("cnn.network", "It is right", "failed", 1.0, cause=cause),)
    graded = Grade("0", "x", "0", "quick", 0, "cpu", (ExerciseGrade("cnn", "CNN", checks),))

    line = FORMATS["annotations"](graded).splitlines()[1]

    assert line.startswith("::error file=x/a%2Ctitle=forged.py,line=3,title=cnn.network::It is off")


def test_a_file_may_have_any_name():
    lines = FORMATS["annotations"](a_grade()).splitlines()
    where = next(line for line in lines if "title=cnn.lines" in line)

    assert where.startswith("::error title=cnn.lines::")  # A name with a colon is no place.


def test_a_single_file_is_not_a_folder_of_itself():
    graded = Grade("0", "fnn.py", "0", "quick", 0, "cpu", a_grade().exercises)

    assert "file=fnn.py,line=18," in FORMATS["annotations"](graded)


def test_github_shows_ten_annotations_so_the_tenth_says_how_many_more():
    errors = FORMATS["annotations"](many_mistakes()).splitlines()[1:]

    assert len(errors) == 10
    assert errors[-1].endswith("::21 more are in the summary of the job.")


class Tags(HTMLParser):
    """The tags of a page and its text."""

    def __init__(self, page):
        super().__init__()
        self.found, self.text = set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.add(tag)

    def handle_data(self, data):
        self.text += data


def rendered(graded):
    made = FORMATS["summary"](graded)
    return Tags(MarkdownIt("gfm-like", {"linkify": False}).render(made))


def test_a_learners_text_is_no_markup_in_the_summary():
    page = rendered(a_grade())

    assert page.found == {
        *("h3", "h4", "p", "details", "summary", "pre"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }


def test_a_learners_text_is_in_the_summary_as_it_was():
    page = rendered(a_grade())

    assert text.clean(HOSTILE + "\n" + LINES) in page.text
    assert text.one_line(HOSTILE) in page.text
    for line in filter(None, text.clean(LINES).splitlines()):
        assert page.text.count(line) > 1


def test_nobody_is_named_by_the_summary():
    prose = re.sub(r"<pre>[^<]*</pre>", "", FORMATS["summary"](a_grade()))

    assert "@" not in prose


def test_the_summary_keeps_to_a_mebibyte_and_says_what_it_leaves_out():
    made = FORMATS["summary"](many_mistakes(checks=400))

    assert 900_000 < len(made.encode()) < 1 << 20
    assert re.search(r"\d+ more did not fit in here\.\n$", made)


def test_while_a_learners_output_is_shown_commands_are_stopped(capsys):
    with actions.commands_stopped(True):
        print("::error::forged")
    stop, forged, blank, resume = capsys.readouterr().out.splitlines()

    assert (forged, blank) == ("::error::forged", "")
    assert stop == f"::stop-commands::{resume.strip(':')}"
    assert len(resume) > 30


def test_the_word_that_resumes_commands_is_never_the_same(capsys):
    for _ in range(2):
        with actions.commands_stopped(True):
            pass
    lines = capsys.readouterr().out.split()

    assert len(set(lines)) == 4


# CSV


def test_no_cell_is_a_formula():
    rows = list(csv.reader(io.StringIO(FORMATS["csv"](a_grade()))))

    assert {len(row) for row in rows} == {13}
    assert len(rows) == 11
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert "'=1+1" in rows[7]
    assert "'-1 @x" in rows[7]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", "\n=", " =", "\x00\t=", "＝"])
def test_a_formula_is_defused_however_it_is_hidden(start):
    made = formats.table.cell(f"{start}cmd|' /C calc'!A0")

    assert made.startswith(("'", "\ufffd"))
    assert not re.search(r"[\t\r\n]", made)


# Text


def test_a_long_text_says_how_much_is_missing():
    assert text.clean("x" * 9000).endswith("x [1,000 characters left out]")


def test_an_unfinished_terminal_sequence_swallows_no_line():
    assert text.clean("a\x1b]0;title\nb") == "a\nb"
    assert text.clean("a\x1b[31\nb") == "a31\nb"


# Writing


def grade_command(monkeypatch, *arguments, written=True, status=1):
    """``mnist-lab grade`` with a run of pytest that writes ``a_grade``, or nothing."""

    def grade(self, arguments, *, shown):
        return Run(status, "", {"grade": a_grade().to_json()} if written else {})

    monkeypatch.setattr(run.Cold, "grade", grade)
    return CliRunner().invoke(cli.main, ["grade", *map(str, arguments)])


@pytest.fixture
def solutions():
    return ROOT / "solutions"


def test_several_formats_are_written_at_once(monkeypatch, solutions, tmp_path):
    asked = [f"--format={name}={tmp_path / file}" for name, file in FILES.items()]

    result = grade_command(monkeypatch, solutions, *asked)

    assert result.exit_code == 1
    for file in FILES.values():
        assert (tmp_path / file).read_bytes() == (GOLDEN / file).read_bytes()
    assert len(list(tmp_path.iterdir())) == len(FILES)


def test_a_grade_can_go_to_the_terminal(monkeypatch, solutions):
    result = grade_command(monkeypatch, solutions, "--format", "csv=-")

    assert result.output == FORMATS["csv"](a_grade())


def test_in_github_actions_two_formats_know_their_place(monkeypatch, solutions, tmp_path):
    summary = tmp_path / "summary"
    summary.write_text("what another command said\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))

    result = grade_command(monkeypatch, solutions, "--format=summary", "--format=annotations")

    assert result.output == FORMATS["annotations"](a_grade())
    assert summary.read_text() == "what another command said\n" + FORMATS["summary"](a_grade())


def test_in_github_actions_the_annotations_come_after_commands_work_again(monkeypatch, solutions):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")

    lines = grade_command(monkeypatch, solutions, "--format=annotations").output.splitlines()

    assert lines[0].startswith("::stop-commands::")
    assert lines[2] == f"::{lines[0].rpartition(':')[2]}::"
    assert lines[3].startswith("::notice ")


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("xml=x", "'xml' is not a format; there are json, gradescope, classroom, junit"),
        ("junit", "junit needs a file: --format junit=FILE"),
        ("summary", "summary needs a file"),
        ("junit=.", ". is not a file"),
        ("junit=nowhere/x.xml", "there is no folder nowhere"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is_graded(
    monkeypatch, solutions, tmp_path, asked, sentence
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    monkeypatch.setattr(run, "fresh_seed", lambda: pytest.fail("It is graded."))

    result = CliRunner().invoke(cli.main, ["grade", str(solutions), "--format", asked])

    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())


def test_two_formats_cannot_share_a_file(monkeypatch, solutions, tmp_path):
    same = tmp_path / "same"

    result = grade_command(monkeypatch, solutions, f"--format=csv={same}", f"--format=junit={same}")

    assert result.exit_code == 2
    assert "asked for twice" in " ".join(result.output.split())


def test_a_file_is_replaced_whole_or_not_at_all(monkeypatch, tmp_path):
    file = tmp_path / "grade.csv"
    file.write_text("former")
    places = formats.destinations([f"csv={file}"])
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space")))

    with pytest.raises(formats.FormatError, match=r"grade\.csv cannot be written \(No space\)"):
        formats.deliver(a_grade(), places)

    assert [path.name for path in tmp_path.iterdir()] == ["grade.csv"]
    assert file.read_text() == "former"


def test_one_file_that_fails_keeps_none_of_the_others_back(tmp_path):
    places = [
        formats.Destination("csv", tmp_path / "missing" / "x.csv"),
        formats.Destination("junit", tmp_path / "junit.xml"),
    ]

    with pytest.raises(formats.FormatError):
        formats.deliver(a_grade(), places)

    assert (tmp_path / "junit.xml").exists()


def test_a_written_file_can_be_read_by_others(tmp_path):
    formats.deliver(a_grade(), formats.destinations([f"junit={tmp_path / 'junit.xml'}"]))

    assert stat.S_IMODE((tmp_path / "junit.xml").stat().st_mode) & stat.S_IRGRP


def test_when_the_grader_fails_every_format_is_written_with_no_points(
    monkeypatch, solutions, tmp_path
):
    asked = [f"--format={name}={tmp_path / file}" for name, file in FILES.items()]

    result = grade_command(monkeypatch, solutions, *asked, written=False, status=3)

    results = json.loads((tmp_path / "results.json").read_text())
    assert result.exit_code == 3
    jsonschema.validate(results, GRADESCOPE)
    assert results["score"] == 0
    assert "The grader ended with status 3" in results["output"]
    suites = ElementTree.parse(tmp_path / "junit.xml").getroot()
    quick = [check for check in kit.load().checks if check.tier == "quick"]
    assert int(suites.get("errors")) == len(quick)
    assert json.loads((tmp_path / "autograding.json").read_text())["status"] == "error"


def test_an_empty_submission_gets_no_points_and_the_reason(monkeypatch, tmp_path):
    (tmp_path / "handed-in").mkdir()
    file = tmp_path / "results.json"

    grade_command(
        monkeypatch, tmp_path / "handed-in", f"--format=gradescope={file}", written=False, status=4
    )

    assert "has none of the exercises: preprocessing.py" in json.loads(file.read_text())["output"]
