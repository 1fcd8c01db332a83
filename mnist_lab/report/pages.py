"""Templates to text. HTML and XML are escaped; a name that is not given is an error.

A page says to the browser what it may load and run: nothing but itself, and of scripts the files
``.js`` of this folder, each known by its digest.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markupsafe import Markup, escape


def render(template: str, **given: Any) -> str:
    """Fill in ``template``, a file of this folder such as ``report.html.jinja``."""
    return _environment().get_template(template).render(given)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=select_autoescape(["html.jinja", "xml.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["code"] = code
    environment.filters["cell"] = cell
    environment.globals["script"] = script
    environment.globals["allowed"] = allowed
    return environment


def script(name: str) -> Markup:
    """The element ``script`` with the text of ``name``, a file of this folder."""
    return Markup("<script>{}</script>").format(Markup(_source(name)))


def allowed(name: str) -> Markup:
    """What lets the script ``name``, as it is, run under a Content-Security-Policy."""
    digest = hashlib.sha256(_source(name).encode()).digest()
    return Markup(f"'sha256-{base64.b64encode(digest).decode()}'")


@cache
def _source(name: str) -> str:
    return "\n" + (Path(__file__).parent / name).read_text(encoding="utf-8")


def cell(text: str) -> str:
    """``text`` on one line of Markdown, a cell of a table or a paragraph, shown as it is."""
    line = re.sub(r"([\\`*_{}\[\]<>|#&~])", r"\\\1", " ".join(text.split()))
    return re.sub(r"^(\d*)(?=[-+=.)])", r"\1\\", line)  # No list, no heading.


def code(text: str) -> Markup:
    """Escape ``text`` for HTML; what stands in `backticks` becomes code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))
