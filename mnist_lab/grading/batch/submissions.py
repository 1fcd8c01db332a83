"""Which submissions a folder holds and whose they are, as course systems lay them out."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from mnist_lab import kit
from mnist_lab.errors import LabError
from mnist_lab.grading.formats.text import one_line
from mnist_lab.submission.archive import (
    NOTEBOOKS,
    SUFFIXES,
    UNREAD,
    is_archive,
    is_debris,
    is_notebook,
)
from mnist_lab.submission.source import (
    NOTEBOOK_SPELLINGS,
    SPELLINGS,
    STEMS,
    below,
    exercise_file,
)

LAYOUTS = tuple(
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        # Moodle: Ada Lovelace_12345_assignsubmission_file, with or without _lab.zip
        r"(?P<name>.+)_(?P<id>\d+)_assignsubmission_"
        r"(?:file|(?P<text>onlinetext|comments))(?:_(?P<file>.*))?",
        # Brightspace: 12345-67890 - Ada Lovelace - Feb 3, 2026 906 AM, with or without " - cnn.py"
        r"(?P<id>\d+)-\d+ - (?P<name>.+?) ?- "
        r"(?P<when>(?:\d{4}-\d\d-\d\d|[^-]*\b\d{4}\b)[^-]*?)(?: - (?P<file>.+))?",
        # What nbgrader collects: ada+lab+2026-02-03 10:11:12.131415 UTC, with or without +x7f
        r"(?P<name>[^+]+)\+[^+]+\+(?P<when>\d{4}-[^+]+)(?:\+[^+]+)?",
        # Sakai's folders: Lovelace, Ada(alovelace)
        r"(?P<name>[^,]+, .*[^ (]\((?P<id>[^() ]+)\))",
        # Blackboard: Lab 1_alovelace_attempt_2026-02-03-10-11-12_cnn.py, and .txt about each
        r"(?P<head>.+_[^_]+)_attempt_(?P<when>\d{4}(?:-\d\d){5})"
        r"(?:_(?P<file>.+)|(?P<text>\.txt))",
        # Autolab: ada@example.org_2_handin.zip
        r"(?P<name>[^@]+@[^@_]+)_(?P<when>\d+)_(?P<file>.+)",
        # Sakai, without folders: Lovelace, Ada(alovelace)_Submission attachment(s)_cnn.py
        r"(?P<name>.+\((?P<id>[^()]+)\))_Submission attachment\(s\)_(?P<file>.+)",
        # Canvas: lovelaceada_LATE_12345_90001_cnn-1.py, _12345_text.html, anon_x7Kd2_90001_cnn.py
        r"(?:LATE_)?(?P<name>anon_[^_]+)_(?P<number>\d+)_(?P<file>.+)",
        r"(?P<name>(?=\d*[^\W\d_]).+?)_(?:LATE_)?(?P<id>\d+)_"
        r"(?:(?P<number>\d\d+)_(?P<file>.+)|(?P<text>text|link)\.html)",
        rf"(?P<name>.+?)(?: - |[-_. ])(?P<file>{SPELLINGS.pattern}|{NOTEBOOK_SPELLINGS.pattern})",
        # The forms of Google and Microsoft: cnn - Ada Lovelace.py, cnn_Ada Lovelace.py
        rf"(?!{SPELLINGS.pattern}$)(?P<stem>{STEMS})(?: - |_(?=.* ))(?P<name>.+)"
        r"(?P<end>\.py|\.ipynb)",
    )
)
"""How the names of files and folders tell whose they are; the first that fits counts."""

OF_FOLDERS = LAYOUTS[:4]
"""Those of folders."""

DATES = ("%b %d, %Y", "%B %d, %Y", "%d %b, %Y", "%d %B, %Y", "%d.%m.%Y", "%Y-%m-%d")
TIMES = (
    *(f"{date} {clock}" for date in DATES for clock in ("%I%M %p", "%H%M")),
    *("%Y-%m-%d %H:%M:%S.%f%z", "%Y-%m-%d %H:%M:%S%z", "%Y-%m-%d-%H-%M-%S"),
)
"""How Brightspace, nbgrader and Blackboard write when something was handed in."""

AGAIN = re.compile(r"(.+?)-(\d{1,4})((?:\.tar)?\.[^.]+)")
"""What Canvas calls a file that was handed in again: ``cnn-1.py``."""

SECOND = re.compile(r"(.+) \(?(\d{1,2})\)?")
DOWNLOAD = re.compile(r" ?\((\d{1,2})\)(?=\.|$)")
"""What is added to a learner's name, or to a file's, by the form or browser that has it already."""

EXPORT = "submission_metadata.yml"
"""Gradescope's list of whose the folders beside it are."""

IGNORED = re.compile(
    rf"{re.escape(EXPORT)}|(eh)?thumbs\.db(:.*)?|desktop\.ini|icon\r|~\$.*|index\.html|.*\.csv"
    r"|@eaDir|lost\+found|\$RECYCLE\.BIN|System Volume Information",
    re.IGNORECASE,
)
"""What systems leave beside submissions, and lists of a course."""

ENDINGS = (
    *("", *NOTEBOOKS, *SUFFIXES, *UNREAD, ".pdf", ".doc", ".docx", ".odt", ".rtf", ".pages"),
    *(".html", ".htm", ".txt", ".md", ".webarchive", ".zip.crdownload", ".zip.part"),
)
"""What is taken off the name of a file that is somebody's."""

NBGRADER = ("source", "release", "autograded", "feedback")
"""The folders that nbgrader has beside ``submitted``."""

RESULTS = ("gradebook.csv", "class.html")
"""What the folder with the results of a class has."""

TOOLS = (".git", ".ipynb_checkpoints")
"""Folders of a tool's that are nobody's work, whatever their files are called."""

EXERCISES = "exercises"
"""The folder in a learner's workspace in which they lie."""

SEVERAL = 3
"""How many who are called differently have the same, at least, where they are a class."""

NUMBER = re.compile(r"[ _.-]*\(?\d+\)?")
ATTEMPT = re.compile(r"(?<![^\W\d_])(v|vers[^\W\d_]*|attempt|try|lab)[ _.-]*\d+", re.IGNORECASE)
"""A number in a name, and one that tells attempts of one learner."""

LATER = re.compile(
    r"(?:[ _.-]+(?:(?:v|vers[^\W\d_]*|attempt|try)?[ _.-]*\d{1,2}|final|new|last))+$",
    re.IGNORECASE,
)
"""What a learner adds to the name of a later attempt."""

LOOKED_AT = 20_000
"""How many files and folders in a folder that is passed over are looked at."""


class ClassError(LabError):
    """A class cannot be graded; the message says why and what to do."""


@dataclass(frozen=True)
class Submission:
    """A learner's name, which nobody else has, and attempts, the latest last.

    An attempt has its files and folders by the names that they had for the learner. ``ids`` are
    what else the course's system calls the learner. All learners of a ``group`` have handed in the
    same. If ``is_ordered`` the times of the attempts are understood.
    """

    name: str
    attempts: tuple[Mapping[str, Path], ...]
    ids: tuple[str, ...] = ()
    group: str = ""
    is_ordered: bool = True

    def before(self, attempt: int) -> list[str]:
        """Sentences on the attempts before this one, as far as the names of files tell."""
        if not attempt:
            return []
        taken = f"{', '.join(self.attempts[attempt])} was taken for a later attempt."
        said = [] if self.ids else [taken]
        *earlier, done = (
            {work for name, path in each.items() for work in _work(path, name)}
            for each in self.attempts[: attempt + 1]
        )
        lost = [file for file in kit.load().files if any(file in each - done for each in earlier)]
        if lost and done <= kit.load().files.keys():
            said.append(f"An earlier attempt had {', '.join(lost)}.")
        return said


@dataclass(frozen=True)
class Listing:
    """The submissions of a class, by name, what beside them was not taken for one, and sentences on
    how they fit the course's list, which ``is_doubtful`` where some do not.
    """

    submissions: tuple[Submission, ...]
    ignored: tuple[str, ...]
    notes: tuple[str, ...] = ()
    is_doubtful: bool = False

    @property
    def forms(self) -> str:
        """How many of each form are handed in, such as ``8 folders, 1 notebook``."""
        forms = Counter(_form(list(each.attempts[-1].values())) for each in self.submissions)
        return ", ".join(f"{count} {form[count > 1]}" for form, count in forms.most_common())


@dataclass
class _Owner:
    """A learner while entries are sorted: ``parts`` are tuples of when, name and path."""

    name: str
    ids: tuple[str, ...] = ()
    parts: list[tuple[str, str, Path]] = field(default_factory=list)
    texts: list[Path] = field(default_factory=list)
    group: str = ""
    is_cumulative: bool = False

    @property
    def is_ordered(self) -> bool:
        """Whether all times are ISO's or plain numbers, or differ in their numbers alone."""
        return len({re.sub(r"^\d+-.*|\d+", "", when) for when, _, _ in self.parts}) < 2

    def attempts(self) -> Iterator[Mapping[str, Path]]:
        """What was handed in each time; where files come one by one, with those from before."""
        parts = self.parts or [("", path.name, path) for path in self.texts]
        found: dict[str, Path] = {}
        for when in sorted({when for when, _, _ in parts}):
            new = {name: path for each, name, path in parts if each == when}
            found = {**found, **new} if self.is_cumulative else new
            yield found


def find(folder: Path, out: Path | None = None) -> Listing:
    """The submissions in ``folder``: whatever lies in it is somebody's, but for what systems leave
    and for the folder ``out`` of the results.

    It is a folder, archive or notebook a learner, or files that begin with the learner's name, such
    as ``ada_cnn.py``, or what Moodle, Canvas, Blackboard, Brightspace, Gradescope or nbgrader make
    of those.
    Raises ``ClassError`` where there is nothing, or one submission.
    """
    entries = _entries(folder)
    if out is not None:
        entries = _without(entries, folder, out)
    if _is_nbgraders(entries):
        folder /= "submitted"
        entries = _entries(folder)
    if inside := _whole_class(entries):
        folder, entries = inside, _entries(inside)
    ignored = [_plain(entry.name) for entry in entries if _is_ignored(entry)]
    ignored += [
        f"{_plain(entry.name)} (looks like a submission: rename it to have it graded)"
        for entry in entries
        if is_debris(entry.name) and _has_work(entry)
    ]
    entries = [entry for entry in entries if not (is_debris(entry.name) or _is_ignored(entry))]
    single = [entry for entry in entries if entry.name in kit.load().files]
    whole = [entry for entry in entries if _is_whole(entry)]
    if len(single) > len(whole):
        raise ClassError(
            f"{folder} is one submission: grade it with mnist-lab grade, or name the folder that "
            "has a folder, an archive or a notebook for each learner."
        )
    owners = _owners(entries)
    ignored += [_plain(text.name) for owner in owners if owner.parts for text in owner.texts]
    if (folder / EXPORT).is_file():
        owners = list(_of_export(folder / EXPORT, owners))
    if not owners:
        said = f" Not taken: {', '.join(ignored)}." if ignored else ""
        raise ClassError(
            f"{folder} has no submission: a folder, an archive (zip or tar) or a notebook for each "
            f"learner, or files such as ada_cnn.py.{said}"
        )
    return Listing(tuple(_named(owners)), tuple(ignored))


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise ClassError(f"{folder} cannot be read ({error.strerror}).") from error


def _without(entries: Sequence[Path], folder: Path, out: Path) -> list[Path]:
    """The entries of ``folder`` but for the one that ``out`` is or lies in."""
    place, whole = out.resolve(), folder.resolve()
    if not place.is_relative_to(whole):
        return list(entries)
    top = folder / place.relative_to(whole).parts[0] if place != whole else folder
    if top == folder or _has_work(top):
        raise ClassError(f"{out} lies where submissions are: name another folder for the results.")
    return [entry for entry in entries if entry != top]


def _is_nbgraders(entries: Sequence[Path]) -> bool:
    """Whether this is a course of nbgrader's and not a class with a learner called "submitted"."""
    submitted = next((entry for entry in entries if entry.name == "submitted"), None)
    if submitted is None or not submitted.is_dir() or submitted.is_symlink():
        return False
    known = (*NBGRADER, "submitted")
    beside = [each for each in entries if each.name not in known and not is_debris(each.name)]
    if any(_is_whole(each) or _is_work(each.name) for each in beside):
        return False
    return not any(_is_work(each.name) for each in _entries(submitted) if not each.is_dir())


def _whole_class(entries: Sequence[Path]) -> Path | None:
    """The only folder that there is, if a class lies in it and not one learner's work: what is in
    it has names as a course's system gives, or several who are called differently did the same.
    """
    named = [each for each in entries if not (is_debris(each.name) or _is_ignored(each))]
    if len(named) != 1 or named[0].is_symlink() or _is_of_a_system(named[0].name):
        return None
    with suppress(OSError):
        inside = sorted(named[0].iterdir())
        if any(each.name == EXPORT or _is_of_a_system(each.name) for each in inside):
            return named[0]
        alone = [each.name for each in inside if not _is_whole(each) and _has_work(each)]
        done = {each.name: {*_work(each)} for each in inside}
        if not alone and EXERCISES not in done and rivals(done) >= SEVERAL:
            return named[0]
    return None


def rivals(done: Mapping[str, Collection[str]]) -> int:
    """How many who are called differently have the same, at most."""
    told = apart(done)
    same = {(told[name], work) for name in done for work in done[name]}
    return max(Counter(work for _, work in same).values(), default=0)


def apart(names: Collection[str]) -> dict[str, str]:
    """Names without the number of an attempt: of ``lab 2`` beside ``lab``, or ``Version 2``."""
    bare = {name: NUMBER.sub("", name) for name in names}
    return {name: bare[name] if bare[name] in bare else ATTEMPT.sub(r"\1", name) for name in names}


def attempts(names: Collection[str]) -> list[tuple[str, str]]:
    """Names, and those of them that may be later attempts of the same learner's, as ``ada v2``."""
    bare = {name: LATER.sub("", name) for name in names}
    return [(bare[name], name) for name in names if name != bare[name] in bare]


def _is_of_a_system(name: str) -> bool:
    return any(layout.fullmatch(name) for layout in LAYOUTS[:-2])


def _is_ignored(entry: Path) -> bool:
    """Whether systems leave such a file, or it is a folder with the results of another run."""
    if IGNORED.fullmatch(entry.name) and not _has_work(entry):
        return True
    return all(os.path.isfile(entry / name) for name in RESULTS) and not _has_work(entry)


def _has_work(entry: Path) -> bool:
    """Whether something in ``entry`` is called like what learners hand in."""
    return any(True for _ in _work(entry))


def _work(entry: Path, called: str = "") -> Iterator[str]:
    """What in ``entry`` is called like what learners hand in: the name of the exercise's file, that
    of a notebook, or nothing for what can be in an archive.
    """
    if not entry.is_dir():
        names = [called or entry.name]
    elif entry.is_symlink() or entry.name in TOOLS:
        names = []
    else:
        inside = islice(below(entry, TOOLS.__contains__), LOOKED_AT)
        names = [each.name for each in inside if not each.is_dir(follow_symlinks=False)]
    for name in filter(_is_work, names):
        yield exercise_file(name.lstrip(".")) or (name if is_notebook(name) else "")


def _is_work(name: str) -> bool:
    if name.startswith("._"):  # What a Mac knows about a file.
        return False
    own = name.lstrip(".")
    whole = is_archive(Path(own)) or is_notebook(own)
    return whole or bool(exercise_file(own) or any(each.fullmatch(own) for each in LAYOUTS[-2:]))


def _form(paths: Sequence[Path]) -> tuple[str, str]:
    """What an attempt is, in the singular and in the plural."""
    if len(paths) > 1:
        return "set of files", "sets of files"
    if paths[0].is_dir():
        return "folder", "folders"
    if is_archive(paths[0]):
        return "archive", "archives"
    return ("notebook", "notebooks") if _is_whole(paths[0]) else ("file", "files")


def _is_whole(entry: Path) -> bool:
    return entry.is_dir() or is_archive(entry) or is_notebook(entry.name)


def _told(entries: Sequence[Path]) -> dict[Path, dict[str, Any]]:
    """What the names tell. Those of one learner with files of no exercise are nothing of Canvas',
    but of an own scheme such as ``lab_1_12345_ada.zip``.
    """
    told = {entry: _told_by(entry, OF_FOLDERS if entry.is_dir() else LAYOUTS) for entry in entries}
    canvas = {entry: given for entry, given in told.items() if given.get("number")}
    files = {AGAIN.sub(r"\1\3", given["file"]) for given in canvas.values()}
    done = any(exercise_file(file) or NOTEBOOK_SPELLINGS.fullmatch(file) for file in files)
    if len({given["name"] for given in canvas.values()}) == 1 < len(files) and not done:
        told |= {entry: _told_by(entry, LAYOUTS[-2:]) for entry in canvas}
    _find_logins([given for given in told.values() if "head" in given])
    plain = {entry: given for entry, given in told.items() if given.keys() <= {"name", "file"}}
    _find_more({entry: given for entry, given in plain.items() if not entry.is_dir()})
    return told


def _find_logins(blackboards: Sequence[dict[str, Any]]) -> None:
    """Name the logins, which begin after what all have in common; a roster may have longer ones."""
    heads = [given["head"].split("_") for given in blackboards]
    columns = zip(*(words[:-1] for words in heads), strict=False)
    shared = sum(1 for _ in takewhile(lambda column: len({*column}) == 1, columns))
    for given, words in zip(blackboards, heads, strict=True):
        at = shared or len(words) - 1
        logins = ["_".join(words[begin:]) for begin in range(1, at)]
        given |= {"id": given["head"], "name": "_".join(words[at:]), "also": logins}


def _find_more(told: dict[Path, dict[str, Any]]) -> None:
    """Find what else is of those whose name is before or after an exercise, however it is spelled:
    ``Ada - helpers.py``, ``lab - Ada.zip``, and ``cnn - Ada (1).py`` of another time.
    """
    known = {_same(given["name"]) for given in told.values() if given}
    for entry, given in told.items():
        before, dash, rest = entry.name.partition(" - ")
        first, _, after = entry.stem.rpartition(" - ")
        again = SECOND.fullmatch(given.get("name", ""))
        if again and _same(again[1]) in known:
            file = f"{Path(given['file']).stem} ({again[2]}){entry.suffix}"
            given |= {"name": again[1], "file": file}
        elif not dash:
            continue
        elif _same(before) in known:
            given |= {"name": before, "file": rest}
        elif _same(after) in known:
            given |= {"name": after, "file": first + entry.suffix}
    spelled = defaultdict[str, list[dict[str, Any]]](list)
    for given in filter(None, told.values()):
        spelled[_same(given["name"])].append(given)
    for those in spelled.values():
        if len({given["file"] for given in those}) == len(those):  # Else they are two.
            for given in those:
                given["name"] = those[0]["name"]


def _same(name: str) -> str:
    return folded(name).casefold()


def _told_by(entry: Path, layouts: Sequence[re.Pattern[str]]) -> dict[str, Any]:
    found = (known for layout in layouts if (known := layout.fullmatch(entry.name)))
    given = next((each.groupdict() for each in found), {})
    if stem := given.pop("stem", ""):
        given["file"] = stem + given.pop("end")
    return given


def _owners(entries: Sequence[Path]) -> list[_Owner]:
    owners: dict[object, _Owner] = {}
    told = _told(entries)
    for entry, given in told.items():
        if not given:
            again = DOWNLOAD.search(entry.name)
            first = entry.parent / DOWNLOAD.sub("", entry.name)
            when, first = (_when(again[1]), first) if again and first in told else ("", entry)
            owner = owners.setdefault(first, _Owner(_without_ending(first)))
            owner.parts.append((when, entry.name, entry))
            continue
        key = given["name"], given.get("id")
        ids = (*filter(None, key), *given.get("also", ()))
        owner = owners.setdefault(key, _Owner(given["name"], ids))
        if given.get("text"):
            owner.texts.append(entry)
        elif given.get("number"):
            again = AGAIN.fullmatch(given["file"])
            name, number = (again[1] + again[3], int(again[2])) if again else (given["file"], 0)
            order = f"{number:04}-{int(given['number']):020}"
            owner.is_cumulative = True
            owner.parts.append((order, name, entry))
        else:
            when = _when(given.get("when") or "")
            name = given.get("file") or entry.name
            if any(each[:2] == (when, name) for each in owner.parts):
                name = f"{Path(name).stem} ({len(owner.parts)}){entry.suffix}"
            owner.parts.append((when, name, entry))
    for owner in owners.values():
        if owner.is_cumulative:
            _number_files(owner)
    return list(owners.values())


def time_in(path: Path) -> datetime | None:
    """When that was handed in which a course's system gave this name, if it says so."""
    return _time(_told_by(path, LAYOUTS).get("when") or "")


def _time(stamp: str) -> datetime | None:
    padded = re.sub(r"(?<= )(\d{3})\b", r"0\1", re.sub(r"\bSept\b", "Sep", stamp))
    padded = padded.replace(" UTC", "+0000")
    for form in TIMES:
        with suppress(ValueError):
            return datetime.strptime(padded, form)
    return None


def _when(stamp: str) -> str:
    """``stamp`` so that the later one is the greater."""
    return re.sub(r"\d+", lambda number: number[0].zfill(20), str(_time(stamp) or stamp))


def _number_files(owner: _Owner) -> None:
    """Number the files of each name: the first of every name are an attempt, then the second."""
    seen: dict[str, int] = {}
    numbered = []
    for _, name, path in sorted(owner.parts):
        seen[name.casefold()] = seen.get(name.casefold(), 0) + 1
        numbered.append((f"{seen[name.casefold()]:06}", name, path))
    owner.parts = numbered


def _of_export(listing: Path, owners: Sequence[_Owner]) -> Iterator[_Owner]:
    """The learners behind each folder of Gradescope's export; a group is one for each of it."""
    import yaml

    try:
        known = yaml.safe_load(listing.read_bytes())
        told = {
            str(folder): [
                tuple(str(each[key]) for key in (":name", ":sid", ":email") if each.get(key))
                for each in entry.get(":submitters") or ()
            ]
            for folder, entry in known.items()
        }
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no list of submissions"
        raise ClassError(
            f"{listing} cannot be read ({why}): export it from Gradescope again, or take it out."
        ) from error
    for owner in owners:
        people = [person for person in told.get(owner.name, ()) if person]
        for name, *ids in people or [(owner.name, *owner.ids)]:
            words = (name, owner.name, *ids)
            yield _Owner(name, words, owner.parts, owner.texts, owner.name if people else "")


def _without_ending(entry: Path) -> str:
    """Whose ``entry`` is, as its name says, which keeps an ending that is not known."""
    name = entry.name
    if entry.is_dir():
        return name
    longest = max((each for each in ENDINGS if name.lower().endswith(each)), key=len, default="")
    return name[: len(name) - len(longest)] or name


def _named(owners: Sequence[_Owner]) -> Iterator[Submission]:
    """Submissions by name. Of several with one name each is told by what else is known of it."""
    shared = Counter(folded(_plain(owner.name)) for owner in owners)
    names = Names()
    for owner in sorted(owners, key=lambda owner: (owner.name, owner.ids, owner.parts)):
        attempts, ids = tuple(owner.attempts()), tuple(map(_plain, owner.ids))
        name = _plain(owner.name) or "?"
        if shared[folded(name)] > 1:
            path = min(owner.parts)[-1] if owner.parts else owner.texts[0]
            fuller = f"{name} ({ids[1]})" if len(ids) > 1 else _plain(path.name)
            name, ids = fuller, (*ids, name)
        yield Submission(names.own(name), attempts, ids, owner.group, owner.is_ordered)


def folded(name: str) -> str:
    """What all names have in common that look the same."""
    return unicodedata.normalize("NFKC", name)


class Names:
    """Gives names that no two share, by what ``fold`` makes of them."""

    def __init__(self, taken: Iterable[str] = (), fold: Callable[[str], str] = folded) -> None:
        self._fold, self._taken = fold, set(map(fold, taken))

    def own(self, name: str) -> str:
        """``name``, with a number where it is taken."""
        own, number = name, 1
        while self._fold(own) in self._taken:
            number += 1
            own = f"{name} ({number})"
        self._taken.add(self._fold(own))
        return own


def _plain(name: str) -> str:
    """``name`` as it can be shown, which that of a file need not be."""
    return one_line(os.fsencode(name).decode("utf-8", "replace"))
