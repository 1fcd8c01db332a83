"""Every command in the README and in docs/ is run, and what is quoted there is in the code."""

import re
import shlex
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from lab import Lab

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

OF_A_BLOCK = re.compile(r"^    ((?:mnist-lab|pytest|python|pip|make)\b(?: .*?)?)(?:\s+#.*)?$", re.M)
IN_A_LINE = re.compile(r"`((?:mnist-lab [^`\s]+|pytest|python) [^`]+)`")

ELSEWHERE = {
    "make": "CI runs it",
    "pip": "it needs a package index",
    "mnist-lab watch": "test_watch.py runs it in a terminal",
    "mnist-lab download": "it needs a network; test_data.py runs it with a server of its own",
    "mnist-lab check-kit": "test_check_kit.py and test_commands.py run it",
    "mnist-lab grade-class SUBMISSIONS --out DIR --cluster": "test_cluster.py runs it",
    "mnist-lab grade-class handed-in": "it needs the cluster of the example",
    "pytest --submission solutions": "test_plugin.py runs it",
    "python -c": "it prints nothing",
    "mnist-lab release": "test_release.py runs it on a checkout of its own",
    "mnist-lab gradescope-zip": "test_gradescope.py runs it, and what it makes",
    "mnist-lab new my-lab": "the workspace here is made by it",
}
"""Commands that are not run here, by how they begin, and why."""

SHORTER = {
    "mnist-lab compare": "--epochs 1 --train-size 200 --test-size 100 --source sample --quiet",
    "python benchmarks": "--help",
    "pytest --full": "-k logistic",
    "pytest --isolation none --pdb": "-k logistic",
}
"""What is added, by how a command begins, so that it takes seconds and disturbs nothing."""


def commands():
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for pattern in (OF_A_BLOCK, IN_A_LINE):
            for command in pattern.findall(text):
                found.setdefault(" ".join(command.split()), page.name)
    return found


def run_here():
    return [each for each in commands() if not each.startswith(tuple(ELSEWHERE))]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A workspace with one exercise solved, and a class of two."""
    here = tmp_path_factory.mktemp("docs") / "my-lab"
    with closing(Lab(here, MNIST_LAB_DATA=str(here / "no-mnist"), COLUMNS="80")) as lab:
        shutil.copy(ROOT / "solutions" / "logistic_regression.py", lab.exercises)
        for name in ("ada", "brook"):
            (here / "SUBMISSIONS" / name).mkdir(parents=True)
            shutil.copy(ROOT / "solutions" / "logistic_regression.py", here / "SUBMISSIONS" / name)
        (here / "SUBMISSIONS" / "brook" / "logistic_regression.py").write_text("def oops(:\n")
        shutil.copytree(here / "SUBMISSIONS" / "ada", here / "PATH")
        (here / "course.csv").write_text("Name,Lab 1\nada,\nbrook,\n")
        (here / "late.csv").write_text("Name,Days late\nada,2\nbrook,\n")
        yield lab


def call(command, lab, forks):
    """The exit status of a command in the workspace, and what it says."""
    program, *arguments = shlex.split(command)
    if program == "pytest":
        run, _ = lab.pytest(*arguments)
        return run.status, run.output
    if program == "mnist-lab":
        place = {"MNIST_LAB_DATA": str(lab.folder / "no-mnist")}
        done = forks.mnist_lab(*arguments, cwd=lab.folder, **place)
    else:
        asked = [sys.executable, *arguments]
        done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("command", run_here())
def test_a_command_of_the_docs_works(command, lab, forks):
    asked = command + "".join(
        f" {more}" for begins, more in SHORTER.items() if command.startswith(begins)
    )

    status, said = call(asked, lab, forks)

    if "--require strict" in asked and "here these are not" in said:
        pytest.skip(said.strip())
    assert status in (0, 1), said
    assert "Traceback" not in said
    assert said.strip() or "--quiet" in asked


def test_commands_that_are_not_run_here_are_still_in_the_docs():
    assert all(any(each.startswith(begins) for each in commands()) for begins in ELSEWHERE)


def test_code_in_the_contributors_page_is_the_kits():
    text = (ROOT / "docs" / "contributors.md").read_text(encoding="utf-8")
    blocks = [
        block
        for block in re.findall(r"(?:^    .*\n)+", text.partition("# A check")[2], re.M)
        if "mnist-lab" not in block and "def check_bright" not in block  # test_contributors.py
    ]
    kits = "\n".join(
        (ROOT / file).read_text(encoding="utf-8")
        for file in (
            "mnist_lab/kit.toml",
            "mnist_lab/diagnosis/mistakes/networks.toml",
            "mnist_lab/diagnosis/mistakes/measures.toml",
            "mnist_lab/diagnosis/mistakes/training.toml",
            "tests/grading/test_networks.py",
            "tests/kit/mutants/networks.toml",
        )
    )

    assert len(blocks) == 7
    for block in blocks:
        assert re.sub(r"^    ", "", block, flags=re.M).strip() in kits


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target
