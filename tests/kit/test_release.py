"""The learner's repository has what a learner needs and nothing of a solution."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from mnist_lab import check_kit, kit, stubs
from mnist_lab.cli import main
from mnist_lab.errors import LabError
from mnist_lab.grading import checkout, release

ROOT = Path(__file__).parents[2]
PARTS = ("solutions", "exercises", "tests/grading", "docs/examples", "mnist_lab/kit.toml")
FILES = ("conftest.py", "LICENSE", "constraints.txt", "pyproject.toml")
SOLUTIONS = {file.name: file.read_text() for file in sorted((ROOT / "solutions").glob("*.py"))}

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")


def git(folder, *arguments):
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", folder, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def committed(tmp_path):
    """A checkout of the kit, as far as a release reads it, with all of it committed."""
    root = tmp_path / "checkout"
    for name in PARTS + FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(
                ROOT / name,
                root / name,
                ignore=shutil.ignore_patterns("__pycache__"),
                dirs_exist_ok=True,
            )
        else:
            shutil.copy(ROOT / name, root / name)
    (root / ".gitignore").write_text("__pycache__/\n*.swp\n")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "all")
    return root


def regions(solution):
    """The code of each fenced region of a solution."""
    lines = solution.splitlines()
    return ["\n".join(lines[t.first + 1 : t.last]) for t in stubs.tasks(solution)]


ALL_REGIONS = [
    pytest.param(name, region, id=f"{name}-{index}")
    for name, solution in SOLUTIONS.items()
    for index, region in enumerate(regions(solution))
]


# What is in it


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_learner_gets_stubs_tests_a_beginning_and_the_workflow(committed, tmp_path, mask):
    before = os.umask(mask)
    try:
        release.write(committed, tmp_path / "lab")
    finally:
        os.umask(before)
    files = {
        path.relative_to(tmp_path / "lab").as_posix()
        for path in (tmp_path / "lab").rglob("*")
        if path.is_file()
    }

    grading = {f"tests/grading/{path.name}" for path in (ROOT / "tests/grading").glob("*.py")}
    assert files == {
        *(f"exercises/{exercise.file}" for exercise in kit.load().exercises),
        "exercises/mnist_lab.ipynb",
        *grading,
        *("README.md", "LICENSE", "requirements.txt", "constraints.txt", "pytest.ini"),
        *("conftest.py", ".gitignore", ".github/workflows/grade.yml"),
    }


def test_each_exercise_is_the_stub_of_its_solution(committed):
    files = release.contents(committed, "mnist-lab")

    for name, solution in SOLUTIONS.items():
        assert files[f"exercises/{name}"].decode() == stubs.generate(solution)


def test_the_same_kit_is_installed_by_the_learner_the_workflow_and_the_notebook(committed):
    wanted = "mnist-lab @ https://example.org/mnist_lab-1.0-py3-none-any.whl#sha256=00"

    files = release.contents(committed, wanted)

    assert files["requirements.txt"].decode().splitlines()[-1] == wanted
    assert f"  KIT: {json.dumps(wanted)}\n" in files[".github/workflows/grade.yml"].decode()
    cells = json.loads(files["exercises/mnist_lab.ipynb"])["cells"]
    assert f'KIT = "{wanted}"\n' in cells[1]["source"]


def test_a_learner_can_collect_the_tests_of_the_release(committed, tmp_path):
    release.write(committed, tmp_path / "lab")

    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q"],
        cwd=tmp_path / "lab",
        capture_output=True,
        text=True,
    )

    assert collected.returncode == 0, collected.stdout + collected.stderr
    assert "test_networks.py" in collected.stdout


def test_what_git_ignores_stays_here(committed):
    (committed / "exercises" / "cnn.py.swp").write_text("a half-written solution")

    assert "exercises/cnn.py.swp" not in release.contents(committed, "mnist-lab")


# When there is none


def test_what_is_not_committed_is_not_released(committed, tmp_path):
    (committed / "LICENSE").write_text("mine")
    (committed / "new.txt").touch()

    with pytest.raises(LabError, match=r"2 files are not committed \(LICENSE, new\.txt\)"):
        release.write(committed, tmp_path / "lab")

    assert not (tmp_path / "lab").exists()
    assert release.write(committed, tmp_path / "lab", allow_dirty=True)
    assert (tmp_path / "lab" / "LICENSE").read_text() == "mine"


def test_a_kit_that_is_not_whole_is_not_released(committed, tmp_path):
    (committed / "exercises" / "cnn.py").write_text("# rewritten by hand\n")
    git(committed, "commit", "-aqm", "by hand")

    with pytest.raises(LabError, match=r"exercises/cnn\.py: it is not the stub"):
        release.write(committed, tmp_path / "lab")


def test_a_folder_without_git_is_said_to_be_none(committed, tmp_path):
    shutil.rmtree(committed / ".git")

    with pytest.raises(LabError, match="git cannot look at"):
        release.write(committed, tmp_path / "lab")


def test_a_release_never_overwrites(committed, tmp_path):
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "thesis.tex").write_text("years of work")

    with pytest.raises(LabError, match="is not empty"):
        release.write(committed, tmp_path / "lab")

    assert [path.name for path in (tmp_path / "lab").iterdir()] == ["thesis.tex"]


def test_a_release_is_written_whole_or_not_at_all(committed, tmp_path, monkeypatch):
    full_disk = OSError(28, "No space left on device")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(full_disk))

    with pytest.raises(LabError, match="The disk is full: free some space for"):
        release.write(committed, tmp_path / "lab")

    assert [path.name for path in tmp_path.iterdir()] == ["checkout"]


def test_the_command_says_what_comes_next(committed, tmp_path, monkeypatch):
    monkeypatch.setattr(checkout, "root", lambda: committed)

    result = CliRunner().invoke(main, ["release", str(tmp_path / "lab")])

    assert result.exit_code == 0
    assert "git init" in result.output
    assert "No --kit was given: before learners start, name mnist-lab in req" in result.output


def test_the_command_says_in_a_sentence_why_there_is_no_release(committed, tmp_path, monkeypatch):
    monkeypatch.setattr(checkout, "root", lambda: committed)
    (committed / "README.md").touch()

    result = CliRunner().invoke(main, ["release", str(tmp_path / "lab")])

    assert result.exit_code == 1
    assert result.output.startswith("mnist-lab: There is no release: 1 files are not committed")


# What would leak


def leaked(files):
    return list(release.leaks({name: text.encode() for name, text in files.items()}, SOLUTIONS))


def test_what_goes_out_today_has_nothing_of_a_solution():
    assert list(release.leaks(release.contents(ROOT, "mnist-lab"), SOLUTIONS)) == []


@pytest.mark.parametrize(("name", "region"), ALL_REGIONS)
def test_every_region_is_found_in_a_stub(name, region):
    stub = stubs.generate(SOLUTIONS[name])

    found = leaked({"exercises/x.py": f"{stub}\n{region}\n"})

    assert f"exercises/x.py has lines of solutions/{name}" in found


@pytest.mark.parametrize(("name", "region"), ALL_REGIONS)
def test_every_region_is_found_in_a_page(name, region):
    quoted = "\n".join(f"> >>> {line.strip()}" for line in region.splitlines())

    found = leaked({"README.md": f"# Read me\n\n{quoted}\n"})

    assert f"README.md has lines of solutions/{name}" in found


@pytest.mark.parametrize("as_list", [True, False])
@pytest.mark.parametrize(("name", "region"), ALL_REGIONS)
def test_every_region_is_found_in_a_notebook(name, region, as_list):
    source = region.splitlines(keepends=True) if as_list else region
    notebook = {"cells": [{"cell_type": "code", "source": source}], "nbformat": 4}

    found = leaked({"lab.ipynb": json.dumps(notebook)})

    assert f"lab.ipynb has lines of solutions/{name}" in found


@pytest.mark.parametrize(
    "text",
    [
        "self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1)",
        "# self.conv1=nn.Conv2d( 1,16, kernel_size=3,padding=1 )  # so",
        "    self.conv1 = nn.Conv2d(\n        1, 16, kernel_size=3, padding=1)",
        "Write `self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1)` there.",
        "    self.hidden = nn.Linear(32 * 7 * 7, 128)\r\n    self.output = nn.Linear(128, 10)\r\n",
    ],
)
def test_a_line_is_found_however_it_is_written(text):
    assert leaked({"README.md": text}) == ["README.md has lines of solutions/cnn.py"]


SHORT = """\
def f(x):
    # >>> Return x as it is.
    return x
    # <<< a.b


def g(x):
    # >>> Scale it.
    scale = len(x) + 1
    return "by", scale * x
    # <<< a.c
"""


@pytest.mark.parametrize(
    "page",
    [
        "    return x\n",
        "    scale = len(x) + 1\n    return 'by', scale * x\n",
        "> >>> scale = len(x) + 1\n> >>> return 'by', scale * x\n",
        json.dumps({"cells": [{"source": ["scale = len(x) + 1\n", 'return "by", scale * x']}]}),
        json.dumps({"cells": [{"source": 'scale = len(x) + 1\nreturn "by", scale * x'}]}),
        json.dumps({"source": 'scale = len(x) + 1\nreturn "by", scale * x'})[:-1],
    ],
)
def test_short_lines_tell_beside_their_neighbours_or_as_a_whole_region(page):
    assert list(release.leaks({"lab.ipynb": page.encode()}, {"s.py": SHORT}))


def test_one_short_line_of_several_does_not_tell():
    assert not list(release.leaks({"README.md": b"    scale = len(x) + 1\n"}, {"s.py": SHORT}))


def test_what_everybody_writes_is_no_leak():
    common = "model.eval()\nwith torch.no_grad():\n    scores = model(images)\nmodel.train()\n"

    assert (
        leaked({"README.md": common, "exercises/x.py": "import torch\nfrom torch import nn\n"})
        == []
    )


@pytest.mark.parametrize("place", ["tests/grading/helper.py", "conftest.py", "LICENSE"])
def test_a_planted_solution_is_not_released(committed, tmp_path, place):
    with (committed / place).open("a") as file:
        file.write("\n".join(f"# {line}" for line in regions(SOLUTIONS["cnn.py"])[1].splitlines()))
    git(committed, "add", "-A")
    git(committed, "commit", "-qm", "planted")

    with pytest.raises(LabError, match="it would give away solutions") as raised:
        release.write(committed, tmp_path / "lab")

    assert f"{place} has lines of solutions/cnn.py" in str(raised.value)
    assert not (tmp_path / "lab").exists()


def test_a_solution_in_the_place_of_a_stub_is_not_released(committed, tmp_path, monkeypatch):
    monkeypatch.setattr(check_kit, "problems", lambda root: [])
    shutil.copy(committed / "solutions" / "fnn.py", committed / "exercises" / "fnn.py")
    git(committed, "commit", "-aqm", "oops")

    with pytest.raises(LabError, match=r"exercises/fnn\.py has lines of solutions/fnn"):
        release.write(committed, tmp_path / "lab")


# The workflow


@pytest.fixture(params=["example", "released"])
def workflow(request):
    yaml = pytest.importorskip("yaml", reason="PyYAML, of the extra dev, is not installed")
    released = release.contents(ROOT, "mnist-lab @ https://example.org/x.whl")
    text = {
        "example": (ROOT / "docs" / "examples" / "grade.yml").read_bytes(),
        "released": released[".github/workflows/grade.yml"],
    }[request.param]
    return yaml.safe_load(text)


def steps(workflow):
    return workflow["jobs"]["run-autograding-tests"]["steps"]


def test_the_workflow_is_what_github_classroom_looks_for(workflow):
    assert workflow["name"] == "Autograding Tests"
    assert list(workflow["jobs"]) == ["run-autograding-tests"]


def test_no_secret_is_in_reach_of_a_submission(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    assert "permissions" not in workflow["jobs"]["run-autograding-tests"]
    assert "secrets." not in json.dumps(workflow, default=str)
    assert "github.token" not in json.dumps(workflow, default=str)
    assert set(workflow[True]) == {"push", "pull_request", "workflow_dispatch"}  # on: is true
    assert steps(workflow)[0]["with"]["persist-credentials"] is False


def test_actions_are_pinned_to_a_commit(workflow):
    used = [step["uses"] for step in steps(workflow) if "uses" in step]

    assert len(used) == 2
    assert all(len(name.partition("@")[2]) == 40 for name in used)


def test_no_text_of_a_learners_is_pasted_into_a_script(workflow):
    assert not [step for step in steps(workflow) if "${{" in step.get("run", "")]


def test_nothing_runs_after_the_submission_has(workflow):
    assert "mnist-lab" in steps(workflow)[-1]["run"]
    assert " grade " in steps(workflow)[-1]["run"]
    assert not [step for step in steps(workflow)[:-1] if " grade " in step.get("run", "")]


def test_without_a_kit_nothing_is_taken_from_a_package_index_and_all_say_what_is_missing():
    files = {name: data.decode() for name, data in release.contents(ROOT, "").items()}

    assert files["requirements.txt"].splitlines()[-1] == release.UNKNOWN_KIT
    assert '  KIT: ""' in files[".github/workflows/grade.yml"]
    assert 'KIT = ""\n' in json.loads(files["exercises/mnist_lab.ipynb"])["cells"][1]["source"]
    for name, text in files.items():
        assert not re.search(r"mnist-lab *==|pip install [^\n]*mnist-lab", text), name


def test_a_workflow_that_names_no_kit_says_so(runner):
    ended = runner(-2, bin__python="exit 9", temp__kit__bin__pip="exit 9", kit="")

    assert ended.returncode == 1
    assert "::error::KIT in grade.yml is empty" in ended.stdout


@pytest.fixture
def runner(tmp_path, workflow):
    """Runs a step as a runner does, with commands that only say what they were asked."""
    place = tmp_path / "work"
    (place / "temp" / "kit" / "bin").mkdir(parents=True)
    (place / "submission" / "exercises").mkdir(parents=True)
    (place / "bin").mkdir()

    def run(index, kit="mnist-lab @ https://example.org/x.whl", **fakes):
        for name, body in fakes.items():
            file = place / name.replace("__", "/").replace("_", "-")
            file.write_text(f"#!/bin/bash\n{body}\n")
            file.chmod(0o755)
        environment = {
            "PATH": f"{place / 'bin'}:/usr/bin:/bin",
            "RUNNER_TEMP": str(place / "temp"),
            "GITHUB_OUTPUT": str(place / "output"),
            "KIT": kit,
        }
        return subprocess.run(
            ["bash", "-eo", "pipefail", "-c", steps(workflow)[index]["run"]],
            env=environment,
            cwd=place,
            capture_output=True,
            text=True,
        )

    run.place = place
    return run


def test_of_a_learners_constraints_only_versions_are_obeyed(runner):
    (runner.place / "submission" / "constraints.txt").write_text(
        "torch==2.15.0\n--index-url https://example.org\n-r other.txt\nnumpy @ file:///x\n"
        "click==8.1 --hash=x\n-e .\nJinja2==3.1.6\n"
    )

    ended = runner(-2, bin__python="", temp__kit__bin__pip='echo "$@"')

    assert ended.returncode == 0, ended.stderr
    assert (
        runner.place / "temp" / "constraints.txt"
    ).read_text() == "torch==2.15.0\nJinja2==3.1.6\n"


def test_a_learner_without_constraints_is_graded_too(runner):
    assert runner(-2, bin__python="", temp__kit__bin__pip="").returncode == 0


@pytest.mark.parametrize("status", [0, 1])
def test_the_job_ends_as_the_grade_does_and_hands_it_on(runner, status):
    ended = runner(
        -1,
        temp__kit__bin__mnist_lab='file="${@: -1}"; echo \'{"tests": []}\' >"${file#classroom=}"\n'
        f"exit {status}",
    )

    assert ended.returncode == status
    assert (runner.place / "output").read_text() == "result=eyJ0ZXN0cyI6IFtdfQo=\n"
