"""The pictures of a report as SVG and PNG."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from matplotlib import rc_context
from matplotlib.figure import Figure

from mnist_lab.compare import Comparison
from mnist_lab.plots import FIGURES

DPI = 120


@dataclass(frozen=True)
class Drawing:
    """One picture; ``text`` stands for it where none can be shown."""

    svg: str
    png: bytes
    text: str


def draw_all(comparison: Comparison) -> dict[str, Drawing]:
    """The pictures of ``comparison`` by their names, in the order of the report."""
    return {name: _drawn(name, figure(comparison)) for name, figure in FIGURES.items()}


def _drawn(name: str, figure: Figure) -> Drawing:
    """The picture ``name``, laid out once for both formats."""
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
