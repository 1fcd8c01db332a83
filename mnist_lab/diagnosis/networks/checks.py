"""What is asked of all three networks; ``tests/grading/test_networks.py`` asks it.

A network is compared with the reference under weights and images of the grader's own. What does
not pass is handed to ``explained.py``, which says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab import augment
from mnist_lab.contract import ACCURACY
from mnist_lab.data import Digits
from mnist_lab.diagnosis import CheckFailure, Waiting, draws, explain, fail, reference
from mnist_lab.diagnosis.degenerate import of_outputs
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.networks import explained, layouts, places, trained
from mnist_lab.diagnosis.networks.explained import shape_of
from mnist_lab.diagnosis.networks.layouts import Placed
from mnist_lab.diagnosis.networks.trained import Trained
from mnist_lab.submission.answers import Gradients, Parameter
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.remote import Model

T = TypeVar("T")


OVERFIT = {
    "logistic_regression": (64, 100, 1.60),
    "fnn": (64, 30, 0.1),
    "cnn": (8, 40, 0.3),
}
"""Digits in one batch, steps of Adam (learning rate 0.001) on it, and the loss that they reach.

The lab's own models need 21 to 25, 8 to 10 and 7 to 11 steps (40 seeds, the CNN 52). With 64 digits
the CNN needs 9 to 12, which take five times as long.
"""

NO_BETTER_THAN_GUESSING = (1.5, 10.0)
"""Where an untrained network's loss lies: ln(10) = 2.30 for even scores; large first weights are
confidently wrong. Well below 2.30 is a network that knows the digits already."""


def check_parameters(exercise: str, model: Model, generator: torch.Generator) -> None:
    """One parameter for each weight of the reference, in any layout, and no others; the outputs
    react to each.
    """
    try:
        matched = layouts.match(reference.NETWORKS[exercise], model.parameters)
    except layouts.Unmatched as unmatched:
        raise explained.other_parameters(exercise, model, unmatched, generator) from None
    network = reference.NETWORKS[exercise]
    images = draws.images(generator, 4).float()
    for _ in range(2):
        weights = layouts.draw_weights(network, matched, generator)
        model.set_weights(weights)
        try:
            outputs = model(images)
            _expect_shape(model, outputs, len(images))
        except (SubmissionFailure, CheckFailure) as failure:
            if not explained.is_of_the_code(failure):
                raise
            raise Waiting(f"{exercise}.shapes", failure) from None
        compared = layouts.compare(network, matched, weights, images, outputs)
        if not layouts.equal(outputs, compared.outputs):
            break
    else:
        return  # They react to each as those of the network do.
    if (outputs == outputs[:1]).all() or (outputs == outputs[:, :1]).all():
        more = draws.images(generator, 8).float()
        several, few = model(more), model(more[:4])
        for given, asked in ((several, 8), (few, 4)):
            _expect_shape(model, given, asked)
        if same := of_outputs(model.name, several, few):
            raise same
    idle = _without_effect(network, matched, model, generator)
    if idle:
        line = ""
        try:
            check_network(exercise, model, generator)
        except CheckFailure as failure:
            if failure.cause.fault:
                raise
            line = failure.cause.where
        raise fail(
            f"The outputs of {model.name} do not follow from all of its parameters.",
            f"Whatever is put into {', '.join(idle)}, they are the same, or others each time, or "
            "change by one number alone.",
            "forward should use every weight and every bias, each as it is.",
            where=line,
        )


def _without_effect(
    network: reference.Network,
    matched: Mapping[str, Parameter],
    model: Model,
    generator: torch.Generator,
) -> list[str]:
    """The parameters without which the outputs are the same, in all of their numbers or in some,
    and those that enter into them as a single number, a sum for example. All of them where the same
    weights give other outputs when asked again after the same seed.
    """
    images = draws.images(generator, 32).float()
    weights = layouts.draw_weights(network, matched, generator)
    seed = int(torch.randint(2**31, (), generator=generator))

    def given(other: Mapping[str, Tensor], shown: Tensor = images) -> Tensor:
        model.set_weights({**weights, **other})
        outputs = model.repeated(shown, 1, seed=seed)[0]
        _expect_shape(model, outputs, len(shown))
        return outputs

    outputs = given({})
    if not torch.equal(given({}), outputs):
        return list(weights)
    found = []
    for name, value in weights.items():
        drawn = torch.randn((2, *value.shape), generator=generator) * value.std(correction=0)
        changes = [(given({name: other}) - outputs).double().flatten() for other in drawn]
        along = [change / change.norm() for change in changes if change.any()]
        if len(along) < 2 or (along[0] @ along[1]).abs() > PARALLEL:
            found.append(name)
    parts = {} if found else _idle_parts(weights, images, given, generator)
    for name, part in parts.items():
        other = torch.where(part, torch.randn(part.shape, generator=generator), weights[name])
        if torch.equal(given({name: other}), outputs):
            found.append(f"{part.sum():,} of the {part.numel():,} numbers in {name}")
    return found


def _idle_parts(
    weights: Mapping[str, Tensor],
    images: Tensor,
    given: Callable[[Mapping[str, Tensor], Tensor], Tensor],
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Which numbers of each parameter are without effect, of quarters of each axis and of every
    fourth number along it, with weights as they are and with small ones, which nothing saturates.
    A few images show most effects in less time.
    """
    parts: dict[str, Tensor] = {}
    small = {name: 0.05 * value for name, value in weights.items()}
    tried = [
        (base, shown, given(base, shown))
        for base, shown in ((weights, images[:4]), (weights, images), (small, images))
    ]
    for name, value in weights.items():
        idle = torch.zeros(value.shape, dtype=torch.bool)
        for axis, size in enumerate(value.shape):
            numbers = torch.arange(size)
            apart = [numbers[first::4] for first in range(4)] if size > 4 else []
            for block in (*numbers.chunk(4), *apart):
                here = torch.zeros_like(idle).index_fill(axis, block, True)
                drawn = torch.randn(value.shape, generator=generator) * value.std(correction=0)
                if not any(
                    (given({**base, name: base[name].where(~here, drawn)}, shown) != before).any()
                    for base, shown, before in tried
                ):
                    idle |= here
        if idle.any():
            parts[name] = idle
    return parts


PARALLEL = 1 - 1e-6
"""The cosine of two changes of the outputs that one number makes. Two random weights of a layer
change them in different ways.
"""


def check_shapes(exercise: str, model: Model, generator: torch.Generator) -> None:
    """For any number of images, and images of any brightness; other outputs for other images, and
    with other weights.
    """
    model.set_weights(explained.any_weights(model, generator))
    drawn = [int(torch.randint(low, high, (), generator=generator)) for low, high in DRAWN_SIZES]
    sizes = [1, 2, *drawn]
    for number, (size, brightness) in enumerate(zip(sizes, BRIGHTNESS, strict=True)):
        images = brightness * draws.images(generator, size).float()
        try:
            outputs = model(images)
            _expect_shape(model, outputs, size)
        except (CheckFailure, SubmissionFailure) as failure:
            if explained.is_not_finite(failure):
                with suppress(layouts.Unmatched, SubmissionFailure):
                    check_network(exercise, model, generator)  # Perhaps it is known why.
            raise explained.other_shapes(exercise, model, failure) from None
        several = number == SEVERAL
        nothing = several and explained.answers_nothing(model, images, outputs, generator)
        if nothing:
            try:
                check_network(exercise, model, generator)  # Perhaps it is known why.
            except layouts.Unmatched:  # There were no weights to put into it.
                raise Waiting(f"{exercise}.parameters", nothing) from None
            raise nothing


DRAWN_SIZES, SEVERAL = ((7, 21), (3, 10), (11, 41)), 2
"""Batches besides those of 1 and 2 images, from one number up to another; the place of that by
which it is seen whether they matter.
"""

BRIGHTNESS = (1.0, 1.0, 1.0, 0.0, 30.0)


def check_network(exercise: str, model: Model, generator: torch.Generator) -> None:
    """The reference's outputs with the same weights, in eval mode, in train mode with others."""
    network = reference.NETWORKS[exercise]
    matched = layouts.match(network, model.parameters)
    weights = layouts.draw_weights(network, matched, generator)
    seen = _observed(exercise, model, matched, weights, draws.images(generator, 8))
    images, compared = seen.images, seen.compared
    if not layouts.equal(seen.outputs, compared.outputs):
        raise explained.another_network(seen, generator)
    if "sigmoid" not in network.stages:  # Of large sums a sigmoid gives 0 or 1.
        large = _observed(exercise, model, matched, weights, images, LARGE)
        kept = layouts.equal(large.outputs, seen.outputs)  # That is told below.
        if not kept and not layouts.equal(large.outputs, large.compared.outputs):
            raise explained.another_network(large, generator)
    others = layouts.draw_weights(network, matched, generator)
    model.set_weights(others)
    asked = network.forward(compared.placed.to_reference(others), images.double())
    with_others = model.forward(images, training=True).logits
    if not layouts.equal(with_others, asked):
        model.set_weights(weights)
        in_training = model.forward(images, training=True).logits
        if not layouts.equal(in_training, compared.outputs):
            there = replace(seen, outputs=in_training, training=True)
            raise explained.another_network(there, generator)
        model.set_weights(others)
        again = model.forward(images, training=True).logits
        for each in (with_others, again):
            _expect_shape(model, each, len(images))
        both = torch.stack([with_others, again])
        off = (both.double() - asked).abs().amax((1, 2))
        if off.max() > off.min() + explained.STEADY:
            seen = replace(seen, training=True)
            raise explained.now_and_then(seen, off, len(images))
        raise fail(
            f"{model.name} does not compute with its weights as they are.",
            "With the first weights that it was given its outputs are as asked; with others, for "
            f"the same images, they are up to {explain.difference(with_others, asked):.3g} away.",
            "forward should use the parameters as they are at every call, and nothing that an "
            "earlier call has kept.",
        )
    for training_, (low, high), calls in REPEATED:
        size = int(torch.randint(low, high, (), generator=generator))
        seen = replace(seen, stored=others, training=training_)
        _expect_the_same_of_digits(seen, size, calls, generator)


LARGE = 1000.0
"""Times the usual weights: with these it shows what is cut off at a high value."""


def _observed(
    exercise: str,
    model: Model,
    matched: Mapping[str, Parameter],
    weights: Mapping[str, Tensor],
    images: Tensor,
    scale: float = 1.0,
) -> explained.Seen:
    weights = {name: scale * value for name, value in weights.items()}
    images, outputs = _exactly(model, weights, images, model)
    _expect_shape(model, outputs, len(images))
    compared = layouts.compare(reference.NETWORKS[exercise], matched, weights, images, outputs)
    return explained.Seen(matched, weights, images, outputs, exercise, model, compared, scale=scale)


REPEATED = (
    *((False, (1, 2), 60), (False, (2, 33), 1), (False, (65, 129), 1)),
    *((True, (3, 4), 60), (True, (9, 64), 1), (True, (64, 65), 1), (True, (65, 129), 1)),
)
"""Train mode or not, digits in a batch from one number up to another, and calls with that batch;
64 are the course's.

What a network does at random, to a tenth of its batches, is seen but for 0.9 ** 60 of all gradings,
0.2 %. What it does to some of the large batches alone is often missed: they are slow.
"""


def _expect_the_same_of_digits(
    seen: explained.Seen, size: int, calls: int, generator: torch.Generator
) -> None:
    """Of images as they are in use, digits in float32, at every call."""
    images = draws.digits(generator, size)[0]
    seed = int(torch.randint(2**31, (), generator=generator))
    seen.model.float().set_weights(seen.stored)
    outputs = seen.model.repeated(images, calls, training=seen.training, seed=seed)
    if outputs.shape[1:] != (size, 10):
        _expect_shape(seen.model, outputs[0], size)
    weights = seen.compared.placed.to_reference(seen.stored)
    asked = seen.network.forward(weights, images.double())
    off = (outputs.double() - asked).abs().amax((1, 2)) / max(1.0, asked.abs().max().item())
    if off.max() > off.min() + explained.STEADY:
        raise explained.now_and_then(seen, off, size)
    if off.max() > explain.NEARLY_EQUAL:
        raise explained.other_digits(seen, images, outputs[0], asked)


def check_behaviour(exercise: str, model: Model, generator: torch.Generator) -> None:
    """A function of the weights and each image alone, in any dtype and on any device."""
    weights = _weights(exercise, model, generator)
    model.set_weights(weights)
    images = draws.images(generator, int(torch.randint(5, 9, (), generator=generator)))
    for training in (False, True):
        seen = model.forward(images.float(), training=training, images_after=True)
        _expect_shape(model, seen.logits, len(images))
        _expect_dtype(exercise, model, torch.float32, seen.logits)
        if not torch.equal(seen.images_after, images.float()):
            off = explain.difference(seen.images_after, images.float())
            by = f"After the call{' in train mode' * training} they differ by up to {off:.3g}."
            raise explained.known(exercise, "changes-images", by)
    for size, training in OTHER_SIZES:
        more = draws.images(generator, size).float()
        logits = model.forward(more, training=training).logits
        _expect_shape(model, logits, size)
        _expect_the_same(exercise, model, weights, more, logits)
    _check_device(exercise, model)
    stored = _weights(exercise, model, generator)
    model.double().set_weights(stored)
    try:
        outputs = [model.forward(images, training=training).logits for training in (False, True)]
    except SubmissionFailure as failure:
        if not explained.is_of_the_code(failure):
            raise
        said = f"With float32 weights and images it works; with float64: {failure.cause.message}"
        details = explained.at(failure)
        raise explained.known(exercise, "float32-only", said, **details) from None
    for each in outputs:
        _expect_dtype(exercise, model, torch.float64, each)
        _expect_the_same(exercise, model, stored, images, each)
    _expect_own_weights(exercise, model, images, generator)
    if seeded := model.reseeds(images.float()):
        raise fail(
            f"{model.name} seeds the global random numbers.",
            f"After it was called with different seeds set before, the next random numbers of "
            f"{' and '.join(seeded)} were the same.",
            f"Leave {_seeds(seeded)} out of forward: a loader that shuffles would give the same "
            "order in every epoch.",
        )
    if seeded := model.reseeds_when_made():
        raise fail(
            f"{model.name} seeds the global random numbers.",
            f"After {model.name}() was called with different seeds set before, the next random "
            f"numbers of {' and '.join(seeded)} were the same.",
            f"Leave {_seeds(seeded)} out of __init__: whoever makes a model would get the same "
            "random numbers afterwards. Seed before you make the model.",
        )


def _seeds(seeded: Iterable[str]) -> str:
    """What is called to seed them."""
    calls = {"torch": "torch.manual_seed", "numpy": "np.random.seed", "random": "random.seed"}
    return " and ".join(calls[each] for each in seeded)


OTHER_SIZES = ((64, False), (1, True), (2, True))
"""Of batches, and whether in train mode: the course's own, and the smallest."""


def _expect_the_same(
    exercise: str, model: Model, weights: Mapping[str, Tensor], images: Tensor, outputs: Tensor
) -> None:
    """What such a network gives for other images, it gives for these."""
    network = reference.NETWORKS[exercise]
    matched = layouts.match(network, model.parameters)
    compared = layouts.compare(network, matched, weights, images, outputs)
    if not layouts.equal(outputs, compared.outputs):
        raise fail(
            f"{model.name} does not compute the same for every batch.",
            f"Its outputs for {len(images)} images are up to {compared.difference:.3g} from those "
            "of such a network, as they were for others.",
            "forward should do the same for any number of images.",
        )


def _expect_own_weights(
    exercise: str, model: Model, images: Tensor, generator: torch.Generator
) -> None:
    """They are what they were after a change of the dtype, and after another model got others."""
    stored = _weights(exercise, model, generator)
    matched = layouts.match(reference.NETWORKS[exercise], model.parameters)
    model.double().set_weights(stored)

    def are_kept() -> bool:
        outputs = model(images.float())
        compared = layouts.compare(
            reference.NETWORKS[exercise], matched, stored, images.float(), outputs
        )
        return layouts.equal(outputs, compared.outputs)

    model.float()
    if not are_kept():
        raise fail(
            f"{model.name} loses its weights when it is moved.",
            "After model.double() and model.float() its outputs are those of other weights. "
            "model.to(device) changes a model in the same way.",
            "Make the layers in __init__ and leave the methods of nn.Module as they are.",
        )
    other = model.another()
    other.set_weights(_weights(exercise, other, generator))
    if not are_kept():
        raise fail(
            f"All models that {model.name}() makes share their weights.",
            "Other weights were put into a second one, and the outputs of the first changed.",
            "Make the layers in __init__, where every model gets its own.",
        )


def _expect_dtype(exercise: str, model: Model, given: torch.dtype, outputs: Tensor) -> None:
    """That of the images and the weights."""
    if outputs.dtype == given:
        return
    names = [str(dtype).removeprefix("torch.") for dtype in (given, outputs.dtype)]
    said = f"For {names[0]} images the outputs of {model.name} are {names[1]}."
    if outputs.dtype == torch.float32:
        raise explained.known(exercise, "float32-only", said)
    raise fail(said, "Its weights were of the images' type too.", "Leave .to(...) out of forward.")


def _gradients(
    proven: Placed,
    stored: Mapping[str, Tensor],
    images: Tensor,
    of: Callable[[Tensor], Tensor],
) -> tuple[float, dict[str, Tensor]]:
    """A number ``of`` the reference's logits, and its gradients by the learner's names."""
    leaves = {
        name: value.to(images.dtype).requires_grad_()
        for name, value in proven.to_reference(stored).items()
    }
    number = of(proven.network.forward(leaves, images))
    found = torch.autograd.grad(number, list(leaves.values()))
    return number.item(), proven.from_reference(dict(zip(leaves, found, strict=True)))


def _proven(exercise: str, model: Model, generator: torch.Generator) -> Placed:
    """Its outputs and gradients are the reference's, in both modes, from noise and from digits,
    with weights of the grader's own, with which no gradient is zero by chance.
    """
    network = reference.NETWORKS[exercise]
    matched = layouts.match(network, model.parameters)
    weights = layouts.draw_weights(network, matched, generator)
    proven: Placed | None = None
    sizes = [int(torch.randint(low, high, (), generator=generator)) for low, high in GRADIENTS_OF]
    for training_, images in (
        (True, draws.digits(generator, sizes[0])[0].double()),
        (False, draws.images(generator, sizes[1])),
    ):
        cotangent = torch.randn(len(images), 10, generator=generator, dtype=torch.float64)
        ask = partial(model.gradients, cotangent=cotangent, training=training_)
        images, seen = _exactly(model, weights, images, ask)
        compared = layouts.compare(network, matched, weights, images, seen.logits)
        if not layouts.equal(seen.logits, compared.outputs):
            raise fail(
                f"{model.name} gives other outputs where gradients are asked for.",
                f"They are up to {compared.difference:.3g} from those that it gives else.",
            )
        proven = proven or compared.placed
        _, asked = _gradients(proven, weights, images.double(), partial(_along, cotangent))
        within = 2e-3 if images.dtype == torch.float64 else 1e-2
        _expect_gradients(exercise, model, seen, asked, within)
        again = model.forward(images, training=training_).logits
        if not layouts.equal(again, compared.outputs):
            raise fail(
                f"{model.name} computes something else after a backward pass than before it.",
                f"Its outputs for the same images are then up to "
                f"{explain.difference(again, compared.outputs):.3g} away.",
                "A backward pass finds gradients; only an optimizer's step changes weights.",
            )
    assert proven is not None
    images = draws.digits(generator, sizes[2])[0]
    cotangent = torch.randn(len(images), 10, generator=generator)
    # As the slope of the mean cross-entropy is.
    cotangent = (cotangent - cotangent.mean(1, keepdim=True)) / len(images)
    model.float().set_weights(weights)
    seen = model.gradients(images, cotangent, training=True)
    _, asked = _gradients(proven, weights, images.double(), partial(_along, cotangent.double()))
    _expect_gradients(exercise, model, seen, asked, 0.1)
    return proven


def _along(cotangent: Tensor, outputs: Tensor) -> Tensor:
    return (outputs * cotangent).sum()


GRADIENTS_OF = ((5, 12), (5, 12), (64, 97))
"""How many images, from one number up to another: of digits and noise in float64, and of digits in
float32, where a unit or two of the thousands may be on the other side of a ReLU.
"""


def _expect_gradients(
    exercise: str, model: Model, seen: Gradients, asked: Mapping[str, Tensor], within: float
) -> None:
    """Those of the reference; in float32 ``within`` a share of their length."""
    exact = seen.logits.dtype == torch.float64
    for name, value in asked.items():
        actual = seen.parameters[name]
        if actual is None or not actual.any():
            gradient = "missing" if actual is None else "zero"
            raise explained.known(
                exercise,
                "detached",
                f"After backward() the gradient of {name} is {gradient}. The outputs depend on it "
                "all the same.",
                where=places.used(model, name),
            )
        off = explain.difference(actual, value)
        apart = (actual.double() - value).norm().item()
        near = apart < within * value.norm().item() + 1e-6
        if not (off < explain.EQUAL * max(1.0, value.abs().max().item()) if exact else near):
            raise fail(
                f"The gradients of {model.name} are not those of its outputs.",
                f"Its outputs are as asked; the gradient of {name} is off by up to {off:.3g}.",
                "Leave hooks, .data and torch.no_grad() out: autograd finds gradients by itself.",
            )


def check_learns(exercise: str, model: Model, generator: torch.Generator) -> None:
    """It starts near guessing, its gradients are the reference's, and it learns one batch.

    The steps are the grader's: with the same gradients they are those of the learner's network.
    """
    size, steps, reached = OVERFIT[exercise]
    images, labels = draws.digits(generator, size)
    first_weights, first_outputs = model.weights(), model(images)
    proven = _known_gradients(exercise, model, generator)
    _expect_outputs_of(first_weights, proven, model.name, images, first_outputs)
    weights = {each.name: first_weights[each.name].float() for each in proven.matched.values()}
    _expect_units_apart(exercise, model, first_weights, proven)

    def loss_of(logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels)

    started, gradients = _gradients(proven, weights, images, loss_of)
    low, high = NO_BETTER_THAN_GUESSING
    lowest = min(value.min().item() for value in weights.values())
    highest = max(value.max().item() for value in weights.values())
    if not low < started < high:
        raise fail(
            f"Before any training the loss of {model.name} is {started:.2f}; guessing gives 2.30.",
            f"That is the mean cross-entropy on {size} digits. Its own first weights lie between "
            f"{lowest:.3g} and {highest:.3g}.",
            explained.of_first_weights(model),
            expected=2.30,
            actual=started,
        )
    weights = {name: value.detach().clone() for name, value in weights.items()}
    loss, adam, done = started, reference.Adam(weights.values()), 0
    while loss >= reached and done < steps:
        for name, value in weights.items():
            value.grad = gradients[name]
        adam.step()
        loss, gradients = _gradients(proven, weights, images, loss_of)
        done += 1
    if loss >= reached:
        said = (
            f"{steps} steps of Adam on one batch bring the loss of {model.name} to {loss:.3f} only."
        )
        numbers = {"expected": reached, "actual": loss}
        for name, value in proven.to_reference(first_weights).items():
            if value.dim() > 1 and (value == value[:1]).all():
                own = proven.matched[name].name
                first = f"{value.flatten()[0]:.3g} and so on"
                start = f"In {own} every unit has the same weights, {first}. {said}"
                raise explained.known(
                    exercise,
                    "equal-start",
                    start,
                    hint=explained.of_first_weights(model),
                    where=places.made(model, own),
                    **numbers,
                )
        raise fail(
            said,
            f"Below {reached:.2f} is asked for; the loss began at {started:.2f}. With random "
            "weights of ours every parameter gets a gradient; its own first weights lie between "
            f"{lowest:.3g} and {highest:.3g}.",
            explained.of_first_weights(model),
            **numbers,
        )


def _expect_units_apart(
    exercise: str, model: Model, weights: Mapping[str, Tensor], proven: Placed
) -> None:
    """No two units of a hidden layer begin alike in what goes in and in what comes out: they would
    stay so.
    """
    first = proven.to_reference(weights)
    for layer, after in pairwise(proven.network.layers):
        parts = (
            first[f"{layer}.weight"],
            first[f"{layer}.bias"],
            first[f"{after}.weight"].transpose(0, 1),
        )
        units = torch.cat([each.reshape(len(each), -1) for each in parts], dim=1)
        different = len(units.unique(dim=0))
        if different < len(units):
            own = proven.matched[f"{layer}.weight"].name
            start = f"Of the {len(units)} units of {own} only {different} are different."
            if different == 1:
                start = f"All {len(units)} units of {own} are the same."
            hint, where = explained.of_first_weights(model), places.made(model, own)
            raise explained.known(exercise, "equal-start", start, hint=hint, where=where)


def _expect_outputs_of(
    weights: Mapping[str, Tensor], proven: Placed, name: str, images: Tensor, outputs: Tensor
) -> None:
    """The first ``outputs`` are those of the first ``weights``, which are the guest's word."""
    first = {w: value.to(images.dtype) for w, value in proven.to_reference(weights).items()}
    asked = proven.network.forward(first, images)
    if not layouts.equal(outputs, asked):
        raise fail(
            f"Before any training {name} computes something else than with other weights.",
            f"Its first outputs for {len(images)} digits are up to "
            f"{explain.difference(outputs, asked):.3g} from those of its first weights.",
            "forward should use the layers and their weights alone, from the first call on.",
        )


def _known_gradients(exercise: str, model: Model, generator: torch.Generator) -> Placed:
    """As ``_proven``; where gradients are missing it is said why."""
    frozen = [each.name for each in model.parameters if not each.requires_grad]
    try:
        return _proven(exercise, model, generator)
    except (SubmissionFailure, CheckFailure) as failure:
        if not explained.is_of_the_code(failure):
            raise
        if frozen:
            said = f"requires_grad is False for {', '.join(frozen)}."
            line = places.made(model, frozen[0])
            raise explained.known(exercise, "frozen", said, where=line) from None
        said = failure.cause.message
        lacking = isinstance(failure, SubmissionFailure) and failure.event.mistake == "no-gradient"
        if lacking or "does not require grad" in said:
            raise explained.known(exercise, "detached", f"No gradient arrives. {said}") from None
        raise


def first_weights(exercise: str, model: Model, grader: Grader) -> dict[str, Tensor]:
    """A new model's own weights, by the reference's names."""
    own = model.weights()
    return _proven(exercise, model, grader.generator(f"{exercise}.accuracy")).to_reference(own)


def check_accuracy(
    exercise: str, model: Model, digits: Digits, grader: Grader, threads: int
) -> Trained:
    """The lab trains a network that is equal to the learner's, from the learner's own weights. With
    what it has learned, the learner's reads digits as it does. What it learned, with the weights
    by the learner's names.
    """
    generator = grader.generator(f"{exercise}.accuracy")
    own = model.weights()
    proven = _proven(exercise, model, generator)
    done = trained.train({exercise: proven.to_reference(own)}, digits, threads)[exercise]
    if done.history.stopped:
        raise fail(f"The training of {model.name} ended early.", done.history.stopped)
    _expect_the_same_answers(proven, model, done.weights, digits, generator)
    asked = ACCURACY[digits.source][exercise]
    reached = done.accuracy(digits.test.labels)
    if reached < asked:
        raise fail(
            f"{model.name} reads {reached:.1%} of the test digits after ten epochs; {asked:.1%} "
            "are asked for.",
            f"Trained by the lab on {len(digits.train):,} digits, tried on "
            f"{len(digits.test):,} others.",
            expected=asked,
            actual=reached,
        )
    return replace(done, weights=model.weights())


def _expect_the_same_answers(
    proven: Placed,
    model: Model,
    learned: Mapping[str, Tensor],
    digits: Digits,
    generator: torch.Generator,
) -> None:
    """On test digits that are slightly warped by fresh draws, so that no answer is known before."""
    seed = int(torch.randint(2**31, (), generator=generator))
    shown = augment.augment(digits.test.images, augment.draw(seed, 0, len(digits.test)))
    model.float().set_weights(proven.from_reference(learned))
    weights = {name: value.float() for name, value in learned.items()}
    batches = shown.split(MOST_AT_A_TIME)
    with ThreadPoolExecutor(1) as beside:  # The learner's process computes meanwhile.
        expected = beside.map(partial(proven.network.forward, weights), batches)
        for images, asked in zip(batches, expected, strict=True):
            outputs = model(images)
            if not layouts.equal(outputs, asked):
                raise fail(
                    f"With trained weights {model.name} computes something else than before.",
                    f"On {len(shown):,} test digits, each slightly turned or distorted, its "
                    f"outputs are up to {explain.difference(outputs, asked):.3g} from those of "
                    "such a network.",
                )


MOST_AT_A_TIME = 250
"""Digits in a batch that a trained network reads. Twice as quick as a thousand."""


def check_gpu(exercise: str, model: Model, generator: torch.Generator) -> None:
    """The same outputs on a GPU, in float64."""
    images = draws.images(generator, 8)
    model.double().set_weights(_weights(exercise, model, generator))
    here, there = model(images), model.forward(images, device="cuda").logits
    if not layouts.equal(there, here):
        raise fail(
            f"{model.name} computes something else on a GPU than on the CPU.",
            f"The outputs differ by up to {explain.difference(there, here):.3g}.",
        )


def _weights(exercise: str, model: Model, generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights of the grader's own for the learner's parameters."""
    network = reference.NETWORKS[exercise]
    return layouts.draw_weights(network, layouts.match(network, model.parameters), generator)


def _exactly(
    model: Model, weights: Mapping[str, Tensor], images: Tensor, ask: Callable[[Tensor], T]
) -> tuple[Tensor, T]:
    """The images and what is asked about them, in float64; in float32 where that does not work."""
    try:
        model.double().set_weights(weights)
        return images, ask(images)
    except SubmissionFailure as failure:
        if not failure.event.raised or failure.event.mistake == "no-gradient":
            raise
    model.float().set_weights(weights)
    return images.float(), ask(images.float())


def _expect_shape(model: Model, outputs: Tensor, size: int) -> None:
    if outputs.shape != (size, 10):
        rows = outputs.dim() == 2 and outputs.shape[1] == 10
        last = "each image gives one row" if rows else "the last layer has 10 outputs"
        raise fail(
            f"For images {shape_of((size, 1, 28, 28))} the outputs of {model.name} have the shape "
            f"{shape_of(outputs.shape)}.",
            f"{shape_of((size, 10))} is asked for: ten numbers for each image.",
            f"Write the shape after every step of forward beside it: {last}.",
            expected=[size, 10],
            actual=list(outputs.shape),
        )


def _check_device(exercise: str, model: Model) -> None:
    try:
        device = model.on_fake_device()
    except SubmissionFailure as failure:
        if not explained.is_of_the_code(failure):
            raise
        raise explained.known(
            exercise,
            "names-device",
            "It was tried on a device that is not the CPU.",
            **explained.at(failure),
        ) from None
    if device.startswith("cpu"):
        raise explained.known(exercise, "back-to-cpu", f"They came back on {device}.")
