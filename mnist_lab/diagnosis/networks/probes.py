"""Which mistakes of the bank make a learner's network: found from its end to its beginning.

With the weights of a layer at 0, its biases alone go on, and only what comes after it counts.
So what is wrong behind the last layer is found before anything else can matter, then what is wrong
before it, and so on to the images. Each probe shows a part more; what explains it is kept
and has to explain the next. That makes it cheap to find several mistakes at once, and says where
the network departs from what is asked if nothing in the bank explains it. In the end what was found
must give the learner's outputs under random weights and images, in some layout.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, permutations, product

import torch
from torch import Tensor

from mnist_lab.diagnosis.draws import images as drawn
from mnist_lab.diagnosis.explain import Explanation, difference
from mnist_lab.diagnosis.networks import layouts
from mnist_lab.diagnosis.networks.bank import Mistake
from mnist_lab.diagnosis.networks.layouts import MISFIT, Named
from mnist_lab.diagnosis.reference import Network, through

__all__ = ["Finding", "Observed", "Run", "explain"]

Run = Callable[[Mapping[str, Tensor], Tensor], Tensor | None]
"""The learner's outputs for weights, by the learner's names, and images; None where it fails."""

SPREAD = 9.0
"""How far from 0 the biases of a layer go whose weights are 0: beyond the 6 of a ReLU6."""

IMAGES = 2
"""In a probe: as few as show what depends on the other images of a batch."""

NAMED = 1e-4
"""Part of the largest output by which a named network may differ from a learner's that works in
float32 only."""

AT_ONCE = 4
"""The most mistakes that are looked for in one network."""

EFFORT = 23_500
"""How much is tried before an explanation is given up: what a dense network takes is 1, and all of
it a second or two."""

COSTS = {"output": 1, "hidden": 1, "linear": 1, "conv2": 6}
"""Of computing a network from these layers on."""

MORE_PAIRS = 500
"""How many pairs are tried after one that explains a part, for others that do."""

MOST_VERIFIED = 40
"""The most explanations that are compared in all layouts."""

FEW = 3
"""The most explanations for which it is worth trying pairs, and what showed nowhere at first."""

KEPT = 64
"""Results of stages that are remembered, for networks that begin alike."""


@dataclass(frozen=True)
class Observed:
    """The learner's ``outputs`` for ``images`` with weights ``stored`` by the learner's names.

    ``matched`` says which of the reference's weights each of them is.
    """

    matched: Mapping[str, Named]
    stored: Mapping[str, Tensor]
    images: Tensor
    outputs: Tensor


@dataclass(frozen=True)
class Probe:
    """Weights by the reference's names and images, chosen so that a part of the network shows.

    ``start`` is the layer whose weights are 0, so that everything shows from there on, or empty.
    """

    name: str
    start: str
    weights: dict[str, Tensor]
    images: Tensor


@dataclass(frozen=True)
class Finding:
    """The ``explanation``, if there is one. Otherwise ``departs`` names the first probe, from the
    network's end, whose outputs are not those asked for, and ``off`` by how much they differ; it is
    ``order`` where all of them are, which leaves what such weights cannot show.
    """

    explanation: Explanation[Network] | None
    departs: str = ""
    off: float = 0.0


def explain(
    network: Network,
    bank: Sequence[Mistake],
    observed: Observed,
    run: Run,
    generator: torch.Generator,
    share: float = 1.0,
) -> Finding:
    """The fewest mistakes of ``bank`` with which ``network`` does what the learner's does.

    ``share`` is the part of the effort that it is worth.
    """
    effort = _Effort(share)
    tried: list[_Tried] = []
    for probe in _probes(network, observed.matched, generator):
        stored = layouts.stored(network, observed.matched, probe.weights)
        outputs = run(stored, probe.images.to(observed.images.dtype))
        if outputs is not None:
            tried.append(_Tried(probe, network, outputs, effort))
    departs, off = "", 0.0
    for each in tried:
        asked = each.outputs(network)
        if asked is not None and not each.matches(network):
            departs, off = each.probe.name, difference(each.seen, asked)
            break
    else:
        departs = "order" if tried else ""
    return Finding(_explained(network, bank, tried, observed), departs, off)


def _explained(
    network: Network,
    bank: Sequence[Mistake],
    tried: Sequence[_Tried],
    observed: Observed,
) -> Explanation[Network] | None:
    """What explains each part by the fewest mistakes; then what only a later part supports; then
    what two mistakes in one part explain.
    """
    ways = [
        (way, _Unit(fault, change)) for fault in bank for way, change in enumerate(fault.changes)
    ]
    units = [unit for _, unit in sorted(ways, key=lambda entry: entry[0])]
    for thorough, pairs in ((False, False), (True, False), (False, True)):
        search = _Search(network, units, thorough, pairs)
        if all(search.narrow(each) for each in tried):
            explanation = _verified(network, search.states, observed)
            if explanation is None:
                search.extend()
                explanation = _verified(network, search.states, observed)
            if explanation is not None:
                return explanation
    return None


@dataclass(frozen=True, eq=False)
class _Unit:
    """One way of making a mistake."""

    fault: Mistake
    change: Callable[[Network], Network | None]


@dataclass(frozen=True, eq=False)
class _State:
    """Some mistakes, and the network with them."""

    faults: tuple[Mistake, ...]
    network: Network

    def with_(self, *units: _Unit) -> _State | None:
        network: Network | None = self.network
        for unit in units:
            network = None if network is None else unit.change(network)
        if network is None:
            return None
        return _State((*self.faults, *(unit.fault for unit in units)), network)


class _Search:
    """The ``states`` that explain all probes so far.

    If ``thorough``, silent mistakes are supposed from the start, since nothing shows them later,
    and a state is extended even where another needs no more.
    """

    def __init__(
        self, network: Network, units: Sequence[_Unit], thorough: bool, pairs: bool
    ) -> None:
        self._thorough, self._pairing = thorough, pairs
        self._asked, self._units = _State((), network), units
        self.states = [self._asked]
        if thorough:
            silent = [unit for unit in units if unit.fault.silent]
            subsets = (combinations(silent, count) for count in range(1, len(silent) + 1))
            states = (self._asked.with_(*subset) for group in subsets for subset in group)
            self.states += [state for state in states if state]
        self._passed: list[_Tried] = []
        self._open, self._decided, self._filtered = list(units), list[_Unit](), 0

    def narrow(self, tried: _Tried) -> bool:
        """Keep or extend what explains one more probe; whether anything does."""
        found: list[_State] = []
        wanting: list[_State] = []
        for state in self.states:
            (found if tried.matches(state.network) else wanting).append(state)
        if wanting and (self._thorough or not found):
            shown = self._shown(tried)
            found += [each for state in wanting for each in self._singles(state, shown, tried)]
        if not found:  # A mistake that showed earlier may have been hidden by another one.
            found = [
                each
                for state in wanting[:FEW]
                for each in self._singles(state, self._decided, tried)
                if all(known.matches(each.network) for known in self._passed)
            ]
        if not found and self._pairing:
            found = [each for state in wanting[:FEW] for each in self._pairs(state, shown, tried)]
        self.states = sorted(found, key=lambda state: len(state.faults))
        self._passed.append(tried)
        return bool(found)

    def extend(self) -> None:
        """Add a mistake that has made no difference so far to every state."""
        self.states = [
            each
            for state in self.states[:FEW]
            for each in self._singles(state, self._units, self._passed[-1])
            if all(known.matches(each.network) for known in self._passed)
        ][:MOST_VERIFIED]

    def _shown(self, tried: _Tried) -> list[_Unit]:
        """The mistakes that change what ``tried`` gives and nothing that was tried before."""
        for known in self._passed[self._filtered :]:
            self._decided += [unit for unit in self._open if self._changes(unit, known)]
            self._open = [unit for unit in self._open if not self._changes(unit, known)]
        self._filtered = len(self._passed)
        return [unit for unit in self._open if self._changes(unit, tried)]

    def _changes(self, unit: _Unit, tried: _Tried) -> bool:
        changed = self._asked.with_(unit)
        return changed is not None and not tried.alike(changed.network, self._asked.network)

    def _singles(self, state: _State, units: Sequence[_Unit], tried: _Tried) -> Iterator[_State]:
        """``state`` with one more mistake that explains ``tried``."""
        if len(state.faults) < AT_ONCE and not tried.effort.spent:
            for unit in units:
                if (each := state.with_(unit)) and tried.matches(each.network):
                    yield each

    def _pairs(self, state: _State, units: Sequence[_Unit], tried: _Tried) -> Iterator[_State]:
        """``state`` with two more mistakes that explain ``tried``."""
        if len(state.faults) + 2 > AT_ONCE:
            return
        # What goes around a layer shows mistakes before it, which do not show here by themselves.
        hidden = [unit for unit in self._open if unit not in units]
        around = product((unit for unit in units if unit.fault.bypass), [*hidden, *units])
        ordered = sorted(permutations(range(len(units)), 2), key=max)
        both = ((units[first], units[second]) for first, second in ordered)
        last = None
        for count, (first, second) in enumerate(chain(around, both)):
            if first.fault is second.fault:
                continue
            tried.effort.take(1)
            if tried.effort.spent or (last is not None and count - last > MORE_PAIRS):
                return
            each = state.with_(first, second)
            if each and tried.matches(each.network):
                last = count
                yield each


class _Effort:
    """What is left of ``EFFORT``."""

    def __init__(self, share: float) -> None:
        self._left = share * EFFORT

    def take(self, amount: int) -> None:
        self._left -= amount

    @property
    def spent(self) -> bool:
        return self._left < 0


class _Tried:
    """What networks give at a probe, beside what the learner's gave."""

    def __init__(self, probe: Probe, asked: Network, seen: Tensor, effort: _Effort) -> None:
        self.probe, self.seen, self.effort = probe, seen, effort
        self._cost = COSTS.get(probe.start, 17 if "conv1" in asked.stages else 3)
        self._known: dict[tuple[str, ...], Tensor | None] = {}
        self._results: OrderedDict[tuple[str, ...], Tensor] = OrderedDict()
        names = list(asked.stages)
        before = names[: names.index(probe.start)] if probe.start else []
        self._ahead = [asked.stages[name] for name in before]
        self._input = through(self._ahead, probe.weights, probe.images)

    def matches(self, network: Network) -> bool:
        """Whether the network gives what the learner's gave."""
        outputs = self.outputs(network)
        return outputs is not None and layouts.equal(self.seen, outputs)

    def alike(self, one: Network, other: Network) -> bool:
        """Whether two networks give the same."""
        first, second = self.outputs(one), self.outputs(other)
        if first is None or second is None:
            return first is second
        return layouts.equal(first.to(self.seen.dtype), second)

    def outputs(self, network: Network) -> Tensor | None:
        """None if shapes do not fit."""
        names, stages = list(network.stages), tuple(network.stages.values())
        start = names.index(self.probe.start) if self.probe.start in names else 0
        if not self._ahead and self.probe.start in network.changed:
            start = 0  # Another first layer may pass on what goes into it.
        tail = stages[start:]
        if tail not in self._known:
            self.effort.take(self._cost)
            self._known[tail] = self._computed(tail, stages)
        return self._known[tail]

    def _computed(self, tail: tuple[str, ...], stages: tuple[str, ...]) -> Tensor | None:
        try:
            return self._tail(tail)
        except MISFIT:
            pass
        try:
            return through(stages, self.probe.weights, self.probe.images)
        except MISFIT:
            return None

    def _tail(self, stages: tuple[str, ...]) -> Tensor:
        x, done = self._input, 0
        for length in range(len(stages), 0, -1):
            if stages[:length] in self._results:
                x, done = self._results[stages[:length]], length
                self._results.move_to_end(stages[:length])
                break
        for length in range(done + 1, len(stages) + 1):
            x = through(stages[length - 1 : length], self.probe.weights, x)
            self._results[stages[:length]] = x
        while len(self._results) > KEPT:
            self._results.popitem(last=False)
        return x


def _probes(
    network: Network, matched: Mapping[str, Named], generator: torch.Generator
) -> Iterator[Probe]:
    """From the network's end to its beginning, each showing a part more than those before."""
    layers = network.layers[::-1]
    weights = layouts.neutral_weights(network, matched, generator)
    images = 2 * drawn(generator, IMAGES)

    def tail(name: str, start: str, weights: dict[str, Tensor]) -> Probe:
        size = network.axes[f"{start}.weight"][0]
        biases = SPREAD * torch.linspace(-1, 1, size, dtype=torch.float64)
        shuffled = biases[torch.randperm(size, generator=generator)]
        silent = torch.zeros_like(weights[f"{start}.weight"])
        zeroed = {**weights, f"{start}.weight": silent}
        if f"{start}.bias" in weights:
            zeroed[f"{start}.bias"] = shuffled
        return Probe(name, start, zeroed, images)

    for layer in layers[:-1] if "conv1" in layers else layers:
        yield tail(layer, layer, weights)
    narrow = {
        name: _centre(value) if name.startswith("conv") and value.dim() == 4 else value
        for name, value in weights.items()
    }
    if all(layouts.is_neutral(value, matched[name]) for name, value in narrow.items()):
        shades = torch.randn(IMAGES, 1, 1, 1, generator=generator, dtype=torch.float64)
        flat = 2 * shades.expand(IMAGES, 1, 28, 28)
        if "conv1" in layers:
            yield tail("behind conv1", "conv1", narrow)
        yield Probe("flat", "", narrow, flat.clone())
        if "conv1" in layers:
            yield Probe("centre", "", narrow, images)
    if "conv1" in layers:
        yield tail("conv1", "conv1", weights)
    yield Probe("whole", "", weights, images)


def _centre(kernel: Tensor) -> Tensor:
    """The kernel with only the weight in its middle, made as large as all of it was."""
    middle = torch.zeros_like(kernel)
    row, column = (size // 2 for size in kernel.shape[2:])
    middle[:, :, row, column] = kernel.sum((2, 3))
    return middle


def _verified(
    asked: Network, states: Sequence[_State], observed: Observed
) -> Explanation[Network] | None:
    """Those of the fewest mistakes whose outputs are the learner's under the weights and images
    that were observed, in the most usual layout; several are told in the network's order.
    """
    stages = list(asked.stages)

    def place(fault: Mistake) -> int:
        about = [stage for _, stage, _ in fault.changes[0].steps if stage in stages]
        return min(map(stages.index, about), default=len(stages))

    best: list[tuple[_State, layouts.Comparison]] = []
    for state in sorted(states, key=lambda state: len(state.faults)):
        if best and len(state.faults) > len(best[0][0].faults):
            break
        try:
            compared = layouts.compare(
                state.network, observed.matched, observed.stored, observed.images, observed.outputs
            )
        except MISFIT:
            continue
        size = max(1.0, compared.outputs.abs().max().item())
        if compared.difference < NAMED * size and layouts.equal(observed.outputs, compared.outputs):
            best.append((state, compared))
    if not best:
        return None
    usual = min(compared.tried for _, compared in best)
    chosen = {
        frozenset(fault.id for fault in state.faults): (state, compared)
        for state, compared in best
        if compared.tried == usual
    }
    alternatives = [sorted(state.faults, key=place) for state, _ in chosen.values()]
    return Explanation(
        tuple(map(tuple, alternatives)),
        max(compared.difference for _, compared in chosen.values()),
        next(iter(chosen.values()))[0].network,
    )
