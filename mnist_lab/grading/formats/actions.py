"""A grade in GitHub Actions: annotations beside the learner's lines, and the summary of a step.

https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions describes both.
"""

from __future__ import annotations

import html
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mnist_lab.grade import Cause, CheckGrade, Grade
from mnist_lab.grading.formats.text import (
    blocks,
    clean,
    explained,
    headline,
    one_line,
    place,
    words,
)
from mnist_lab.report.pages import render

MOST_ANNOTATIONS = 10
"""Annotations of a kind that GitHub shows of one step."""

LONGEST_ANNOTATION = 1_500
LONGEST_SUMMARY = 1_000_000
"""Bytes; GitHub leaves out the summary of a step that has more than 1 MiB."""

ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;"}
"""An escaped @ would still name somebody."""

KINDS = {"failed": "error", "error": "error", "todo": "warning"}


def commands(grade: Grade) -> str:
    """A workflow command a line: a notice of the score, errors for mistakes, warnings for gaps."""
    lines = [_command("notice", {"title": "mnist-lab"}, headline(grade))]
    for kind in ("error", "warning"):
        found = [
            _annotation(grade, check, kind)
            for check in grade.checks
            if KINDS.get(check.outcome) == kind
        ]
        if len(found) > MOST_ANNOTATIONS:
            more = len(found) - MOST_ANNOTATIONS + 1
            found[MOST_ANNOTATIONS - 1 :] = [
                _command(
                    kind, {"title": "mnist-lab"}, f"{more} more are in the summary of the job."
                )
            ]
        lines += found
    return "\n".join(lines) + "\n"


def summary(grade: Grade) -> str:
    """GitHub's Markdown: a table of the exercises, then each check that did not pass."""
    table = render("summary.md.jinja", grade=grade, headline=headline, words=words, shown=_markdown)
    parts = [table.rstrip()]
    parts += [
        _block(check)
        for check in grade.checks
        if check.outcome in ("failed", "error") or (check.cause and check.outcome == "todo")
    ]
    kept: list[str] = []
    room = LONGEST_SUMMARY - 200
    for block in parts:
        room -= len(block.encode()) + 2
        if room < 0:
            kept.append(f"{len(parts) - len(kept)} more did not fit in here.")
            break
        kept.append(block)
    return "\n\n".join(kept) + "\n"


@contextmanager
def commands_stopped(active: bool) -> Iterator[None]:
    """While it lasts, nothing that is printed is a command to GitHub Actions.

    The word that ends it cannot be guessed; a learner's code never sees it.
    """
    word = secrets.token_hex(16)
    if active:
        print(f"::stop-commands::{word}", flush=True)
    try:
        yield
    finally:
        if active:
            sys.stdout.flush()
            print(f"\n::{word}::", flush=True)


def _annotation(grade: Grade, check: CheckGrade, kind: str) -> str:
    cause = check.cause or Cause(words(check))
    properties = {"title": check.id}
    if (found := place(grade, cause)) is not None:
        properties = {"file": found[0], "line": str(found[1])} | properties
    return _command(kind, properties, explained(cause))


def _command(kind: str, properties: dict[str, str], message: str) -> str:
    given = ",".join(
        f"{name}={_escaped(one_line(value)).replace(':', '%3A').replace(',', '%2C')}"
        for name, value in properties.items()
    )
    return f"::{kind} {given}::{_escaped(clean(message, LONGEST_ANNOTATION))}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _block(check: CheckGrade) -> str:
    """A check that did not pass."""
    cause = check.cause or Cause(words(check))
    given = {"explained": explained, "blocks": blocks, "escape": html.escape, "shown": _markdown}
    return render("summary_check.md.jinja", check=check, cause=cause, **given).rstrip()


def _markdown(text: str) -> str:
    """``text`` on one line, shown as it is: Markdown lets any punctuation be escaped."""
    marks = re.compile(r"[!-/:-@\[-`{-~]")
    return marks.sub(lambda mark: ENTITIES.get(mark[0], f"\\{mark[0]}"), one_line(text))
