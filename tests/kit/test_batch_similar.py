"""Which submissions are told to be alike: copies under any disguise, and no independent work."""

import csv
import io
import re
from itertools import combinations
from pathlib import Path

import corpus
import mutants
import pytest

from mnist_lab.grading.batch import run, similar
from mnist_lab.grading.batch.similar import Pair, grouped
from mnist_lab.submission.notebook import of_history

EXERCISES = ("preprocessing", "cnn", "training", "evaluation")
"""Those that are long enough to be told by."""

ROOT = Path(__file__).parents[2]


def solution(exercise):
    return (ROOT / "solutions" / f"{exercise}.py").read_text()


@pytest.fixture
def alike(tmp_path):
    """The pairs among submissions of one file, given by the learner's name."""

    def compared(file, **texts):
        prints = {}
        for name, text in texts.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / file).write_text(text, errors="surrogatepass")
            prints[name] = tmp_path / f"{name}.json"
            similar.fingerprint(tmp_path / name, prints[name])
        return similar.compare(prints)

    return compared


@pytest.fixture
def pretended(monkeypatch):
    """A class is read and compared, and nothing in it graded."""
    monkeypatch.setattr(run, "_engine", lambda jobs, cluster: lambda reads, options: ())
    monkeypatch.setattr(
        run, "_grade", lambda listing, reads, *rest: [run.NotGraded("No.")] * len(reads)
    )


def commented(text):
    return re.sub(r"\n( +)(?=\S)", r"\n\1# what now?\n\n\1", text.replace('"""', "'''"))


def renamed(text):
    names = ("images", "labels", "scores", "total_loss", "correct", "examples", "loader", "model")
    for at, name in enumerate(names):
        text = re.sub(rf"(?<!\.)\b{name}\b", f"var{at}", text)
    return re.sub(r"self\.(\w+)(?= =| ?\()", r"self.my_\1", text)


def reordered(text):
    """The functions, or the methods of the one class, in the other order."""
    indent = "    " if "class CNN" in text else ""
    head, *parts = re.split(rf"^(?={indent}def )", text, flags=re.MULTILINE)
    return head + "\n\n".join(reversed(parts))


def simplified(text):
    """Without the handout, annotations and blank lines."""
    text = re.sub(r'""".*?"""', "", text, flags=re.DOTALL)
    return re.sub(r"\n\s*\n", "\n", re.sub(r" -> [^:\n]+:", ":", text))


DISGUISES = (commented, renamed, reordered, simplified, lambda text: commented(renamed(text)))


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("exercise", EXERCISES)
def test_a_copy_is_listed_whatever_it_is_disguised_as(alike, exercise, disguise):
    copied = disguise(solution(exercise))
    assert copied != solution(exercise)

    (pair,) = alike(f"{exercise}.py", ada=solution(exercise), bob=copied)

    assert pair.names == ("ada", "bob")
    assert [each.exercise for each in pair.passages] == [exercise]


@pytest.mark.parametrize("exercise", ["logistic_regression", "fnn", *EXERCISES])
def test_work_of_several_is_not_listed(alike, exercise):
    """Of the right ways to write an exercise at most one pair in 100 is taken for a copy.
    Those that are edits of another are left out: they are copies.
    """
    texts = {
        variant.name.replace("-", "_"): variant.files[f"{exercise}.py"]
        for variant in corpus.load()
        if (corpus.original(variant.name) / f"{exercise}.py").exists()
    }

    pairs = alike(f"{exercise}.py", solution=solution(exercise), **texts)

    assert 100 * len(pairs) <= len(list(combinations([*texts, "solution"], 2)))


def test_a_copy_with_a_mistake_put_in_is_listed(tmp_path):
    """Each of the suite's wrong submissions against what it was made from."""
    made = [each for each in mutants.load() if each.exercise in EXERCISES][::20]
    for at, mutant in enumerate(made):
        base = corpus.original(mutant.base) / mutant.file
        wrong = mutants.materialise(mutant, tmp_path / str(at)) / mutant.file
        prints = {}
        for name, path in (("ada", base), ("bob", wrong)):
            folder = tmp_path / f"{at}-{name}"
            folder.mkdir()
            (folder / mutant.file).write_text(path.read_text())
            prints[name] = tmp_path / f"{at}-{name}.json"
            similar.fingerprint(folder, prints[name])
        assert similar.compare(prints), mutant.name


def test_what_is_handed_out_counts_for_nothing(alike):
    stub = (ROOT / "exercises" / "training.py").read_text()

    assert alike("training.py", ada=stub, bob=f"{stub}\n# nothing yet\n") == []


def test_what_many_have_written_counts_for_nothing(alike):
    class_of_twelve = {f"learner{number}": solution("training") for number in range(12)}

    assert alike("training.py", **class_of_twelve) == []


HOSTILE = (
    "def f(:\n",
    "(" * 300_000,
    "".join(" " * depth + "if x:\n" for depth in range(900)),
    "\x00\ud800 é\r",
    "\t" * 300_000,
    "'''" * 100_000,
    "a." * 200_000,
)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_python_stops_nothing(alike, text):
    others = {"ada": solution("cnn"), "bob": solution("cnn")}

    (pair,) = alike("cnn.py", **others, eve=text)

    assert pair.names == ("ada", "bob")


def test_those_who_are_alike_are_one_group_with_the_pairs_that_connect_them():
    pairs = [Pair((one, other), ()) for one, other in ("ab", "cd", "ac", "bd", "xy", "ad", "de")]

    known = {frozenset(each.names): [pair.names for pair in each.pairs] for each in grouped(pairs)}

    assert known == {
        frozenset("abcde"): [("a", "b"), ("c", "d"), ("a", "c"), ("d", "e")],
        frozenset("xy"): [("x", "y")],
    }


def test_five_who_hand_in_the_same_are_one_entry_of_the_page_and_ten_rows(tmp_path, pretended):
    for name in ("ada", "bob", "cleo", "dan", "eve"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "training.py").write_text(solution("training"))

    run.grade_class(tmp_path / "in", tmp_path / "out")

    page = (tmp_path / "out" / "class.html").read_text()
    panel = page.partition('<section id="similar">')[2].partition("</section>")[0]
    assert panel.count("<details>") == 1
    assert "<summary>ada, bob, cleo, dan and eve</summary>" in panel
    assert panel.count("<h3>") == 4
    assert len((tmp_path / "out" / "similar.csv").read_text().splitlines()) == 1 + 10


def test_the_anonymous_page_links_to_no_file_that_has_names(tmp_path, pretended):
    for name in ("ada", "bob"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "training.py").write_text(solution("training"))

    run.grade_class(tmp_path / "in", tmp_path / "out", anonymous=True)

    page = (tmp_path / "out" / "class.html").read_text()
    assert "All pairs are in <code>similar.csv</code>." in page
    assert "<a href=" not in page


def test_both_places_are_told_and_shown_side_by_side_in_files_and_notebooks(tmp_path, pretended):
    (tmp_path / "in" / "ada").mkdir(parents=True)
    (tmp_path / "in" / "ada" / "training.py").write_text(solution("training"))
    cell = "\n".join(solution("training").partition("from collections")[2].splitlines()[5:])
    book = of_history([(1, "import torch\nfrom torch import nn"), (2, cell)])
    (tmp_path / "in" / "bob.ipynb").write_text(book)

    run.grade_class(tmp_path / "in", tmp_path / "out")

    (row,) = csv.DictReader(io.StringIO((tmp_path / "out" / "similar.csv").read_text()))
    assert (row["name"], row["other"], row["exercise"]) == ("ada", "bob", "training")
    assert re.match(r"training\.py:\d+-\d+", row["place"])
    assert re.match(r"In \[2\], line \d+-\d+", row["other place"])
    page = (tmp_path / "out" / "class.html").read_text()
    assert page.count("optimizer.zero_grad()") == 2

    run.grade_class(tmp_path / "in", tmp_path / "off", alike=False)

    assert not (tmp_path / "off" / "similar.csv").exists()
    assert "alike" not in (tmp_path / "off" / "class.html").read_text()
