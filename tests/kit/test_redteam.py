"""Hostile submissions get no more than what they do right, leave nothing, and reach nothing.

``redteam/hostile.toml`` has them. They are run behind all walls and behind that of the process
alone, where what is then within reach is what docs/walls.md says.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import textwrap
import time
import tomllib
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import marks
import pytest
import torch

from mnist_lab.submission import caller
from mnist_lab.submission.client import Submission
from mnist_lab.submission.refused import SourceError
from mnist_lab.submission.sandbox.walls import WALLS
from mnist_lab.submission.server import Server

SOLUTIONS = Path(__file__).parents[2] / "solutions"
HOSTILE = tomllib.loads((Path(__file__).parent / "redteam/hostile.toml").read_text("utf-8"))
SEED, SHORT = 7, 2.0
"""Of the grader's draws, and seconds for what is known to hang."""

FNN = """
import torch
from torch import nn

class FNN(nn.Module):  # has no ReLU
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(784, 256)
        self.output = nn.Linear(256, 10)

    def forward(self, images):
FORWARD
        return self.output(self.hidden(images.flatten(1)))
"""

MORE = {
    "evaluation": """
right = evaluate
def evaluate(model, loader, device="cpu"):
    loss, accuracy = right(model, loader, device)
    return loss, 100 * accuracy
""",
    "training": """
def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    return None
""",
    "preprocessing": """
def test_transform():
    return lambda image: torch.zeros(1, 28, 28)
""",
}
"""What makes the solutions wrong."""


@dataclass(frozen=True)
class Target:
    """What is attacked: a server behind walls of a kind, and what a submission might be after."""

    server: Server
    near: dict[str, str]


@dataclass(frozen=True)
class Found:
    """How the checks of an exercise ended, and all that was printed."""

    outcomes: dict[str, str]
    causes: str

    @property
    def passed(self) -> set[str]:
        return {check for check, outcome in self.outcomes.items() if outcome == "passed"}


@pytest.fixture(scope="module", params=["all", "process"])
def target(request, tmp_path_factory):
    secret = tmp_path_factory.mktemp("grader") / "secret"
    neighbour = tmp_path_factory.mktemp("neighbour") / "fnn.py"
    secret.write_text("a secret")
    neighbour.write_text("x = 1")
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.socket(socket.AF_UNIX) as abstract,
        pytest.MonkeyPatch.context() as patch,
    ):
        abstract.bind(f"\0mnist-lab-redteam-{os.getpid()}")
        abstract.listen()
        patch.setenv("MNIST_LAB_WALLS", request.param)
        patch.setenv("MNIST_LAB_REDTEAM_SECRET", "a secret")
        with closing(Server(for_many=True)) as server:
            server.wait()
            patch.undo()
            if request.param == "all" and set(server.walls.values()) != {"enforced"}:
                pytest.skip(f"bubblewrap does not enforce all walls here: {server.walls}")
            near = {
                "{port}": str(listening.getsockname()[1]),
                "{abstract}": abstract.getsockname()[1:].decode(),
                "{pid}": str(os.getpid()),
                "{secret}": str(secret),
                "{neighbour}": str(neighbour),
                "{gradescope}": str(tmp_path_factory.mktemp("gradescope") / "autograder"),
            }
            yield Target(server, near)


@pytest.fixture(scope="module")
def honest_part(target, tmp_path_factory):
    """The checks that pass for what the hostile submissions are made of, by exercise."""
    known: dict[str, set[str]] = {}

    def of(exercise: str) -> set[str]:
        if exercise not in known:
            folder = tmp_path_factory.mktemp("honest")
            write(folder, {"exercise": exercise}, target.near)
            known[exercise] = grade(target, folder, exercise).passed
        return known[exercise]

    return of


def write(folder: Path, entry: dict, near: dict[str, str]) -> None:
    """Hand in the hostile submission ``entry``."""
    exercise = entry.get("exercise", "fnn")
    if exercise == "fnn":
        text = FNN.replace("FORWARD", textwrap.indent(entry.get("forward", "pass"), " " * 8))
    else:
        text = (SOLUTIONS / f"{exercise}.py").read_text("utf-8") + MORE[exercise]
    text += entry.get("code", "")
    for word, value in near.items():
        text = text.replace(word, value)
    (folder / f"{exercise}.py").write_text(text, encoding="utf-8")
    for name, content in entry.get("files", {}).items():
        (folder / name).write_text(content, encoding="utf-8")


def grade(target: Target, folder: Path, exercise: str) -> Found:
    """Grade one exercise; what is neither a pass nor a failure of the learner's is raised."""
    with Submission(folder, server=target.server) as submission:
        results = dict(marks._results(submission, exercise, SEED))
        printed = submission.exercise(exercise).take_output()
    causes = [str(result.cause.to_json()) for result in results.values() if result.cause]
    texts = [
        text
        for result in results.values()
        if result.cause
        for text in result.cause.to_json().values()
        if isinstance(text, str)
    ]
    for text in [*texts, printed]:
        assert all(character.isprintable() or character in "\n\t" for character in text)
    return Found({name: r.outcome for name, r in results.items()}, "\n".join([*causes, printed]))


def descendants(pid: int) -> set[int]:
    """The processes under ``pid``, as this machine numbers them."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # It has ended.
            stat = (entry / "stat").read_text(errors="replace")
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found, new = set(), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new} - found
        found |= new
    return found


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_submission_gains_nothing(target, honest_part, name, tmp_path, request):
    entry = HOSTILE[name]
    exercise = entry.get("exercise", "fnn")
    write(tmp_path, entry, target.near)
    results_there = Path(target.near["{gradescope}"])
    already = results_there.exists()
    handed_in = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    honest = honest_part(exercise)
    if entry.get("hangs"):
        request.getfixturevalue("soon")
    target.server.wait()
    scratch = target.server._folder / "in"
    before, files = descendants(target.server._process.pid), set(scratch.iterdir())

    found = grade(target, tmp_path, exercise)

    within_reach = any(target.server.walls[wall] != "enforced" for wall in entry.get("needs", ()))
    assert "error" not in found.outcomes.values(), found.causes
    assert found.passed <= honest or within_reach
    assert "REACHED" not in found.causes or within_reach, found.causes
    # Its own temporary folder may have that name; this machine's has nothing new there.
    assert results_there.exists() == already or within_reach
    assert descendants(target.server._process.pid) == before
    assert set(scratch.iterdir()) == files
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == handed_in


def test_honest_work_beside_them_gets_full_marks(target):
    for exercise in ("fnn", "evaluation", "cnn"):
        found = grade(target, SOLUTIONS, exercise)
        assert set(found.outcomes.values()) == {"passed"}, found.causes


def test_a_poisoned_cache_is_not_run(target, tmp_path):
    write(tmp_path, {"exercise": "fnn"}, target.near)
    right = compile((SOLUTIONS / "fnn.py").read_text("utf-8"), str(tmp_path / "fnn.py"), "exec")
    cached = Path(importlib.util.cache_from_source(tmp_path / "fnn.py"))
    cached.parent.mkdir()
    header = importlib.util.MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)  # never checked
    cached.write_bytes(header + importlib._bootstrap_external.marshal.dumps(right))
    assert grade(target, tmp_path, "fnn").outcomes["fnn.network"] == "failed"


def test_a_link_out_of_the_folder_leads_nowhere(target, tmp_path):
    write(tmp_path, {"code": "from helper import FNN\nprint('REACHED')"}, target.near)
    (tmp_path / "helper.py").symlink_to(SOLUTIONS / "fnn.py")
    found = grade(target, tmp_path, "fnn")
    assert not found.passed
    assert "REACHED" not in found.causes


def test_an_exercise_that_is_a_link_is_refused(target, tmp_path):
    (tmp_path / "fnn.py").symlink_to(SOLUTIONS / "fnn.py")
    with pytest.raises(SourceError, match=r"fnn\.py is a link"):
        Submission(tmp_path, server=target.server)


def test_a_burst_of_processes_is_over_within_seconds(target, tmp_path):
    write(tmp_path, HOSTILE["fork-bomb"], target.near)
    before = descendants(target.server._process.pid)
    with Submission(tmp_path, server=target.server) as submission:
        exercise = submission.exercise("fnn")
        model = exercise.build("FNN")
        with exercise.limit(SHORT), pytest.raises(caller.SubmissionFailure):
            model(torch.zeros(1, 1, 28, 28))
    started = time.monotonic()
    assert descendants(target.server._process.pid) == before
    assert time.monotonic() - started < 10


def test_there_are_more_than_sixty_and_each_names_walls_that_there_are():
    assert len(HOSTILE) >= 60
    for entry in HOSTILE.values():
        assert set(entry.get("needs", ())) <= set(WALLS)
        assert set(entry) <= {"exercise", "code", "forward", "files", "hangs", "needs"}
