"""What a GPU needs of the walls, of the plugin and of the start of a comparison, where none is."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from mnist_lab import first_use, grade
from mnist_lab.submission.client import Submission
from mnist_lab.submission.server import Server

ROOT = Path(__file__).parents[2]
IMAGES = torch.zeros(1, 1, 28, 28)

NAMES_A_THREAD = """
import os, resource, threading
import torch
from torch import nn

def named():
    try:
        with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as file:
            file.write("cuda")
        return 1.0
    except OSError:
        return 0.0

class FNN(nn.Module):
    def forward(self, images):
        limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
        return torch.tensor([named(), float(limited)])
"""
"""What CUDA does with its threads, and whether there is a limit to the memory that it may map."""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these walls")
@pytest.mark.parametrize("walls", ["all", "no-bubblewrap", "no-namespaces", "process"])
def test_a_guest_for_a_gpu_may_do_what_cuda_does(walls, tmp_path, monkeypatch):
    (tmp_path / "fnn.py").write_text(NAMES_A_THREAD)
    monkeypatch.setenv("MNIST_LAB_WALLS", walls)
    server = Server()
    try:
        with Submission(tmp_path, server=server) as submission:
            for_gpu = submission.exercise("fnn", gpu=True).build("FNN")(IMAGES)
            for_cpu = submission.exercise("fnn").build("FNN")(IMAGES)
    finally:
        server.close()
    assert for_gpu.tolist() == [1.0, 0.0]
    assert for_cpu[1] == 1.0


@pytest.mark.parametrize("isolation", ["fork", "spawn", "none"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_why_a_submission_reaches_no_gpu_is_known(isolation):
    with Submission(ROOT / "solutions", isolation=isolation) as submission:
        assert "NVIDIA" in submission.no_gpu or "CUDA" in submission.no_gpu


PRETENDS = """
from mnist_lab.grading import plugin
plugin._there_is_a_gpu = lambda: True
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_a_submission_cannot_reach_costs_nobody_a_point(tmp_path, monkeypatch):
    (tmp_path / "pretends_a_gpu.py").write_text(PRETENDS)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    file = tmp_path / "grade.json"
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "pretends_a_gpu", "-k", "fnn"),
            *("--submission", "solutions", "--grade-json", str(file), "tests/grading"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    check = next(check for check in grade.read(file).checks if check.id == "fnn.gpu")
    assert check.outcome == "not_run", run.stdout
    assert "a submission's process can use" in check.cause.message
    others = [c for c in grade.read(file).checks if c.id.startswith("fnn.") and c.id != "fnn.gpu"]
    assert {c.outcome for c in others if "accuracy" not in c.id} == {"passed"}
    assert json.loads(file.read_text())["score"] == 11


def test_where_there_is_no_gpu_nothing_gets_ready(monkeypatch):
    assert first_use.begin("cpu") is None
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))
    assert first_use.begin("auto") is None


def test_a_gpu_gets_ready_while_others_work_and_its_errors_are_for_whoever_uses_it(monkeypatch):
    going, done = threading.Event(), []

    def make_context() -> None:
        going.wait()
        done.append("context")

    def compute() -> None:
        done.append("kernels")
        raise RuntimeError("CUDA is not what it was")

    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter([Path("/dev/nvidia0")]))
    monkeypatch.setattr(first_use, "_make_context", make_context)
    monkeypatch.setattr(first_use, "_compute", compute)
    thread = first_use.begin("auto")
    assert not done, "it does not wait for the GPU"
    going.set()
    thread.join()
    assert done == ["context", "kernels"]


def test_without_a_gpu_the_prepared_script_says_so():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    run = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "gpu.py"], capture_output=True, text=True
    )
    assert run.returncode == 2
    assert "no GPU here" in run.stdout
