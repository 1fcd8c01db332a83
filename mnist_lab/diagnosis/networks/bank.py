"""Known mistakes in the three networks: the entries of ``mistakes/networks.toml``, whose head says
how they are written, as changes of a network's stages.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from itertools import product
from typing import Any

from mnist_lab.diagnosis.explain import Fault
from mnist_lab.diagnosis.faults import edited
from mnist_lab.diagnosis.reference import NETWORKS, Network

__all__ = ["BANK", "LAYERS", "PROBES", "Change", "Mistake", "entry", "of"]


@dataclass(frozen=True)
class Mistake(Fault[Network]):
    """``silent``: a layer whose weights are 0 shows nothing. ``bypass``: what goes into a layer
    shows behind it even then.
    """

    changes: tuple[Change, ...]
    silent: bool = False
    bypass: bool = False


# How a network is changed


@dataclass(frozen=True)
class Change:
    """Steps one after another: a verb, the stage that it is about, and what it takes besides.

    None for a network in which it cannot be made.
    """

    steps: tuple[tuple[str, str, Any], ...]

    def __call__(self, network: Network) -> Network | None:
        changed: Network | None = network
        for verb, stage, what in self.steps:
            if changed is None or stage not in changed.stages:
                return None
            changed = VERBS[verb](changed, stage, what)
        return changed


def _replace(network: Network, stage: str, text: str) -> Network | None:
    return None if stage in network.changed else _with(network, stage, text)


def _edit(network: Network, stage: str, edits: Sequence[tuple[str, str]]) -> Network | None:
    text = edited(network.stages[stage], tuple(edits))
    return None if text is None else _with(network, stage, text)


def _with(network: Network, stage: str, text: str) -> Network:
    return replace(
        network,
        stages={**network.stages, stage: text},
        changed=network.changed | {stage},
    )


def _remove(network: Network, stage: str, _: Any) -> Network:
    stages = {name: text for name, text in network.stages.items() if name != stage}
    return replace(network, stages=stages)


def _move(network: Network, stage: str, to: str) -> Network | None:
    if to not in network.stages:
        return None
    names = [name for name in network.stages if name != stage]
    names.insert(names.index(to), stage)
    return replace(network, stages={name: network.stages[name] for name in names})


def _before(network: Network, stage: str, text: str) -> Network:
    return _inserted(network, list(network.stages).index(stage), text)


def _after(network: Network, stage: str, text: str) -> Network:
    return _inserted(network, list(network.stages).index(stage) + 1, text)


def _inserted(network: Network, at: int, text: str) -> Network:
    stages = list(network.stages.items())
    stages.insert(at, (f"inserted {len(stages)}", text))
    return replace(network, stages=dict(stages))


VERBS: dict[str, Callable[[Network, str, Any], Network | None]] = {
    "replace": _replace,
    "edit": _edit,
    "before": _before,
    "after": _after,
    "remove": _remove,
    "move": _move,
}
"""In the order in which the steps of a change are made."""


# From entries to mistakes

Row = Mapping[str, Any]


def _mistakes(file: Row) -> Iterator[Mistake]:
    exercises = {row["exercise"]: row for row in file["exercise"]}
    for table in file["mistake"]:
        tables = [_rows(file, each) for each in table.get("over", [])]
        for rows in product(*tables):
            row = {key: value for each in rows for key, value in each.items()}
            exercise = row.get("exercise", table["id"].partition(".")[0])
            row = {**exercises[exercise], **_more(table), **row}
            if _is_asked(table, row) and row.get("name") not in table.get("except", []):
                yield _mistake(table, row, file["hints"])


def _rows(file: Row, tables: Any) -> list[Row]:
    """Of a table, or of several tables and rows that are listed."""
    if isinstance(tables, str):
        return list(file[tables])
    if isinstance(tables, list):
        return [row for each in tables for row in _rows(file, each)]
    return [tables]


KNOWN = {"id", "over", "except", "says", "hint", "needs", "unless", "silent", "bypass", "ways"}


def _more(table: Row) -> dict[str, Any]:
    """What a mistake's own keys stand for."""
    return {key: value for key, value in table.items() if key not in KNOWN | VERBS.keys()}


def _is_asked(asks: Row, row: Row) -> bool:
    needed = (each["needs"] for each in (asks, row) if "needs" in each)
    return all(key in row for key in needed) and asks.get("unless") not in row


def _mistake(table: Row, row: Row, hints: Row) -> Mistake:
    names = {**hints, **row}
    return Mistake(
        _filled(table["id"], names),
        _filled(table["says"], names),
        _filled(table["hint"], names),
        tuple(dict.fromkeys(_changes(table, row))),
        table.get("silent", False),
        table.get("bypass", False),
    )


def _changes(table: Row, row: Row) -> Iterator[Change]:
    """One for each way that is written and each value of what is listed."""
    lists = {key: value for key, value in row.items() if isinstance(value, list)}
    for way in table.get("ways", [table]):
        if not (VERBS.keys() & way.keys()) or (way is not table and not _is_asked(way, row)):
            continue
        for chosen in product(*lists.values()):
            names = {**row, **dict(zip(lists, chosen, strict=True))}
            yield Change(
                tuple(
                    (verb, *step)
                    for verb in VERBS
                    for step in _steps(_filled(way.get(verb, {}), names))
                )
            )


def _steps(stages: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(stages, list):
        yield from ((stage, None) for stage in stages)
    else:
        for stage, what in stages.items():
            yield stage, tuple(map(tuple, what)) if isinstance(what, list) else what


def _filled(value: Any, names: Row) -> Any:
    """``value`` with what its {keys} stand for, which may have others in turn."""
    if isinstance(value, str):
        return value.format_map(names).format_map(names)
    if isinstance(value, list):
        return [_filled(each, names) for each in value]
    return {_filled(key, names): _filled(each, names) for key, each in value.items()}


_FILE = tomllib.loads(
    (resources.files("mnist_lab.diagnosis") / "mistakes" / "networks.toml").read_text("utf-8")
)

BANK = tuple(
    sorted(_mistakes(_FILE), key=lambda fault: list(NETWORKS).index(fault.id.partition(".")[0]))
)

LAYERS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    exercise: {row["layer"]: row for row in _FILE["layer"] if row["exercise"] == exercise}
    for exercise in NETWORKS
}
"""Each network's layers: what ``its`` layer is called in a sentence, what the ids call it (``at``),
and the id of ``no_bias``.
"""

PROBES: Mapping[str, Mapping[str, tuple[str, str]]] = _FILE["probes"]
"""Where a network departs from what is asked, by the probe that shows it; how that is seen."""


def of(exercise: str) -> Sequence[Mistake]:
    """The mistakes in one exercise's network."""
    return [fault for fault in BANK if fault.id.startswith(f"{exercise}.")]


def entry(name: str) -> Mistake:
    """The mistake with the id ``name``."""
    return next(fault for fault in BANK if fault.id == name)
