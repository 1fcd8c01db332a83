"""Which mistakes of the bank make a learner's network: found from its end to its beginning.

With the weights of a layer at 0, its biases alone go on, and only what comes after it counts.
So what is wrong behind the last layer shows before anything else can matter, then what is wrong
before it, and so on to the images. That makes it cheap to find two mistakes at once, and says where
the network departs from what is asked if nothing in the bank explains it. In the end what was found
must give the learner's outputs under random weights and images, in some layout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain, islice, permutations, product, takewhile

import numpy as np
import torch
from torch import Tensor

from mnist_lab.diagnosis.draws import images as drawn
from mnist_lab.diagnosis.explain import Explanation, difference
from mnist_lab.diagnosis.networks import layouts
from mnist_lab.diagnosis.networks.bank import Change, Mistake
from mnist_lab.diagnosis.networks.layouts import MISFIT
from mnist_lab.diagnosis.reference import Network, through
from mnist_lab.submission.answers import Parameter

Run = Callable[[Mapping[str, Tensor], Tensor], Tensor | None]
"""The learner's outputs for weights, by the learner's names, and images; None where it fails."""

SPREAD, FAR = 9.0, 50
"""How far below 0 the biases of a layer go whose weights are 0, and a little less above: beyond the
6 of a ReLU6, and such that the sum of an odd function of them is not 0. The outermost ones go so
many times further, beyond what is cut off at a high value.
"""

IMAGES = 2
"""In a probe: as few as show what depends on the other images of a batch."""

NAMED = 1e-4
"""Part of the largest output by which a named network may differ from a learner's that works in
float32 only."""

EFFORT = 26_500
"""How much is tried before an explanation is given up: what a dense network takes is 1, and all of
it a second or two."""

COSTS = {"output": 1, "hidden": 1, "linear": 1, "conv2": 6}
"""Of computing a network from these layers on."""

MOST_VERIFIED = 40
"""The most explanations that are compared in all layouts."""

CONSTANTS, ANY, MOST_TRIED, HUGE = 2, 0.25, 100, 1e6
"""Constants of a mistake that are found; one that changes something; how many follow from a first
guess; and what stands for outputs that are not finite.
"""

STARTS = ((1.0, 1.0), (3.0, 3.0), (0.1, 0.1), (-0.5, 0.1), (0.0, 1.0), (-1.0, 1.0), (2.0, -1.0))
"""First guesses: from some of them constants are found that are not found from others."""

FEW = 3
"""The most mistakes that explain a part beside each of which another is looked for."""

KEPT = 64
"""Results of stages that are remembered, for networks that begin alike."""


@dataclass(frozen=True)
class Observed:
    """The learner's ``outputs`` for ``images`` with weights ``stored`` by the learner's names.

    ``matched`` says which of the reference's weights each of them is, ``scale`` how large they are,
    where usual ones have 1.
    """

    matched: Mapping[str, Parameter]
    stored: Mapping[str, Tensor]
    images: Tensor
    outputs: Tensor
    scale: float = field(default=1.0, kw_only=True)


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
    *,
    share: float = 1.0,
    at_most: int = 2,
) -> Finding:
    """The fewest mistakes of ``bank``, one or two, with which ``network`` does what the learner's
    does.

    ``share`` is the part of the effort that it is worth.
    """
    effort = _Effort(share)
    tried: list[_Tried] = []
    for probe in _probes(network, observed.matched, observed.scale, generator):
        stored = layouts.usual(network, observed.matched).from_reference(probe.weights)
        outputs = run(stored, probe.images.to(observed.images.dtype))
        if outputs is not None:
            tried.append(_Tried(probe, network, outputs, effort))
    ways = [(way, fault, change) for fault in bank for way, change in enumerate(fault.changes)]
    units = [_Unit(fault, change) for _, fault, change in sorted(ways, key=lambda each: each[0])]
    unsettled = [_Unit(fault, change) for fault in bank for change in fault.open]
    search = _Search(_State((), network), units, unsettled, tried, effort)
    departing = search.departing(search.asked)
    several = [search.two, search.together, search.with_constants]
    for states in [search.alone, *(several if at_most == 2 else [])]:
        explanation = _verified(network, list(islice(states(), MOST_VERIFIED)), observed)
        if explanation is not None:
            return Finding(explanation)
    if departing is None:
        return Finding(None, "order" if tried else "")
    asked = departing.outputs(network)
    off = math.inf if asked is None else difference(departing.seen, asked)
    return Finding(None, departing.probe.name, off)


@dataclass(frozen=True, eq=False)
class _Unit:
    """One way of making a mistake; ``is_settled`` if its constants were found."""

    fault: Mistake
    change: Change
    is_settled: bool = False


def _closed(unit: _Unit, constants: Sequence[float]) -> _Unit:
    return replace(unit, change=unit.change.closed(constants))


@dataclass(frozen=True, eq=False)
class _State:
    """Some mistakes, the network with them, in how many ``steps`` it is changed, and of how many
    mistakes constants were found.
    """

    faults: tuple[Mistake, ...]
    network: Network
    steps: int = 0
    settled: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        """Lower for what is to be preferred."""
        return len(self.faults), self.settled

    def with_(self, unit: _Unit) -> _State | None:
        network = None if unit.fault in self.faults else unit.change(self.network)
        if network is None:
            return None
        return _State(
            (*self.faults, unit.fault),
            network,
            self.steps + len(unit.change.steps),
            self.settled + unit.is_settled,
        )


@dataclass(frozen=True)
class _Search:
    """Which mistakes, of the ``units`` or of the ``unsettled`` with constants that are found first,
    give what was seen at all probes ``tried``.
    """

    asked: _State
    units: Sequence[_Unit]
    unsettled: Sequence[_Unit]
    tried: Sequence[_Tried]
    effort: _Effort

    def departing(self, state: _State) -> _Tried | None:
        """What shows first that there are other mistakes than those of ``state``."""
        return next((each for each in self.tried if not each.matches(state.network)), None)

    def alone(self) -> Iterator[_State]:
        """None, or a single one."""
        yield from self._fitting([self.asked], self.tried)
        yield from self._fitting(self._with(self.asked, self.units), self.tried)

    def two(self) -> Iterator[_State]:
        """Two, of which the first alone explains the first part that departs."""
        yield from self.one_after_another(self.asked, 2, FEW, listed=True)

    def with_constants(self) -> Iterator[_State]:
        """One or two, with constants that nobody has listed."""
        self.effort.renew()
        yield from self.one_after_another(self.asked, 2, 1, listed=False)

    def one_after_another(
        self, state: _State, most: int, few: int, *, listed: bool
    ) -> Iterator[_State]:
        """Up to ``most`` more, each of which alone explains the first part that departs; beside a
        ``few`` of them that do, others are looked for. Unless only what is ``listed`` is
        tried, constants are found where none does.
        """
        departing = self.departing(state)
        if departing is None:
            yield state
        if departing is None or not most or self.effort.spent:
            return
        seen = self.tried if most == 1 else self.tried[: self.tried.index(departing) + 1]
        ones = list(self._fitting(self._with(state, self.units), seen))
        if not ones and not listed:
            settled = self._settled(state, departing)
            ones = list(self._fitting(self._with(state, settled), seen))
        if most == 1:
            yield from ones
            return
        ones.sort(
            key=lambda one: (-sum(each.matches(one.network) for each in self.tried), one.steps)
        )
        for one in ones[:few]:
            yield from self.one_after_another(one, most - 1, few, listed=listed)

    def _settled(self, state: _State, departing: _Tried) -> Iterator[_Unit]:
        """Mistakes with the constants with which they explain ``departing``, up to the first that
        explains everything. Behind a convolution they must, for a constant can always be found with
        which the one number is right that shows there; so they are found where everything shows.
        Other ones may do where images of one brightness leave units silent.
        """
        everything = self.tried[-1]
        if departing.is_dense or departing is everything:
            showing = [departing]
        else:
            showing = [everything] if departing.probe.start else [departing, everything]
        shown = [
            (unit, network)
            for unit in self.unsettled
            if (network := unit.change(state.network))
            and self._shows(state, _closed(unit, [ANY] * CONSTANTS), departing)
        ]
        for start, (unit, network), each in product(STARTS, shown, showing):
            if self.effort.spent:
                return
            constants = each.constants(network, start)
            settled = replace(_closed(unit, constants or []), is_settled=True)
            one = state.with_(settled) if constants else None
            if one and departing.matches(one.network):
                all_match = all(each.matches(one.network) for each in self.tried)
                if all_match or (departing.is_dense and start == STARTS[0]):
                    yield settled
                if all_match:
                    return

    def together(self) -> Iterator[_State]:
        """Two that are both needed for the first part that departs, the commoner ones first."""
        departing = self.departing(self.asked)
        if departing is None:
            return
        tried = [departing, *self.tried]  # Most pairs fail at the first.
        shown = [unit for unit in self.units if self._shows(self.asked, unit, departing)]
        # What goes around a layer shows mistakes before it, which do not show here by themselves.
        around = product((unit for unit in shown if unit.fault.more.get("bypass")), self.units)
        ordered = sorted(permutations(range(len(shown)), 2), key=max)
        for first, second in chain(around, ((shown[a], shown[b]) for a, b in ordered)):
            self.effort.take(1)
            one = self.asked.with_(first)
            seen = tried if second in shown else self.tried
            yield from self._fitting(self._with(one, [second]) if one else [], seen)
            if self.effort.spent:
                return

    def _with(self, state: _State, units: Iterable[_Unit]) -> Iterator[_State]:
        """``state`` and one more mistake, each in turn."""
        return (each for unit in units if (each := state.with_(unit)))

    def _fitting(self, states: Iterable[_State], seen: Sequence[_Tried]) -> Iterator[_State]:
        """Those that explain all that was ``seen``."""
        for state in states:
            if self.effort.spent:
                return
            if all(each.matches(state.network) for each in seen):
                yield state

    def _shows(self, state: _State, unit: _Unit, departing: _Tried) -> bool:
        """Whether it changes the part that departs, and none that does not."""
        changed = state.with_(unit)
        return (
            changed is not None
            and not departing.alike(changed.network, state.network)
            and all(
                each.matches(changed.network) for each in self.tried[: self.tried.index(departing)]
            )
        )


class _Effort:
    """What is left of ``EFFORT``."""

    def __init__(self, share: float) -> None:
        self._left = self._begins = share * EFFORT

    def take(self, amount: int) -> None:
        self._left -= amount

    def renew(self) -> None:
        """Three quarters of it at least."""
        self._left = max(self._left, 0.75 * self._begins)

    @property
    def spent(self) -> bool:
        return self._left < 0


class _Tried:
    """What networks give at a probe, beside what the learner's gave."""

    def __init__(self, probe: Probe, asked: Network, seen: Tensor, effort: _Effort) -> None:
        self.probe, self.seen, self.effort = probe, seen, effort
        self._cost = COSTS.get(probe.start, 17 if "conv1" in asked.stages else 3)
        self._known: dict[tuple[str, ...], Tensor | None] = {}
        self._begun = lru_cache(KEPT)(self._tail)
        names = list(asked.stages)
        before = names[: names.index(probe.start)] if probe.start else []
        self._ahead = [asked.stages[name] for name in before]
        self._input = through(self._ahead, probe.weights, probe.images)

    @property
    def is_dense(self) -> bool:
        """Whether nothing but dense layers shows."""
        return self._cost == 1

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

    def constants(self, network: Network, start: Sequence[float]) -> list[float] | None:
        """What ``w['any']`` has to be for the network to give what was seen, as near as one comes
        from the ``start``; None where shapes do not fit.
        """
        stages, weights = list(network.stages.values()), self.probe.weights
        fixed = len(list(takewhile(lambda stage: "'any'" not in stage, stages)))

        def off(values: np.ndarray) -> np.ndarray:
            self.effort.take(max(1, self._cost // 3))  # A part of the network, without a search.
            given = through(stages[fixed:], {**weights, "any": torch.tensor(values)}, ahead)
            return (given - self.seen.double()).flatten().nan_to_num(HUGE, HUGE, -HUGE).numpy()

        from scipy.optimize import least_squares  # Its import takes longer than a check.

        exactly = dict.fromkeys(("ftol", "xtol", "gtol"), 1e-15)
        try:
            ahead = through(stages[:fixed], weights, self.probe.images)
            with np.errstate(all="ignore"):  # Wrong guesses may end anywhere.
                found = least_squares(off, start, method="lm", max_nfev=MOST_TRIED, **exactly)
        except MISFIT:
            return None
        return list(map(float, found.x))

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
            return self._begun(tail)
        except MISFIT:
            pass
        try:
            return through(stages, self.probe.weights, self.probe.images)
        except MISFIT:
            return None

    def _tail(self, stages: tuple[str, ...]) -> Tensor:
        if not stages:
            return self._input
        return through(stages[-1:], self.probe.weights, self._begun(stages[:-1]))


def _probes(
    network: Network, matched: Mapping[str, Parameter], scale: float, generator: torch.Generator
) -> Iterator[Probe]:
    """From the network's end to its beginning, each showing a part more than those before."""
    layers = network.layers[::-1]
    neutral = layouts.neutral_weights(network, matched, generator)
    weights = {name: scale * value for name, value in neutral.items()}
    images = 2 * drawn(generator, IMAGES)

    def tail(name: str, start: str, weights: dict[str, Tensor], far: float = FAR) -> Probe:
        size = network.axes[f"{start}.weight"][0]
        even = torch.linspace(-1, 0.9, size, dtype=torch.float64)
        near = even if far else even * even.abs()  # Of ten, some that a shrinkage makes 0.
        biases = scale * SPREAD * (near + far * even**15)
        shuffled = biases[torch.randperm(size, generator=generator)]
        silent = torch.zeros_like(weights[f"{start}.weight"])
        zeroed = {**weights, f"{start}.weight": silent}
        if f"{start}.bias" in weights:
            zeroed[f"{start}.bias"] = shuffled
        return Probe(name, start, zeroed, images)

    yield tail(layers[0], layers[0], weights, far=0)  # A softmax of far scores gives 0 and 1.
    for layer in layers[:-1] if "conv1" in layers else layers:
        yield tail(layer, layer, weights)
    narrow = {
        name: _centre(value) if name.startswith("conv") and value.dim() == 4 else value
        for name, value in weights.items()
    }
    if all(layouts.is_neutral(value, matched[name]) for name, value in narrow.items()):
        # Beyond what pixels that are cut off are cut off at, on both sides.
        shades = torch.linspace(-3, 4, IMAGES, dtype=torch.float64)
        shades *= 1 + torch.randn(IMAGES, generator=generator, dtype=torch.float64).abs() / 2
        flat = shades.view(-1, 1, 1, 1).expand(IMAGES, 1, 28, 28)
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
    that were observed, in the most usual layout; several mistakes come in the order
    of the network's stages.
    """
    stages = list(asked.stages)

    def place(fault: Mistake) -> int:
        about = [stage for _, stage, _ in fault.changes[0].steps if stage in stages]
        return min(map(stages.index, about), default=len(stages))

    best: list[tuple[_State, layouts.Comparison]] = []
    for state in sorted(states, key=lambda state: state.rank):
        if best and state.rank > best[0][0].rank:
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
    chosen = {
        key: (state, compared)
        for key, (state, compared) in chosen.items()
        if not any(_is_without(other.network, state.network) for other, _ in chosen.values())
    }
    alternatives = [sorted(state.faults, key=place) for state, _ in chosen.values()]
    return Explanation(
        tuple(map(tuple, alternatives)),
        max(compared.difference for _, compared in chosen.values()),
        next(iter(chosen.values()))[0].network,
    )


def _is_without(network: Network, other: Network) -> bool:
    """Whether it is the ``other`` without some of its stages, which then do nothing there."""
    stages = iter(other.stages.values())
    left = all(text in stages for text in network.stages.values())
    return left and len(network.stages) < len(other.stages)
