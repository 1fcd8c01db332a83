"""A notebook from end to end: its cells are run, checked, compared, handed in and graded."""

import base64
import json
import os
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from nbformat import v4

import mnist_lab.notebook
from mnist_lab import grade, kit, report
from mnist_lab.grade import Cause, Result
from mnist_lab.grading import run
from mnist_lab.grading.warm import JobError, Run
from mnist_lab.notebook import Card, Models, check, compare
from mnist_lab.report.files import contents

ROOT = Path(__file__).parents[2]
EXERCISES = kit.load().exercises
SECONDS = 600


def exercise_notebook():
    return nbformat.read(ROOT / "exercises" / "mnist_lab.ipynb", 4)


def solved():
    """The exercise notebook with the solutions in its cells."""
    made = exercise_notebook()
    for cell in made.cells:
        for tag in cell.metadata.get("tags", ()):
            cell.source = (ROOT / "solutions" / kit.load().exercise(tag).file).read_text()
    return made


def executed(made, folder):
    """Run the cells of ``made`` from top to bottom; the output of each, by the cell's id."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    client = nbclient.NotebookClient(
        made, timeout=SECONDS, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment)
    return {cell.id: cell.outputs for cell in made.cells if cell.cell_type == "code"}


def said(outputs, kind="text/plain"):
    return "".join(output.data[kind] for output in outputs if "data" in output)


def on_the_sample(made):
    """The comparison on fewer digits, so that it takes seconds and no network."""
    cell = next(cell for cell in made.cells if cell.id == "comparison")
    assert "epochs=3" in cell.source
    cell.source = cell.source.replace("epochs=3", 'epochs=1, digits="sample"')
    return made


# The exercise notebook, run as it is


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What the cells say with the stubs, and when their solutions have been written."""
    folder = tmp_path_factory.mktemp("notebook")
    both = on_the_sample(exercise_notebook())
    written = on_the_sample(solved())
    for cell in written.cells:
        cell.id = f"{cell.id}-solved"
    both.cells += written.cells
    yield executed(both, folder)
    assert {path.name for path in folder.iterdir()} <= {".hypothesis"}


def test_with_the_stubs_every_card_says_that_it_is_to_do(outputs):
    for exercise in EXERCISES:
        card = outputs[f"{exercise.id.replace('_', '-')}-check"]
        assert "todo" in said(card).splitlines()[0]
        assert ": to do, 0 of " in said(card, "text/html")
        assert "In [" in said(card)
    assert "Score 0 of 85" in said(outputs["all-check"])
    assert "CNN is not written yet." in said(outputs["comparison"])


def test_with_the_solutions_every_check_passes_and_the_models_are_compared(outputs):
    for exercise in EXERCISES:
        card = outputs[f"{exercise.id.replace('_', '-')}-check-solved"]
        assert "passed" in said(card), said(card)
        assert ": passed, " in said(card, "text/html")
    assert "Score 85 of 85" in said(outputs["all-check-solved"])
    assert said(outputs["comparison-solved"]).count("206,922") == 1
    for name in ("accuracy-curves", "confusion-matrices", "misread-gallery", "sample-images"):
        assert said(outputs[f"{name}-solved"], "image/png")


# A learner's notebook, handed in

MISTAKES = {
    "cnn": ("self.conv2(x).relu()", "self.conv2(x)", "cnn.no-relu-conv2"),
    "training": ("        optimizer.zero_grad()\n", "", "training.no-zero-grad"),
    "evaluation": ("(scores.argmax(", "(scores.argmin(", "evaluation.accuracy-argmin"),
}
"""By exercise: code of the solution, what a learner has in its place, and what that is called."""


@pytest.mark.usefixtures("in_forks")
def test_three_mistakes_in_a_notebook_are_named_and_the_rest_keeps_its_points(tmp_path):
    made = solved()
    planted = {}
    for cell in made.cells:
        for tag in cell.metadata.get("tags", ()):
            cell.metadata = {}  # Its names are what tells it.
            if tag in MISTAKES:
                right, wrong, _ = MISTAKES[tag]
                assert right in cell.source
                cell.source = cell.source.replace(right, wrong)
                planted[tag] = cell
    made.cells.insert(0, v4.new_code_cell("!pip install mnist-lab\nimport os\nos._exit(1)"))
    nbformat.write(made, tmp_path / "ada.ipynb")

    graded = run.grade(tmp_path / "ada.ipynb")

    for exercise in graded.exercises:
        causes = [check.cause for check in exercise.checks if check.outcome == "failed"]
        assert bool(causes) == (exercise.id in MISTAKES), exercise
        if causes:
            assert MISTAKES[exercise.id][2] in [cause.fault for cause in causes]
            cell = made.cells.index(planted[exercise.id]) + 1
            assert all(cause.where.startswith(f"cell {cell}, line ") for cause in causes)
        else:
            ran = [check for check in exercise.checks if check.outcome != "not_run"]
            assert all(check.passed for check in ran)
    assert graded.submission == "ada.ipynb"


# check, without a kernel


class Shell:
    """What ``check`` sees of IPython: the cells that were run and what they left."""

    def __init__(self, *cells, defined=()):
        self.history_manager = SimpleNamespace(input_hist_raw=["", *cells])
        self.user_ns = dict.fromkeys(defined)


@pytest.fixture
def ran(monkeypatch):
    """Has a notebook run cells; the paths that were graded then come in the list it gives."""
    graded = []

    def begin(*cells, defined=(), ended=None):
        shell = Shell(*cells, defined=defined)
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))

        def grade_it(path, exercise):
            graded.append((json.loads((path / "notebook.ipynb").read_text()), exercise))
            if isinstance(ended, Exception):
                raise ended
            return ended or Run(0, "", {"grade": a_grade({}).to_json()})

        monkeypatch.setattr(mnist_lab.notebook, "_run", grade_it)
        return graded

    return begin


def a_grade(results):
    return grade.build(
        kit.load(), results, version="", submission="", sha256="", tier="quick", seed=0
    )


def test_a_name_that_is_no_exercise_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match=r"no exercise 'CNN': they are preprocessing, .*, cnn, "):
        check("CNN")


def test_outside_of_a_notebook_it_says_what_to_run_instead(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: None))

    with pytest.raises(RuntimeError, match="elsewhere run `pytest`"):
        check("cnn")


def test_what_is_not_defined_is_to_do_and_nothing_is_run_for_it(ran):
    graded = ran("x = 1", "class CNN: pass  # it raised before this line")

    card = check("cnn")

    assert card.state == "todo"
    assert "The notebook does not define CNN yet." in repr(card)
    assert "Run the cell that defines it" in card._repr_html_()
    assert graded == []


def test_the_cells_that_were_run_are_graded_in_their_order(ran):
    graded = ran("class CNN: pass", "  ", 'check("cnn")', defined=["CNN"])

    check("cnn")

    ((handed_in, exercise),) = graded
    assert exercise == "cnn"
    assert [cell["execution_count"] for cell in handed_in["cells"]] == [1, 3]


@pytest.mark.parametrize(
    "ended",
    [JobError("It was killed."), Run(3, "some\nERROR: It was killed.\n", {}), Run(-9, "", {})],
)
def test_a_run_without_a_grade_is_no_fault_of_the_learners(ran, ended):
    ran("class CNN: pass", defined=["CNN"], ended=ended)

    card = check("cnn")

    assert card.state == "error"
    assert "It could not be graded: " in repr(card)
    assert "could not be judged" in card._repr_html_()


def test_after_an_interrupt_the_next_check_gets_a_process_of_its_own(monkeypatch):
    closed = []

    class Interrupted:
        def grade(self, arguments, limit):
            raise KeyboardInterrupt

        def close(self):
            closed.append(self)

    monkeypatch.setattr(mnist_lab.notebook, "_ready", cache(Interrupted))

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            mnist_lab.notebook._run(Path("x"), None)

    assert len(set(closed)) == 2


NASTY = "<script>alert('x')</script> & `<b>`"


def test_whatever_a_card_shows_is_escaped():
    cause = Cause(NASTY, evidence=NASTY, hint=NASTY, where=NASTY, output=NASTY)
    results = {"cnn.parameters": Result("failed", 0.1, cause)}
    exercise = next(e for e in a_grade(results).exercises if e.id == "cnn")

    shown = Card(exercise)._repr_html_()

    assert shown.count("&lt;script&gt;alert(") == 5
    assert "<script" not in shown
    assert "<b>" not in shown


def test_a_card_shows_state_message_evidence_hint_and_place():
    cause = Cause("It pools.", evidence="Equal to 1e-13.", hint="Do not.", where="In [3], line 4")
    results = {
        "cnn.parameters": Result("passed"),
        "cnn.shapes": Result("failed", 0.1, cause),
        "cnn.network": Result("blocked"),
    }
    exercise = next(e for e in a_grade(results).exercises if e.id == "cnn")

    html, text = Card(exercise)._repr_html_(), repr(Card(exercise))

    for part in ("It pools.", "Equal to 1e-13.", "Do not.", "In [3], line 4"):
        assert part in html
        assert part in text
    assert "Convolutional network</strong>: failed, 1 of 1" in html


# compare, without a kernel


def named(name, network):
    return type(name, (network,), {})


def test_models_that_are_not_written_or_broken_are_left_out_and_said(capsys):
    from mnist_lab.models import FNN

    class CNN(FNN):
        def forward(self, images):
            raise TypeError("<b>")

    class LogisticRegression(FNN):
        def __init__(self):
            raise NotImplementedError

    models = compare(LogisticRegression, named("FNN", FNN), CNN, epochs=1, digits="sample")

    assert [result.name for result in models.comparison.results] == ["fnn"]
    assert "LogisticRegression is not written yet." in repr(models)
    assert "CNN raises TypeError: &lt;b&gt;." in models._repr_html_()
    assert models.draw("accuracy_curves").axes
    assert "epoch  1/1" in capsys.readouterr().out


def test_without_models_those_of_the_notebook_are_compared(monkeypatch):
    from mnist_lab.models import FNN

    cells = {"FNN": FNN, "Other": int}
    monkeypatch.setattr("mnist_lab.notebook._history", lambda: ([], cells))

    assert [each.name for each in compare(epochs=1, digits="sample").comparison.results] == ["fnn"]
    del cells["FNN"]
    assert "defines none of LogisticRegression, FNN, CNN yet" in repr(compare())


def test_a_class_that_is_none_of_the_models_is_refused():
    with pytest.raises(ValueError, match="int is none of the models: LogisticRegression, FNN, CNN"):
        compare(int)


def test_a_picture_that_there_is_not_is_refused_with_those_that_are():
    with pytest.raises(ValueError, match="no picture 'curves': it is one of accuracy_curves, "):
        Models(None, ()).draw("curves")


# The report


@pytest.fixture(scope="module")
def written(comparison, tmp_path_factory):
    """The folder of a report with a learner's grade. Read it, do not change it."""
    folder = tmp_path_factory.mktemp("lab") / "report"
    failed = {"cnn.shapes": Result("failed", 0.1, Cause(NASTY))}
    report.write(comparison, folder, a_grade(failed))
    return folder


def test_a_reports_notebook_is_valid_and_shows_what_the_code_above_makes(written, comparison):
    made = nbformat.read(written / "report.ipynb", 4)
    nbformat.validate(made)
    outputs = {cell.source: cell.outputs for cell in made.cells if cell.cell_type == "code"}

    png = (written / "figures" / "misread_gallery.png").read_bytes()
    shown = outputs["plots.misread_gallery(comparison)"]
    assert base64.b64decode(said(shown, "image/png")) == png
    table = outputs["report.tables.of_models(comparison)"]
    assert all(f"{result.accuracy:.2%}" in said(table) for result in comparison.results)
    points = outputs["report.tables.of_grade(report.load_grade())"]
    assert "0 of 100 points." in said(points)
    assert "&lt;script&gt;" in said(points, "text/html")
    assert "<script" not in said(points, "text/html")


def test_a_reports_notebook_runs_again_and_gives_the_same(written):
    before = nbformat.read(written / "report.ipynb", 4)

    outputs = executed(nbformat.read(written / "report.ipynb", 4), written)

    for cell in before.cells:
        if cell.cell_type == "code" and cell.id != "load":
            assert said(outputs[cell.id]) == said(cell.outputs)
            if "html" in str(cell.outputs):
                assert said(outputs[cell.id], "text/html") == said(cell.outputs, "text/html")
            else:
                assert said(outputs[cell.id], "image/png")


def test_a_report_is_read_back_as_it_was_made(written, comparison):
    found = report.load(written)

    assert contents(found, report.load_grade(written)) == {
        path.relative_to(written).as_posix(): path.read_bytes()
        for path in written.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("content", [None, "[]", '{"schema": 1}', "{"])
def test_a_folder_that_is_no_report_is_said_to_be_none(tmp_path, content):
    if content is not None:
        (tmp_path / "results.json").write_text(content)

    with pytest.raises(report.ReportError, match=r"results\.json"):
        report.load(tmp_path)


def test_a_report_without_its_answers_is_said_to_lack_them(written, tmp_path):
    (tmp_path / "results.json").write_bytes((written / "results.json").read_bytes())

    with pytest.raises(report.ReportError, match="is not complete"):
        report.load(tmp_path)
