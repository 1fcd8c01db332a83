"""On odd machines the lab works, and says what is slow or missing there."""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec

import pytest

MNIST_LAB = [sys.executable, "-c", "from mnist_lab.cli import main; main()"]
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
