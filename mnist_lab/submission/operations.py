"""What the learner's side does when asked: functions of a workbench and a request."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path

from mnist_lab.submission import loops, models, preprocessing
from mnist_lab.submission.protocol import Message
from mnist_lab.submission.workbench import Workbench

__all__ = ["OPERATIONS"]

Operation = Callable[[Workbench, Message], Message]


def load(bench: Workbench, request: Message) -> Message:
    """Import the learner's file under its plain name; helpers beside it can be imported too."""
    bench.path = _written(request) if "folder" in request.fields else Path(request.fields["path"])
    folder = str(bench.path.parent)
    if folder not in sys.path:
        sys.path.append(folder)  # Last, so that nothing of the learner's hides a library.
    spec = importlib.util.spec_from_file_location(bench.path.stem, bench.path)
    assert spec is not None
    assert spec.loader is not None
    bench.module = importlib.util.module_from_spec(spec)
    sys.modules[bench.path.stem] = bench.module
    spec.loader.exec_module(bench.module)
    return Message()


def locate(bench: Workbench, request: Message) -> Message:
    """The line at which a name is defined: of a class the one of its ``forward``; 0 if unknown."""
    found = getattr(bench.module, request.fields["name"], None)
    if isinstance(found, type):
        found = vars(found).get("forward", vars(found).get("__init__"))
    code = getattr(inspect.unwrap(found), "__code__", None) if callable(found) else None
    if code is None or Path(code.co_filename) != bench.path:
        return Message({"line": 0})
    return Message({"line": code.co_firstlineno})


def _written(request: Message) -> Path:
    """The learner's file, after all that were sent are written."""
    folder = Path(request.fields["folder"])
    for name, content in request.arrays.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.numpy().tobytes())
    return folder / str(request.fields["file"])


OPERATIONS: dict[str, Operation] = {"load": load, "locate": locate} | {
    name: getattr(module, name)
    for module in (models, preprocessing, loops)
    for name in module.__all__
}
