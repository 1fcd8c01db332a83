"""The learner's side of the wall, tried with code that works and with code that does its worst."""

import contextlib
import io
import json
import os
import select
import subprocess
import sys
import tempfile
import textwrap
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from mnist_lab.submission import caller
from mnist_lab.submission.answers import Batches, Recipe
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.client import ExerciseHandle, Submission
from mnist_lab.submission.guest import serve
from mnist_lab.submission.printed import without_noise
from mnist_lab.submission.protocol import Message, encode
from mnist_lab.submission.sandbox import enclosure, landlock, seccomp
from mnist_lab.submission.server import Server, patience

WORKING = """
import torch
from torch import nn

class FNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(784, 10)

    def forward(self, images):
        return self.linear(images.flatten(1))
"""

ROOT = Path(__file__).parents[2]
IMAGES = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def server():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def servers(server):
    """A server behind walls of a kind, the same one each time."""
    made = {"all": server}

    def get(walls: str) -> Server:
        if walls not in made:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("MNIST_LAB_WALLS", walls)
                made[walls] = Server()
        return made[walls]

    yield get
    for each in made.values():
        each.close()


@pytest.fixture(params=["fork"])
def hand_in(tmp_path, server, request):
    """Writes a file and gives the handle of its exercise."""
    opened = []

    def hand_in(source: str, file: str = "fnn.py", **options) -> ExerciseHandle:
        (tmp_path / file).write_text(textwrap.dedent(source))
        submission = Submission(tmp_path, **{"isolation": "fork", "server": server, **options})
        opened.append(submission)
        return submission.exercise(file.removesuffix(".py"))

    yield hand_in
    for submission in opened:
        submission.close()


def model_whose_forward(body: str) -> str:
    lines = textwrap.indent(textwrap.dedent(body).strip(), " " * 8)
    return WORKING.replace("        return self.linear(images.flatten(1))", lines)


def failure(call) -> SubmissionFailure:
    with pytest.raises(SubmissionFailure) as caught:
        call()
    return caught.value


def line(source: str, part: str) -> int:
    return next(at for at, text in enumerate(source.splitlines(), 1) if part in text)


@pytest.mark.parametrize("isolation", ["fork", "spawn", "none"])
def test_a_model_answers_as_if_it_were_local(hand_in, isolation):
    model = hand_in(WORKING, isolation=isolation).build("FNN")
    weights = {"linear.weight": torch.randn(10, 784), "linear.bias": torch.randn(10)}
    model.set_weights(weights)
    expected = IMAGES.flatten(1) @ weights["linear.weight"].T + weights["linear.bias"]
    torch.testing.assert_close(model(IMAGES), expected)
    assert [(known.name, known.shape) for known in model.parameters] == [
        ("linear.weight", (10, 784)),
        ("linear.bias", (10,)),
    ]


def test_gradients_are_those_of_the_cotangent(hand_in):
    model = hand_in(WORKING).build("FNN").double()
    images, cotangent = IMAGES.double(), torch.randn(3, 10, dtype=torch.float64)
    gradients = model.gradients(images, cotangent)
    torch.testing.assert_close(
        gradients.parameters["linear.weight"], cotangent.T @ images.flatten(1)
    )
    torch.testing.assert_close(gradients.parameters["linear.bias"], cotangent.sum(0))


def test_a_parameter_that_no_gradient_reaches_has_none(hand_in):
    source = WORKING.replace(
        "super().__init__()", "super().__init__(); self.idle = nn.Parameter(torch.ones(2))"
    )
    gradients = hand_in(source).build("FNN").gradients(IMAGES, torch.ones(3, 10))
    assert gradients.parameters["idle"] is None
    assert gradients.parameters["linear.bias"] is not None


def test_lazy_layers_have_their_sizes_before_they_are_described(hand_in):
    model = hand_in(WORKING.replace("nn.Linear(784, 10)", "nn.LazyLinear(10)")).build("FNN")
    assert model.parameters[0].shape == (10, 784)


def test_an_input_that_was_changed_in_place_is_seen(hand_in):
    source = model_whose_forward("return self.linear(images.mul_(2).flatten(1))")
    output = hand_in(source).build("FNN").forward(IMAGES, images_after=True)
    torch.testing.assert_close(output.images_after, IMAGES * 2)


def test_the_steps_of_a_forward_pass_are_told_with_their_lines(hand_in):
    source = model_whose_forward(
        "layers = nn.Sequential(self.linear, nn.ReLU())\n"
        "sums = self.linear(images.flatten(1))\n"
        "sums[sums > 0] = 0\n"
        "return layers[1](sums) * 2"
    )
    flatten, linear, clamped, relu, twice = hand_in(source).build("FNN").steps(IMAGES)[:5]

    lines = [line(source, part) for part in ("self.linear(images", "] = 0", "layers[1]")]
    assert [flatten.line, linear.line, clamped.line] == [lines[0], lines[0], lines[1]]
    assert [relu.line, twice.line] == [lines[2]] * 2
    assert [flatten.module, linear.module, clamped.module] == ["", "linear", ""]
    assert linear.value.max() > 0
    assert clamped.value.max() == 0
    assert not any(step.inside for step in (flatten, linear, clamped))


def test_a_step_inside_of_a_container_is_told_with_the_module_in_it(hand_in):
    source = WORKING.replace("nn.Linear(784, 10)", "nn.Sequential(nn.Linear(784, 10), nn.ReLU())")
    _, linear, relu = hand_in(source).build("FNN").steps(IMAGES)

    assert (linear.module, linear.inside) == ("linear.0", True)
    assert (relu.module, relu.inside) == ("linear.1", True)
    assert {linear.line, relu.line} == {line(source, "self.linear(images")}


def test_a_tensor_made_on_the_cpu_fails_on_another_device(hand_in):
    source = model_whose_forward("return self.linear(images.flatten(1)) + torch.zeros(10)")
    failed = failure(hand_in(source).build("FNN").on_fake_device)
    assert "device" in failed.cause.message
    assert failed.cause.where == f"fnn.py:{line(source, 'torch.zeros')}"
    assert hand_in(WORKING).build("FNN").on_fake_device() == "meta"


@pytest.mark.parametrize(
    ("body", "device"),
    [
        ("return self.linear(images.flatten(1)) * torch.tensor(2.0)", "meta"),
        ("return self.linear(images.flatten(1)[:, torch.arange(784)])", "meta"),
        ("return self.linear(images.flatten(1)).cpu()", "cpu"),
        ("return self.linear(images.flatten(1) if images.max() > 1 else images * 2)", "unknown"),
        ("return self.linear(images[images > 0].view(-1, 784))", "unknown"),
    ],
)
def test_where_outputs_are_on_another_device(hand_in, body, device):
    model = hand_in(model_whose_forward(body)).build("FNN")
    assert model.on_fake_device() == device


def test_a_hang_is_stopped_and_its_line_is_named(hand_in):
    source = model_whose_forward("print('before', flush=True)\nwhile True:\n    pass  # here")
    exercise = hand_in(source)
    model = exercise.build("FNN")
    started = time.monotonic()
    with exercise.limit(0.5):
        failed = failure(lambda: model(IMAGES))
    assert time.monotonic() - started < 5
    assert failed.cause.message == "FNN on images (3, 1, 28, 28) did not finish within 0.5 seconds."
    where = {f"fnn.py:{line(source, part)}" for part in ("while True", "# here")}
    assert failed.cause.where in where
    assert failed.cause.output == "before\n"
    assert exercise.build("FNN").parameters


def test_a_hang_inside_a_library_is_named_by_the_learners_line(hand_in):
    source = model_whose_forward("import time\ntime.sleep(1000)")
    exercise = hand_in(source)
    model = exercise.build("FNN")
    with exercise.limit(0.5):
        failed = failure(lambda: model(IMAGES))
    assert failed.cause.where == f"fnn.py:{line(source, 'sleep')}"


def test_calls_inside_a_limit_share_it(hand_in):
    exercise = hand_in(model_whose_forward("import time\ntime.sleep(0.4)\nreturn images"))
    model = exercise.build("FNN")
    with exercise.limit(1.0):
        model(IMAGES)
        failed = failure(lambda: [model(IMAGES) for _ in range(5)])
    assert "did not finish within 1 seconds" in failed.cause.message


@pytest.mark.parametrize(("programs", "times"), [(1, 1), (2, 1), (3, 2), (5, 4), (50, 4)])
def test_a_busy_machine_gives_more_time(monkeypatch, programs, times):
    monkeypatch.setattr("os.getloadavg", lambda: (programs * os.cpu_count(), 0, 0))

    assert patience() == times


def test_what_is_late_only_since_the_machine_is_busy_goes_on(hand_in, monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (5 * os.cpu_count(), 0, 0))
    exercise = hand_in(model_whose_forward("import time\ntime.sleep(1)\nreturn images"))
    model = exercise.build("FNN")

    with exercise.limit(0.8):
        model(IMAGES)


def test_after_a_death_the_old_model_is_gone_and_a_new_one_works(hand_in):
    exercise = hand_in(
        model_whose_forward("import os\nos._exit(0) if len(images) == 3 else None\nreturn images")
    )
    model = exercise.build("FNN")
    failure(lambda: model(IMAGES))
    again = exercise.build("FNN")
    assert failure(lambda: model(IMAGES[:1])).cause.message.startswith("FNN is gone")
    torch.testing.assert_close(again(IMAGES[:1]), IMAGES[:1])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import os\nos._exit(3)", "ended the program with exit status 3"),
        ("import sys\nsys.exit(3)", "ended the program (SystemExit)"),
        ("import ctypes\nctypes.string_at(0)", "was ended by SIGSEGV"),
        ("import os\nos.abort()", "was ended by SIG"),
        ("return torch.zeros(10 * 2**30, dtype=torch.uint8)", "asked for more memory"),
        ("return bytearray(10 * 2**30)", "asked for more memory"),
        ("import numpy\nreturn numpy.ones(10 * 2**27)", "asked for more memory"),
        ("return [images] * 10**10", "asked for more memory"),
        ("return self.linear(images.flatten(1)), images", "gave a tuple, not a tensor"),
        ("return None", "gave a NoneType, not a tensor"),
        ("return self.linear(images.flatten(1)) / 0", "30 of 30 values that are NaN or infinite"),
        ("return self.linear(images.flatten(1)).to(torch.complex64)", "torch.complex64"),
        ("return images.to_sparse()", "torch.sparse_coo"),
        ("return torch.zeros(1).expand(2**29)", "which is too much"),
        ("return self.linear(images)", "raised RuntimeError: "),
        ("return forward(images)", "raised NameError: name 'forward' is not defined"),
        ("return self.forward(images)", "raised RecursionError"),
        ("raise KeyboardInterrupt", "raised KeyboardInterrupt"),
        ("raise NotImplementedError", "is not written yet"),
    ],
)
def test_what_goes_wrong_in_forward_is_said(hand_in, body, message):
    failed = failure(lambda: hand_in(model_whose_forward(body)).build("FNN")(IMAGES))
    assert message in failed.cause.message
    assert failed.cause.message.startswith("FNN")
    assert failed.outcome == ("todo" if "not written yet" in message else "failed")


@pytest.mark.parametrize(
    ("source", "message", "where"),
    [
        ("x = (1,\n", "fnn.py is not valid Python: '(' was never closed.", "fnn.py:1"),
        ("\n\tx=1\n  y", "fnn.py is not valid Python", "fnn.py:2"),
        ("\0", "fnn.py is not valid Python", "fnn.py:1"),
        ("", "fnn.py does not define FNN.", "fnn.py"),
        ("FNN = 3", "FNN in fnn.py can't be called.", "fnn.py"),
        ("class FNN: pass", "FNN() is a FNN, not a torch.nn.Module.", "fnn.py"),
        ("class FNN:\n  def __init__(self, n): pass", "FNN() raised TypeError", "fnn.py"),
        (
            "import torch\nimport tensorflow_of_old",
            "Importing fnn.py raised ModuleNotFoundError: No module named 'tensorflow_of_old'",
            "fnn.py:2",
        ),
        ("import sys\nsys.exit()", "Importing fnn.py ended the program", "fnn.py:2"),
        (
            "import os\nos._exit(1)",
            "Importing fnn.py ended the program with exit status 1",
            "fnn.py",
        ),
        ("raise NotImplementedError", "Importing fnn.py raised NotImpl", "fnn.py:1"),
    ],
)
def test_what_goes_wrong_before_there_is_a_model_is_said(hand_in, source, message, where):
    failed = failure(lambda: hand_in(source).build("FNN"))
    assert message in failed.cause.message
    assert failed.cause.where == where


def test_a_file_that_hangs_when_imported_is_tried_once(hand_in, monkeypatch):
    monkeypatch.setattr(caller, "LOAD_LIMIT", 0.5)
    exercise = hand_in("while True: pass")
    first = failure(lambda: exercise.build("FNN"))
    assert first.cause.message == "Importing fnn.py did not finish within 0.5 seconds."
    assert failure(lambda: exercise.build("FNN")) is first


def test_an_exercise_that_was_not_handed_in_is_said(hand_in, tmp_path):
    exercise = hand_in("", "cnn.py")
    assert exercise.file == "cnn.py"
    submission = Submission(tmp_path, isolation="none")
    failed = failure(lambda: submission.exercise("fnn").build("FNN"))
    assert failed.cause.message == "There is no fnn.py in what was handed in."


def test_pytorchs_own_not_implemented_is_not_a_todo(hand_in):
    source = model_whose_forward("return torch.softmax(images.int(), 1)")
    failed = failure(lambda: hand_in(source).build("FNN")(IMAGES))
    assert (failed.outcome, failed.event.raised) == ("failed", "NotImplementedError")
    misspelt = WORKING.replace("def forward", "def foward")
    failed = failure(lambda: hand_in(misspelt).build("FNN")(IMAGES))
    assert (failed.outcome, failed.event.raised) == ("failed", "NotImplementedError")


def test_a_traceback_has_the_learners_frames_only(hand_in):
    source = WORKING.replace("images.flatten(1)", "images")
    failed = failure(lambda: hand_in(source).build("FNN")(IMAGES))
    at = line(source, "self.linear(images)")
    assert failed.cause.where == f"fnn.py:{at}"
    head, code, last = failed.cause.traceback.splitlines()
    assert head == f'  File "fnn.py", line {at}, in forward'
    assert code == "    return self.linear(images)"
    assert last.startswith("RuntimeError: ")


def test_endless_printing_is_stopped_and_cut(hand_in):
    source = model_whose_forward("n = 0\nwhile True:\n    print('again ' * 1000, n)\n    n += 1")
    exercise = hand_in(source)
    model = exercise.build("FNN")
    with exercise.limit(0.5):
        failed = failure(lambda: model(IMAGES))
    assert "did not finish" in failed.cause.message
    assert failed.cause.output.startswith("again again")
    assert "bytes left out" in failed.cause.output
    assert len(failed.cause.output) < 20_000


def test_equal_lines_are_folded_and_what_libraries_say_is_left_out(hand_in):
    source = model_whose_forward(
        "import sys, warnings\n"
        "print('begin')\n"
        "for _ in range(20_000):\n    print('training...')\n"
        "print('[W1128 12:00:00.1 NNPACK.cpp:62] Could not initialize NNPACK!', file=sys.stderr)\n"
        "from torchvision.transforms import v2\n"
        "v2.ToTensor()\n"
        "print('Fontconfig error: no writable cache directories')\n"
        "print('end')\nreturn images"
    )
    exercise = hand_in(source)
    exercise.build("FNN")(IMAGES)
    assert exercise.take_output() == "begin\ntraining...  (20,000 times)\nend\n"


def test_what_a_library_says_is_left_out_wherever_it_lies():
    library = "/my lab/.venv/lib/python3.11/site-packages/torchvision/transforms/v2/_deprecated.py"
    said = f"begin\n{library}:42: UserWarning: It is deprecated.\n  warnings.warn(\nend\n"

    assert without_noise(said) == "begin\nend\n"


def test_lines_are_written_at_once_and_those_of_a_flood_many_at_a_time(tmp_path, monkeypatch):
    writes = []

    class Counting(io.FileIO):
        def write(self, data):
            writes.append(len(data))
            return super().write(data)

    monkeypatch.setattr(serve.io, "FileIO", Counting)
    with serve._Writer(os.open(tmp_path / "said", os.O_WRONLY | os.O_CREAT)) as writer:
        for number in range(20_000):
            print(f"{number:9}", file=writer)

    assert set(writes[: serve.AT_ONCE // 10]) == {10}
    assert len(writes) < serve.AT_ONCE // 10 + 50
    assert len((tmp_path / "said").read_text().splitlines()) == 20_000


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_the_end_of_a_flood_is_seen(hand_in, stream):
    source = f"import sys\nfor n in range(20_000):\n    print(n, file=sys.{stream})\nreturn images"
    exercise = hand_in(model_whose_forward(source))
    exercise.build("FNN")(IMAGES)
    assert exercise.take_output().endswith("\n19998\n19999\n")


@pytest.mark.parametrize(
    "code",
    ["sys.stdout.close()", "sys.stderr.close()", "sys.stdout = None", "sys.stdout = io.StringIO()"],
)
def test_wherever_code_prints_to_it_answers(hand_in, code):
    exercise = hand_in(model_whose_forward(f"import io, sys\n{code}\nreturn images"))
    model = exercise.build("FNN")
    assert [model(IMAGES).shape for _ in range(2)] == [IMAGES.shape] * 2


def test_what_is_printed_is_kept_from_the_terminal(hand_in, capfd):
    exercise = hand_in(
        model_whose_forward("import os\nprint('seen')\nos.system('echo by a child')\nreturn images")
    )
    exercise.build("FNN")(IMAGES)
    assert exercise.take_output() == "seen\nby a child\n"
    assert exercise.take_output() == ""
    assert capfd.readouterr() == ("", "")


def test_printed_control_characters_do_not_reach_a_terminal(hand_in):
    exercise = hand_in(model_whose_forward(r"print('\x1b[31mred\ud800')" + "\nreturn images"))
    exercise.build("FNN")(IMAGES)
    assert exercise.take_output() == "[31mred\\ud800\n"


def test_closing_standard_output_hurts_nobody(hand_in):
    source = model_whose_forward("import os\nos.close(1)\nos.close(2)\nreturn images")
    torch.testing.assert_close(hand_in(source).build("FNN")(IMAGES), IMAGES)


FORGE = """
import os, socket, stat
descriptors = [int(fd) for fd in os.listdir("/proc/self/fd")]
for fd in descriptors:
    try:
        if stat.S_ISSOCK(os.fstat(fd).st_mode):
            os.write(fd, %r)
    except OSError:
        continue
return images
"""


@pytest.mark.parametrize(
    "bytes_written",
    [
        b"x" * 100,
        b"\xff" * 12,
        b"\x02\0\0\0" + b"\0" * 8 + b"{}",
        b"\0" * 12,
        encode(Message({"turn": "another"}, {"logits": torch.zeros(3, 10)})),
    ],
)
def test_bytes_that_are_no_answer_are_a_failure_of_that_call_only(hand_in, bytes_written):
    source = model_whose_forward(FORGE % bytes_written)
    exercise = hand_in(source)
    model = exercise.build("FNN")
    with exercise.limit(2):
        failed = failure(lambda: model(IMAGES))
    assert failed.cause.message.count("not an answer") == 1
    assert exercise.build("FNN").parameters


def test_an_answer_before_the_question_is_refused(hand_in):
    source = model_whose_forward(
        "import threading, time\n"
        + "def late():\n    time.sleep(0.2)\n"
        + textwrap.indent(textwrap.dedent(FORGE % b"x" * 1).replace("return images", ""), "    ")
        + "\nthreading.Thread(target=late, daemon=True).start()\nreturn images"
    )
    exercise = hand_in(source)
    model = exercise.build("FNN")
    model(IMAGES)
    select.select([exercise._worker._channel], [], [], 10)
    assert "it came before the question" in failure(lambda: model(IMAGES)).cause.message


DAEMON = WORKING + textwrap.dedent(
    """
    import os, sys, time
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            sys.argv[:] = []
            time.sleep(1000)
        os._exit(0)
    os.wait()
    """
)


@pytest.mark.parametrize("walls", ["all", "no-bubblewrap", "no-namespaces", "process"])
def test_what_the_learners_code_started_ends_with_it(hand_in, servers, walls):
    server = servers(walls)
    server.wait()
    exercise = hand_in(DAEMON, server=server)
    before = below(server)
    exercise.build("FNN")
    assert len(below(server) - before) >= 2
    exercise.close()
    assert not below(server) - before


def below(server: Server) -> set[int]:
    """What the server has started and what that has started, down to what is not yet reaped."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            stat = (entry / "stat").read_text(errors="replace")
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found, new = set(), {server._process.pid}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new}
        found |= new
    return found


EVERY_WALLS = ["all", "no-bubblewrap", "no-namespaces", "process"]

LOADER = """
from torch.utils.data import DataLoader
loader = DataLoader(images[:, 0], batch_size=2, num_workers=2)
return torch.cat(list(loader)).flatten(1)[:, :10] + self.linear.bias * 0
"""


@pytest.mark.parametrize("walls", EVERY_WALLS)
def test_a_learner_may_load_with_processes_of_their_own(hand_in, servers, walls):
    model = hand_in(model_whose_forward(LOADER), server=servers(walls)).build("FNN")
    torch.testing.assert_close(model(IMAGES), IMAGES.flatten(1)[:, :10])


ELSEWHERE = """
import json, sys, torch
from mnist_lab.submission.client import Submission
with Submission(sys.argv[1]) as submission:
    model = submission.exercise("fnn").build("FNN")
    print(json.dumps([sys.prefix, dict(submission.walls), model(torch.ones(1)).tolist()]))
"""

LATE_IMPORT = """
import torch.utils.benchmark
import torchvision.models.resnet
return torchvision.models.resnet.torch.ones(3)
"""


@pytest.mark.skipif(sys.prefix == sys.base_prefix, reason="Python is not in an environment here")
@pytest.mark.parametrize("walls", ["all", "no-bubblewrap"])
def test_python_may_lie_where_a_learner_has_a_folder_of_their_own(walls, tmp_path, servers):
    server = servers(walls)
    server.wait()
    (tmp_path / "fnn.py").write_text(model_whose_forward(LATE_IMPORT))
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        environment = Path(folder, "environment")
        environment.symlink_to(sys.prefix)
        run = subprocess.run(
            [environment / "bin" / "python", "-c", ELSEWHERE, tmp_path],
            env={**os.environ, "MNIST_LAB_WALLS": walls, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == [str(environment), dict(server.walls), [1.0, 1.0, 1.0]]


def test_links_lead_a_worker_nowhere(tmp_path, monkeypatch):
    library, elsewhere = tmp_path / "library", tmp_path / "elsewhere"
    (library / "labels").mkdir(parents=True)
    (library / "package").mkdir()
    elsewhere.mkdir()
    (library / "out").symlink_to(elsewhere)
    (library / "back").symlink_to(library)
    monkeypatch.setattr(enclosure, "_given", lambda: iter([str(library)]))

    kept, listed = enclosure.readable([str(library / "labels")])

    assert {path for path in kept if path.startswith(str(tmp_path))} == {str(library / "package")}
    assert str(library) in listed


REACHES = """
import contextlib
def reached(path):
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return len(file.read(1))
    return 0
return torch.tensor([reached(path) for path in %r])
"""


@pytest.mark.skipif(landlock.version() < 6, reason="this kernel has no Landlock with scopes")
def test_landlock_keeps_files_and_processes_where_there_are_no_namespaces(
    hand_in, servers, tmp_path
):
    server = servers("no-namespaces")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    kit = Path(enclosure.__file__).parents[2]
    hidden = enclosure.hidden()
    mine = [torch.__file__, os.__file__, "/proc/self/status"]
    theirs = [
        str(secret),
        str(kit / "kit.toml"),
        str(kit.parent / "solutions" / "fnn.py"),
        f"/proc/{os.getpid()}/status",
        *(
            str(next(file for file in Path(folder).rglob("*") if file.is_file()))
            for folder in hidden
        ),
    ]
    model = hand_in(model_whose_forward(REACHES % [*mine, *theirs]), server=server).build("FNN")
    assert model(IMAGES).tolist() == [1] * len(mine) + [0] * len(theirs)
    assert server.walls["pids"] == "enforced"


@pytest.mark.skipif(landlock.version() < 6, reason="this kernel has no Landlock with scopes")
def test_landlock_keeps_signals_from_the_server(hand_in, servers):
    server = servers("no-namespaces")
    source = model_whose_forward("import os\nos.kill(os.getppid(), 0)\nreturn images")
    model = hand_in(source, server=server).build("FNN")
    assert "PermissionError" in str(failure(lambda: model(IMAGES)).cause.to_json())


CALLS = """
import ctypes
libc = ctypes.CDLL(None)
return torch.tensor([libc.personality(0xFFFFFFFF), libc.getppid() * 0])
"""


@pytest.mark.skipif(seccomp.prepare(network=True) is None, reason="libseccomp is not installed")
@pytest.mark.parametrize(("walls", "allowed"), [(w, w == "process") for w in EVERY_WALLS])
def test_doors_to_the_kernel_that_no_exercise_needs_are_closed(hand_in, servers, walls, allowed):
    model = hand_in(model_whose_forward(CALLS), server=servers(walls)).build("FNN")
    answer, ordinary = model(IMAGES).tolist()
    assert (answer >= 0) == allowed
    assert ordinary == 0


@pytest.mark.skipif(seccomp.prepare(network=True) is None, reason="libseccomp is not installed")
def test_without_a_network_of_its_own_a_submission_gets_no_socket_but_unix_ones(hand_in, servers):
    source = model_whose_forward(
        "import socket\n"
        "socket.socket(socket.AF_UNIX).close()\n"
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "return images"
    )
    model = hand_in(source, server=servers("no-namespaces")).build("FNN")
    assert "PermissionError" in str(failure(lambda: model(IMAGES)).cause.to_json())


def test_a_learner_who_ends_the_server_costs_only_that_exercise(hand_in, servers):
    source = model_whose_forward("import os\nos.kill(os.getppid(), 9)\nimport time\ntime.sleep(9)")
    model = hand_in(source, server=(server := servers("process"))).build("FNN")
    assert "was ended by SIGKILL" in failure(lambda: model(IMAGES)).cause.message
    other = hand_in(WORKING.replace("FNN", "CNN"), "cnn.py", server=server)
    assert other.build("CNN").parameters


def test_a_helper_file_can_be_imported_and_hides_no_library(hand_in, tmp_path):
    (tmp_path / "layers.py").write_text("from torch import nn\nWIDTH = 10\n")
    (tmp_path / "wave.py").write_text("raise SystemExit\n")
    source = "import wave\nfrom layers import WIDTH\n" + WORKING.replace("784, 10", "784, WIDTH")
    assert hand_in(source).build("FNN")(IMAGES).shape == (3, 10)
    assert not list(tmp_path.glob("__pycache__"))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("utils/networks.py", "from utils.networks import FNN"),
        ("src/lab/networks.py", "from src.lab.networks import FNN"),
        ("networks.py", "from {folder}.networks import FNN"),
        ("src/networks.py", "import sys\nsys.path.append('src')\nfrom networks import FNN"),
    ],
)
def test_helpers_are_imported_as_from_the_learners_own_folder(hand_in, tmp_path, file, source):
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(WORKING)

    assert hand_in(source.format(folder=tmp_path.name)).build("FNN")(IMAGES).shape == (3, 10)


def test_the_learners_process_holds_nothing_of_the_grader(hand_in):
    source = WORKING + textwrap.dedent(
        """
        import sys
        held = [name for name in sys.modules if name.startswith("mnist_lab")]
        assert not [n for n in held if "diagnosis" in n or "grad" in n or n.endswith("kit")], held
        """
    )
    assert hand_in(source).build("FNN").parameters


@pytest.mark.skipif(
    [*map(int, version("matplotlib").split(".")[:2])] < [3, 11],
    reason="an older matplotlib needs a home, and is imported where it is used",
)
def test_what_learners_import_without_need_is_there_already_in_a_class(hand_in, server):
    source = WORKING + textwrap.dedent(
        """
        import sys
        assert {"sklearn.metrics", "matplotlib.pyplot"} <= set(sys.modules)
        from matplotlib import pyplot
        from sklearn.metrics import confusion_matrix
        assert confusion_matrix([0, 1, 1], [0, 1, 0]).tolist() == [[1, 0], [1, 1]]
        pyplot.plot([1, 2])
        assert torch.get_num_threads() == 1
        """
    )
    server.wait()
    of_a_class = Server(for_many=True)
    try:
        assert hand_in(source, server=of_a_class).build("FNN")(IMAGES).shape == (3, 10)
        assert of_a_class.walls == server.walls
    finally:
        of_a_class.close()


def test_a_guest_has_one_thread_and_finds_gradients(hand_in):
    model = hand_in(WORKING + "\nassert torch.get_num_threads() == 1\n").build("FNN")
    assert model.gradients(IMAGES, torch.ones(3, 10)).parameters["linear.bias"].tolist() == [3] * 10


def test_what_the_grader_takes_to_think_is_not_the_learners_time(hand_in, monkeypatch):
    model = hand_in(WORKING).build("FNN")
    now, thought = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now() + thought[0])
    with model._caller.limit(10):
        model(IMAGES)
        thought[0] = 1000.0
        assert model(IMAGES).shape == (3, 10)


TRANSFORMS = """
import random, numpy, torch
from torchvision.transforms import v2

def test_transform():
    return v2.Compose(
        [v2.Resize((28, 28)), v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    )

def train_transform():
    def apply(image):
        assert image.mode == "L"
        torch.manual_seed(3)
        numpy.random.rand()
        return torch.rand(1, 28, 28)
    return apply

def downsample(dataset, size, seed=0):
    if size > len(dataset):
        raise ValueError("too many")
    picked = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(seed))
    return torch.utils.data.Subset(dataset, picked[:size].tolist())

def make_loaders(train_set, test_set, batch_size=64):
    loader = torch.utils.data.DataLoader
    return loader(train_set, batch_size, shuffle=True), loader(test_set, batch_size)
"""


def test_a_transform_gets_pictures_and_gives_stacked_tensors(hand_in):
    transform = hand_in(TRANSFORMS, "preprocessing.py").test_transform()
    white, black = (
        torch.full((28, 28), 255, dtype=torch.uint8),
        torch.zeros(40, 20, dtype=torch.uint8),
    )
    images = transform([white, black], repeats=2)
    assert images.shape == (4, 1, 28, 28)
    assert [float(image.mean()) for image in images] == [1, 1, 0, 0]
    assert transform.reseeds(white) == ()


def test_a_transform_that_seeds_torch_is_found_out(hand_in):
    transform = hand_in(TRANSFORMS, "preprocessing.py").train_transform()
    assert transform.reseeds(torch.zeros(28, 28, dtype=torch.uint8)) == ("torch",)


def items(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    return images, torch.arange(count) % 10


def test_downsample_tells_which_items_it_drew(hand_in):
    exercise = hand_in(TRANSFORMS, "preprocessing.py")
    drawn = exercise.downsample(items(20), 5, seed=1)
    assert len(set(drawn.indices)) == drawn.length == 5
    assert drawn.labels_kept
    assert exercise.downsample(items(20), 5) != drawn
    assert failure(lambda: exercise.downsample(items(3), 5)).event.raised == "ValueError"


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("[dataset[0], 3]", "An item of the drawn dataset gave an int (3), not a pair."),
        ("[(image + 1, label) for image, label in dataset]", "is none of the dataset's"),
        ("[(None, 1)]", "is none of the dataset's"),
        ("None", "downsample gave a NoneType, not a dataset"),
    ],
)
def test_what_was_not_drawn_from_the_dataset_is_said(hand_in, returned, message):
    source = f"def downsample(dataset, size, seed=0):\n    return {returned}\n"
    exercise = hand_in(source, "preprocessing.py")
    assert message in failure(lambda: exercise.downsample(items(4), 2)).cause.message


def test_a_dataset_without_items_has_none(hand_in):
    source = "def downsample(dataset, size, seed=0):\n    return []\n"
    assert hand_in(source, "preprocessing.py").downsample(items(4), 2).length == 0


@pytest.mark.parametrize("label", ["9 - label", "float(label) + 0.5", "torch.tensor([label])"])
def test_a_label_that_is_another_is_seen(hand_in, label):
    source = (
        "import torch\ndef downsample(dataset, size, seed=0):\n"
        f"    return [(image, {label}) for image, label in dataset][:size]\n"
    )
    assert not hand_in(source, "preprocessing.py").downsample(items(4), 2).labels_kept


def test_loaders_tell_every_batch_of_every_epoch(hand_in):
    exercise = hand_in(TRANSFORMS, "preprocessing.py")
    labels = torch.arange(7)
    loaders = exercise.make_loaders((torch.rand(7, 1, 28, 28), labels), (IMAGES, labels[:3]), 4)
    assert [[len(y) for _, y in epoch] for epoch in loaders.train] == [[4, 3], [4, 3]]
    torch.testing.assert_close(loaders.test[1][0][0], IMAGES)
    shuffled = torch.cat([y for _, y in loaders.train[0]])
    assert sorted(shuffled.tolist()) == labels.tolist()


LOOPS = """
import torch
from torch.nn import functional as F

def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train()
    for images, labels in loader:
        loss = loss_fn(model(images.to(device)), labels.to(device))
        loss.backward()
        optimizer.step()
    return loss, 0.5

def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr)
    return [train_epoch(model, loader, optimizer, F.cross_entropy) for _ in range(epochs)]
"""


def recipe() -> Recipe:
    weights = {
        "hidden.weight": torch.zeros(4, 784),
        "hidden.bias": torch.zeros(4),
        "output.weight": torch.zeros(10, 4),
        "output.bias": torch.zeros(10),
    }
    return Recipe("mlp", weights)


def test_a_training_loop_is_watched(hand_in):
    batches = Batches(torch.rand(23, 1, 28, 28), torch.arange(23) % 10)
    trained = hand_in(LOOPS, "training.py").train_epoch(recipe(), batches)
    assert trained.history[0].types == ("Tensor with a graph", "float")
    assert trained.facts.batches == [10, 10, 3]
    assert trained.facts.steps == 3
    assert [used.name for used in trained.facts.optimizers.values()] == ["SGD"]
    moved = trained.weights["output.bias"] + 0.1 * sum(g["output.bias"] for g in trained.gradients)
    torch.testing.assert_close(moved, torch.zeros(10))


def test_a_whole_training_is_watched(hand_in):
    batches = Batches(torch.rand(23, 1, 28, 28), torch.arange(23) % 10)
    trained = hand_in(LOOPS, "training.py").train(recipe(), batches, epochs=2)
    assert len(trained.history) == trained.facts.passes == 2
    (used,) = trained.facts.optimizers.values()
    assert (used.name, used.options["lr"]) == ("AdamW", 1e-3)


METRICS = """
import torch

def evaluate(model, loader, device="cpu"):
    with torch.no_grad():
        [model(images) for images, _ in loader]
    return 1.0, float("nan")

def confusion_matrix(model, loader, device="cpu"):
    model.eval()
    counts = [[0] * 10 for _ in range(10)]
    for images, labels in loader:
        for true, predicted in zip(labels, model(images).argmax(1)):
            counts[true][predicted] += 1
    return counts
"""


def test_the_scripted_model_answers_from_its_table(hand_in):
    table = torch.randn(23, 10)
    images = torch.zeros(23, 1, 28, 28)
    images[:, 0, 0, 0] = torch.arange(23)
    labels = torch.arange(23) % 10
    exercise = hand_in(METRICS, "evaluation.py")
    batches = Batches(images, labels)
    found = exercise.confusion_matrix(Recipe("scripted", {"table": table}), batches)
    expected = torch.zeros(10, 10, dtype=torch.int64)
    for true, predicted in zip(labels, table.argmax(1), strict=True):
        expected[true, predicted] += 1
    assert torch.equal(found.matrix, expected)
    assert found.type == "list"
    torch.testing.assert_close(found.weights["table"], table)


def test_a_loop_may_copy_its_model(hand_in):
    source = "import copy\n" + METRICS.replace(
        "with torch", "model = copy.deepcopy(model)\n    with torch"
    )
    found = hand_in(source, "evaluation.py").evaluate(recipe(), Batches(IMAGES, torch.arange(3)))
    assert found.score.loss == 1.0


def test_an_evaluation_is_watched(hand_in):
    exercise = hand_in(METRICS, "evaluation.py")
    found = exercise.evaluate(recipe(), Batches(torch.rand(4, 1, 28, 28), torch.arange(4)))
    assert found.score.loss == 1.0
    assert found.score.accuracy != found.score.accuracy
    assert found.facts.modes == [True]
    assert found.facts.grad_enabled == [False]
    assert found.facts.training_after
