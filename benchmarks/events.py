"""What the kit says where nothing could be compared: the table of docs/learners.md.

    python benchmarks/events.py

It is made of ``mistakes/events.toml`` and of the submissions in ``tests/kit/events.toml``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests/kit"))

import tomllib  # noqa: E402

from mnist_lab.diagnosis.faults import entries  # noqa: E402

PAGE = ROOT / "docs" / "learners.md"
BEGIN, END = "<!-- what happened first -->\n", "<!-- until here -->\n"

RUNGS = {
    1: "Can the file be read?",
    2: "Can it be imported?",
    3: "Is the name there?",
    4: "Is it the kind of thing that is asked for?",
    5: "Can it be called as asked?",
    6: "Does it raise?",
    7: "Does it return the kind of thing that is asked for?",
    8: "Does the answer say anything?",
}


def main() -> None:
    PAGE.write_text(written(), encoding="utf-8")
    print(f"Wrote {PAGE.relative_to(ROOT)}.")


def written() -> str:
    """The page with the table of now."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}{table()}{END}{rest.partition(END)[2]}"


def table() -> str:
    """Of each rung what is said and hinted at, once an entry that the tests try."""
    known = entries("events")
    corpus = tomllib.loads((ROOT / "tests/kit/events.toml").read_text(encoding="utf-8"))
    tried = {name for case in corpus["event"] for name in case["event"].split("|")}
    lines = ["| Question | What is said | The hint |", "| --- | --- | --- |"]
    for rung, question in RUNGS.items():
        of_it = [e for e in known.values() if e.more["rung"] == rung and e.id in tried]
        rows = dict.fromkeys((_plain(entry.says), _plain(entry.hint)) for entry in of_it)
        for number, (says, hint) in enumerate(rows):
            first = f"{rung}. {question}" if not number else ""
            lines.append(f"| {first} | {says} | {hint} |")
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """With words for what is filled in, and nothing that ends a cell or begins a tag."""
    parts = text.replace("{where}", "{your line}").split("`")
    for number, part in enumerate(parts):
        mark = "" if number % 2 else "*"  # in code a mark would be shown
        parts[number] = re.sub(r"\{_?([\w ]+?)_?\}", rf"{mark}\1{mark}", part)
    return "`".join(parts).replace("**", "* *").replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    main()
