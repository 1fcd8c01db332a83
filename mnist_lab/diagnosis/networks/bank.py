"""Known mistakes in the three networks: the entries of ``mistakes/networks.toml``, whose head says
how they are written, as changes of a network's stages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial, reduce
from itertools import product
from typing import Any

from mnist_lab.diagnosis.faults import Fault, edited, entries, filled, is_for, tables
from mnist_lab.diagnosis.reference import NETWORKS, Network


@dataclass(frozen=True)
class Mistake(Fault):
    """``changes`` are the ways to make it, ``open`` those whose constants are to be found; the head
    of the file says what ``more`` is.
    """

    changes: tuple[Change, ...] = ()
    open: tuple[Change, ...] = ()

    @property
    def layer(self) -> str:
        """A pattern for how PyTorch shows a layer that makes the mistake, ``LeakyReLU(...)``."""
        name = self.more.get("name", "").replace("-", "")
        return self.more.get("module", rf"{name}(\dd)?\(")


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

    @property
    def is_open(self) -> bool:
        """Whether it has constants ``w['any']``."""
        return "w['any']" in str(self.steps)

    def closed(self, constants: Sequence[float]) -> Change:
        """With ``constants`` in their place."""
        texts = {f"w['any'][{number}]": f"({value!r})" for number, value in enumerate(constants)}

        def put(what: Any) -> Any:
            if not isinstance(what, str):
                return what
            return reduce(lambda known, each: known.replace(*each), texts.items(), what)

        return Change(tuple((verb, stage, put(what)) for verb, stage, what in self.steps))


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


def _insert(network: Network, stage: str, text: str, *, behind: int) -> Network:
    stages = list(network.stages.items())
    at = list(network.stages).index(stage) + behind
    stages.insert(at, (f"inserted {len(stages)}", text))
    return replace(network, stages=dict(stages))


VERBS: dict[str, Callable[[Network, str, Any], Network | None]] = {
    "replace": _replace,
    "edit": _edit,
    "before": partial(_insert, behind=0),
    "after": partial(_insert, behind=1),
    "remove": _remove,
    "move": _move,
}
"""In the order in which the steps of a change are made."""


# From entries to mistakes


def _changes(keys: Mapping[str, Any]) -> Iterator[Change]:
    """One for each way that is written and each value of what is listed."""
    lists = {key: keys[key] for key in keys if isinstance(keys[key], list) and key not in OWN}
    for way in keys.get("either", [keys]):
        if not (VERBS.keys() & way.keys()) or not is_for(way, keys):
            continue
        for chosen in product(*lists.values()):
            names = {**keys, **dict(zip(lists, chosen, strict=True))}
            steps = (
                (verb, *step) for verb in VERBS for step in _steps(filled(way.get(verb, {}), names))
            )
            yield Change(tuple(steps))


TOLD = {"bounds", "bypass", "made", "resizes", "parts", "layer", "module", "name"}
"""Keys of an entry that others than this module look at."""

OWN = {"over", "except", "either", "parts", *VERBS}
"""Keys of an entry whose lists are no values to try."""


def _steps(stages: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(stages, list):
        yield from ((stage, None) for stage in stages)
    else:
        for stage, what in stages.items():
            yield stage, tuple(map(tuple, what)) if isinstance(what, list) else what


def _mistake(entry: Fault) -> Mistake:
    more = {key: filled(value, entry.more) for key, value in entry.more.items() if key in TOLD}
    changes = list(dict.fromkeys(_changes(entry.more)))
    opened = tuple(change for change in changes if change.is_open)
    closed = tuple(change for change in changes if not change.is_open)
    return Mistake(entry.id, entry.says, entry.hint, more=more, changes=closed, open=opened)


BANK = tuple(
    _mistake(entry)
    for exercise in NETWORKS
    for entry in entries("networks").values()
    if entry.id.startswith(f"{exercise}.")
)

TABLES = tables("networks")

LAYERS: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    exercise: {row["layer"]: row for row in TABLES["layer"] if row["exercise"] == exercise}
    for exercise in NETWORKS
}
"""Each network's layers: what ``its`` layer is called in a sentence, what the ids call it (``at``),
and the id of ``no_bias``.
"""


def of(exercise: str) -> Sequence[Mistake]:
    """The mistakes in a network of one exercise that has the parameters asked for."""
    mistakes = [fault for fault in BANK if fault.id.startswith(f"{exercise}.")]
    return [each for each in mistakes if not each.more.keys() & {"resizes", "parts"}]


@cache
def with_parts(exercise: str) -> Sequence[tuple[Sequence[Mistake], int]]:
    """Layers more than are asked for: a kind of them, by where they are, and one of its ways."""
    kinds: dict[str, list[Mistake]] = {}
    for fault in BANK:
        if fault.id.startswith(f"{exercise}.") and "parts" in fault.more:
            kinds.setdefault(fault.more["name"], []).append(fault)
    return [(kind, way) for kind in kinds.values() for way in range(len(kind[0].changes))]


def entry(name: str) -> Mistake:
    """The mistake with the id ``name``."""
    return next(fault for fault in BANK if fault.id == name)
