"""Templates to text. What ends in ``.html`` is escaped; a name that is not given is an error."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

__all__ = ["render"]


def render(template: str, **given: Any) -> str:
    """Fill in ``template``, a file of this folder such as ``report.html.jinja``."""
    return _environment().get_template(template).render(given)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = code
    environment.filters["cell"] = cell
    return environment


def cell(text: str) -> str:
    """``text`` as it can stand in a cell of a Markdown table, shown as it is."""
    return re.sub(r"([\\`*_{}\[\]<>|#&])", r"\\\1", " ".join(text.split()))


def code(text: str) -> Markup:
    """Escape ``text`` for HTML; what stands in `backticks` becomes code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
