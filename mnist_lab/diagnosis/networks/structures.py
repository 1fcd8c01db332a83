"""Networks with a learner's own layers: what their parameters can be, and how that departs from
what is asked.

Where parameters are not those of the handout's network, they are put into a chain of layers by
their sizes, with what the handout has between layers. Each such network is a guess that counts
only if it then gives the learner's outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product

from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis.faults.functions import ACTIVATIONS
from mnist_lab.diagnosis.networks.layouts import Named, possible
from mnist_lab.diagnosis.reference import Network, Stage, Weights, max_pool, relu, sigmoid

__all__ = ["Structure", "structures"]

MOST = 60
"""Guesses at most; the likeliest come first."""

LARGEST_KERNEL = 5
"""Larger ones are dense layers, written as convolutions over all that is left."""

MOST_UNUSED = 2
"""Weights at most that are taken to be without use."""


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
    matrices = [each for each in parameters if _sides(each)]
    vectors = [each for each in parameters if not _sides(each)]
    found: list[Structure] = []
    for used in range(len(matrices), max(len(matrices) - MOST_UNUSED, 1) - 1, -1):
        for chosen in permutations(matrices, used):
            if len(found) > 10 * MOST:
                break
            left = tuple(each for each in matrices if each not in chosen)
            for structure in make(chosen, vectors):
                unused = (*left, *structure.unused)
                spare = ("unused-layer",) if unused else ()
                found.append(replace(structure, faults=(*structure.faults, *spare), unused=unused))
    return sorted(found, key=lambda structure: len(structure.faults))[:MOST]


@dataclass(frozen=True)
class _Layer:
    """A weight in a chain of layers: ``axes`` as the reference has them."""

    name: str
    weight: Named
    axes: tuple[int, ...]


# The three networks with layers of other sizes and numbers


def _logistic(chosen: Sequence[Named], vectors: Sequence[Named]) -> Iterator[Structure]:
    for layers in _chain(chosen, ["linear"] if len(chosen) == 1 else ["hidden", "linear"]):
        faults = ["hidden-layer"] * (len(layers) > 1)
        between: list[Stage | None] = [None]
        if len(layers) > 1:
            between = [relu, None, *(_unweighted(way) for f in ACTIVATIONS for way in f.ways)]
        for stage in between:
            stages = {layer.name: _linear(layer.name) for layer in layers}
            if stage is not None:
                stages = {"hidden": stages["hidden"], "relu": stage, "linear": stages["linear"]}
            stages["sigmoid"] = sigmoid
            yield from _with_vectors(
                "logistic_regression", stages, layers, vectors, faults, {"hidden": "relu"}
            )


def _fnn(chosen: Sequence[Named], vectors: Sequence[Named]) -> Iterator[Structure]:
    names = ["hidden", *(f"hidden{n}" for n in range(2, len(chosen))), "output"]
    for layers in _chain(chosen, names if len(chosen) > 1 else ["output"]):
        faults = []
        if len(layers) != 2:
            faults.append("extra-layer" if len(layers) > 2 else "no-hidden-layer")
        elif layers[0].axes[0] != 256:
            faults.append("other-width")
        for bent in _bends(len(layers) - 1):
            stages = _dense_stages(layers, {0: "relu"}, bent)
            yield from _with_vectors("fnn", stages, layers, vectors, faults, {"hidden": "relu"})


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
    if not kernels or not dense:
        return
    fitting = _fitting_sides(dense[0], channels)
    for ways in product(*(_ways(each.shape[2], len(kernels)) for each in kernels)):
        size = 28
        for way, each in zip(ways, kernels, strict=True):
            size = way.size(size, each.shape[2])
        for squash in (None, "mean", "maximum"):
            side = 1 if squash else size
            if size < 1 or side not in fitting or (squash and size == 1):
                continue
            for layers in _chain(dense, _dense_names(len(dense)), (channels, side, side)):
                yield from _cnn_of(kernels, ways, squash, layers, vectors)


def _fitting_sides(dense: Named, channels: int) -> set[int]:
    """The sides of the maps that a dense layer may flatten."""
    inputs = {math.prod(dense.shape) // outputs for outputs in _sides(dense)}
    return {side for side in range(1, 29) if any(channels * side**2 == number for number in inputs)}


def _cnn_of(
    kernels: Sequence[Named],
    ways: Sequence[_Way],
    squash: str | None,
    dense: Sequence[_Layer],
    vectors: Sequence[Named],
) -> Iterator[Structure]:
    stages: dict[str, Stage] = {}
    faults = []
    if len(kernels) != 2:
        faults.append("extra-convolution" if len(kernels) > 2 else "one-convolution")
    layers = []
    for number, (kernel, way) in enumerate(zip(kernels, ways, strict=True), start=1):
        name = f"conv{number}"
        layers.append(_Layer(name, kernel, tuple(kernel.shape)))
        stages[name] = _convolution(name, way)
        stages[f"relu{number}" if number < 3 else f"{name} relu"] = relu
        if way.pool is not None:
            stages[f"pool{number}"] = way.pool_stage()
        if number < 3:
            faults += way.faults(number, tuple(kernel.shape))
    if squash:
        faults = [*(fault for fault in faults if not fault.startswith("no-pool")), "global-pool"]
        stages["squash"] = _unweighted(_mean if squash == "mean" else _maximum)
    if len(dense) != 2:
        faults.append("extra-layer" if len(dense) > 2 else "no-hidden-layer")
    elif dense[0].axes[0] != 128:
        faults.append("other-width")
    for bent in _bends(len(dense) - 1):
        behind = _dense_stages(dense, {0: "relu3"}, bent)
        yield from _with_vectors(
            "cnn",
            stages | behind,
            [*layers, *dense],
            vectors,
            faults,
            {"conv1": "relu1", "conv2": "relu2", "hidden": "relu3"},
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

    def pool_stage(self) -> Stage:
        if self.pool == (2, 2):
            return max_pool
        assert self.pool is not None
        size, stride = self.pool
        return lambda w, x: F.max_pool2d(x, size, stride)

    def faults(self, number: int, shape: tuple[int, ...]) -> list[str]:
        found = []
        if shape[2] != 3:
            found.append(f"conv{number}-kernel-size")
        if shape[0] != (16, 32)[number - 1]:
            found.append(f"conv{number}-filters")
        if self.padding not in (1, shape[2] // 2):
            found.append(f"conv{number}-padding")
        if self.stride != 1:
            found.append(f"conv{number}-stride")
        if self.pool != (2, 2):
            found.append(f"pool{number}-size" if self.pool else f"no-pool{number}")
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
    chosen: Sequence[Named], names: Sequence[str], inputs: tuple[int, ...] = (28, 28)
) -> Iterator[list[_Layer]]:
    """``chosen`` one after another as dense layers, if each fits what the one before it gives."""
    layers = []
    for name, weight in zip(names, chosen, strict=True):
        outputs = [
            outputs
            for outputs in dict.fromkeys(_sides(weight))
            if math.prod(weight.shape) == outputs * math.prod(inputs)
            and possible((outputs, *inputs), weight.shape)
        ]
        if not outputs:
            return
        layers.append(_Layer(name, weight, (outputs[0], *inputs)))
        inputs = (outputs[0],)
    yield layers


def _dense_names(count: int) -> list[str]:
    if count == 1:
        return ["output"]
    return ["hidden", *(f"hidden{number}" for number in range(2, count)), "output"]


def _bends(count: int) -> Iterator[tuple[bool, ...]]:
    """Whether there is a ReLU after each of the hidden layers; always after the first."""
    if count == 0:
        yield ()
    else:
        yield from ((True, *rest) for rest in product((True, False), repeat=count - 1))


def _dense_stages(
    layers: Sequence[_Layer], known: Mapping[int, str], bent: Sequence[bool]
) -> dict[str, Stage]:
    stages: dict[str, Stage] = {}
    for number, layer in enumerate(layers):
        stages[layer.name] = _linear(layer.name)
        if number < len(bent) and bent[number]:
            stages[known.get(number, f"{layer.name} relu")] = relu
    return stages


def _linear(layer: str) -> Stage:
    def stage(w: Weights, x: Tensor) -> Tensor:
        sums = x.flatten(1) @ w[f"{layer}.weight"].flatten(1).T
        return sums + w[f"{layer}.bias"] if f"{layer}.bias" in w else sums

    return stage


def _convolution(layer: str, way: _Way) -> Stage:
    return lambda w, x: F.conv2d(
        x, w[f"{layer}.weight"], w.get(f"{layer}.bias"), way.stride, way.padding
    )


def _unweighted(function: Callable[[Tensor], Tensor]) -> Stage:
    return lambda w, x: function(x)


def _mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def _maximum(x: Tensor) -> Tensor:
    return x.amax((2, 3))


# Biases, normalisation layers and learned slopes


def _with_vectors(
    exercise: str,
    stages: Mapping[str, Stage],
    layers: Sequence[_Layer],
    vectors: Sequence[Named],
    faults: Sequence[str],
    activations: Mapping[str, str],
) -> Iterator[Structure]:
    """The vectors as biases of the layers, and what is left of them as norms or slopes."""
    left = list(vectors)
    if layers[-1].axes[0] != 10:
        faults = [*faults, "other-outputs"]
    axes = {f"{layer.name}.weight": layer.axes for layer in layers}
    matched: dict[str, Named] = {f"{layer.name}.weight": layer.weight for layer in layers}
    found = list(faults)
    for layer in layers:
        bias = _bias_of(layer, left)
        if bias is not None:
            left.remove(bias)
            axes[f"{layer.name}.bias"] = (layer.axes[0],)
            matched[f"{layer.name}.bias"] = bias
        elif layer.name in _WITHOUT_BIAS[exercise]:
            found.append(_WITHOUT_BIAS[exercise][layer.name])
    sizes = ", ".join(
        f"{layer.axes[2]}x{layer.axes[2]} conv to {layer.axes[0]}"
        if layer.name.startswith("conv")
        else f"{math.prod(layer.axes[1:])} to {layer.axes[0]}"
        for layer in layers
    )
    plain = Structure(Network(dict(stages), axes), matched, tuple(found), sizes)
    places = {
        layer: (place, next(each.axes[0] for each in layers if each.name == layer))
        for layer, place in activations.items()
        if place in stages and layer in stages
    }
    slugs = {"hidden": "dense"} if exercise == "cnn" else {}
    if not left:
        yield plain
        return
    for extra in _extras(left, places):
        network = plain.network
        for way in extra.changes:
            network = way(network)
        yield Structure(
            replace(network, axes={**axes, **extra.axes}),
            matched | extra.matched,
            (*found, *(f"{slugs.get(layer, layer)}-{what}" for layer, what in extra.faults)),
            sizes,
        )
    yield replace(plain, unused=tuple(left))


_WITHOUT_BIAS = {
    "logistic_regression": {"linear": "no-bias"},
    "fnn": {"hidden": "no-bias-hidden", "output": "no-bias-output"},
    "cnn": {
        "conv1": "no-bias-conv1",
        "conv2": "no-bias-conv2",
        "hidden": "no-bias-dense",
        "output": "no-bias-output",
    },
}


def _bias_of(layer: _Layer, vectors: Sequence[Named]) -> Named | None:
    """The vector that is the bias of a layer: one of its size, beside it by name if any is."""
    fitting = [each for each in vectors if math.prod(each.shape) == layer.axes[0]]
    folder = layer.weight.name.rpartition(".")[0]
    beside = [each for each in fitting if each.name.rpartition(".")[0] == folder]
    if beside:
        return beside[0]
    named = "." in layer.weight.name and any("." in each.name for each in fitting)
    return fitting[0] if fitting and not named else None


@dataclass(frozen=True)
class _Extra:
    changes: tuple[_Insert, ...]
    axes: dict[str, tuple[int, ...]]
    matched: dict[str, Named]
    faults: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Insert:
    """A stage that goes right before ``place``, right after it or in its place."""

    place: str
    stage: Stage
    where: str

    def __call__(self, network: Network) -> Network:
        stages: dict[str, Stage] = {}
        for name, stage in network.stages.items():
            new = {f"{self.place} {self.where}": self.stage}
            if name != self.place:
                stages[name] = stage
            elif self.where == "instead":
                stages[name] = self.stage
            else:
                stages |= new | {name: stage} if self.where == "before" else {name: stage} | new
        return replace(network, stages=stages)


def _extras(vectors: Sequence[Named], places: Mapping[str, tuple[str, int]]) -> Iterator[_Extra]:
    """Normalisation layers before or after activations, or PReLUs in their place."""
    groups: dict[str, list[Named]] = {}
    for each in vectors:
        groups.setdefault(each.name.rpartition(".")[0], []).append(each)
    if all(len(group) == 2 for group in groups.values()):
        for norm, where in product(("batch-norm-layer", "layer-norm-layer"), ("before", "after")):
            extra = _norms(list(groups.values()), places, norm, where)
            if extra is not None:
                yield extra
    if all(len(group) == 1 for group in groups.values()):
        slopes = [group[0] for group in groups.values()]
        for count in range(len(places), 0, -1):
            for chosen in permutations(places, count):
                if list(chosen) == sorted(chosen, key=list(places).index):
                    yield from _slopes(slopes, {layer: places[layer] for layer in chosen})


def _norms(
    groups: Sequence[Sequence[Named]],
    places: Mapping[str, tuple[str, int]],
    norm: str,
    where: str,
) -> _Extra | None:
    changes, faults = [], []
    axes: dict[str, tuple[int, ...]] = {}
    matched: dict[str, Named] = {}
    free = dict(places)
    for scale, shift in groups:
        size = math.prod(scale.shape)
        layer = next((name for name, (_, units) in free.items() if units == size), None)
        if layer is None:
            return None
        place, _ = free.pop(layer)
        name = f"{layer} norm"
        make = _batch_norm if norm == "batch-norm-layer" else _layer_norm
        changes.append(_Insert(place, make(name), where))
        axes |= {f"{name}.scale": (size,), f"{name}.shift": (size,)}
        matched |= {f"{name}.scale": scale, f"{name}.shift": shift}
        faults.append((layer, norm))
    return _Extra(tuple(changes), axes, matched, tuple(faults))


def _batch_norm(name: str) -> Stage:
    """In eval mode, before any training: the running mean is 0 and the variance 1."""

    def stage(w: Weights, x: Tensor) -> Tensor:
        shape = (-1, 1, 1) if x.dim() == 4 else (-1,)
        scale, shift = (w[f"{name}.{part}"].view(shape) for part in ("scale", "shift"))
        return x / math.sqrt(1 + 1e-5) * scale + shift

    return stage


def _layer_norm(name: str) -> Stage:
    def stage(w: Weights, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[1:], w[f"{name}.scale"], w[f"{name}.shift"])

    return stage


def _slopes(slopes: Sequence[Named], places: Mapping[str, tuple[str, int]]) -> Iterator[_Extra]:
    """PReLUs in ``places``, each with a slope of its own or all with one."""
    if len(slopes) not in (1, len(places)):
        return
    changes, faults = [], []
    axes: dict[str, tuple[int, ...]] = {}
    matched: dict[str, Named] = {}
    for (layer, (place, units)), slope in zip(
        places.items(), slopes if len(slopes) > 1 else [slopes[0]] * len(places), strict=True
    ):
        size = math.prod(slope.shape)
        if size not in (1, units):
            return
        name = f"{slope.name} slope"
        axes[name], matched[name] = (size,), slope
        changes.append(_Insert(place, _prelu(name), "instead"))
        faults.append((layer, "prelu"))
    yield _Extra(tuple(changes), axes, matched, tuple(faults))


def _prelu(name: str) -> Stage:
    return lambda w, x: F.prelu(x, w[name].reshape(-1))


def _sides(parameter: Named) -> tuple[int, ...]:
    """What may be the number of outputs of a weight: its first or last side; none of a vector."""
    sides = [size for size in parameter.shape if size > 1]
    if len(parameter.shape) < 2 or (len(sides) < 2 and max(parameter.shape) != 784):
        return ()
    return (parameter.shape[0], parameter.shape[-1])
