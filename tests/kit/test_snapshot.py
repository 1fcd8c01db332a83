"""A process whose memory was put into a file goes on as before, and forks share that file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mnist_lab import compiled
from mnist_lab.submission import snapshot
from mnist_lab.submission.server import Server, environment

CODE = snapshot.code()

pytestmark = pytest.mark.skipif(
    CODE is None, reason=f"no Linux with a C compiler here: {compiled.ADVICE}"
)

MEGABYTE = 1 << 20


def process(text):
    """What a new process that runs ``text`` prints, as JSON; it can call ``take`` and ``own``."""
    before = """
        import json, os, threading
        from pathlib import Path
        from mnist_lab.submission import snapshot

        def take():
            return snapshot.take(CODE) >> 20

        def own():
            status = Path("/proc/self/status").read_text()
            return int(status.partition("RssAnon:")[2].split()[0]) >> 10

        def in_a_fork(run):
            reading, writing = os.pipe()
            if (child := os.fork()) == 0:
                os.write(writing, json.dumps(run()).encode())
                os._exit(0)
            os.waitpid(child, 0)
            return json.loads(os.read(reading, 4096))
    """
    code = (textwrap.dedent(before) + textwrap.dedent(text)).replace("CODE", str(CODE))
    run = [sys.executable, "-P", "-c", code]
    ended = subprocess.run(
        run, capture_output=True, text=True, pass_fds=[CODE], env=environment(), timeout=120
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_memory_is_moved_and_holds_what_it_held():
    before, moved, after, equal = process("""
        kept = {number: str(number) * 50 for number in range(300_000)}
        large = bytes(range(256)) * 100_000
        before = own()
        moved = take()
        after = own()
        equal = all(text == str(number) * 50 for number, text in kept.items())
        print(json.dumps([before, moved, after, equal and large == bytes(range(256)) * 100_000]))
    """)

    assert equal
    assert before > 80
    assert moved > 80
    assert after < 20


def test_what_a_fork_writes_stays_its_own():
    theirs, ours, next_ones = process("""
        values = bytearray(30_000_000)
        take()

        def write():
            values[:] = b"x" * len(values)
            return values.count(b"x")

        theirs = in_a_fork(write)
        print(json.dumps([theirs, values.count(b"x"), in_a_fork(lambda: values.count(b"x"))]))
    """)

    assert (theirs, ours, next_ones) == (30_000_000, 0, 0)


def test_what_the_process_writes_afterwards_its_next_forks_see():
    assert process("""
        values = bytearray(30_000_000)
        take()
        values[::4096] = b"x" * len(values[::4096])
        print(json.dumps([values.count(b"x"), in_a_fork(lambda: values.count(b"x"))]))
    """) == [7325, 7325]


def test_memory_can_be_extended_and_given_back():
    """Large blocks are moved by the kernel, with what follows them in the file."""
    assert process("""
        blocks = [bytearray([number]) * 1_000_000 for number in range(1, 20)]
        take()
        for number, block in enumerate(blocks, start=1):
            block.extend(bytes([number]) * 9_000_000)
        right = [block.count(number) for number, block in enumerate(blocks, start=1)]
        blocks.clear()
        new = [bytes(1_000_000) for _ in range(50)]
        print(json.dumps([right == [10_000_000] * 19, sum(map(any, new))]))
    """) == [True, 0]


def test_untouched_memory_takes_no_room():
    moved, taken = process("""
        import ctypes, mmap
        untouched = mmap.mmap(-1, 500_000_000, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        file = os.memfd_create("snapshot")
        moved = ctypes.PyDLL("/proc/self/fd/CODE").snapshot(file)
        print(json.dumps([moved >> 20, os.fstat(file).st_blocks * 512 >> 20]))
    """)

    assert moved >= 500_000_000 // MEGABYTE
    assert taken < 50


def test_a_process_with_threads_is_left_alone():
    moved, after = process("""
        kept = bytearray(b"x") * 50_000_000
        done = threading.Event()
        thread = threading.Thread(target=done.wait)
        thread.start()
        moved = take()
        done.set()
        thread.join()
        print(json.dumps([moved, take()]))
    """)

    assert moved == 0
    assert after >= 50_000_000 // MEGABYTE


def test_the_idle_threads_of_openblas_do_not_keep_it():
    threads, moved = process("""
        os.environ |= {"OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}
        import numpy
        threads = len(os.listdir("/proc/self/task"))
        print(json.dumps([threads, take()]))
    """)

    if threads == 1:
        pytest.skip("numpy starts no threads of its own here")
    assert moved > 0


def test_code_that_cannot_be_loaded_changes_nothing(tmp_path):
    (tmp_path / "code").write_text("no library")
    descriptor = os.open(tmp_path / "code", os.O_RDONLY)

    assert snapshot.take(descriptor) == 0
    os.close(descriptor)


def own_megabytes(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("RssAnon:")[2].split()[0]) >> 10


def server_of(server):
    """The process that forks workers, which may be inside of bubblewrap."""
    found = [server._process.pid]
    for pid in found:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            found += map(int, task.read_text().split())
    return found[-1]


@pytest.mark.parametrize("compiles", [True, False])
def test_a_server_for_many_has_taken_one_where_it_can(compiles, monkeypatch):
    monkeypatch.setattr(snapshot, "code", lambda: CODE if compiles else None)
    server = Server(for_many=True)
    try:
        server.wait()
        assert (own_megabytes(server_of(server)) < 100) == compiles
    finally:
        server.close()
