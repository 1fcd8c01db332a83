"""Servers that another one has forked: they do the same behind the same walls, and end alone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.client import Submission
from mnist_lab.submission.server import Branch, Server, ServerError, default_isolation

pytestmark = pytest.mark.skipif(default_isolation() != "fork", reason="servers fork on Linux")

IMAGES = torch.zeros(3, 1, 28, 28)
COLLAPSED = """
import ctypes
from pathlib import Path
from mnist_lab.submission.sandbox import linux

def large():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))

kept, before = bytearray(b"x") * (16 << 20), large()
linux.large_pages()
print(large() - before, kept.count(b"x"))
"""
LASTING = """
import subprocess
import torch
from torch import nn

subprocess.Popen(["sleep", "1234567"])

class FNN(nn.Linear):
    def __init__(self):
        super().__init__(784, 10)

    def forward(self, images):
        return super().forward(images.flatten(1))
"""


@pytest.fixture(scope="module")
def trunk():
    trunk = Server()
    yield trunk
    trunk.close()


@pytest.fixture
def handed_in(tmp_path):
    (tmp_path / "fnn.py").write_text(LASTING)
    return tmp_path


def below(pid):
    """The processes that ``pid`` has started, and those that they have."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return set(found[1:])


def running(trunk, command):
    """The trunk and what is below it, as far as ``command`` is in their command."""
    found = {trunk._process.pid, *below(trunk._process.pid)}
    return {pid for pid in found if command in Path(f"/proc/{pid}/cmdline").read_bytes()}


def serving(trunk):
    """The trunk, its branches and their workers."""
    return running(trunk, b"mnist_lab.submission.server")


def sleeping(trunk):
    """What learners' code has started."""
    return running(trunk, b"1234567")


def outputs(submission):
    return submission.exercise("fnn").build("FNN").forward(IMAGES).logits


def wait_until(true):
    deadline = time.monotonic() + 300
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_branch_that_is_closed_ends_what_it_started_and_no_other(trunk, handed_in):
    trunk.wait()
    alone = below(trunk._process.pid)
    first, second = Branch(trunk), Branch(trunk)
    with Submission(handed_in, server=first) as one, Submission(handed_in, server=second) as two:
        assert outputs(one).shape == (3, 10)
        of_first = sleeping(trunk)
        assert outputs(two).shape == (3, 10)
        assert len(of_first) == 1
        assert len(sleeping(trunk)) == 2
        assert first.walls == second.walls == trunk.walls

        first.close()

        assert len(sleeping(trunk)) == 1
        assert not sleeping(trunk) & of_first
        assert outputs(two).shape == (3, 10)
        with pytest.raises(SubmissionFailure):
            outputs(one)
    second.close()

    def buried():
        Branch(trunk).close()  # With each the trunk buries those that have ended.
        return len(below(trunk._process.pid)) <= len(alone) + 1

    wait_until(buried)


def test_a_branch_that_was_killed_is_replaced(trunk, handed_in):
    trunk.wait()
    before = serving(trunk)
    branch = Branch(trunk)
    branch.wait()
    for pid in serving(trunk) - before:
        os.kill(pid, signal.SIGKILL)
    wait_until(branch._hung_up)

    with Submission(handed_in, server=branch) as submission:
        assert outputs(submission).shape == (3, 10)
    branch.close()


def test_without_its_trunk_a_branch_says_so_until_there_is_another(handed_in):
    trunk = Server()
    trunk.wait()
    branch = Branch(trunk)
    branch.wait()
    for pid in serving(trunk):
        os.kill(pid, signal.SIGKILL)
    wait_until(branch._hung_up)
    with pytest.raises(ServerError):
        branch.wait()

    trunk.wait()
    with Submission(handed_in, server=branch) as submission:
        assert outputs(submission).shape == (3, 10)
    branch.close()
    trunk.close()


def test_memory_lies_in_large_pages_and_is_the_same():
    version = tuple(map(int, os.uname().release.split("-")[0].split(".")[:2]))
    if version < (6, 1) or not Path("/sys/kernel/mm/transparent_hugepage").exists():
        pytest.skip(f"Linux {os.uname().release} does not collapse pages")

    told = subprocess.run([sys.executable, "-c", COLLAPSED], capture_output=True, text=True)

    kilobytes, count = map(int, told.stdout.split())
    assert kilobytes > 0, told.stderr
    assert count == 16 << 20
