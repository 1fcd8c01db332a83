"""Nothing that runs beside a learner's code solves an exercise: what is in its memory, and what it
can import, is tried as a solution.
"""

import ast
import json
from pathlib import Path

import marks

from mnist_lab import kit
from mnist_lab.submission import guest
from mnist_lab.submission.client import Submission
from mnist_lab.submission.sandbox import enclosure
from mnist_lab.submission.server import Server

GUEST = Path(guest.__file__).parent
SEED = 5

HELD = """
import gc, importlib, inspect, json, pkgutil, sys, types
import torch

def importable():
    import mnist_lab
    for found in pkgutil.walk_packages(mnist_lab.__path__, "mnist_lab."):
        try:
            yield importlib.import_module(found.name)
        except Exception:
            continue

def held():
    '''All that belongs to the kit, by a name: what its modules define, and what lies in memory.'''
    modules = [m for n, m in list(sys.modules.items()) if n.startswith("mnist_lab")]
    found = {}
    for module in [*modules, *importable()]:
        for name, value in list(vars(module).items()):
            if getattr(value, "__module__", "") == module.__name__:
                found[f"{module.__name__}.{name}"] = value
                if isinstance(value, type):
                    for own, part in list(vars(value).items()):
                        part = getattr(part, "__func__", part)
                        if isinstance(part, types.FunctionType):
                            found[f"{module.__name__}.{name}.{own}"] = part
    kinds = (torch.nn.Module, torch.utils.data.Dataset, types.FunctionType, type)
    for number, value in enumerate(gc.get_objects()):
        where = str(getattr(value, "__module__", "") or type(value).__module__)
        if isinstance(value, kinds) and where.startswith("mnist_lab"):
            name = getattr(value, "__qualname__", type(value).__name__)
            found.setdefault(f"{where}.{name}", value)
    return found

NOTHING = ((), {})
FITS = {
    "preprocessing": [
        NOTHING, (("dataset", 1), {"seed": 0}), (("train", "test"), {"batch_size": 1})
    ],
    "logistic_regression": [NOTHING],
    "fnn": [NOTHING],
    "cnn": [NOTHING],
    "training": [(("model", "loader", "optimizer", "loss_fn"), {}), (("model", "loader"), {})],
    "evaluation": [(("model", "loader"), {})],
}
'''By exercise, how what is asked for is called.'''

def fits(value, ways):
    return callable(value) and any(can_be_called(value, way) for way in ways)

def can_be_called(value, way):
    try:
        inspect.signature(value).bind(*way[0], **way[1])
    except (TypeError, ValueError):
        return False
    return True
"""

LIST = (
    HELD
    + """
places = {n: [f for f, given in FITS.items() if fits(v, given)] for n, v in held().items()}
print(len(held()), json.dumps({n: files for n, files in places.items() if files}))
"""
)


def found_in_a_guest(folder: Path, server: Server) -> tuple[int, dict[str, list[str]]]:
    (folder / "fnn.py").write_text(LIST, encoding="utf-8")
    with Submission(folder, server=server) as submission:
        submission.exercise("fnn").reseeds(lambda seed: None)
        count, _, names = submission.exercise("fnn").take_output().partition(" ")
    return int(count), json.loads(names)


def test_the_guest_imports_nothing_of_the_kit_but_itself_and_the_protocol():
    for file in GUEST.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [each.name for each in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                allowed = ("mnist_lab.submission.guest", "mnist_lab.submission.protocol")
                assert not name.startswith("mnist_lab") or name.startswith(allowed), (file, name)


def test_the_readme_tells_how_large_the_guest_is():
    lines = sum(len(file.read_text("utf-8").splitlines()) for file in GUEST.glob("*.py"))
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    assert f"`mnist_lab/submission/guest`: {lines:,} lines" in readme


def test_a_guest_is_given_no_more_of_the_kit(tmp_path):
    enclosure.copy_kit(tmp_path)
    given = {file.relative_to(tmp_path / "mnist_lab") for file in tmp_path.rglob("*.py")}
    folders = {str(file.parent) for file in given}
    assert folders == {".", "submission", "submission/guest", "submission/sandbox"}
    beside = {file.stem for file in given if str(file.parent) == "submission"}
    assert beside == {"__init__", "protocol", "server", "spawned"}


def test_nothing_that_a_guest_holds_passes_a_check(tmp_path, server):
    count, names = found_in_a_guest(tmp_path, server)
    assert count > 100, "it has looked at what is there"
    assert "mnist_lab.submission.guest.calls.call" in names
    (tmp_path / "fnn.py").unlink()
    for name, exercises in names.items():
        for exercise in map(kit.load().exercise, exercises):
            code = f"{HELD}\n{' = '.join(exercise.names)} = held()[{name!r}]\n"
            (tmp_path / exercise.file).write_text(code, encoding="utf-8")
        ended = marks.grade(tmp_path, exercises, SEED, server)
        passed = {check for check, result in ended.items() if result.outcome == "passed"}
        assert not passed, (name, passed)


PLANTED = """
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(784, 10)

    def forward(self, images):
        return self.linear(images.flatten(1)).sigmoid()

Net.__module__ = "mnist_lab.planted"
sys.modules["mnist_lab.planted"] = types.ModuleType("mnist_lab.planted")
sys.modules["mnist_lab.planted"].Net = Net
del Net
"""


def test_a_solution_in_a_guests_memory_would_be_found(tmp_path, server):
    """The search itself: something of the kit's that solves an exercise does pass."""
    code = f"{HELD}\n{PLANTED}\nLogisticRegression = held()['mnist_lab.planted.Net']\n"
    (tmp_path / "logistic_regression.py").write_text(code, encoding="utf-8")
    ended = marks.grade(tmp_path, ["logistic_regression"], SEED, server)
    assert {result.outcome for result in ended.values()} == {"passed"}
