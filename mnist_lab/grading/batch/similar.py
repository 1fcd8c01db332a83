"""Submissions that are alike beyond what the handout gives away: a hint for a person, no verdict.

Sources are compared by fingerprints that winnowing chooses: Schleimer, Wilkerson and Aiken, 2003,
https://doi.org/10.1145/872757.872770.
"""

from __future__ import annotations

import builtins
import io
import json
import keyword
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any
from zlib import crc32

from mnist_lab import kit, workspace
from mnist_lab.grading.formats.table import text
from mnist_lab.submission import source

RUN, WINDOW = 12, 4
"""How many tokens a fingerprint is of, and of how many runs of tokens in a row one is chosen: what
two sources share is found if it is 15 tokens long."""

LONGEST = 40_000
"""Characters of a source that are looked at."""

COMMON = 10, 0.05
"""A fingerprint of more submissions than this number, and than this part of the class, is common
knowledge."""

SHARE, LEAST = 0.6, 30
"""A pair is listed for an exercise of which it shares this part of the shorter source's
fingerprints, and at least so many: the right way to write a short exercise is everybody's."""

MOST = 1_000
"""Pairs that are listed."""

KNOWN = {*keyword.kwlist, *dir(builtins), "self"}
LAYOUT = {
    tokenize.COMMENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
    tokenize.INDENT,
    tokenize.NEWLINE,
    tokenize.NL,
}


@dataclass(frozen=True)
class Passage:
    """What two submissions share of an exercise: the part of the shorter one's fingerprints, and
    for both where that stands and its text.
    """

    exercise: str
    share: float
    places: tuple[str, str]
    texts: tuple[str, str]


@dataclass(frozen=True)
class Pair:
    """Two submissions, by the names of their learners."""

    names: tuple[str, str]
    passages: tuple[Passage, ...]


@dataclass(frozen=True)
class Group:
    """Learners whose submissions are alike, and the pairs that connect them, the most alike first
    to be chosen.
    """

    names: list[str]
    pairs: list[Pair]


def fingerprint(folder: Path, target: Path) -> None:
    """Write the fingerprints of the submission in ``folder`` into the file ``target``."""
    found, read = {}, source.read(folder)
    for exercise in kit.load().exercises:
        if exercise.id not in read.originals:
            continue
        text = read.files[exercise.file].decode("utf-8", "replace")[:LONGEST]
        lines = text.splitlines()
        places = [f"{exercise.file}:{number}" for number in range(1, len(lines) + 1)]
        if read.notebook:
            places = list(read.notebook.modules[exercise.file].places)
        prints = [chosen for chosen in _winnowed(text) if chosen[0] not in _handed_out()]
        found[exercise.id] = {"lines": lines, "places": places, "prints": prints}
    target.write_text(json.dumps(found), encoding="utf-8")


def compare(files: Mapping[str, Path]) -> list[Pair]:
    """The pairs that share most, by what ``fingerprint`` has written into a file for each name."""
    names, paths = list(files), list(files.values())
    prints = [{name: set(_places(each)) for name, each in _read(path).items()} for path in paths]
    shared: dict[tuple[int, int], dict[str, tuple[float, set[int]]]] = defaultdict(dict)
    for exercise in kit.load().exercises:
        for pair, share, both in _alike([each.get(exercise.id, set()) for each in prints]):
            shared[pair][exercise.id] = share, both
    count = {pair: sum(len(both) for _, both in found.values()) for pair, found in shared.items()}
    listed = [
        pair
        for pair, found in shared.items()
        if any(len(both) >= LEAST for _, both in found.values())
    ]
    return [
        Pair(
            (names[first], names[second]),
            tuple(_passages(paths[first], paths[second], shared[first, second])),
        )
        for first, second in sorted(listed, key=lambda pair: (-count[pair], pair))[:MOST]
    ]


def grouped(pairs: Iterable[Pair]) -> list[Group]:
    """The groups of those who are alike, directly or through others, in the order of the
    ``pairs``.
    """
    group_of: dict[str, Group] = {}
    for pair in pairs:
        one, other = (group_of.setdefault(name, Group([name], [])) for name in pair.names)
        if one is not other:
            one.names.extend(other.names)
            one.pairs.extend([*other.pairs, pair])
            group_of |= dict.fromkeys(other.names, one)
    return list({id(group): group for group in group_of.values()}.values())


def table(pairs: Iterable[Pair]) -> str:
    """The pairs as CSV, a row an exercise."""
    rows = (
        [*pair.names, each.exercise, f"{each.share:.0%}", *each.places]
        for pair in pairs
        for each in pair.passages
    )
    return text(["name", "other", "exercise", "alike", "place", "other place"], rows)


def _alike(
    prints: Sequence[set[int]],
) -> Iterator[tuple[tuple[int, int], float, set[int]]]:
    """The pairs that share enough of one exercise, the part and the fingerprints."""
    owners: dict[int, list[int]] = defaultdict(list)
    for at, each in enumerate(prints):
        for value in each:
            owners[value].append(at)
    most = max(COMMON[0], COMMON[1] * len(prints))
    rare = {value: each for value, each in owners.items() if len(each) <= most}
    sizes = Counter(at for each in rare.values() for at in each)
    for pair, count in Counter(p for each in rare.values() for p in combinations(each, 2)).items():
        share = count / min(sizes[at] for at in pair)
        if share >= SHARE:
            yield pair, share, {v for v in prints[pair[0]] & prints[pair[1]] if v in rare}


def _passages(
    first: Path, second: Path, found: Mapping[str, tuple[float, set[int]]]
) -> Iterator[Passage]:
    one, other = _read(first), _read(second)
    for exercise, (share, both) in found.items():
        shown = _shown(one[exercise], both), _shown(other[exercise], both)
        yield Passage(exercise, share, *zip(*shown, strict=True))


def _shown(said: dict[str, Any], both: set[int]) -> tuple[str, str]:
    """Where the fingerprints stand, and the lines from there."""
    ranges: list[list[int]] = []
    for first, last in sorted(place for value, place in _places(said).items() if value in both):
        if ranges and first <= ranges[-1][1] + 1:
            ranges[-1][1] = max(last, ranges[-1][1])
        else:
            ranges.append([first, last])
    places, lines = said["places"], said["lines"]
    where = ", ".join(_span(places[first - 1], places[last - 1]) for first, last in ranges)
    text = "\n...\n".join("\n".join(lines[first - 1 : last]) for first, last in ranges)
    return where, text


def _span(first: str, last: str) -> str:
    """``cnn.py:3-9`` for two lines of one file or cell."""
    stem = first.rstrip("0123456789")
    return f"{first}-{last[len(stem) :]}" if last.startswith(stem) else f"{first} to {last}"


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """What was written of a submission; nothing if that failed."""
    try:
        return dict(json.loads(file.read_bytes()))
    except (OSError, ValueError):
        return {}


def _places(said: dict[str, Any]) -> dict[int, tuple[int, int]]:
    """The first and last line of each fingerprint."""
    return {value: (first, last) for value, first, last in said["prints"]}


@cache
def _handed_out() -> frozenset[int]:
    """All that the stubs could be told by."""
    stubs = (workspace.root() / "exercises").glob("*.py")
    return frozenset(value for stub in stubs for value, *_ in _runs(stub.read_text("utf-8")))


def _winnowed(text: str) -> list[tuple[int, int, int]]:
    """The least of each few runs, the last of several."""
    runs = _runs(text)
    windows = (range(at, at + WINDOW) for at in range(len(runs) - WINDOW + 1))
    chosen = {min(window, key=lambda at: (runs[at][0], -at)) for window in windows}
    return [runs[at] for at in sorted(chosen)]


def _runs(text: str) -> list[tuple[int, int, int]]:
    """A hash of each run of tokens, and its first and last line."""
    tokens = list(_tokens(text))
    runs = (tokens[at : at + RUN] for at in range(len(tokens) - RUN + 1))
    return [
        (crc32(" ".join(word for word, _ in run).encode("utf-8", "replace")), run[0][1], run[-1][1])
        for run in runs
    ]


def _tokens(text: str) -> Iterator[tuple[str, int]]:
    """The tokens of a source and their lines as far as it is Python, without comments, docstrings
    and imports.
    """
    statement: list[tuple[str, int]] = []
    with suppress(tokenize.TokenError, SyntaxError):
        for kind, word, (line, _), *_ in tokenize.generate_tokens(io.StringIO(text).readline):
            if kind not in LAYOUT:
                statement.append((_word(kind, word, statement), line))
            elif kind == tokenize.NEWLINE:
                words = [word for word, _ in statement]
                if words[0] not in ("import", "from") and words != ["s"]:
                    yield from statement
                statement = []


def _word(kind: int, word: str, before: Sequence[tuple[str, int]]) -> str:
    """A token as it is compared: strings are all the same, and so are names that may have been
    chosen, which those of PyTorch's are not.
    """
    if "STRING" in tokenize.tok_name[kind]:
        return "s"
    last = [word for word, _ in before[-2:]]
    if kind != tokenize.NAME or word in KNOWN or (last[-1:] == ["."] and last[0] != "self"):
        return word
    return "n"
