"""What the learner's side does when asked: functions of a workbench and a request."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

from mnist_lab.submission import loops, models, preprocessing
from mnist_lab.submission.wire import Message
from mnist_lab.submission.workbench import Workbench

__all__ = ["OPERATIONS"]

Operation = Callable[[Workbench, Message], Message]


def load(bench: Workbench, request: Message) -> Message:
    """Import the learner's file under its plain name; helpers beside it can be imported too."""
    bench.path = Path(request.fields["path"])
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


OPERATIONS: dict[str, Operation] = {"load": load} | {
    name: getattr(module, name)
    for module in (models, preprocessing, loops)
    for name in module.__all__
}
