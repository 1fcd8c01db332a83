"""The report says what the comparison holds, and a former report is never lost."""

import errno
import json
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from mnist_lab import report
from mnist_lab.models import MODELS
from mnist_lab.report import folder, words
from mnist_lab.report.files import contents
from mnist_lab.training import predict

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """What a page holds: its tags with their attributes, the rows of its tables, its text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.rows, self.said = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if {"style", "svg", "script", "noscript"} & set(self.open):
            return
        self.said.append(data)
        if self.rows and {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self):
        return " ".join("".join(self.said).split())


@pytest.fixture(scope="module")
def written(comparison, tmp_path_factory):
    """The folder of a report on ``comparison``. Read it, do not change it."""
    return report.write(comparison, tmp_path_factory.mktemp("lab") / "report").parent


@pytest.fixture(scope="module")
def results(written):
    return json.loads((written / "results.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def page(written):
    return Page((written / "report.html").read_text("utf-8"))


@pytest.fixture
def former(tmp_path):
    """The folder of a former report."""
    out = tmp_path / "report"
    (out / "weights").mkdir(parents=True)
    (out / "weights" / "cnn.safetensors").write_bytes(b"old")
    (out / "weights" / "fnn.safetensors").write_bytes(b"old")
    files = ["results.json", "weights/cnn.safetensors", "weights/fnn.safetensors"]
    (out / "results.json").write_text(json.dumps({"schema": 1, "files": files}))
    return out


def snapshot(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def percent(share):
    return f"{share:.2%}"


# What it says


def test_results_list_the_files_that_are_there(written, results):
    assert results["schema"] == 1
    assert results["files"] == sorted(snapshot(written))


def test_results_hold_the_numbers_of_the_comparison(comparison, results):
    assert [model["name"] for model in results["models"]] == ["logistic_regression", "fnn", "cnn"]
    for model, result in zip(results["models"], comparison.results, strict=True):
        assert model["test_accuracy"] == result.accuracy
        assert tuple(model["test_accuracy_interval"]) == result.interval
        assert model["test_loss"] == result.test_loss
        assert model["training_seconds"] == result.history.seconds
        assert model["confusion_matrix"] == result.confusion_matrix.tolist()
        assert len(model["history"]) == 2
        worst = model["worst_confusions"][0]
        assert model["confusion_matrix"][worst["true"]][worst["predicted"]] == worst["count"]
    assert results["data"] == {
        "source": "sample",
        "seed": 0,
        "train_size": 500,
        "test_size": 200,
        "note": "",
    }
    assert results["settings"]["epochs"] == 2
    assert results["missing"] == []


def test_the_table_of_the_page_holds_the_numbers_of_the_results(page, results):
    rows = {row[0]: row[1:] for row in page.rows if len(row) == 6}
    for model in results["models"]:
        low, high = model["test_accuracy_interval"]
        assert rows[model["title"]][:4] == [
            f"{model['parameters']:,}",
            percent(model["test_accuracy"]),
            f"{percent(low)} to {percent(high)}",
            f"{model['test_loss']:.4f}",
        ]


def test_the_table_of_the_markdown_is_that_of_the_page(written, page):
    lines = (written / "report.md").read_text("utf-8").splitlines()
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in lines
        if line.startswith("|") and "---" not in line
    ]
    assert [row for row in table if len(row) == 6] == [row for row in page.rows if len(row) == 6]


def test_both_pages_say_what_is_confused_most(written, page, results):
    for model in results["models"]:
        worst = model["worst_confusions"][0]
        of = sum(model["confusion_matrix"][worst["true"]])
        wrong = 200 - sum(model["confusion_matrix"][digit][digit] for digit in range(10))
        said = (
            f"misreads {wrong} of 200 digits; most often {worst['true']} as {worst['predicted']} "
            f"({worst['count']} of {of})"
        )
        assert said in page.text
        assert said in (written / "report.md").read_text("utf-8")


def test_the_page_loads_nothing_from_elsewhere(page):
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"iframe", "object", "embed"}
    sources = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset")
    ]
    allowed = re.compile(r"#|data:,$|data:image/png;base64,|results\.json$")
    assert all(allowed.match(source) for source in sources)


def test_every_picture_is_in_the_page_and_named(page, comparison):
    cards = [
        attributes for _, attributes in page.tags if "card" in attributes.get("class", "").split()
    ]
    assert len(cards) == 3
    assert all(card["role"] == "img" and card["aria-label"] for card in cards)
    roles = [attributes.get("role") for tag, attributes in page.tags if tag == "svg"]
    assert roles.count("grid") == len(comparison.results)
    assert roles.count("img") == 12


def test_ids_of_the_page_are_unique_and_lead_somewhere(page):
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    values = " ".join(value or "" for _, attributes in page.tags for value in attributes.values())
    assert set(re.findall(r"url\(#([^)]+)\)", values)) <= set(ids)
    links = [a.get("href") or a.get("xlink:href") or "" for _, a in page.tags]
    assert {link[1:] for link in links if link.startswith("#")} <= set(ids)


def test_the_page_has_one_heading_of_the_first_order_and_scoped_headers(page):
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")


def test_pictures_are_there_as_png_and_svg(written):
    for picture in ("accuracy_curves", "confusion_matrices", "label_distribution"):
        with Image.open(written / "figures" / f"{picture}.png") as image:
            assert image.width > 900
        assert "<svg" in (written / "figures" / f"{picture}.svg").read_text("utf-8")


def test_links_of_the_markdown_lead_to_files(written):
    text = (written / "report.md").read_text("utf-8")
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert len(targets) == 6
    assert all((written / target).is_file() for target in targets)


def test_saved_weights_read_the_test_digits_as_the_model_did(written, comparison, results):
    for model in results["models"]:
        network = MODELS[model["name"]]()
        network.load_state_dict(load_file(written / model["weights"]))
        test = comparison.digits.test
        right = predict(network, test, "cpu").argmax(1) == test.labels
        assert right.sum().item() / len(test) == model["test_accuracy"]


def test_the_same_comparison_gives_the_same_files(written, comparison):
    assert contents(comparison) == snapshot(written)


def test_the_losses_are_said_not_to_compare_only_beside_logistic_regression(comparison):
    assert "1.4612" in words.loss_note(comparison)
    assert not words.loss_note(replace(comparison, results=comparison.results[1:]))


def test_a_verdict_on_overlapping_intervals_leaves_the_order_open(comparison):
    first, second = comparison.results[:2]
    close = replace(comparison, results=(first, replace(first, title=second.title)))
    assert "leave open which of the two is better" in words.verdict(close)


def test_a_verdict_on_separate_intervals_names_the_best(comparison):
    first = comparison.results[0]
    perfect = replace(first, title="Perfect", confusion_matrix=np.eye(10, dtype=int) * 20)
    said = words.verdict(replace(comparison, results=(first, perfect)))
    assert said.startswith("The perfect reads 100.00%")
    assert "The interval of the perfect lies above every other" in said


@pytest.mark.usefixtures("undrawn")
def test_what_is_missing_stands_before_the_table(comparison):
    sentence = "Convolutional network: Diverged in epoch 1: try a smaller learning rate."
    lacking = replace(comparison, results=comparison.results[:2], missing=(sentence,))
    files = contents(lacking)
    for name in ("report.md", "report.html"):
        text = files[name].decode()
        assert text.index(sentence) < text.index("7,850")
    assert json.loads(files["results.json"])["missing"] == [sentence]


@pytest.mark.usefixtures("undrawn")
def test_a_note_is_escaped_and_its_command_stands_out(comparison):
    note = "No <network>. Run `mnist-lab download --data d`."
    files = contents(replace(comparison, digits=replace(comparison.digits, note=note)))
    html = files["report.html"].decode()
    assert "No &lt;network&gt;. Run <code>mnist-lab download --data d</code>." in html
    assert note in files["report.md"].decode()


def test_the_report_says_how_to_get_the_full_set_instead_of_the_sample(page):
    assert "mnist-lab download" in page.text


@pytest.mark.usefixtures("undrawn")
def test_a_loss_that_is_not_finite_is_null_in_the_results(comparison):
    result = comparison.results[1]
    epochs = (replace(result.history.epochs[0], test_loss=float("nan")),)
    lost = replace(result, history=replace(result.history, epochs=epochs))
    files = contents(replace(comparison, results=(lost,)))
    assert json.loads(files["results.json"])["models"][0]["test_loss"] is None
    assert "not finite" in files["report.html"].decode()


# What becomes of the folder


def test_a_comparison_without_results_writes_nothing(comparison, tmp_path):
    with pytest.raises(report.ReportError, match="No epoch was finished"):
        report.write(replace(comparison, results=()), tmp_path / "report")
    assert list(tmp_path.iterdir()) == []


NEW = {
    "weights/cnn.safetensors": b"new",
    "results.json": b'{"schema": 1, "files": ["results.json", "weights/cnn.safetensors"]}',
}


def put(out):
    folder.put(NEW, out)


def beside(out):
    return [path.name for path in out.parent.iterdir()]


def test_a_former_report_is_replaced_and_what_others_put_there_is_kept(former):
    (former / "notes.txt").write_text("Anna: well done")
    (former / "weights" / "mine").mkdir()
    (former / "weights" / "mine" / "one.txt").write_text("1")
    (former / "link").symlink_to("nowhere")
    put(former)
    others = {"notes.txt": b"Anna: well done", "weights/mine/one.txt": b"1"}
    assert snapshot(former) == NEW | others
    assert (former / "link").is_symlink()
    assert beside(former) == ["report"]


@pytest.mark.parametrize("step", ["write_bytes", "first rename", "second rename"])
@pytest.mark.parametrize(
    ("error", "told"),
    [(KeyboardInterrupt("now"), "now"), (OSError(errno.ENOSPC, "No space"), "The disk is full")],
)
def test_a_failure_at_any_time_leaves_the_former_report_as_it_was(
    former, monkeypatch, step, error, told
):
    before = snapshot(former)
    method = step.split()[-1]
    untouched, left = getattr(Path, method), [step == "second rename"]

    def failing(self, *about):
        if left.pop() if left else False:
            return untouched(self, *about)
        monkeypatch.undo()
        raise error

    monkeypatch.setattr(Path, method, failing)
    with pytest.raises((report.ReportError, KeyboardInterrupt), match=told):
        put(former)
    assert snapshot(former) == before
    assert beside(former) == ["report"]


KILLED = """
import os, sys
from pathlib import Path
from mnist_lab.report import folder
method, left = sys.argv[2], [int(sys.argv[3])]
untouched = getattr(Path, method)
def dying(self, *about):
    if not left[0]:
        os._exit(9)
    left[0] -= 1
    return untouched(self, *about)
setattr(Path, method, dying)
folder.put({"results.json": b'{"schema": 1, "files": ["results.json"]}'}, Path(sys.argv[1]))
os._exit(9)
"""


@pytest.mark.parametrize(
    ("method", "times"), [("write_bytes", 0), ("rename", 0), ("rename", 1), ("rename", 2)]
)
def test_a_killed_run_loses_no_report_and_the_next_run_clears_up(former, method, times):
    (former / "notes.txt").write_text("kept")
    before = snapshot(former)
    killed = [sys.executable, "-c", KILLED, str(former), method, str(times)]
    assert subprocess.run(killed).returncode == 9
    report.check(former)
    assert beside(former) == ["report"]
    after = snapshot(former)
    assert after == before if times < 2 else set(after) == {"results.json", "notes.txt"}


def test_runs_that_end_at_once_leave_one_whole_report(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "MOST_SECONDS", 60)
    out = tmp_path / "report"
    names = [f"figures/{number}.svg" for number in range(20)]
    results = json.dumps({"schema": 1, "files": [*names, "results.json"]}).encode()

    def write(run):
        folder.put(dict.fromkeys(names, str(run).encode()) | {"results.json": results}, out)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    files = snapshot(out)
    assert files.pop("results.json") == results
    assert sorted(files) == sorted(names)
    assert len(set(files.values())) == 1
    assert beside(out) == ["report"]


@pytest.mark.skipif(folder.fcntl is None, reason="needs locks of folders")
def test_a_run_that_looks_at_a_report_waits_until_it_is_replaced(former, monkeypatch):
    monkeypatch.setattr(folder, "MOST_SECONDS", 60)
    stopped, go_on = threading.Event(), threading.Event()
    rename, lock, read = Path.rename, folder.fcntl.flock, folder.read_results
    other = threading.Thread(target=put, args=[former])

    def rename_and_stop(path, target):
        rename(path, target)
        stopped.set()
        go_on.wait(60)

    def lock_or_say(*asked):
        try:
            lock(*asked)
        except OSError:
            stopped.set()
            raise

    def read_while_the_other_replaces(out):
        if threading.current_thread() is threading.main_thread():
            other.start()
            assert stopped.wait(60)
        return read(out)

    monkeypatch.setattr(Path, "rename", rename_and_stop)
    monkeypatch.setattr(folder.fcntl, "flock", lock_or_say)
    monkeypatch.setattr(folder, "read_results", read_while_the_other_replaces)
    try:
        report.check(former)
    finally:
        go_on.set()
        other.join(60)
    assert snapshot(former) == NEW


def test_a_run_that_hangs_while_it_writes_holds_up_no_other(former, monkeypatch):
    monkeypatch.setattr(folder, "MOST_SECONDS", 0.1)
    with folder._alone_in(former.parent) as alone:
        put(former)
    assert alone
    assert snapshot(former) == NEW


NOT_REPORTS = {
    "notes.txt": "mine",
    "results.json": '{"score": 12}',
    "weights.json": "{}",
}


@pytest.mark.parametrize("name", NOT_REPORTS)
@pytest.mark.parametrize("refusing", [report.check, put])
def test_a_folder_with_other_files_is_refused(tmp_path, name, refusing):
    out = tmp_path / "thesis"
    out.mkdir()
    (out / name).write_text(NOT_REPORTS[name])
    with pytest.raises(report.ReportError, match=r"thesis is not a report of mnist-lab"):
        refusing(out)
    assert snapshot(tmp_path) == {f"thesis/{name}": NOT_REPORTS[name].encode()}


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "report").write_text("mine")
    with pytest.raises(report.ReportError, match="is not a report"):
        report.check(tmp_path / "report")


def test_the_folder_that_the_command_runs_in_is_refused(former, monkeypatch):
    monkeypatch.chdir(former)
    with pytest.raises(report.ReportError, match="the folder that the command runs in"):
        report.check(Path())


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(report.ReportError, match="cannot be written"):
        report.check(tmp_path / "file" / "report")


def test_to_check_a_place_changes_nothing(former):
    before = snapshot(former)
    report.check(former)
    assert snapshot(former) == before
    assert beside(former) == ["report"]


def test_a_missing_or_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new" / "report", tmp_path / "empty"):
        put(out)
        assert snapshot(out) == NEW


def test_a_link_to_a_folder_stays_a_link(former, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(former, target_is_directory=True)
    put(link)
    assert link.is_symlink()
    assert snapshot(former) == NEW


def test_the_folder_has_the_permissions_of_any_other(tmp_path):
    (tmp_path / "any").mkdir()
    put(tmp_path / "report")
    assert (tmp_path / "report").stat().st_mode == (tmp_path / "any").stat().st_mode


def test_a_report_is_known_by_its_results(written):
    assert set(folder.read_results(written)["files"]) == set(snapshot(written))
