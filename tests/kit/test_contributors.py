"""What docs/contributors.md says of a new exercise is enough to add one, and its check is one."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import torch

from mnist_lab.diagnosis import CheckFailure
from mnist_lab.diagnosis.networks import checks
from mnist_lab.submission.client import Submission

ROOT = Path(__file__).parents[2]


def mnist_lab(root, *command):
    """A command of the kit in the checkout ``root``."""
    return subprocess.run(
        [sys.executable, "-c", "from mnist_lab.cli import run; run()", *command],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )


def test_a_seventh_exercise_is_added_as_the_page_says(tmp_path):
    page = (ROOT / "docs" / "contributors.md").read_text(encoding="utf-8")
    section = page.partition("# An exercise\n")[2].partition("# A check\n")[0]
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", section, re.M)
    solution, entry, test = (dedent(block).strip() + "\n" for block in blocks if block.strip())
    for name in ("mnist_lab", "solutions", "exercises", "tests/grading", "conftest.py"):
        copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copied(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    manifest = tmp_path / "mnist_lab" / "kit.toml"
    two_fewer = manifest.read_text().replace("points = 4", "points = 2", 1)
    manifest.write_text(f"{two_fewer}\n{entry}")
    (tmp_path / "solutions" / "top_k.py").write_text(solution)
    (tmp_path / "tests" / "grading" / "test_top_k.py").write_text(test)

    written = mnist_lab(tmp_path, "check-kit", "--write")

    assert written.returncode == 0, written.stdout + written.stderr
    assert "raise NotImplementedError" in (tmp_path / "exercises" / "top_k.py").read_text()
    handed_in = tmp_path / "handed-in"
    handed_in.mkdir()
    (handed_in / "top_k.py").write_text(solution.replace("any(1)", "all(1)"))
    graded = mnist_lab(tmp_path, "grade", str(handed_in))
    assert "top_k returns 0 for k=4" in graded.stdout, graded.stdout + graded.stderr


@pytest.mark.parametrize("exercise", ["logistic_regression", "fnn", "cnn"])
def test_the_check_on_the_page_is_one(exercise, tmp_path, server):
    page = (ROOT / "docs" / "contributors.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^    def check_bright.*\n(?: {8}.*\n)+", page, re.M)
    known = dict(vars(checks))
    exec(dedent(block), known)
    right = (ROOT / "solutions" / f"{exercise}.py").read_text(encoding="utf-8")
    wrong = re.sub(r"(def forward\(.*\n.*\n)", r"\1        images = images.clamp(max=9)\n", right)
    for text in (right, wrong):
        (tmp_path / f"{exercise}.py").write_text(text, encoding="utf-8")
        with Submission(tmp_path, isolation="fork", server=server) as submission:
            name = re.search(r"class (\w+)", text)[1]
            model = submission.exercise(exercise).build(name)
            if text == right:
                known["check_bright"](exercise, model, torch.Generator())
                continue
            with pytest.raises(CheckFailure, match="computes something else for bright images"):
                known["check_bright"](exercise, model, torch.Generator())
