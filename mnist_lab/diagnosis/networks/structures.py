"""Networks with a learner's own layers: what their parameters can be, and how that departs from
what is asked.

Where parameters are not those of the handout's network, they are put into a chain of layers by
their sizes, with what the handout has between layers or a mistake of the bank that changes sizes or
brings parameters of its own. Each such network is a guess that counts only if it then gives the
learner's outputs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain, combinations, islice, permutations, product

import torch

from mnist_lab.contract import DENSE, DIGITS, FILTERS, HIDDEN, SIDE
from mnist_lab.diagnosis.networks import bank
from mnist_lab.diagnosis.networks.layouts import MISFIT, possible
from mnist_lab.diagnosis.reference import CONVOLUTION, LINEAR, NETWORKS, Network, through
from mnist_lab.submission.answers import Parameter

MOST = 60
"""Guesses at most; the likeliest come first."""

MOST_ORDERS = 1000
"""Orders at most in which the layers may follow one another; that of registration comes first."""

LARGEST_KERNEL = 5
"""Larger ones are dense layers, written as convolutions over all that is left."""

MOST_CONVOLUTIONS = 5

MOST_UNUSED = 2
"""Weights at most that are taken to be without use."""

RELU, POOL = "F.relu(x)", "F.max_pool2d(x, 2)"

RESIZING = [
    (mistake, change)
    for mistake in bank.BANK
    for change in mistake.changes
    if mistake.more.get("resizes")
]
"""What changes the sizes of the maps behind it."""

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
    of the ids after the exercise's), each with the name of a parameter that shows it. ``sizes``
    describes the layers; ``unused`` are parameters that have no place in it.
    """

    network: Network
    matched: Mapping[str, Parameter]
    faults: Mapping[str, str]
    sizes: str
    unused: tuple[Parameter, ...] = ()


def structures(exercise: str, parameters: Sequence[Parameter]) -> list[Structure]:
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
            for structure in chain.from_iterable(
                _complete(exercise, each, vectors) for each in make(chosen)
            ):
                unused = (*left, *structure.unused)
                spare = {"unused-layer": unused[0].name} if unused else {}
                faults = {**structure.faults, **spare}
                found.append(replace(structure, faults=faults, unused=unused))
    return sorted(found, key=lambda structure: len(structure.faults))[:MOST]


def _outputs(parameter: Parameter) -> tuple[int, ...]:
    """What may be the number of outputs of a weight: its first or last side; none of a vector."""
    sides = [size for size in parameter.shape if size > 1]
    if len(parameter.shape) < 2 or 0 in parameter.shape:
        return ()
    if len(sides) < 2 and max(parameter.shape) != SIDE**2:
        return ()
    return (parameter.shape[0], parameter.shape[-1])


def _of_maps(parameter: Parameter, parameters: Sequence[Parameter]) -> bool:
    """Whether it is the scale or the shift of a normalisation of whole maps (C, H, W)."""
    twins = [
        each
        for each in parameters
        if each.owner == parameter.owner and tuple(each.shape) == tuple(parameter.shape)
    ]
    return len(parameter.shape) == 3 and len(twins) == 2


# The three networks with layers of other sizes and numbers


@dataclass(frozen=True)
class _Layer:
    """A weight in a chain of layers: ``axes`` as the reference has them."""

    name: str
    weight: Parameter
    axes: tuple[int, ...]


@dataclass(frozen=True)
class _Chain:
    """The ``layers`` of a network with the ``stages`` that they are in, and what is wrong with
    them.
    """

    stages: Mapping[str, str]
    layers: Sequence[_Layer]
    faults: Mapping[str, str]


def _logistic(chosen: Sequence[Parameter]) -> Iterator[_Chain]:
    layers = _in_a_row(chosen, "linear")
    if layers is None or len(layers) > 2:
        return
    bends = [[RELU], [], *([text] for text in ACTIVATIONS)] if len(layers) > 1 else [[]]
    for bend in bends:
        stages = {**_dense(layers, bend, ["relu"]), "sigmoid": "torch.sigmoid(x)"}
        faults = {"hidden-layer": layers[0].weight.name} if len(layers) > 1 else {}
        yield _Chain(stages, layers, faults)


def _fnn(chosen: Sequence[Parameter]) -> Iterator[_Chain]:
    layers = _in_a_row(chosen, "output")
    if layers is None:
        return
    for bends in _bends(len(layers) - 1):
        yield _Chain(_dense(layers, bends, ["relu"]), layers, _dense_faults(layers, HIDDEN))


def _cnn(chosen: Sequence[Parameter]) -> Iterator[_Chain]:
    kernels: list[_Layer] = []
    channels = 1
    for each in chosen:
        shape = tuple(each.shape)
        if len(shape) != 4 or shape[1] != channels or not shape[2] == shape[3] <= LARGEST_KERNEL:
            break
        kernels.append(_Layer(f"conv{len(kernels) + 1}", each, shape))
        channels = shape[0]
    dense = chosen[len(kernels) :]
    if not 0 < len(kernels) <= MOST_CONVOLUTIONS or not dense:
        return
    own = _convolution_faults(kernels)
    for stages, slugs, maps in _convolutional(tuple(each.axes for each in kernels)):
        layers = _in_a_row(dense, "output", maps)
        if layers is None:
            continue
        faults = own | dict.fromkeys(slugs, kernels[-1].weight.name)
        faults |= _dense_faults(layers, DENSE)
        for bends in _bends(len(layers) - 1):
            both = {**stages, **_dense(layers, bends, ["relu3"])}
            yield _Chain(both, [*kernels, *layers], faults)


def _convolution_faults(kernels: Sequence[_Layer]) -> dict[str, str]:
    found = {}
    if len(kernels) != 2:
        slug = "extra-convolution" if len(kernels) > 2 else "one-convolution"
        found[slug] = kernels[-1].weight.name
    for kernel, filters in zip(kernels, FILTERS, strict=False):
        if kernel.axes[2] != 3:
            found[f"{kernel.name}-kernel-size"] = kernel.weight.name
        if kernel.axes[0] != filters:
            found[f"{kernel.name}-filters"] = kernel.weight.name
    return found


@cache
def _convolutional(
    kernels: tuple[tuple[int, ...], ...],
) -> list[tuple[Mapping[str, str], tuple[str, ...], tuple[int, ...]]]:
    """The stages of convolutions with kernels of these shapes, with up to two mistakes that change
    sizes, and the sizes of the maps that they end in.

    Padding keeps the size or is 1; what follows a third convolution is nobody's mistake.
    """
    found = []
    options = []
    for number, kernel in enumerate(kernels, start=1):
        paddings, name = dict.fromkeys((1, kernel[2] // 2)), f"conv{number}"
        ways = [
            {name: CONVOLUTION.format(name).replace("padding=1", f"padding={padding}")}
            | {f"relu{number}" if number < 3 else f"{name} relu": RELU}
            | ({f"pool{number}": POOL} if pools else {})
            for padding in paddings
            for pools in ((True, False) if number > 2 else (True,))
        ]
        options.append(ways)
    axes = {f"conv{number}.weight": shape for number, shape in enumerate(kernels, start=1)}
    most = 2 if len(kernels) < 3 else 1
    for count, parts in product(range(most + 1), islice(product(*options), MOST)):
        plain = Network({k: text for part in parts for k, text in part.items()}, axes)
        for ids, network in _resized(plain, count):
            if maps := _maps(network):
                slugs = tuple(each.partition(".")[2] for each in ids)
                found.append((network.stages, slugs, maps))
    return found


def _resized(network: Network, count: int) -> Iterator[tuple[tuple[str, ...], Network]]:
    """The network with so many mistakes that change sizes, and their ids."""
    for mistakes in combinations(RESIZING, count):
        changed: Network | None = network
        for _, change in mistakes:
            changed = changed and change(changed)
        if changed:
            yield tuple(mistake.id for mistake, _ in mistakes), changed


OTHER_SIDES = range(8, 65)
"""Images that fit the CNN's linear layer after one or two mistakes that change sizes."""


@cache
def of_other_sides() -> Mapping[int, Sequence[tuple[tuple[str, ...], Network]]]:
    """By the side of images that end in 7x7 maps all the same: the CNN with such mistakes."""
    asked = NETWORKS["cnn"]
    ends = asked.axes["hidden.weight"][1:]
    axes = {name: asked.axes[name] for name in ("conv1.weight", "conv2.weight")}
    found: dict[int, list[tuple[tuple[str, ...], Network]]] = {side: [] for side in OTHER_SIDES}
    for ids, network in chain(_resized(asked, 1), _resized(asked, 2)):
        stages = list(network.stages)
        maps = Network({k: network.stages[k] for k in stages[: stages.index("hidden")]}, axes)
        for side in OTHER_SIDES:
            if _maps(maps, side) == ends:
                found[side].append((ids, network))
    return found


def _maps(network: Network, side: int = SIDE) -> tuple[int, ...]:
    """The sizes of what comes out for one image, for which one channel is enough; empty where
    sizes do not fit.
    """
    weights = {
        name.replace("weight", kind): torch.zeros(shape)
        for name, axes in network.axes.items()
        for kind, shape in (("weight", (1, 1, *axes[2:])), ("bias", (1,)))
    }
    try:
        ends = through(network.stages.values(), weights, torch.zeros(1, 1, side, side))
    except MISFIT:
        return ()
    return (list(network.axes.values())[-1][0], *ends.shape[2:])


# Chains of dense layers


def _in_a_row(
    chosen: Sequence[Parameter], last: str, inputs: tuple[int, ...] = (SIDE, SIDE)
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


def _dense_faults(layers: Sequence[_Layer], width: int) -> dict[str, str]:
    if len(layers) != 2:
        return {"extra-layer" if len(layers) > 2 else "no-hidden-layer": layers[-2:][0].weight.name}
    return {"other-width": layers[0].weight.name} if layers[0].axes[0] != width else {}


# Biases, normalisation layers and learned slopes


def _complete(exercise: str, plain: _Chain, vectors: Sequence[Parameter]) -> Iterator[Structure]:
    """The vectors as biases of the layers, and what is left of them as those of other layers. A
    single number may be the bias of all of a layer's outputs.
    """
    for shared in (False, True):
        if shared and all(math.prod(each.shape) != 1 for each in vectors):
            return
        with_biases, left = _with_biases(exercise, plain, vectors, shared=shared)
        groups: dict[str, list[Parameter]] = {}
        for each in left:
            groups.setdefault(each.owner, []).append(each)
        for kind, way in bank.with_parts(exercise) if left else ():
            guess: Structure | None = with_biases
            for group in groups.values():
                guess = guess and _with_layer(guess, group, kind, way)
            if guess:
                yield guess
        yield replace(with_biases, unused=tuple(left))


def _with_biases(
    exercise: str, plain: _Chain, vectors: Sequence[Parameter], *, shared: bool
) -> tuple[Structure, list[Parameter]]:
    """With the vectors that are left."""
    layers, left, stages = plain.layers, list(vectors), dict(plain.stages)
    found = dict(plain.faults)
    known, without = bank.LAYERS[exercise], dict[str, str]()
    if layers[-1].axes[0] != DIGITS:
        found["other-outputs"] = layers[-1].weight.name
    axes = {f"{layer.name}.weight": layer.axes for layer in layers}
    matched: dict[str, Parameter] = {f"{layer.name}.weight": layer.weight for layer in layers}
    for layer in layers:
        name, outputs = f"{layer.name}.bias", layer.axes[0]
        bias = _bias_of(layer, left)
        if bias is None and shared and layer.name in known:
            bias = next((each for each in left if math.prod(each.shape) == 1), None)
            if bias is not None:
                own, outputs = f"w['{name}']", 1
                stages[layer.name] = stages[layer.name].replace(
                    own, f"{own}.expand({layer.axes[0]})"
                )
                found[f"shared-bias-{known[layer.name]['at']}"] = bias.name
        if bias is not None:
            left.remove(bias)
            axes[name], matched[name] = (outputs,), bias
            continue
        stages[layer.name] = stages[layer.name].replace(f", w['{name}']", "")
        if layer.name in known:
            without[known[layer.name]["no_bias"]] = layer.weight.name
    none = len(known) > 1 and len(without) == len(known)
    found |= {"no-biases": layers[0].weight.name} if none else without
    return Structure(Network(stages, axes), matched, found, _sizes(layers)), left


def _with_layer(
    guess: Structure, group: Sequence[Parameter], kind: Sequence[bank.Mistake], way: int
) -> Structure | None:
    """``guess`` with a layer more, whose parameters are the ``group``: where they fit first."""
    for mistake in kind:
        slug, parts = mistake.id.partition(".")[2], mistake.more["parts"]
        units = guess.network.axes.get(f"{mistake.more['layer']}.weight", (0,))[0]
        sizes = (math.prod(group[0].shape), *group[0].shape[:1])
        network = mistake.changes[way](guess.network) if way < len(mistake.changes) else None
        if network is None or slug in guess.faults or len(parts) != len(group):
            continue
        if units in sizes or sizes[0] == 1:
            own = dict(zip(parts, group, strict=True))
            axes = {name: tuple(each.shape) for name, each in own.items()}
            return replace(
                guess,
                network=replace(network, axes={**network.axes, **axes}),
                matched={**guess.matched, **own},
                faults={**guess.faults, slug: group[0].name},
            )
    return None


def _sizes(layers: Sequence[_Layer]) -> str:
    return ", ".join(
        f"{layer.axes[2]}x{layer.axes[2]} conv to {layer.axes[0]}"
        if layer.name.startswith("conv")
        else f"{math.prod(layer.axes[1:])} to {layer.axes[0]}"
        for layer in layers
    )


def _bias_of(layer: _Layer, vectors: Sequence[Parameter]) -> Parameter | None:
    """The vector that is the bias of a layer: one of its size, beside it by name if any is."""
    fitting = [each for each in vectors if math.prod(each.shape) == layer.axes[0]]
    beside = [each for each in fitting if each.owner == layer.weight.owner]
    if beside:
        return beside[0]
    named = "." in layer.weight.name and any("." in each.name for each in fitting)
    return fitting[0] if fitting and not named else None
