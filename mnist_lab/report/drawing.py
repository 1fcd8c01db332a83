"""The pictures of a report as SVG and PNG, drawn in this process or beside it.

Drawing takes seconds, half of them to import matplotlib and seaborn. ``Artists`` do that while the
models train, and draw several pictures at a time.
"""

from __future__ import annotations

import gc
import io
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnist_lab.compare import Comparison

__all__ = ["Artists", "Drawing", "draw_all"]

DPI = 120

_taken: Comparison


@dataclass(frozen=True)
class Drawing:
    """One picture; ``text`` stands for it where none can be shown."""

    svg: str
    png: bytes
    text: str


class Artists:
    """Processes that get ready to draw at once, and draw when they are asked to.

    They end with the ``with`` statement. Where they can't be started or fail, this process draws.
    """

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-c", f"from {__name__} import draw_for; draw_for()"]
        try:
            self._process: subprocess.Popen[bytes] | None = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C ends the training, and its report has pictures.
            )
        except OSError:
            self._process = None

    def __enter__(self) -> Artists:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            if sys.platform == "win32":
                self._process.kill()
            else:  # With the processes that it may have forked.
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def draw(self, comparison: Comparison) -> dict[str, Drawing]:
        """As ``draw_all``. To be asked once."""
        if self._process is not None:
            made, _ = self._process.communicate(pickle.dumps(comparison))
            if self._process.returncode == 0:
                drawings: dict[str, Drawing] = pickle.loads(made)
                return drawings
        return draw_all(comparison)


def draw_all(comparison: Comparison) -> dict[str, Drawing]:
    """The pictures of ``comparison`` by their names, in the order of the report."""
    from mnist_lab.plots import FIGURES

    return {name: _draw(comparison, name) for name in FIGURES}


def draw_for() -> None:
    """What the first of the ``Artists`` does: read a comparison, write its drawings."""
    gc.disable()
    import seaborn  # noqa: F401  # plots imports it when it is needed, which is too late here

    from mnist_lab.plots import FIGURES

    comparison = pickle.load(sys.stdin.buffer)
    if sys.platform == "linux":  # Elsewhere libraries may not survive a fork.
        fork: Any = multiprocessing.get_context("fork")
        with ProcessPoolExecutor(os.cpu_count(), fork, _take, (comparison,)) as pool:
            made = pool.map(_draw_taken, FIGURES)
            drawings = dict(zip(FIGURES, made, strict=True))
    else:
        drawings = draw_all(comparison)
    pickle.dump(drawings, sys.stdout.buffer)
    sys.stdout.flush()
    os._exit(0)  # To take apart all that is imported takes as long as the drawing.


def _take(comparison: Comparison) -> None:
    """Keep what a fork has got for nothing; to send it with each picture takes a second."""
    global _taken
    _taken = comparison


def _draw_taken(name: str) -> Drawing:
    return _draw(_taken, name)


def _draw(comparison: Comparison, name: str) -> Drawing:
    """The picture ``name``, laid out once for both formats."""
    from matplotlib import rc_context

    from mnist_lab.plots import FIGURES

    figure = FIGURES[name](comparison)
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine(None)  # "none" would draw everything once more
    svg, png = io.StringIO(), io.BytesIO()
    with rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(svg, format="svg", metadata={"Date": None})
    figure.savefig(png, format="png", dpi=DPI, metadata={"Software": None})
    return Drawing(_with_own_names(name, svg.getvalue()), png.getvalue(), repr(figure))


def _with_own_names(name: str, svg: str) -> str:
    """Prefix the ids of ``svg``: several drawings share a page, where an id must be unique."""
    return re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
