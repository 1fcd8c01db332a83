"""On odd machines the lab works, and says what is slow or missing there; a process that is killed
leaves nothing that stays.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from test_watch import Terminal

from mnist_lab.submission.sandbox import scratch
from mnist_lab.submission.server import default_isolation

ROOT = Path(__file__).parents[2]

MNIST_LAB = [sys.executable, "-c", "from mnist_lab.cli import run; run()"]
QUICK = ["--source", "sample", "--train-size", "300", "--test-size", "100", "--device", "cpu"]
COMPARE = [*MNIST_LAB, "compare", *QUICK, "--models", "logistic_regression"]
ONE_CPU = {min(os.sched_getaffinity(0))} if hasattr(os, "sched_getaffinity") else None

NOWHERE = {"HOME": "/dev/null", "XDG_CACHE_HOME": None, "XDG_CONFIG_HOME": None}
MACHINES = {
    "without a home, in ASCII": {
        "HOME": None,
        "LC_ALL": "C",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONUTF8": "0",
    },
    "in Turkish, with nowhere to keep anything": NOWHERE
    | {"LC_ALL": "tr_TR.UTF-8", "TMPDIR": "/dev/null", "MPLCONFIGDIR": None},
}


def environment(changes):
    changed = {**os.environ, "COLUMNS": "80", **changes}
    return {name: value for name, value in changed.items() if value is not None}


def compared(cwd, changes, **how):
    return subprocess.run(
        [*COMPARE, "--epochs", "1"],
        cwd=cwd,
        env=environment(changes),
        capture_output=True,
        text=True,
        timeout=300,
        **how,
    )


def on_one_cpu():
    if ONE_CPU is not None:
        os.sched_setaffinity(0, ONE_CPU)


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_is_said_of_what_does_no_harm(machine, tmp_path):
    run = compared(tmp_path, MACHINES[machine], preexec_fn=on_one_cpu)

    assert (run.returncode, run.stderr) == (0, "")
    assert "C compiler" not in run.stdout
    assert (tmp_path / "report" / "report.html").is_file()


@pytest.mark.skipif(find_spec("ziglang") is not None, reason="ziglang is a compiler")
def test_without_a_compiler_it_says_why_it_is_slow_where_it_is(tmp_path):
    run = compared(tmp_path, {"PATH": str(tmp_path), "CC": None})

    said = " ".join(run.stdout.split())
    assert (run.returncode, run.stderr) == (0, "")
    assert said.count("more slowly, since no C compiler works here: install gcc or clang") == 1
    assert said.index("C compiler") < said.index("epoch 1/1")


def test_a_run_that_is_killed_leaves_the_former_report_and_nothing_else(tmp_path):
    assert compared(tmp_path, {}).returncode == 0
    report = tmp_path / "report"
    before = {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}
    process = subprocess.Popen(
        [*COMPARE, "--epochs", "100000"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=environment({}),
    )
    assert any(line.startswith("epoch  2/") for line in process.stdout)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert before == {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}
    assert list(tmp_path.iterdir()) == [report]


# Machines that are not Linux


WRONG = """
from torch import nn


class LogisticRegression(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(784, 10)

    def forward(self, images):
        return self.linear(images.flatten(1))
"""
NO_SIGMOID = "LogisticRegression has no sigmoid"
ELSEWHERE = os.pathsep.join([str(Path(__file__).parent / "elsewhere"), str(ROOT)])


@pytest.fixture
def lab(tmp_path, monkeypatch):
    """A workspace with a solved and a wrong exercise, and its own folder for temporary files."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    # Without locks a folder seems abandoned to other tests' processes, which have them.
    monkeypatch.setenv("TMPDIR", str(temporary))
    run([*MNIST_LAB, "new", "lab"], tmp_path)
    exercises = tmp_path / "lab" / "exercises"
    shutil.copyfile(ROOT / "solutions" / "fnn.py", exercises / "fnn.py")
    (exercises / "logistic_regression.py").write_text(WRONG)
    return tmp_path / "lab"


def run(command, cwd):
    """What ``command`` says, and its status, on a machine that is not Linux."""
    there = environment({"PYTHONPATH": ELSEWHERE})
    run = subprocess.run(command, cwd=cwd, env=there, capture_output=True, text=True, timeout=600)
    assert "Traceback" not in run.stdout + run.stderr
    return run.returncode, " ".join((run.stdout + run.stderr).split())


@pytest.mark.parametrize("isolation", ["spawn", "none"])
def test_elsewhere_pytest_grades_what_is_right_and_names_what_is_wrong(lab, isolation):
    command = [sys.executable, "-m", "pytest", "-k", "fnn or logistic", "--isolation", isolation]
    status, said = run(command, lab)

    assert "Feed-forward network ########.... 11 of 15" in said
    assert NO_SIGMOID in said
    assert status == 1
    assert not list((lab.parent / "temporary").glob("*mnist-lab-*"))


def test_elsewhere_one_file_is_graded_and_a_hint_is_given(lab):
    graded = run([*MNIST_LAB, "grade", "exercises/logistic_regression.py"], lab)
    hint = run([*MNIST_LAB, "hint", "logistic_regression.network"], lab)

    assert graded[0] == 1
    assert NO_SIGMOID in graded[1]
    assert hint[0] == 0
    assert "sigmoid" in hint[1]
    assert not list((lab.parent / "temporary").glob("*mnist-lab-*"))


def test_elsewhere_a_saved_file_is_graded(lab):
    terminal = Terminal(lab, PYTHONPATH=ELSEWHERE)
    try:
        terminal.read_until("q quit")
        (lab / "exercises" / "logistic_regression.py").write_text(WRONG + "# saved\n")
        assert NO_SIGMOID in terminal.read_until("q quit")
        terminal.press("q")
    finally:
        terminal.close()


def test_on_windows_it_says_what_to_do(lab):
    status, said = run([sys.executable, "-m", "pytest", "-p", "on_windows"], lab)

    assert status == pytest.ExitCode.USAGE_ERROR
    assert said.startswith("ERROR: On Windows mnist-lab grades in WSL, which is Linux: ")


# What is left


SERVING = """
import signal, sys
from mnist_lab.submission.server import Server
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # Under nohup it is ignored.
server = Server()
server.wait() if sys.argv[1] == "waited" else None
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(default_isolation() != "fork", reason="servers fork on Linux")
@pytest.mark.parametrize("waited", ["waited", "started"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_what_a_killed_process_leaves_is_swept_by_the_next(tmp_path, monkeypatch, how, waited):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", SERVING, waited],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment({"TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}),
    )
    assert process.stdout.readline() == b"ready\n"
    scratch.sweep()
    (left,) = tmp_path.iterdir()  # Its process lives.

    process.send_signal(how)
    process.communicate()
    assert left.exists()
    scratch.sweep()

    assert list(tmp_path.iterdir()) == []


def test_what_is_anothers_is_not_swept(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("mnist-lab-other", "mnist-lab-mine", "target"):
        (tmp_path / name).mkdir()
    (tmp_path / "target" / scratch.LOCK).touch()
    (tmp_path / "mnist-lab-link").symlink_to(tmp_path / "target")
    with contextlib.closing(os.fdopen(scratch.claim(str(tmp_path / "mnist-lab-mine" / "lock")))):
        scratch.sweep()

        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "mnist-lab-link",
            "mnist-lab-mine",
            "mnist-lab-other",
            "target",
        ]
        assert (tmp_path / "target" / scratch.LOCK).exists()
    scratch.sweep()
    assert not (tmp_path / "mnist-lab-mine").exists()


LEAVING = """
import os, subprocess, tempfile
import leftovers

leftovers.PATIENCE = 0
left = leftovers.Leftovers()
os.mkdir(f"{tempfile.gettempdir()}/mnist-lab-left")
shared = f"/dev/shm/mnist-lab-left-by-{os.getpid()}"
open(shared, "x").close()
subprocess.run(["sh", "-c", "sleep 1234567 >/dev/null 2>&1 & echo $!"])
print(*left.found(), sep="\\n")
os.unlink(shared)
"""


@pytest.mark.skipif(default_isolation() != "fork", reason="orphans are found on Linux")
def test_what_tests_leave_is_found(tmp_path):
    paths = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    changes = {"TMPDIR": str(tmp_path), "PYTHONPATH": paths}
    run = subprocess.run(
        [sys.executable, "-c", LEAVING], env=environment(changes), capture_output=True, text=True
    )
    pid, process, folder, shared = run.stdout.splitlines()
    os.kill(int(pid), signal.SIGKILL)

    assert process.startswith(f"process {pid}: ")
    assert "sleep 1234567" in process
    assert folder.endswith("/mnist-lab-left")
    assert shared.startswith("/dev/shm/mnist-lab-left-by-")


def test_a_folder_is_removed_where_there_are_no_commands(tmp_path, monkeypatch):
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))

    scratch.remove(str(tmp_path / "a"))

    assert list(tmp_path.iterdir()) == []
