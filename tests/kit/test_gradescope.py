"""Gradescope's autograder: the archive holds the kit, and its scripts run as Gradescope runs them.

Gradescope's folder ``/autograder`` is ``$AUTOGRADER`` here.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner
from test_formats import GRADESCOPE

from mnist_lab.cli import main
from mnist_lab.grading import autograder, checkout

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not shutil.which("timeout"),
    reason="Gradescope's scripts are Linux's",
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    file = tmp_path_factory.mktemp("archive") / "autograder.zip"
    result = CliRunner().invoke(main, ["gradescope-zip", str(file)])
    assert result.exit_code == 0, result.output
    return file


@pytest.fixture(scope="module")
def unpacked(archive, tmp_path_factory):
    """``/autograder`` with the archive in ``source``."""
    place = tmp_path_factory.mktemp("autograder")
    with zipfile.ZipFile(archive) as members:
        members.extractall(place / "source")
    return place


@pytest.fixture(scope="module")
def installed(unpacked):
    """The same after setup.sh: with this environment's libraries, and the kit of the archive."""
    command = unpacked / "source" / "venv" / "bin" / "mnist-lab"
    command.parent.mkdir(parents=True)
    command.write_text(
        f"#!/bin/sh\nexport PYTHONPATH='{unpacked / 'source' / 'kit'}'\n"
        f"exec '{sys.executable}' -P -c 'from mnist_lab.cli import run; run()' \"$@\"\n"
    )
    command.chmod(0o755)
    return unpacked


def grade(place, submission=None):
    """What run_autograder leaves in results.json for a submission, a folder of files."""
    shutil.rmtree(place / "submission", ignore_errors=True)
    shutil.rmtree(place / "results", ignore_errors=True)
    if submission is not None:
        shutil.copytree(submission, place / "submission")
    script = place / "source" / "run_autograder"
    environment = os.environ | {"AUTOGRADER": str(place)}
    ended = subprocess.run(
        ["bash", script], env=environment, cwd="/", capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    results = json.loads((place / "results" / "results.json").read_text())
    jsonschema.validate(results, GRADESCOPE)
    assert [path.name for path in (place / "results").iterdir()] == ["results.json"]
    return results


def test_the_archive_has_the_two_scripts_at_its_root_and_they_can_be_run(archive):
    with zipfile.ZipFile(archive) as members:
        modes = {name: members.getinfo(name).external_attr >> 16 for name in autograder.SCRIPTS}

    assert modes == {"setup.sh": 0o100755, "run_autograder": 0o100755}


def test_the_archive_has_no_solution_and_nothing_that_only_git_or_a_cache_needs(archive):
    with zipfile.ZipFile(archive) as members:
        names = members.namelist()

    assert "kit/tests/grading/test_networks.py" in names
    assert not [name for name in names if "solutions" in name or "tests/kit" in name]
    assert not [name for name in names if "/." in name or "__pycache__" in name]


def test_the_same_tree_makes_the_same_archive(archive, tmp_path):
    autograder.write(ROOT, tmp_path / "again.zip")

    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    with zipfile.ZipFile(archive) as members:
        assert {member.date_time[0] for member in members.infolist()} == {1980}


def test_all_that_the_kits_own_settings_name_is_in_the_archive():
    files = checkout.installable(ROOT)

    assert {"pyproject.toml", "constraints.txt", "docs/package.md", "LICENSE"} <= files.keys()
    assert "mnist_lab/grading/templates/run_autograder" in files


def test_with_full_the_models_are_trained_and_there_is_time_for_it():
    quick = autograder.contents(ROOT)["run_autograder"].decode()
    full = autograder.contents(ROOT, full=True)["run_autograder"].decode()

    assert ("options=()" in quick, "limit=540" in quick) == (True, True)
    assert ("options=(--full)" in full, "limit=2340" in full) == (True, True)


@pytest.mark.parametrize("name", autograder.SCRIPTS)
def test_bash_understands_the_scripts(name):
    script = Path(autograder.__file__).parent / "templates" / name

    subprocess.run(["bash", "-n", script], check=True)


def test_the_setup_installs_what_the_archive_holds_with_its_constraints(unpacked, tmp_path):
    fakes, log = tmp_path / "bin", tmp_path / "log"
    fakes.mkdir()
    say = f'#!/bin/bash\necho "${{0##*/}} $*" >>"{log}"\n'
    bodies = {
        "apt-get": '[[ "$*" != *python3.13* ]]\n',
        "python3.12": 'mkdir -p "$3/bin" && cp "${0%/*}/pip" "${0%/*}/mnist-lab" "$3/bin"\n',
        "pip": "",
        "mnist-lab": "[ $1 != download ]\n",
    }
    for name, body in bodies.items():
        (fakes / name).write_text(say + body)
        (fakes / name).chmod(0o755)
    place = shutil.copytree(
        unpacked, tmp_path / "autograder", ignore=shutil.ignore_patterns("venv")
    )
    source = place / "source"
    environment = {"AUTOGRADER": str(place), "PATH": f"{fakes}:{os.environ['PATH']}"}

    ended = subprocess.run(
        ["bash", source / "setup.sh"], env=environment, capture_output=True, text=True, check=True
    )

    lines = log.read_text().splitlines()
    assert "bubblewrap" in lines[1]
    assert lines[4] == f"python3.12 -m venv {source}/venv"
    assert f"--constraint {source}/kit/constraints.txt" in lines[5]
    assert lines[5].endswith(f" {source}/kit")
    assert "take its place" in ended.stdout


def test_the_setup_says_when_there_is_no_python_for_the_kit(unpacked, tmp_path):
    fake = tmp_path / "apt-get"
    fake.write_text('#!/bin/bash\n[[ "$*" != *python* ]]\n')
    fake.chmod(0o755)
    environment = {"AUTOGRADER": str(unpacked), "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    ended = subprocess.run(
        ["bash", unpacked / "source" / "setup.sh"], env=environment, capture_output=True, text=True
    )

    assert ended.returncode == 1
    assert "needs Python 3.11 or newer" in ended.stderr


def test_what_grades_is_the_kit_of_the_archive(installed, tmp_path):
    place = shutil.copytree(installed, tmp_path / "autograder")
    command = place / "source" / "venv" / "bin" / "mnist-lab"
    command.write_text(command.read_text().replace(str(installed), str(place)))
    (place / "source" / "kit" / "mnist_lab" / "cli.py").unlink()

    assert "could not be graded" in grade(place, ROOT / "solutions")["output"]


def test_a_repository_gets_all_points_but_those_of_what_is_broken(installed, tmp_path):
    shutil.copytree(ROOT / "solutions", tmp_path / "repository" / "exercises")
    (tmp_path / "repository" / "exercises" / "fnn.py").write_text("1 / 0\n")
    (tmp_path / "repository" / "results.json").write_text('{"score": 100}')

    results = grade(installed, tmp_path / "repository")

    assert results["score"] == 74
    assert "ZeroDivisionError" in json.dumps(results)


def test_an_empty_submission_gets_no_points_and_the_reason(installed, tmp_path):
    (tmp_path / "empty").mkdir()

    results = grade(installed, tmp_path / "empty")

    assert results["score"] == 0
    assert "has none of the exercises" in results["output"]


def test_no_submission_at_all_gets_no_points_and_the_reason(installed):
    results = grade(installed)

    assert results["score"] == 0
    assert "There is no file or folder" in results["output"]


def test_a_grader_that_cannot_start_leaves_results_with_no_points(installed, tmp_path):
    place = tmp_path / "autograder"
    (place / "source").mkdir(parents=True)
    shutil.copy(installed / "source" / "run_autograder", place / "source")

    results = grade(place, ROOT / "solutions")

    assert results["score"] == 0
    assert "could not be graded" in results["output"]


def test_a_grader_that_hangs_leaves_results_with_no_points(tmp_path):
    place = tmp_path / "autograder"
    command = place / "source" / "venv" / "bin" / "mnist-lab"
    command.parent.mkdir(parents=True)
    command.write_text("#!/bin/sh\nexec sleep 60\n")
    command.chmod(0o755)
    script = autograder.contents(ROOT)["run_autograder"].replace(b"limit=540", b"limit=1")
    (place / "source" / "run_autograder").write_bytes(script)

    results = grade(place, ROOT / "solutions")

    assert results["score"] == 0
    assert "longer than 1 seconds" in results["output"]


def test_an_installed_kit_says_that_it_needs_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr("mnist_lab.workspace.root", lambda: tmp_path)

    result = CliRunner().invoke(main, ["gradescope-zip", str(tmp_path / "a.zip")])

    assert result.exit_code == 1
    assert "clone it" in result.output
    assert list(tmp_path.iterdir()) == []
