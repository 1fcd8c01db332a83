"""A forged answer gains nothing: no forging submission passes a check that its control does not.

``redteam/forging.toml`` has them. What they may reach is tested in ``test_redteam.py``.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path

import marks
import pytest

from mnist_lab import kit
from mnist_lab.submission.client import Submission
from mnist_lab.submission.server import Server

LISTED = tomllib.loads((Path(__file__).parent / "redteam/forging.toml").read_text("utf-8"))
CONTROLS, FORGINGS = LISTED["control"], LISTED["forging"]
WAYS = {"import", "patch", "decoy", "table", "wire", "lie"}
SEED = 11


@pytest.fixture(scope="module", autouse=True)
def _calls_end_soon():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mnist_lab.submission.caller.CALL_LIMIT", 5.0)
        yield


@pytest.fixture(scope="module")
def passed_by_the_control(server, tmp_path_factory):
    """The checks that an honest control passes, found once for each."""
    known: dict[tuple[str, bool], set[str]] = {}

    def of(name: str, full: bool) -> set[str]:
        if (name, full) not in known:
            folder = tmp_path_factory.mktemp("control")
            known[name, full] = passed(folder, CONTROLS[name], "", full, server)
        return known[name, full]

    return of


def passed(folder: Path, control: dict, forged: str, full: bool, server: Server) -> set[str]:
    """The checks that pass; none may end as the kit's own fault."""
    exercise = control["exercise"]
    (folder / f"{exercise}.py").write_text(control["code"] + forged, encoding="utf-8")
    with Submission(folder, server=server) as submission:
        ended = dict(marks._results(submission, exercise, SEED, full))
    assert "error" not in {result.outcome for result in ended.values()}
    return {check for check, result in ended.items() if result.outcome == "passed"}


@pytest.mark.parametrize("name", FORGINGS)
def test_a_forging_submission_gains_nothing(name, server, passed_by_the_control, tmp_path):
    entry = FORGINGS[name]
    full = entry.get("full", False)
    honest = passed_by_the_control(entry["control"], full)
    forged = passed(tmp_path, CONTROLS[entry["control"]], entry["code"], full, server)
    assert forged <= honest


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_has_something_left_to_gain(name, passed_by_the_control):
    exercise = kit.load().exercise(CONTROLS[name]["exercise"])
    quick = {check.id for check in exercise.checks if check.tier == "quick"}
    assert quick - passed_by_the_control(name, full=False)


def test_there_are_forty_and_more_of_every_way_and_exercise():
    assert len(FORGINGS) >= 40
    ways = Counter(entry["way"] for entry in FORGINGS.values())
    assert set(ways) == WAYS
    assert min(ways.values()) >= 5
    forged = {CONTROLS[entry["control"]]["exercise"] for entry in FORGINGS.values()}
    assert forged == {exercise.id for exercise in kit.load().exercises}
