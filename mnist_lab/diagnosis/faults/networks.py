"""Known mistakes in the three networks, as changes of their stages.

Most come in families: a table of ``functions`` times the places where one may stand. A mistake
that shows in the parameters, in the interface, in train mode or in the gradients has no changes;
the checks name it by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis.faults.functions import (
    ACTIVATIONS,
    AFTER_SIGMOID,
    FINAL,
    INPUTS,
    NORMS,
    POOLS,
    Function,
)
from mnist_lab.diagnosis.match import Fault
from mnist_lab.diagnosis.reference import MEAN, STD, Network, Stage, Weights, sigmoid

__all__ = ["BANK", "LAYERS", "NAMES", "entry", "of"]

Change = Callable[[Network], Network | None]
"""Makes a mistake in a network; None where it cannot be made."""

NAMES = {"logistic_regression": "LogisticRegression", "fnn": "FNN", "cnn": "CNN"}


# How a network is changed


def instead(place: str, stage: Stage) -> Change:
    """Another stage in its place."""

    def change(network: Network) -> Network | None:
        if place not in network.stages or place in network.changed:
            return None
        stages = {**network.stages, place: stage}
        return replace(network, stages=stages, changed=network.changed | {place})

    return change


def without(place: str) -> Change:
    """The stage left out."""

    def change(network: Network) -> Network | None:
        if place not in network.stages or place in network.changed:
            return None
        rest = {name: stage for name, stage in network.stages.items() if name != place}
        return replace(network, stages=rest)

    return change


def before(place: str, stage: Stage) -> Change:
    """One more stage, right before ``place``."""
    return _inserted(place, stage, 0)


def after(place: str, stage: Stage) -> Change:
    """One more stage, right after ``place``."""
    return _inserted(place, stage, 1)


def moved(place: str, to: str) -> Change:
    """The stage ``place`` right before ``to``."""

    def change(network: Network) -> Network | None:
        if place not in network.stages or to not in network.stages:
            return None
        names = [name for name in network.stages if name != place]
        names.insert(names.index(to), place)
        return replace(network, stages={name: network.stages[name] for name in names})

    return change


def together(*changes: Change) -> Change:
    """All of them, one after another."""

    def change(network: Network) -> Network | None:
        changed: Network | None = network
        for each in changes:
            changed = None if changed is None else each(changed)
        return changed

    return change


def _inserted(place: str, stage: Stage, offset: int) -> Change:
    def change(network: Network) -> Network | None:
        if place not in network.stages:
            return None
        stages = list(network.stages.items())
        at = list(network.stages).index(place) + offset
        stages.insert(at, (f"{place}{'-+'[offset]}{len(stages)}", stage))
        return replace(network, stages=dict(stages))

    return change


def unweighted(function: Callable[[Tensor], Tensor]) -> Stage:
    """A stage without weights."""
    return lambda w, x: function(x)


# Functions where a ReLU or nothing belongs


@dataclass(frozen=True)
class Activation:
    """The ReLU after a layer: ``place`` and ``layer`` among the stages, and the pooling behind it.

    ``slug`` begins or ends the ids of its faults; ``where`` is its place in a sentence, ``input``
    what goes into it.
    """

    place: str
    layer: str
    slug: str
    where: str
    input: str
    pool: str = ""


HIDDEN = {
    "fnn": (
        Activation(
            "relu", "hidden", "hidden", "between its two linear layers", "the first linear layer"
        ),
    ),
    "cnn": (
        Activation(
            "relu1",
            "conv1",
            "conv1",
            "after its first convolution",
            "the first convolution",
            "pool1",
        ),
        Activation(
            "relu2",
            "conv2",
            "conv2",
            "after its second convolution",
            "the second convolution",
            "pool2",
        ),
        Activation(
            "relu3", "hidden", "dense", "between its two linear layers", "the first linear layer"
        ),
    ),
}


def _activations(exercise: str) -> Iterator[Fault[Network]]:
    name = NAMES[exercise]
    for at in HIDDEN[exercise]:
        yield Fault(
            "fnn.no-relu" if exercise == "fnn" else f"{exercise}.no-relu-{at.slug}",
            f"{name} has no ReLU {at.where}.",
            f"Apply a ReLU to what {at.input} gives: without it the layer merges with the next.",
            (without(at.place),),
        )
        for function in ACTIVATIONS:
            yield Fault(
                f"{exercise}.{at.slug}-{function.slug}",
                f"{name} has {function.phrase} {at.where}, where the ReLU belongs.",
                f"Apply a ReLU, max(x, 0), to what {at.input} gives.",
                _in_place_of_relu(at, function),
            )
        if at is HIDDEN[exercise][0]:
            yield Fault(
                f"{exercise}.{at.slug}-relu-before",
                f"{name} applies the ReLU to the images, not to what {at.input} gives.",
                f"The ReLU comes after {at.input}.",
                (moved(at.place, at.layer),),
            )
        yield Fault(
            f"{exercise}.{at.slug}-bias-after-relu",
            f"{name} adds the biases of {at.input} after the ReLU.",
            "A layer adds its biases to its sums; the ReLU comes after both.",
            (together(instead(at.layer, _unbiased(at.layer)), after(at.place, _bias(at.layer))),),
        )


def _in_place_of_relu(at: Activation, function: Function) -> tuple[Change, ...]:
    changes: list[Change] = []
    for way in function.ways:
        change = instead(at.place, unweighted(way))
        changes.append(change)
        if at.pool and not function.increasing:
            changes.append(together(change, moved(at.pool, at.place)))
    return tuple(changes)


def _no_relu_anywhere() -> Iterator[Fault[Network]]:
    places = [at.place for at in HIDDEN["cnn"]]
    yield Fault(
        "cnn.no-relu",
        "CNN has no ReLU at all: not after its convolutions and not between its linear layers.",
        "Apply a ReLU after each convolution and after the first linear layer; without them all "
        "layers merge into one.",
        (together(*map(without, places)),),
    )
    for function in ACTIVATIONS:
        if function.slug == "exp":
            continue  # Three of them give infinity.
        stages = [unweighted(way) for way in function.ways]
        after_pools = [moved(at.pool, at.place) for at in HIDDEN["cnn"] if at.pool]
        changes = [together(*(instead(place, stage) for place in places)) for stage in stages]
        if not function.increasing:
            changes += [together(change, *after_pools) for change in changes]
        yield Fault(
            f"cnn.{function.slug}",
            f"CNN has {function.phrase} in each of the three places where a ReLU belongs.",
            "Apply a ReLU, max(x, 0), after each convolution and after the first linear layer.",
            tuple(changes),
        )


def _finals(exercise: str, last: str) -> Iterator[Fault[Network]]:
    for function in FINAL:
        yield Fault(
            f"{exercise}.output-{function.slug}",
            f"{NAMES[exercise]} applies {function.phrase} to its ten scores.",
            "The last linear layer gives raw scores and nothing follows it: the softmax is inside "
            "CrossEntropyLoss.",
            tuple(after(last, unweighted(way)) for way in function.ways),
        )


# The sigmoid of logistic regression


def _sigmoids() -> Iterator[Fault[Network]]:
    asked = "Apply torch.sigmoid to what the linear layer gives, once, and nothing else."
    yield Fault(
        "logistic_regression.no-sigmoid",
        "LogisticRegression has no sigmoid: it returns the sums of the linear layer.",
        asked,
        (without("sigmoid"),),
    )
    yield Fault(
        "logistic_regression.relu",
        "LogisticRegression applies a ReLU to the linear layer's sums, where the sigmoid belongs.",
        asked,
        (instead("sigmoid", unweighted(F.relu)),),
    )
    for function in (*ACTIVATIONS, *_BESIDES_SIGMOID):
        if function.slug in ("sigmoid", "step"):
            continue
        yield Fault(
            f"logistic_regression.{function.slug}",
            f"LogisticRegression applies {function.phrase} to the linear layer's sums, where the "
            "sigmoid belongs.",
            asked,
            tuple(instead("sigmoid", unweighted(way)) for way in function.ways),
        )
    for slug, what, choice in (
        ("rounded", "0 or 1 for each digit, and nothing in between", torch.round),
        ("one-hot", "1 for the likeliest digit and 0 for the others", FINAL[-1].ways[0]),
    ):
        yield Fault(
            f"logistic_regression.{slug}",
            f"LogisticRegression returns {what}.",
            "The sigmoid's outputs are returned as they are: a choice has no slope to learn from.",
            (after("sigmoid", unweighted(choice)),),
        )
    yield Fault(
        "logistic_regression.two-sigmoids",
        "LogisticRegression applies the sigmoid twice.",
        asked,
        (after("sigmoid", sigmoid),),
    )
    yield Fault(
        "logistic_regression.relu-before-sigmoid",
        "LogisticRegression applies a ReLU before the sigmoid.",
        asked,
        (before("sigmoid", unweighted(F.relu)),),
    )
    yield Fault(
        "logistic_regression.sigmoid-first",
        "LogisticRegression applies the sigmoid to the pixels, before the linear layer.",
        "The linear layer comes first and the sigmoid squeezes its sums.",
        (moved("sigmoid", "linear"),),
    )
    for function in AFTER_SIGMOID:
        yield Fault(
            f"logistic_regression.output-{function.slug}",
            f"LogisticRegression applies {function.phrase} to what the sigmoid gives.",
            "The sigmoid is the last step: its ten outputs are returned as they are.",
            tuple(after("sigmoid", unweighted(way)) for way in function.ways),
        )


_BESIDES_SIGMOID = (
    Function("softmin", "a softmin", (lambda x: torch.softmax(-x, 1),)),
    Function(
        "scaled-sigmoid",
        "a sigmoid of a multiple",
        tuple(
            lambda x, factor=factor: torch.sigmoid(factor * x)  # type: ignore[misc]
            for factor in (0.1, 0.5, 2.0, 10.0, 1 / 784, 1 / 28)
        ),
    ),
)


# The images, the layers' results and the flattening


def _inputs(exercise: str, first: str) -> Iterator[Fault[Network]]:
    for function in INPUTS:
        if exercise == "logistic_regression" and function.slug == "squashed":
            continue
        yield Fault(
            f"{exercise}.input-{function.slug}",
            f"{NAMES[exercise]} {function.phrase} before its first layer.",
            "The images come ready, normalised and upright: give them to the first layer as they "
            "are.",
            tuple(before(first, unweighted(way)) for way in function.ways),
        )


def _norms(exercise: str) -> Iterator[Fault[Network]]:
    for at in HIDDEN[exercise]:
        for function in NORMS if at.pool else NORMS[:-2]:
            places = [at.layer] if function.increasing else [at.layer, at.place]
            if at.pool and not function.increasing:
                places.append(at.pool)
            yield Fault(
                f"{exercise}.{at.slug}-{function.slug}",
                f"{NAMES[exercise]} has {function.phrase} after {at.input}.",
                "Nothing but the layers of the handout's table: take the normalisation out.",
                tuple(
                    after(place, unweighted(way)) for place, way in product(places, function.ways)
                ),
            )


def _biases(exercise: str, layers: dict[str, str]) -> Iterator[Fault[Network]]:
    for layer, phrase in layers.items():
        yield Fault(
            f"{exercise}.unused-bias-{_slug(exercise, layer)}",
            f"{NAMES[exercise]} has biases for {phrase} and does not add them.",
            "A layer adds its bias to each of its sums: x @ W.T + b.",
            (instead(layer, _unbiased(layer)),),
        )


def _mixing(exercise: str, place: str) -> Fault[Network]:
    mixed = MIXED if exercise == "cnn" else MIXED[:-1]
    return Fault(
        f"{exercise}.mixes-images",
        f"{NAMES[exercise]} puts numbers of different images into one row when it flattens.",
        "x.flatten(start_dim=1) keeps the first dimension, the batch; a reshape after a transpose "
        "or in another order mixes images.",
        tuple(before(place, unweighted(mix)) for mix in mixed),
    )


MIXED: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x.reshape(x[0].numel(), -1).T.reshape(x.shape),
    lambda x: x.permute(1, 2, 3, 0).reshape(x.shape),
    lambda x: x.permute(2, 3, 1, 0).reshape(x.shape),
    lambda x: x.permute(2, 3, 0, 1).reshape(x.shape),
    lambda x: x.permute(1, 2, 0, 3).reshape(x.shape),
    lambda x: x.permute(1, 0, 2, 3).reshape(x.shape),
)
"""The last one is harmless where there is one channel."""


def _unbiased(layer: str) -> Stage:
    def stage(w: Weights, x: Tensor) -> Tensor:
        weight = w[f"{layer}.weight"]
        if layer.startswith("conv"):
            return F.conv2d(x, weight, padding=1)
        return x.flatten(1) @ weight.flatten(1).T

    return stage


def _bias(layer: str) -> Stage:
    def stage(w: Weights, x: Tensor) -> Tensor:
        bias = w[f"{layer}.bias"]
        return x + (bias if x.dim() == 2 else bias.view(-1, 1, 1))

    return stage


# Convolutions and pooling

ORDINAL = {"conv1": "first", "conv2": "second", "pool1": "first", "pool2": "second"}

Kernel = Callable[[str], Stage]
"""A convolution with the weights of a layer."""


def _kernel(padding: int = 1, dilation: int = 1) -> Kernel:
    return lambda layer: (
        lambda w, x: F.conv2d(
            x, w[f"{layer}.weight"], w[f"{layer}.bias"], padding=padding, dilation=dilation
        )
    )


def _padded(*sides: int, mode: str = "constant", value: float | None = None) -> Kernel:
    return lambda layer: (
        lambda w, x: F.conv2d(
            F.pad(x, sides, mode, value), w[f"{layer}.weight"], w[f"{layer}.bias"]
        )
    )


def _flipped(layer: str) -> Stage:
    return lambda w, x: F.conv2d(x, w[f"{layer}.weight"].flip(2, 3), w[f"{layer}.bias"], padding=1)


@dataclass(frozen=True)
class Convolving:
    """A way to convolve; ``phrase`` is what it does, with {its} for whose."""

    slug: str
    phrase: str
    kernels: tuple[Kernel, ...]
    hint: str


ALL_SIDES = (1, 1, 1, 1)

CONVOLUTIONS = (
    Convolving(
        "replicate-padding",
        "{pads} by repeating the border",
        (_padded(*ALL_SIDES, mode="replicate"),),
        'Zero padding is asked for: padding=1 and nothing more (padding_mode="zeros").',
    ),
    Convolving(
        "circular-padding",
        "{pads} with the pixels of the opposite border",
        (_padded(*ALL_SIDES, mode="circular"),),
        'Zero padding is asked for: padding=1 and nothing more (padding_mode="zeros").',
    ),
    Convolving(
        "reflect-padding",
        "{pads} by reflecting what is beside the border",
        (_padded(*ALL_SIDES, mode="reflect"),),
        'Zero padding is asked for: padding=1 and nothing more (padding_mode="zeros").',
    ),
    Convolving(
        "constant-padding",
        "{pads} with another number than 0",
        tuple(_padded(*ALL_SIDES, value=value) for value in (1.0, -1.0, 0.5, -MEAN / STD)),
        "Zero padding is asked for: padding=1.",
    ),
    Convolving(
        "lopsided-padding",
        "{pads} on some sides only",
        tuple(
            _padded(*sides)
            for sides in (
                (0, 2, 0, 2),
                (2, 0, 2, 0),
                (0, 2, 1, 1),
                (2, 0, 1, 1),
                (1, 1, 0, 2),
                (1, 1, 2, 0),
            )
        ),
        "One pixel of padding belongs on every side: padding=1.",
    ),
    Convolving(
        "dilated",
        "{convolves} with gaps between the pixels that a filter sees (a dilation of 2)",
        (_kernel(padding=2, dilation=2),),
        "Leave the dilation at 1: a 3x3 filter looks at nine neighbouring pixels.",
    ),
    Convolving(
        "flipped",
        "{convolves} with the filters turned by half a circle, as a transposed convolution does",
        (_flipped,),
        "nn.Conv2d lays the filters on the image as they are.",
    ),
)


def _convolutions() -> Iterator[Fault[Network]]:
    for way in CONVOLUTIONS:
        for layers in (("conv1",), ("conv2",), ("conv1", "conv2")):
            both = len(layers) == 2
            whose = "its convolutions" if both else f"its {ORDINAL[layers[0]]} convolution"
            verbs = {"pads": f"pads the maps of {whose}", "convolves": f"computes {whose}"}
            yield Fault(
                f"cnn.{way.slug}" if both else f"cnn.{layers[0]}-{way.slug}",
                f"CNN {way.phrase.format(**verbs)}.",
                way.hint,
                tuple(
                    together(*(instead(layer, kernel(layer)) for layer in layers))
                    for kernel in way.kernels
                ),
            )
    yield Fault(
        "cnn.other-paddings",
        "The convolutions of CNN have other paddings than 1, which happen to end in 7x7 maps too.",
        "Both convolutions have padding=1, which keeps the size: 28 and then 14.",
        tuple(
            together(
                instead("conv1", _kernel(first)("conv1")),
                instead("conv2", _kernel(second)("conv2")),
            )
            for first, second in _paddings_that_fit()
        ),
    )
    yield Fault(
        "cnn.residual",
        "CNN adds the images to the maps of its first convolution.",
        "Each layer gets what the layer before it gives, and nothing is added.",
        (
            instead("conv1", lambda w, x: x + _kernel()("conv1")(w, x)),
            together(
                instead("conv1", lambda w, x: torch.cat([x, _kernel()("conv1")(w, x)], 1)),
                instead("relu1", lambda w, x: x[:, :1] + F.relu(x[:, 1:])),
            ),
        ),
    )


def _paddings_that_fit() -> Iterator[tuple[int, int]]:
    """All but (1, 1) with which 28 becomes 7 by two convolutions 3x3 and two pools."""
    for first, second in product(range(5), repeat=2):
        half = (28 + 2 * first - 2) // 2
        if (half + 2 * second - 2) // 2 == 7 and (first, second) != (1, 1):
            yield first, second


def _pools() -> Iterator[Fault[Network]]:
    asked = "Max-pooling by 2 keeps the largest of every 2x2 pixels: nn.MaxPool2d(2)."
    for function in POOLS:
        for places in (("pool1",), ("pool2",), ("pool1", "pool2")):
            both = len(places) == 2
            which = "both its pools" if both else f"its {ORDINAL[places[0]]} pool"
            relus = {"pool1": "relu1", "pool2": "relu2"}
            changes = [
                together(*(instead(place, unweighted(way)) for place in places))
                for way in function.ways
            ]
            if not function.increasing:
                earlier = [moved(place, relus[place]) for place in places]
                changes += [together(change, *earlier) for change in changes]
            yield Fault(
                f"cnn.{function.slug}-pool" if both else f"cnn.{places[0]}-{function.slug}",
                f"CNN {function.phrase} in {which}, where the maximum of 2x2 pixels belongs.",
                asked,
                tuple(changes),
            )
    quarter = unweighted(lambda x: F.max_pool2d(x, 4))
    yield Fault(
        "cnn.one-pool-of-4",
        "CNN pools once by 4 in place of twice by 2.",
        "Each of the two convolutions is followed by a ReLU and a max-pool of 2.",
        (
            together(without("pool1"), instead("pool2", quarter)),
            together(without("pool2"), instead("pool1", quarter)),
        ),
    )
    yield Fault(
        "cnn.pool-before-convolution",
        "CNN pools before it convolves.",
        "The order is convolution, ReLU, max-pool, and then the same again.",
        (
            moved("pool1", "conv1"),
            together(moved("pool1", "conv1"), moved("pool2", "conv2")),
            together(without("pool2"), instead("pool1", quarter), moved("pool1", "conv1")),
        ),
    )


# What shows in the parameters, in train mode, in the gradients or in the interface


@dataclass(frozen=True)
class Told:
    """A mistake that a check recognises by itself; {name} is the class."""

    slug: str
    says: str
    hint: str


LAYERS = {
    "logistic_regression": {"linear": "its linear layer"},
    "fnn": {"hidden": "its first linear layer", "output": "its last linear layer"},
    "cnn": {
        "conv1": "its first convolution",
        "conv2": "its second convolution",
        "hidden": "its first linear layer",
        "output": "its last linear layer",
    },
}


def _slug(exercise: str, layer: str) -> str:
    return "dense" if (exercise, layer) == ("cnn", "hidden") else layer


ANYWHERE = (
    Told(
        "other-outputs",
        "{name} has another number of outputs than ten.",
        "The last layer has ten outputs, one for each digit.",
    ),
    Told(
        "unused-layer",
        "{name} has a layer that its outputs do not depend on.",
        "Remove the layers that forward does not use.",
    ),
    Told(
        "plain-list",
        "{name} keeps layers in a plain list or dict, where PyTorch does not find them.",
        "Use nn.ModuleList or nn.Sequential, or give each layer an attribute of its own.",
    ),
    Told(
        "plain-tensors",
        "{name} keeps weights as plain tensors, which PyTorch does not train.",
        "Wrap them: self.w = nn.Parameter(tensor), or use the layers of torch.nn.",
    ),
    Told(
        "layer-in-forward",
        "{name} makes a layer anew at every call, with new random weights.",
        "Create layers in __init__ and keep them in self; forward only uses them.",
    ),
    Told(
        "dropout",
        "{name} has dropout, which sets numbers to 0 at random in train mode.",
        "Take the dropout out: the handout's table has none.",
    ),
    Told(
        "dropout-always",
        "{name} sets numbers to 0 at random even in eval mode.",
        "Take the dropout out. F.dropout drops always unless training=self.training is given.",
    ),
    Told(
        "random",
        "{name} gives other outputs when it gets the same images again.",
        "Leave everything random out of forward.",
    ),
    Told(
        "depends-on-batch",
        "What {name} answers for an image depends on the other images of the batch.",
        "Look for a softmax, mean or normalisation over dimension 0, the batch.",
    ),
    Told(
        "changes-images",
        "{name} changes the images that it is given.",
        "An operation whose name ends in _, += or an assignment to images[...] works in place.",
    ),
    Told(
        "detached",
        "{name} cuts gradients off: the loss does not reach all of its parameters.",
        "Look for .detach(), .data, .item() or torch.no_grad() in forward.",
    ),
    Told(
        "frozen",
        "{name} has parameters that cannot be trained.",
        "Leave requires_grad as it is, True.",
    ),
    Told(
        "equal-start",
        "{name} starts with equal weights for the units of a layer, and so they stay equal.",
        "Leave the layers' own random initialisation alone.",
    ),
    Told(
        "names-device",
        "{name} does not work on the device that it was moved to.",
        "Make no tensors in forward, name no device there, and keep constants in register_buffer.",
    ),
    Told(
        "back-to-cpu",
        "{name} returns its outputs on the CPU although it was moved to another device.",
        "Leave .cpu() and .to(...) out of forward.",
    ),
    Told(
        "float32-only",
        "{name} works with float32 only.",
        "Leave .float(), .double() and .to(...) out of forward: the weights' type is the images'.",
    ),
    Told(
        "other-dtype",
        "The weights of {name} are not float32.",
        "Leave .double(), .half() and dtype=... out of __init__.",
    ),
    Told(
        "converts-images",
        "{name} turns the images into another type than its weights have.",
        "Leave .double(), .float() and .to(...) out of forward.",
    ),
    Told(
        "one-batch-size",
        "{name} works with one number of images only.",
        "Leave the batch open: x.flatten(start_dim=1), or x.size(0) in place of a number.",
    ),
    Told(
        "flattens-batch",
        "{name} flattens all images of a batch into one row.",
        "Keep the first dimension, the batch: images.flatten(start_dim=1) or nn.Flatten().",
    ),
    Told(
        "squeezes",
        "{name} drops the dimension of the batch when it gets a single image.",
        "squeeze() removes every dimension of size 1: name the one you mean, or use flatten.",
    ),
    Told(
        "returns-classes",
        "{name} returns the digit that it read, not its ten outputs.",
        "Leave argmax out of forward: the loss needs all ten outputs.",
    ),
    Told(
        "sizes-do-not-fit",
        "A layer of {name} gets another number of inputs than it takes.",
        "Write the shape after every layer beside it, and compare it with what the next one takes.",
    ),
    Told(
        "no-flatten",
        "{name} gives rows of 28 pixels, not whole images, to its linear layer.",
        "Flatten each image first: images.flatten(start_dim=1) has the shape (N, 784).",
    ),
)

IN_PARAMETERS = {
    "logistic_regression": (
        Told(
            "hidden-layer",
            "{name} has a hidden layer.",
            "One linear layer, from 784 pixels straight to 10 outputs.",
        ),
    ),
    "fnn": (
        Told(
            "other-width",
            "{name} has another number of hidden units than 256.",
            "nn.Linear(784, 256) and nn.Linear(256, 10).",
        ),
        Told(
            "extra-layer",
            "{name} has more than two linear layers.",
            "One hidden layer: nn.Linear(784, 256) and nn.Linear(256, 10).",
        ),
        Told(
            "no-hidden-layer",
            "{name} has a single linear layer.",
            "One hidden layer: nn.Linear(784, 256) and nn.Linear(256, 10).",
        ),
    ),
    "cnn": (
        *(
            Told(
                f"{layer}-{slug}",
                f"The {ORDINAL[layer]} convolution of {{name}} {says}",
                hint,
            )
            for slug, says, hint in (
                (
                    "kernel-size",
                    "has filters of another size than 3x3.",
                    "kernel_size=3, and padding=1 to keep the size.",
                ),
                (
                    "filters",
                    "has another number of filters than the handout's.",
                    "16 filters first, then 32.",
                ),
                (
                    "padding",
                    "has another padding than 1.",
                    "padding=1 keeps the size: 28, and 14 after the first pool.",
                ),
                (
                    "stride",
                    "moves by more than one pixel at a time.",
                    "Leave the stride of the convolution at 1; the max-pool halves the size.",
                ),
            )
            for layer in ("conv1", "conv2")
        ),
        *(
            Told(
                f"no-{pool}",
                f"{{name}} has no max-pool after its {ORDINAL[pool]} convolution.",
                "Each convolution is followed by a ReLU and a max-pool of 2: 28 -> 14 -> 7.",
            )
            for pool in ("pool1", "pool2")
        ),
        *(
            Told(
                f"{pool}-size",
                f"The {ORDINAL[pool]} max-pool of {{name}} has another size or stride than 2.",
                "nn.MaxPool2d(2) halves the size: 28 -> 14 -> 7.",
            )
            for pool in ("pool1", "pool2")
        ),
        Told(
            "global-pool",
            "{name} averages or maximises whole maps before its first linear layer.",
            "Flatten the 32 maps of 7x7: the first linear layer takes 1,568 numbers.",
        ),
        Told(
            "extra-convolution",
            "{name} has more than two convolutions.",
            "Two convolutions: 1 -> 16 and 16 -> 32 maps.",
        ),
        Told(
            "one-convolution",
            "{name} has a single convolution.",
            "Two convolutions: 1 -> 16 and 16 -> 32 maps.",
        ),
        Told(
            "other-width",
            "{name} has another number of hidden units than 128.",
            "nn.Linear(1568, 128) and nn.Linear(128, 10).",
        ),
        Told(
            "extra-layer",
            "{name} has more than two linear layers.",
            "nn.Linear(1568, 128) and nn.Linear(128, 10).",
        ),
        Told(
            "no-hidden-layer",
            "{name} has a single linear layer.",
            "nn.Linear(1568, 128) and nn.Linear(128, 10).",
        ),
    ),
}


def _told(exercise: str) -> Iterator[Fault[Network]]:
    name = NAMES[exercise]
    for told in (*IN_PARAMETERS[exercise], *ANYWHERE):
        yield Fault(f"{exercise}.{told.slug}", told.says.format(name=name), told.hint, ())
    for layer, phrase in LAYERS[exercise].items():
        only = exercise == "logistic_regression"
        yield Fault(
            f"{exercise}.no-bias" if only else f"{exercise}.no-bias-{_slug(exercise, layer)}",
            f"{name} has no biases in {phrase}.",
            "Every layer has a bias: leave bias=True, which is the default.",
            (),
        )
    for at in HIDDEN.get(exercise, ()):
        for slug, what in (
            ("batch-norm-layer", "a batch normalisation layer"),
            ("layer-norm-layer", "a layer normalisation layer"),
            ("prelu", "a PReLU"),
        ):
            yield Fault(
                f"{exercise}.{at.slug}-{slug}",
                f"{name} has {what} after {at.input}.",
                "Nothing but the layers of the handout's table is to be learned: take it out.",
                (),
            )


def _bank() -> Iterator[Fault[Network]]:
    yield from _sigmoids()
    yield from _inputs("logistic_regression", "linear")
    yield _mixing("logistic_regression", "linear")
    yield from _biases("logistic_regression", LAYERS["logistic_regression"])
    yield from _told("logistic_regression")

    yield from _activations("fnn")
    yield from _finals("fnn", "output")
    yield from _norms("fnn")
    yield from _inputs("fnn", "hidden")
    yield _mixing("fnn", "hidden")
    yield from _biases("fnn", LAYERS["fnn"])
    yield from _told("fnn")

    yield from _no_relu_anywhere()
    yield from _activations("cnn")
    yield from _pools()
    yield from _convolutions()
    yield from _finals("cnn", "output")
    yield from _norms("cnn")
    yield from _inputs("cnn", "conv1")
    yield _mixing("cnn", "hidden")
    yield from _biases("cnn", LAYERS["cnn"])
    yield from _told("cnn")


BANK = tuple(_bank())


def of(exercise: str) -> Sequence[Fault[Network]]:
    """The mistakes in one exercise's network."""
    return [fault for fault in BANK if fault.id.startswith(f"{exercise}.")]


def entry(name: str) -> Fault[Network]:
    """The mistake with the id ``name``."""
    return next(fault for fault in BANK if fault.id == name)
