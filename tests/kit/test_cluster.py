"""A class on a Dask cluster: two worker processes, one of which is killed half-way."""

import json
import os
import shutil
import signal
from contextlib import closing
from pathlib import Path

import pytest

from mnist_lab.grading.batch import cluster
from mnist_lab.grading.batch.reading import ReaderPool
from mnist_lab.grading.batch.results import Graded, Options, fingerprint
from mnist_lab.grading.batch.submissions import ClassError, find

distributed = pytest.importorskip("distributed", reason="needs Dask: pip install distributed")

SOLUTIONS = Path(__file__).parents[2] / "solutions"
OPTIONS = Options("quick", 3, fingerprint())


class SameKit(distributed.WorkerPlugin):
    """Has a worker take its kit for this process's, though a file may have been saved between."""

    def __init__(self) -> None:
        self.kit = OPTIONS.kit

    def setup(self, worker) -> None:
        cluster.fingerprint = lambda: self.kit


@pytest.fixture
def two_workers():
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as local,
        distributed.Client(local) as client,
    ):
        client.register_plugin(SameKit())
        yield local.scheduler_address, client


@pytest.fixture
def handed_in(tmp_path):
    """Four learners who have done one exercise, so that a run is short."""
    for name in ("ada", "bob", "cleo", "dan"):
        (tmp_path / "in" / name).mkdir(parents=True)
        shutil.copyfile(SOLUTIONS / "fnn.py", tmp_path / "in" / name / "fnn.py")
        (tmp_path / "in" / name / "notes.py").write_text(f"# by {name}\n")
    submissions = find(tmp_path / "in").submissions
    with closing(ReaderPool(tmp_path, 1)) as readers:
        return readers.read([(each, 0) for each in submissions])


def test_the_submissions_of_a_killed_worker_are_graded_by_the_other(two_workers, handed_in):
    address, client = two_workers
    before = client.run(os.getpid)
    done = {}

    for handed, outcome in cluster.grade_there(handed_in, OPTIONS, address):
        if not done:
            os.kill(next(iter(before.values())), signal.SIGKILL)
        done[handed.name] = outcome

    assert client.run(os.getpid).values() != before.values()
    assert sorted(done) == ["ada", "bob", "cleo", "dan"]
    for name, outcome in done.items():
        assert isinstance(outcome, Graded), outcome
        assert (outcome.grade.submission, outcome.grade.score) == (name, 11)


def test_only_bytes_go_out_and_text_comes_back(handed_in):
    files = handed_in[0].pack()

    assert {name: type(content) for name, content in files.items()} == {
        "fnn.py": bytes,
        "notes.py": bytes,
    }
    other = {"tier": "quick", "seed": 0, "kit": "0+other"}
    assert json.loads(cluster.grade_bytes("ada", files, other, 0)) == {"other_kit": fingerprint()}


def test_a_cluster_that_is_not_there_is_an_error_that_says_so(handed_in, monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_LIMIT", "1s")

    with pytest.raises(ClassError, match="No Dask scheduler answers at tcp"):
        list(cluster.grade_there(handed_in, OPTIONS, "tcp://127.0.0.1:9"))


def test_a_worker_with_another_kit_is_refused(handed_in, monkeypatch):
    monkeypatch.setattr(cluster, "grade_bytes", lambda *_: '{"other_kit": "0+other"}')
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
        ) as local,
        pytest.raises(ClassError, match=r"another kit, 0\+other"),
    ):
        list(cluster.grade_there(handed_in, OPTIONS, local.scheduler_address))
