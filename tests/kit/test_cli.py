"""The command line: what is asked for happens, and what goes wrong is said in a sentence."""

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from mnist_lab import grade, kit
from mnist_lab.cli import main
from mnist_lab.grading import memory

MNIST_LAB = [sys.executable, "-c", "from mnist_lab.cli import run; run()"]
QUICK = ["--source", "sample", "--train-size", "300", "--test-size", "100", "--device", "cpu"]


@pytest.fixture(scope="module")
def report(forks, tmp_path_factory):
    """A report of one epoch, and the run that wrote it."""
    folder = tmp_path_factory.mktemp("compare")
    return folder / "report", forks.mnist_lab("compare", *QUICK, "--epochs", 1, cwd=folder)


def test_compare_writes_the_report_and_ends_with_its_path(report):
    out, run = report

    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines()[-1] == f"Report: {Path('report') / 'report.html'}"
    assert {"report.md", "report.html", "results.json", "figures", "weights"} <= set(
        os.listdir(out)
    )


def test_compare_prints_plain_lines_that_fit_eighty_columns(report):
    _, run = report

    assert "300 training and 100 test digits" in run.stdout
    assert run.stdout.count("epoch  1/1") == 3
    assert "\x1b" not in run.stdout
    assert all(len(line) <= 80 for line in run.stdout.splitlines())
    assert run.stderr == ""


def test_a_row_of_the_table_of_results_is_one_line_of_eighty_columns(report):
    _, run = report
    heading, *rows = run.stdout.rpartition("\n\nReport")[0].splitlines()[-4:]
    assert heading.split()[0] == "Model"
    assert all(re.fullmatch(r"\w.* to .* s", row) for row in rows)


def test_the_printed_accuracies_are_those_of_the_results(report):
    out, run = report

    for model in json.loads((out / "results.json").read_text())["models"]:
        assert f"{model['test_accuracy']:.2%}" in run.stdout


def test_quiet_prints_nothing(forks, tmp_path):
    run = forks.mnist_lab(
        "compare", *QUICK, "--epochs", 1, "--models", "logistic_regression", "--quiet", cwd=tmp_path
    )

    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_only_the_models_asked_for_are_trained(forks, tmp_path):
    forks.mnist_lab("compare", *QUICK, "--epochs", 1, "--models", "cnn, fnn", cwd=tmp_path)

    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [model["name"] for model in results["models"]] == ["fnn", "cnn"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--models", "rnn"], "'rnn' is not one of logistic_regression, fnn, cnn."),
        (["--models", ","], "name at least one of"),
        (["--epochs", "0"], "x>=1"),
        (["--lr", "0"], "x>0"),
        (["--lr", "nan"], "nan is not a finite number"),
        (["--seed", str(2**63)], "is not in the range"),
        (["--train-size", "4901"], "the sample has 5,000 in all"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_sentence(forks, tmp_path, arguments, sentence):
    run = forks.mnist_lab("compare", *QUICK, *arguments, cwd=tmp_path)

    assert run.returncode in (1, 2)
    assert sentence in " ".join(run.stderr.split())
    assert "Traceback" not in run.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_with_other_files_is_refused_before_any_work(forks, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")

    run = forks.mnist_lab("compare", *QUICK, "--epochs", 1, "--out", ".", cwd=tmp_path)

    assert run.returncode == 1
    assert run.stderr.startswith("mnist-lab:")
    assert "epoch" not in run.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_model_that_diverges_is_said_and_the_status_is_one(forks, tmp_path):
    run = forks.mnist_lab(
        "compare", *QUICK, "--epochs", 2, "--models", "fnn", "--lr", "1e38", cwd=tmp_path
    )

    assert run.returncode == 1
    assert "Diverged in epoch 1" in run.stdout + run.stderr
    assert "Traceback" not in run.stderr


def test_ctrl_c_keeps_what_is_finished_and_the_report_says_what_is_missing(tmp_path):
    process = subprocess.Popen(
        [*MNIST_LAB, "compare", *QUICK, "--models", "fnn", "--epochs", "100000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # A shell has what it runs in the background ignore it, these tests perhaps.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for line in process.stdout:
        if line.startswith("epoch  2/"):
            break
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)

    assert process.returncode == 130, errors
    assert "Interrupted after" in output
    assert "Interrupted after" in (tmp_path / "report" / "report.md").read_text()


ONE = ["compare", *QUICK, "--epochs", "1", "--models", "logistic_regression"]

WORDS_LOST = {
    "full": ("> /dev/full", 1, "standard output cannot be written (No space left on device)"),
    "nobody reads": ("| head -1", 0, ""),
    "closed": (">&-", 0, ""),
    "all closed": (">&- 2>&- <&-", 0, ""),
}


@pytest.mark.parametrize("where", WORDS_LOST)
def test_a_report_is_written_wherever_the_words_go(tmp_path, where):
    redirected, status, told = WORDS_LOST[where]
    command = f"set -o pipefail; {shlex.join([*MNIST_LAB, *ONE])} {redirected}"

    run = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)

    assert (tmp_path / "report" / "results.json").is_file()
    assert run.returncode == status, run.stderr
    assert told in run.stderr
    assert len(run.stderr.splitlines()) == bool(told)


def test_a_name_is_shown_as_it_is_or_in_the_characters_that_there_are(tmp_path):
    name = "Łukasz [/x] [bold]:smile:[/bold]"

    run = subprocess.run(
        [*MNIST_LAB, *ONE, "--out", name],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        text=True,
    )

    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith("Report: \\u0141ukasz [/x] [bold]:smile:[/bold]/report.html\n")
    assert (tmp_path / name / "report.html").is_file()


@pytest.mark.parametrize("command", [["status"], ["--help"], ["hint", "cnn"], ["new", "lab"]])
def test_no_command_ends_in_a_traceback_where_its_words_are_lost(tmp_path, command):
    run = subprocess.run(
        ["bash", "-c", f"{shlex.join([*MNIST_LAB, *command])} > /dev/full"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert run.returncode == 1
    assert run.stderr.startswith("mnist-lab:")
    assert "Traceback" not in run.stderr


def test_in_a_narrow_terminal_lines_are_narrow_and_without_colour_plain(report, tmp_path):
    plain = {"TERM": "xterm", "NO_COLOR": "1"}
    shown = in_a_terminal(40, *ONE, cwd=tmp_path, **plain)

    assert "\n  train " in shown
    assert re.search(r"Logistic regression +\d+\.\d\d%\n", shown)
    assert max(map(len, shown.splitlines())) <= 40
    assert not re.search(r"\x1b\[[0-9;]*m", shown)


@pytest.mark.parametrize(("plain", "colours"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_status_has_colours_unless_they_are_not_wanted(tmp_path, plain, colours):
    graded = grade.build(
        kit.load(), {}, version="", submission="exercises", sha256="", tier="quick", seed=0
    )
    memory.remember(tmp_path, graded, {})

    shown = in_a_terminal(80, "status", cwd=tmp_path, TERM="xterm", **plain)

    assert "Score 0 of 85" in shown
    assert bool(re.search(r"\x1b\[[0-9;]*m", shown)) == colours


def in_a_terminal(columns, *arguments, cwd, **environment):
    """What a command shows in a terminal, the last form of each line."""
    ours, its = pty.openpty()
    termios.tcsetwinsize(its, (24, columns))
    cleared = {"COLUMNS": "", "LINES": ""}
    process = subprocess.Popen(
        [*MNIST_LAB, *arguments],
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=cwd,
        env={**os.environ, **cleared, **environment},
    )
    os.close(its)
    said = b""
    with suppress(OSError):  # The end of a terminal is an error.
        while some := os.read(ours, 4096):
            said += some
    os.close(ours)
    assert process.wait() == 0, said
    lines = said.decode().replace("\r\n", "\n").split("\n")
    return "\n".join(
        re.sub(r"\x1b\[[0-9?]*[A-Za-ln-z]", "", line.split("\r")[-1]) for line in lines
    )


COMMANDS = [[], *([name] for name in main.commands)]


def test_help_loads_neither_torch_nor_anything_else_that_is_slow():
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from mnist_lab.cli import main\n"
        f"for command in {COMMANDS!r}:\n"
        "    assert CliRunner().invoke(main, [*command, '--help']).exit_code == 0\n"
        "slow = {'torch', 'torchvision', 'numpy', 'matplotlib', 'seaborn', 'sklearn', 'mlxtend'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert run.stdout.strip() == "[]", run.stderr


def test_every_help_fits_eighty_columns():
    for command in COMMANDS:
        text = CliRunner(env={"COLUMNS": "80"}).invoke(main, [*command, "--help"]).stdout
        assert text.startswith("Usage: ")
        assert all(len(line) <= 80 for line in text.splitlines())


def test_download_says_what_is_wrong_with_the_files_that_are_there(forks, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in ("train-images", "t10k-images"):
        (raw / f"{name}-idx3-ubyte").write_bytes(b"half")
    for name in ("train-labels", "t10k-labels"):
        (raw / f"{name}-idx1-ubyte").write_bytes(b"half")

    run = forks.mnist_lab("download", "--data", tmp_path)

    assert run.returncode == 1
    assert "train-images-idx3-ubyte is not the original file" in " ".join(run.stderr.split())


def test_the_package_itself_loads_no_torch():
    script = "import mnist_lab, sys; print('torch' in sys.modules)"

    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "False\n"
