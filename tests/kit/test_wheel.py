"""Every command works from an installed wheel, in a folder where no checkout is."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from contextlib import closing
from pathlib import Path

import pytest
from forks import Forks

from mnist_lab.cli import main

ROOT = Path(__file__).parents[2]
NOT_FULL_MARKS = NO_CHECKOUT = NO_NETWORK = NOTHING_GRADED = 1

COMMANDS = {
    "check-kit": NO_CHECKOUT,
    "compare --models fnn --source sample --train-size 200 --test-size 50 --epochs 1": 0,
    "doctor": 0,
    "download --data digits": NO_NETWORK,
    "grade fnn.py --grade-seed 3": NOT_FULL_MARKS,
    "grade-class class --out grades": 0,
    "gradescope-zip autograder.zip": NO_CHECKOUT,
    "hint fnn": 0,
    "new lab": 0,
    "release out --kit some-requirement": NO_CHECKOUT,
    "status": NOTHING_GRADED,
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this checkout, unpacked as pip does."""
    folder, site = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site")
    build = f"from hatchling.build import build_wheel; build_wheel({str(folder)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=ROOT, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        archive.extractall(site)
    return site


@pytest.fixture(scope="module")
def installed(wheel):
    with closing(Forks(wheel)) as forks:
        yield forks


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A folder with one exercise that is solved and a class of one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    shutil.copy(ROOT / "solutions" / "fnn.py", folder)
    (folder / "class" / "ada").mkdir(parents=True)
    shutil.copy(ROOT / "solutions" / "fnn.py", folder / "class" / "ada")
    return folder


def test_every_command_is_tried():
    tried = {command.split()[0] for command in COMMANDS}

    assert tried | {"watch"} == set(main.commands)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_works_from_a_wheel(installed, elsewhere, command):
    run = installed.mnist_lab(*command.split(), cwd=elsewhere, https_proxy="http://127.0.0.1:9")

    assert run.returncode == COMMANDS[command], run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr
    assert run.stdout.strip() or run.stderr.startswith("mnist-lab:")


def test_the_wheel_says_that_it_has_types_and_holds_the_learners_files(wheel):
    assert (wheel / "mnist_lab" / "py.typed").exists()
    assert (wheel / "mnist_lab" / "workspace_files" / "exercises" / "cnn.py").exists()


def test_what_a_package_index_shows_has_no_link_into_the_repository(wheel):
    (metadata,) = wheel.glob("*.dist-info/METADATA")

    assert "# mnist-lab" in metadata.read_text()
    assert not re.search(r"\]\((?!https?:)", metadata.read_text())


def test_the_lowest_versions_that_are_tried_are_those_that_are_promised():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    promised = [*project["dependencies"], *extras["dev"], *extras["cluster"], *extras["notebook"]]
    tried = dict(
        line.split("==")
        for line in (ROOT / "constraints-lowest.txt").read_text().splitlines()
        if "==" in line
    )

    for name, lowest in re.findall(r"^([\w-]+)>=([\d.]+)", "\n".join(promised), re.M):
        assert f"{tried[name]}.0.0".startswith(f"{lowest}."), name
