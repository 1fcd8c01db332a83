"""Networks with a learner's own layers: what their parameters can be, and how that departs from
what is asked.

Where parameters are not those of the handout's network, they are put into a chain of layers by
their sizes, with what the handout has between layers. Each such network is a guess that counts
only if it then gives the learner's outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations, cycle, islice, permutations, product

from mnist_lab.contract import DENSE, DIGITS, FILTERS, HIDDEN, SIDE
from mnist_lab.diagnosis.networks import bank
from mnist_lab.diagnosis.networks.layouts import Named, possible
from mnist_lab.diagnosis.reference import CONVOLUTION, LINEAR, Network

__all__ = ["Structure", "structures"]

MOST = 60
"""Guesses at most; the likeliest come first."""

MOST_ORDERS = 1000
"""Orders at most in which the layers may follow one another; that of registration comes first."""

LARGEST_KERNEL = 5
"""Larger ones are dense layers, written as convolutions over all that is left."""

MOST_CONVOLUTIONS = 5

MOST_UNUSED = 2
"""Weights at most that are taken to be without use."""

RELU = "F.relu(x)"

ACTIVATIONS = [
    text
    for mistake in bank.of("fnn")
    for change in mistake.changes
    for verb, stage, text in change.steps
    if (verb, stage) == ("replace", "relu")
]
"""What is put in place of a ReLU."""


@dataclass(frozen=True)
class Structure:
    """A network, which of its weights each parameter is, and the ``faults`` of its layers (the part
    of the ids after the exercise's). ``sizes`` describes the layers; ``unused`` are parameters that
    have no place in it.
    """

    network: Network
    matched: dict[str, Named]
    faults: tuple[str, ...]
    sizes: str
    unused: tuple[Named, ...] = ()


def structures(exercise: str, parameters: Sequence[Named]) -> list[Structure]:
    """All guesses, those with the fewest faults first."""
    make = {"logistic_regression": _logistic, "fnn": _fnn, "cnn": _cnn}[exercise]
    matrices = [each for each in parameters if _outputs(each) and not _of_maps(each, parameters)]
    vectors = [each for each in parameters if each not in matrices]
    found: list[Structure] = []
    for used in range(len(matrices), max(len(matrices) - MOST_UNUSED, 1) - 1, -1):
        for chosen in islice(permutations(matrices, used), MOST_ORDERS):
            if len(found) > 10 * MOST:
                break
            left = tuple(each for each in matrices if each not in chosen)
            for structure in make(chosen, vectors):
                unused = (*left, *structure.unused)
                spare = ("unused-layer",) if unused else ()
                found.append(replace(structure, faults=(*structure.faults, *spare), unused=unused))
    return sorted(found, key=lambda structure: len(structure.faults))[:MOST]


def _outputs(parameter: Named) -> tuple[int, ...]:
    """What may be the number of outputs of a weight: its first or last side; none of a vector."""
    sides = [size for size in parameter.shape if size > 1]
    if len(parameter.shape) < 2 or 0 in parameter.shape:
        return ()
    if len(sides) < 2 and max(parameter.shape) != SIDE**2:
        return ()
    return (parameter.shape[0], parameter.shape[-1])


def _of_maps(parameter: Named, parameters: Sequence[Named]) -> bool:
    """Whether it is the scale or the shift of a normalisation of whole maps (C, H, W)."""
    twins = [
        each
        for each in parameters
        if _owner(each) == _owner(parameter) and tuple(each.shape) == tuple(parameter.shape)
    ]
    return len(parameter.shape) == 3 and len(twins) == 2


def _owner(parameter: Named) -> str:
    return parameter.name.rpartition(".")[0]


# The three networks with layers of other sizes and numbers


@dataclass(frozen=True)
class _Layer:
    """A weight in a chain of layers: ``axes`` as the reference has them."""

    name: str
    weight: Named
    axes: tuple[int, ...]


def _logistic(chosen: Sequence[Named], vectors: Sequence[Named]) -> Iterator[Structure]:
    layers = _chain(chosen, "linear")
    if layers is None or len(layers) > 2:
        return
    bends = [[RELU], [], *([text] for text in ACTIVATIONS)] if len(layers) > 1 else [[]]
    for bend in bends:
        stages = {**_dense(layers, bend, ["relu"]), "sigmoid": "torch.sigmoid(x)"}
        faults = ["hidden-layer"] * (len(layers) - 1)
        yield from _complete("logistic_regression", stages, layers, vectors, faults)


def _fnn(chosen: Sequence[Named], vectors: Sequence[Named]) -> Iterator[Structure]:
    layers = _chain(chosen, "output")
    if layers is None:
        return
    for bends in _bends(len(layers) - 1):
        stages = _dense(layers, bends, ["relu"])
        faults = _dense_faults(layers, HIDDEN)
        yield from _complete("fnn", stages, layers, vectors, faults)


def _cnn(chosen: Sequence[Named], vectors: Sequence[Named]) -> Iterator[Structure]:
    kernels: list[Named] = []
    channels = 1
    for each in chosen:
        shape = tuple(each.shape)
        if len(shape) != 4 or shape[1] != channels or not shape[2] == shape[3] <= LARGEST_KERNEL:
            break
        kernels.append(each)
        channels = shape[0]
    dense = chosen[len(kernels) :]
    if not 0 < len(kernels) <= MOST_CONVOLUTIONS or not dense:
        return
    routes = _routes(tuple(each.shape[2] for each in kernels))
    for side in dict.fromkeys((*routes, 1)):
        layers = _chain(dense, "output", (channels, side, side))
        if layers is None:
            continue
        for ways in routes.get(side, ()):
            yield from _convolutional(kernels, ways, "", layers, vectors)
        if side == 1:
            larger = [ways for other, each in routes.items() if other > 1 for ways in each]
            for ways, squash in product(larger, ("x.mean((2, 3))", "x.amax((2, 3))")):
                yield from _convolutional(kernels, ways, squash, layers, vectors)


def _convolutional(
    kernels: Sequence[Named],
    ways: Sequence[_Way],
    squash: str,
    dense: Sequence[_Layer],
    vectors: Sequence[Named],
) -> Iterator[Structure]:
    stages: dict[str, str] = {}
    faults = []
    if len(kernels) != 2:
        faults.append("extra-convolution" if len(kernels) > 2 else "one-convolution")
    layers = []
    for number, (kernel, way) in enumerate(zip(kernels, ways, strict=True), start=1):
        name = f"conv{number}"
        layers.append(_Layer(name, kernel, tuple(kernel.shape)))
        stages[name] = way.convolution(name)
        stages[f"relu{number}" if number < 3 else f"{name} relu"] = RELU
        if way.pool is not None:
            stages[f"pool{number}"] = way.pooling
        if number < 3:
            faults += way.faults(number, tuple(kernel.shape), bool(squash))
    if squash:
        faults.append("global-pool")
        stages["squash"] = squash
    for bends in _bends(len(dense) - 1):
        yield from _complete(
            "cnn",
            stages | _dense(dense, bends, ["relu3"]),
            [*layers, *dense],
            vectors,
            faults + _dense_faults(dense, DENSE),
        )


@dataclass(frozen=True)
class _Way:
    """How a convolution moves, and the size and stride of the pool behind it."""

    padding: int
    stride: int
    pool: tuple[int, int] | None

    def size(self, before: int, kernel: int) -> int:
        after = (before + 2 * self.padding - kernel) // self.stride + 1
        return after if self.pool is None else (after - self.pool[0]) // self.pool[1] + 1

    def convolution(self, layer: str) -> str:
        moves = "" if self.stride == 1 else f", stride={self.stride}"
        return CONVOLUTION.format(layer).replace("padding=1", f"padding={self.padding}{moves}")

    @property
    def pooling(self) -> str:
        assert self.pool is not None
        size, stride = self.pool
        return "F.max_pool2d(x, 2)" if self.pool == (2, 2) else f"F.max_pool2d(x, {size}, {stride})"

    def faults(self, number: int, shape: tuple[int, ...], squashed: bool) -> list[str]:
        departures = {
            f"conv{number}-kernel-size": shape[2] != 3,
            f"conv{number}-filters": shape[0] != FILTERS[number - 1],
            f"conv{number}-padding": self.padding not in (1, shape[2] // 2),
            f"conv{number}-stride": self.stride != 1,
            f"pool{number}-size": self.pool not in (None, (2, 2)),
            f"no-pool{number}": self.pool is None and not squashed,
        }
        return [slug for slug, departs in departures.items() if departs]


@cache
def _routes(kernels: tuple[int, ...]) -> dict[int, list[tuple[_Way, ...]]]:
    """By the side of the maps in the end: how convolutions with kernels of these sizes may move."""
    found: dict[int, list[tuple[_Way, ...]]] = {}
    for ways in product(*(_ways(kernel, len(kernels)) for kernel in kernels)):
        size = SIDE
        for way, kernel in zip(ways, kernels, strict=True):
            size = way.size(size, kernel) if size > 0 else 0
        if size > 0:
            found.setdefault(size, []).append(ways)
    return found


def _ways(kernel: int, convolutions: int) -> list[_Way]:
    """How one of some convolutions may move; the more there are, the fewer ways are tried."""
    if convolutions > 2:
        usual = dict.fromkeys((kernel // 2, 0))
        return [_Way(*way) for way in product(usual, (1,), ((2, 2), None))]
    paddings = dict.fromkeys((kernel // 2, 1, 0, 2, 3))
    pools = ((2, 2), None, (3, 3), (3, 2), (2, 1), (4, 4))
    return [_Way(*way) for way in product(paddings, (1, 2), pools)]


# Chains of dense layers


def _chain(
    chosen: Sequence[Named], last: str, inputs: tuple[int, ...] = (SIDE, SIDE)
) -> list[_Layer] | None:
    """``chosen`` one after another as dense layers, if each fits what the one before it gives."""
    count = len(chosen)
    names = ["hidden", *(f"hidden{number}" for number in range(2, count)), last][-count:]
    layers = []
    for name, weight in zip(names, chosen, strict=True):
        fitting = [
            outputs
            for outputs in _outputs(weight)
            if math.prod(weight.shape) == outputs * math.prod(inputs)
            and possible((outputs, *inputs), weight.shape)
        ]
        if not fitting:
            return None
        layers.append(_Layer(name, weight, (fitting[0], *inputs)))
        inputs = (fitting[0],)
    return layers


def _bends(count: int) -> Iterator[list[str]]:
    """Whether there is a ReLU after each of the hidden layers; always after the first."""
    for bent in islice(product((RELU, ""), repeat=max(count - 1, 0)), MOST):
        yield [RELU, *bent][:count]


def _dense(layers: Sequence[_Layer], bends: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """The layers with what follows each, which has one of ``names`` as far as they go."""
    stages: dict[str, str] = {}
    for number, layer in enumerate(layers):
        stages[layer.name] = LINEAR.format(layer.name)
        if number < len(bends) and bends[number]:
            stages[names[number] if number < len(names) else f"{layer.name} relu"] = bends[number]
    return stages


def _dense_faults(layers: Sequence[_Layer], width: int) -> list[str]:
    if len(layers) != 2:
        return ["extra-layer" if len(layers) > 2 else "no-hidden-layer"]
    return ["other-width"] if layers[0].axes[0] != width else []


# Biases, normalisation layers and learned slopes


RELUS = {
    "logistic_regression": {},
    "fnn": {"hidden": ("relu", "")},
    "cnn": {"conv1": ("relu1", "pool1"), "conv2": ("relu2", "pool2"), "hidden": ("relu3", "")},
}
"""The ReLU after each layer, and the pool after that."""


@dataclass(frozen=True)
class _Place:
    """Where a ReLU is: its stage, the number of units before it, and the pool behind it.

    ``at`` is what ids of mistakes call it.
    """

    units: int
    relu: str
    pool: str
    at: str


def _complete(
    exercise: str,
    stages: Mapping[str, str],
    layers: Sequence[_Layer],
    vectors: Sequence[Named],
    faults: Sequence[str],
) -> Iterator[Structure]:
    """The vectors as biases of the layers, and what is left of them as norms or slopes."""
    left, stages, found = list(vectors), dict(stages), list(faults)
    known, relus = bank.LAYERS[exercise], RELUS[exercise]
    if layers[-1].axes[0] != DIGITS:
        found.append("other-outputs")
    axes = {f"{layer.name}.weight": layer.axes for layer in layers}
    matched: dict[str, Named] = {f"{layer.name}.weight": layer.weight for layer in layers}
    for layer in layers:
        bias = _bias_of(layer, left)
        if bias is not None:
            left.remove(bias)
            axes[f"{layer.name}.bias"] = (layer.axes[0],)
            matched[f"{layer.name}.bias"] = bias
            continue
        stages[layer.name] = stages[layer.name].replace(f", w['{layer.name}.bias']", "")
        if layer.name in known:
            found.append(known[layer.name]["no_bias"])
    plain = Structure(Network(stages, axes), matched, tuple(found), _sizes(layers))
    if not left:
        yield plain
        return
    places = [
        _Place(layer.axes[0], relu, pool if pool in stages else "", known[layer.name]["at"])
        for layer in layers
        if layer.name in relus
        for relu, pool in [relus[layer.name]]
        if relu in stages
    ]
    for extras in _extras(left, places):
        yield _with_extras(plain, extras)
    yield replace(plain, unused=tuple(left))


def _sizes(layers: Sequence[_Layer]) -> str:
    return ", ".join(
        f"{layer.axes[2]}x{layer.axes[2]} conv to {layer.axes[0]}"
        if layer.name.startswith("conv")
        else f"{math.prod(layer.axes[1:])} to {layer.axes[0]}"
        for layer in layers
    )


def _bias_of(layer: _Layer, vectors: Sequence[Named]) -> Named | None:
    """The vector that is the bias of a layer: one of its size, beside it by name if any is."""
    fitting = [each for each in vectors if math.prod(each.shape) == layer.axes[0]]
    beside = [each for each in fitting if _owner(each) == _owner(layer.weight)]
    if beside:
        return beside[0]
    named = "." in layer.weight.name and any("." in each.name for each in fitting)
    return fitting[0] if fitting and not named else None


@dataclass(frozen=True)
class _Extra:
    """A layer that is not asked for: the step that adds it, its parameters, the fault."""

    step: tuple[str, str, str]
    parameters: Mapping[str, Named]
    fault: str


def _with_extras(structure: Structure, extras: Sequence[_Extra]) -> Structure:
    parameters = {name: each for extra in extras for name, each in extra.parameters.items()}
    sizes = {name: tuple(each.shape) for name, each in parameters.items()}
    changed = bank.Change(tuple(extra.step for extra in extras))(structure.network)
    assert changed is not None, "extras go where a ReLU is"
    return replace(
        structure,
        network=replace(changed, axes={**changed.axes, **sizes}),
        matched=structure.matched | parameters,
        faults=(*structure.faults, *(extra.fault for extra in extras)),
    )


def _extras(vectors: Sequence[Named], places: Sequence[_Place]) -> Iterator[list[_Extra]]:
    """Normalisation layers around activations, or PReLUs in their place."""
    groups: dict[str, list[Named]] = {}
    for each in vectors:
        groups.setdefault(_owner(each), []).append(each)
    if all(len(group) == 2 for group in groups.values()):
        for (kind, text), where in product(NORMS, ("before relu", "after relu", "after pool")):
            extras = _norms(list(groups.values()), places, kind, text, where)
            if extras is not None:
                yield extras
    if all(len(group) == 1 for group in groups.values()):
        for count in range(len(places), 0, -1):
            for chosen in combinations(places, count):
                yield from _slopes(vectors, chosen)


NORMS = (
    ("batch-norm-layer", "F.batch_norm(x, 0 * {shift}, 0 * {shift} + 1, {scale}, {shift})"),
    ("layer-norm-layer", "F.group_norm(x, 1, {scale}, {shift})"),
    ("layer-norm-layer", "F.layer_norm(x, x.shape[1:], {scale}, {shift})"),
    ("instance-norm-layer", "F.instance_norm(x, weight={scale}, bias={shift})"),
    *(("group-norm-layer", f"F.group_norm(x, {n}, {{scale}}, {{shift}})") for n in (2, 4, 8)),
)
"""In eval mode, before any training: running means are 0 and variances 1."""


def _norms(
    groups: Sequence[Sequence[Named]], places: Sequence[_Place], kind: str, text: str, where: str
) -> list[_Extra] | None:
    extras, free = [], list(places)
    verb, stage = where.split()
    for scale, shift in groups:
        units = (scale.shape[0] if len(scale.shape) else 1, math.prod(scale.shape))
        place = next((each for each in free if each.units in units), None)
        if place is None or (stage == "pool" and not place.pool):
            return None
        free.remove(place)
        names = {part: f"{place.at} norm.{part}" for part in ("scale", "shift")}
        code = text.format_map({part: f"w['{name}']" for part, name in names.items()})
        at = place.pool if stage == "pool" else place.relu
        parameters = {names["scale"]: scale, names["shift"]: shift}
        extras.append(_Extra((verb, at, code), parameters, f"{place.at}-{kind}"))
    return extras


def _slopes(slopes: Sequence[Named], places: Sequence[_Place]) -> Iterator[list[_Extra]]:
    """PReLUs in ``places``, each with a slope of its own or all with one."""
    if len(slopes) not in (1, len(places)):
        return
    extras = []
    for place, slope in zip(places, cycle(slopes)):
        if math.prod(slope.shape) not in (1, place.units):
            return
        name = f"{slope.name} slope"
        step = ("replace", place.relu, f"F.prelu(x, w['{name}'].reshape(-1))")
        extras.append(_Extra(step, {name: slope}, f"{place.at}-prelu"))
    yield extras
