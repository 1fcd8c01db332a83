"""Why a network is not what is asked for: the failure to raise, with the mistake's name if it is
a known one and otherwise with what was seen.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, takewhile
from typing import Any

import torch
from torch import Tensor

from mnist_lab.diagnosis import CheckFailure, explain, fail, reference
from mnist_lab.diagnosis.networks import bank, layouts, places, probes, structures
from mnist_lab.diagnosis.networks.layouts import MISFIT
from mnist_lab.submission.answers import Parameter, Step
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.remote import Model

Explanation = explain.Explanation[reference.Network]

SIZES = (1, 2, 3, 4, 8, 10, 16, 20, 32, 50, 64, 100, 128)
"""Batches that are tried to find the one that works."""

OTHER_TYPES = ("same dtype", "Input type (", "expected scalar type")
"""How PyTorch says that images and weights are of different types."""


@dataclass(frozen=True)
class Seen(probes.Observed):
    """What was observed of a learner's model in eval or in train mode, and the reference's outputs
    beside it.
    """

    exercise: str
    model: Model
    compared: layouts.Comparison
    training: bool = False

    @property
    def network(self) -> reference.Network:
        return reference.NETWORKS[self.exercise]

    @property
    def mode(self) -> str:
        return "train" if self.training else "eval"

    @property
    def weights(self) -> str:
        """What they are, in words."""
        times = f" {self.scale:,.0f} times as large as usual" if self.scale > 1 else ""
        return f"random weights{times}"

    @property
    def off(self) -> float:
        """By how much an output differs from that asked for at most."""
        return explain.difference(self.outputs, self.compared.outputs)

    @property
    def run(self) -> probes.Run:
        return _runner(self.model, self.images.dtype, self.training)


def is_of_the_code(failure: CheckFailure | SubmissionFailure) -> bool:
    """Whether it comes of what the network does, not of a stub, a time limit or a lost process."""
    return isinstance(failure, CheckFailure) or (
        failure.outcome == "failed" and failure.event.raised != ""
    )


def is_not_finite(failure: CheckFailure | SubmissionFailure) -> bool:
    """Whether some of the outputs are no numbers."""
    event = getattr(failure, "event", None)
    return event is not None and event.kind == "not-finite"


def at(failure: CheckFailure | SubmissionFailure) -> dict[str, Any]:
    """Where it was raised, to be told of a mistake that explains it."""
    return {"where": failure.cause.where, "traceback": failure.cause.traceback}


def known(exercise: str, slug: str, evidence: str, hint: str = "", **details: Any) -> CheckFailure:
    """A mistake of the bank that a check observed; the hint is its own unless given."""
    mistake = bank.entry(f"{exercise}.{slug}")
    return fail(mistake.says, evidence, hint or mistake.hint, fault=mistake.id, **details)


def of_first_weights(model: Model) -> str:
    """The hint where they are not random as they should be: of PyTorch's layers or one's own."""
    owners = {model.modules.get(each.owner, "") for each in model.parameters}
    own = [shown for shown in owners if "(" not in shown or shown.startswith("Parameter")]
    return bank.TABLES["first_weights"]["own" if own else "layers"]


# The network


def another_network(seen: Seen, generator: torch.Generator) -> CheckFailure:
    """In one mode the outputs are not those asked for; in train mode where all is well in eval."""
    if changed := _changes_weights(seen):
        return changed
    again = seen.model.forward(seen.images, training=seen.training, images_after=True)
    if other := _asked_again(seen, again.logits, seen.outputs, again.made):
        with suppress(SubmissionFailure):  # They may be changed where the mode is set, once.
            seen.model.forward(seen.images, training=not seen.training)
        return _changes_weights(seen) or other
    mistakes = bank.of(seen.exercise)
    if seen.scale > 1:  # With usual weights all is well.
        nothing, mistakes = None, [each for each in mistakes if each.more.get("bounds")]
    else:
        nothing = answers_nothing(seen.model, seen.images, seen.outputs, generator)
    at_most = 1 if nothing else 2
    finding = probes.explain(seen.network, mistakes, seen, seen.run, generator, at_most=at_most)
    changes = not torch.equal(again.images_after, seen.images)
    explanation = finding.explanation
    line = _line(seen, explanation) if explanation else _leaves(seen)
    seen.model.set_weights(seen.stored)
    in_other_mode = seen.model.forward(seen.images, training=not seen.training).logits
    if explanation is None:
        images_after = again.images_after if changes else None
        failure = nothing or _unknown(seen, finding, images_after, line)
    else:
        also = ["changes-images"] if changes else []
        if not seen.training and not layouts.equal(in_other_mode, seen.outputs):
            steps = _steps(replace(seen, training=True))
            also += ["dropout"] if places.dropping(seen.images[:FOLLOWED], steps) else []
        failure = explain.named(
            _with(explanation, seen.exercise, also),
            f"On {len(seen.images)} random images with {seen.weights} its outputs are those of "
            f"such a network to {max(explanation.difference, 1e-16):.0e}; those asked for are up "
            f"to {seen.off:.3g} away.",
            line,
        )
    if not layouts.equal(in_other_mode, seen.compared.outputs):
        return failure
    what = re.sub("^The ", "the ", failure.cause.message)
    message = f"In {seen.mode} mode only: {what}"
    return CheckFailure(replace(failure.cause, message=message))


def _line(seen: Seen, explanation: Explanation) -> str:
    """The line at which the learner's values become those of the mistake; of something that is left
    out, that of the layer behind which it belongs.
    """
    mistake, plan = bank.entry(explanation.alternatives[0][0].id), explanation.plan
    model, images = seen.model, seen.images[:FOLLOWED]
    usual = _line_of_layer(seen.network, model, seen.matched, explanation)
    found = layouts.compare(plan, seen.matched, seen.stored, seen.images, seen.outputs)
    w = found.placed.to_reference(seen.stored)
    one, other = (_values(each, w, images) for each in (seen.network, plan))
    same = len(list(takewhile(lambda pair: layouts.equal(*pair), zip(one, other, strict=False))))
    asked = [*seen.network.stages.items()][same - 1 : same]
    if same == len(other) or any(name not in plan.stages for name, _ in asked):
        return usual
    without_bias = {name: value * (not name.endswith(".bias")) for name, value in w.items()}
    right = [*one, *(_next(without_bias, one[same - 1], text) for _, text in asked)]
    between = places.departing(_steps(seen), right, other[same:])
    layers = [step.module for step in between]
    made = places.shown(model, mistake.layer, layers)
    if mistake.more.get("made") and all(layers) and len({*layers}) == 1:
        made = places.made(model, layers[0])
    return made or (places.line(model, between[-1]) if between else "") or places.forward(model)


FOLLOWED = 2
"""Images whose values are followed through a learner's forward."""


def _steps(seen: Seen) -> list[Step]:
    """Those of a forward pass of the learner's; none where it fails."""
    with suppress(SubmissionFailure):
        seen.model.set_weights(seen.stored)
        return seen.model.steps(seen.images[:FOLLOWED], training=seen.training)
    return []


def _values(network: reference.Network, w: Mapping[str, Tensor], images: Tensor) -> list[Tensor]:
    """The images and what comes out of each stage."""
    return list(accumulate(network.stages.values(), partial(_next, w), initial=images.double()))


def _next(w: Mapping[str, Tensor], x: Tensor, stage: str) -> Tensor:
    return reference.through([stage], w, x)


def _line_of_layer(
    network: reference.Network,
    model: Model,
    matched: Mapping[str, Parameter],
    explanation: Explanation,
) -> str:
    """Where the layer is made that a mistake is in, or used behind which it is."""
    mistake, stages = bank.entry(explanation.alternatives[0][0].id), list(network.stages)
    if not mistake.changes:
        return ""
    _, stage, _ = mistake.changes[0].steps[0]
    layers = [each for each in network.layers if stages.index(each) <= stages.index(stage)]
    return _of(mistake, model, matched[f"{layers[-1]}.weight"].name)


def _of(mistake: bank.Mistake, model: Model, parameter: str) -> str:
    """Of the layer that makes the mistake, if PyTorch shows one, else of the ``parameter``'s."""
    if line := places.shown(model, mistake.layer):
        return line
    return (places.made if mistake.more.get("made") else places.used)(model, parameter)


def answers_nothing(
    model: Model, images: Tensor, outputs: Tensor, generator: torch.Generator
) -> CheckFailure | None:
    """It is no network whose outputs are the same for all images or weights."""
    what = "images" if (outputs == outputs[:1]).all() else ""
    if not what:
        model.set_weights(any_weights(model, generator))
        what = "weights" if torch.equal(model(images), outputs) else ""
    numbers = ", ".join(f"{value:.3g}" for value in outputs[0, :3].tolist())
    if not what:
        return None
    return fail(
        f"{model.name} gives the same outputs for all {what}.",
        f"For {len(outputs)} random images, with random weights: {numbers} and so on.",
        "forward should compute its outputs from the images, with the layers of self.",
    )


def any_weights(model: Model, generator: torch.Generator) -> dict[str, Tensor]:
    """Random ones, for a network of whatever layers; about as large as PyTorch's own."""
    return {
        each.name: 0.5
        * torch.randn(each.shape, generator=generator)
        / max(1, math.prod(each.shape[1:])) ** 0.5
        for each in model.parameters
    }


def _changes_weights(seen: Seen) -> CheckFailure | None:
    """After a call there are other weights than it was given."""
    seen.model.set_weights(seen.stored)
    seen.model.forward(seen.images, training=seen.training)
    after = seen.model.weights()
    given = seen.stored.items()
    others = [n for n, value in given if not torch.equal(after[n], value.to(after[n].dtype))]
    by = f"After a call in {seen.mode} mode there are other numbers in {', '.join(others)}."
    line = places.forward(seen.model)
    return known(seen.exercise, "changes-weights", by, where=line) if others else None


STEADY = 1e-5
"""Of the largest output: by how much float32 outputs for the same images may differ."""


def now_and_then(seen: Seen, off: Tensor, size: int) -> CheckFailure:
    """Calls with the same digits give different outputs; ``off`` is how far each is from those
    that are asked for.
    """
    often = int((off > off.min() + STEADY).sum())
    digits = "digit" if size == 1 else f"{size} digits"
    differs = (
        f"Of {len(off)} calls with the same {digits} and the same weights, all in {seen.mode} "
        f"mode, {often} {'gives' if often == 1 else 'give'} other outputs than the rest."
    )
    return _random(seen, differs, 0)


def _asked_again(seen: Seen, again: Tensor, outputs: Tensor, made: int = 0) -> CheckFailure | None:
    """That the same weights and images give other outputs the second time."""
    if layouts.equal(again, outputs):
        return None
    differs = (
        f"Both times in {seen.mode} mode, with the same weights and images. The outputs differ "
        f"by up to {explain.difference(again, outputs):.3g}."
    )
    return _random(seen, differs, made)


def _random(seen: Seen, differs: str, made: int) -> CheckFailure:
    if made:
        return known(seen.exercise, "layer-in-forward", f"{made} parameters a call. {differs}")
    found = places.dropping(seen.images[:FOLLOWED], _steps(seen))
    if found is None:
        slug = "random-in-training" if seen.training else "random"
        return known(seen.exercise, slug, differs, where=_leaves(seen))
    step, share = found
    by = f"{differs} Of the numbers above 0 it sets {share:.0%} to 0: that is dropout."
    slug = "dropout" if seen.training else "dropout-always"
    layer = places.made(seen.model, step.module) if step.module else ""
    return known(seen.exercise, slug, by, where=layer or places.line(seen.model, step))


def other_digits(seen: Seen, images: Tensor, outputs: Tensor, asked: Tensor) -> CheckFailure:
    """Something else is computed from larger batches, with gradients, or from digits in float32."""
    (again,) = seen.model.repeated(images, 1, training=seen.training)
    if other := _asked_again(seen, again, outputs):
        return other
    others = images[:2] if len(images) > 2 else images.repeat(3, 1, 1, 1)
    (beside,) = seen.model.repeated(others, 1, training=seen.training)
    both = min(len(images), len(others))
    if not layouts.equal(beside[:both], outputs[:both]):
        return known(
            seen.exercise,
            "depends-on-batch",
            f"Digits in a batch of {len(others)} get outputs that are up to "
            f"{explain.difference(beside[:both], outputs[:both]):.3g} from those that they get in "
            f"one of {len(images)}.",
        )
    plain = seen.model.forward(images, training=seen.training).logits
    if not layouts.equal(plain, outputs):
        return fail(
            f"{seen.model.name} gives other outputs where gradients are recorded.",
            f"They are up to {explain.difference(plain, outputs):.3g} from those that it gives "
            "under torch.no_grad().",
            "forward should do the same whether gradients are recorded or not.",
        )
    single = seen.model.forward(seen.images.float(), training=seen.training).logits
    weights = seen.compared.placed.to_reference(seen.stored)
    exactly = seen.network.forward(weights, seen.images.double())
    if not layouts.equal(single, exactly):
        seen.model.double().set_weights(seen.stored)
        later = seen.model.forward(seen.images, training=seen.training).logits
        if not layouts.equal(later, exactly):
            return fail(
                f"{seen.model.name} keeps something from one call to the next.",
                "For the same random images and weights its outputs were as asked at first; after "
                f"calls with other images they are up to {explain.difference(later, exactly):.3g} "
                "away.",
                "Compute the outputs from the images and the weights alone: keep neither averages "
                "nor earlier images in self.",
            )
        return fail(
            f"{seen.model.name} computes something else in float32 than in float64.",
            "For the same random images and weights its outputs are as asked in float64; in "
            f"float32 they are up to {explain.difference(single, exactly):.3g} away.",
            "Leave .half(), .bfloat16() and torch.autocast out of forward: it computes in the type "
            "of the images and the weights.",
        )
    return fail(
        f"{seen.model.name} computes something else from digits than from other images.",
        "From random images its outputs are as asked; from digits they are up to "
        f"{explain.difference(outputs, asked):.3g} away.",
        "forward should do the same whatever the images are.",
    )


def _with(
    explanation: Explanation, exercise: str, slugs: Iterable[str], first: bool = False
) -> Explanation:
    """The same together with mistakes that were observed, which come ``first`` or last; never more
    than two.
    """
    also = tuple(bank.entry(f"{exercise}.{slug}") for slug in slugs)
    alternatives = tuple(
        ((*also, *faults) if first else (*faults, *also))[:2] for faults in explanation.alternatives
    )
    return replace(explanation, alternatives=alternatives)


# What is in no bank


def _unknown(
    seen: Seen, finding: probes.Finding, changed: Tensor | None, line: str
) -> CheckFailure:
    """What is seen, where no known mistake explains it."""
    name, low, high = seen.model.name, seen.outputs.min().item(), seen.outputs.max().item()
    chain = bank.TABLES["chain"][seen.exercise]
    anywhere = "", "", bank.TABLES["otherwise"]["anywhere"]
    where, how, hint = bank.TABLES["probes"][seen.exercise].get(finding.departs, anywhere)
    evidence = [
        f"With the same {seen.weights} and images its outputs are off by up to "
        f"{seen.off:.3g}; they lie between {low:.3g} and {high:.3g}, and those "
        f"asked for between {seen.compared.outputs.min().item():.3g} and "
        f"{seen.compared.outputs.max().item():.3g}."
    ]
    if where:
        evidence.append(how.format(off=f"{finding.off:.3g}"))
    if finding.departs in ("linear", "hidden"):
        evidence += _bend(seen, finding.departs)
    if changed is not None:
        by = f"They differ by up to {explain.difference(changed, seen.images):.3g} after the call."
        return known(seen.exercise, "changes-images", " ".join([by, *evidence]))
    seen.model.set_weights(seen.stored)
    with suppress(SubmissionFailure):
        if others := _in_pairs(seen):
            again = seen.model.forward(seen.images, training=seen.training).logits
            if other := _asked_again(seen, again, seen.outputs):
                return other
            return known(seen.exercise, "depends-on-batch", " ".join([others, *evidence]))
    return fail(
        f"The outputs of {name} are not those of {chain}"
        + (f": they depart {where}." if where else "."),
        " ".join(evidence),
        hint,
        where=line,
    )


def _leaves(seen: Seen) -> str:
    """The first line behind which no value is one of the reference's, in the layout in which that
    is the latest; that of ``forward`` where none is or the line is not known.
    """
    steps = _steps(seen)
    latest = -1
    for placed in layouts.placed(seen.network, seen.matched):
        weights = placed.to_reference(seen.stored)
        right = list(_values(seen.network, weights, seen.images[:FOLLOWED]))
        latest = max(latest, places.last(steps, right, in_order=True))
    behind = steps[latest + 1 :] if latest >= 0 else []
    return (places.line(seen.model, behind[0]) if behind else "") or places.forward(seen.model)


SUMS = (-8.0, -2.0, -1.0, 0.0, 0.5, 2.0, 8.0)


def _bend(seen: Seen, layer: str) -> list[str]:
    """What the layer's sums become on their way, seen unit by unit."""
    weights = {name: torch.zeros(axes).double() for name, axes in seen.network.axes.items()}
    weights[f"{layer}.bias"][: len(SUMS)] = torch.tensor(SUMS).double()
    if layer == "hidden":
        weights["output.weight"][range(len(SUMS)), range(len(SUMS))] = 1
    stored = layouts.usual(seen.network, seen.matched).from_reference(weights)
    outputs = seen.run(stored, seen.images[:1])
    if outputs is None:
        return []
    asked = seen.network.forward(weights, seen.images[:1].double())
    sums, become, belong = (
        ", ".join(f"{value:.3g}" for value in row[: len(SUMS)])
        for row in (SUMS, outputs[0].tolist(), asked[0].tolist())
    )
    shown = f"Sums of {sums} become {become}; asked for are {belong}."
    return [shown] if become != belong else []


def _in_pairs(seen: Seen) -> str:
    """By how much outputs change with the other images of a batch; empty if they do not."""
    pairs = seen.images.split(2)
    outputs = torch.cat([seen.model.forward(two, training=seen.training).logits for two in pairs])
    if layouts.equal(outputs, seen.outputs):
        return ""
    off = explain.difference(outputs, seen.outputs)
    return (
        f"In batches of 2 its outputs are up to {off:.3g} from those in one of {len(seen.images)}."
    )


# The parameters


def other_parameters(
    exercise: str, model: Model, unmatched: layouts.Unmatched, generator: torch.Generator
) -> CheckFailure | SubmissionFailure:
    """Parameters that are not those of the network."""
    network = reference.NETWORKS[exercise]
    expected = sum(math.prod(axes) for axes in network.axes.values())
    actual = sum(math.prod(each.shape) for each in model.parameters)
    lacks = [
        f"{_called(exercise, name)} {shape_of(_usual(network.axes[name]))}"
        for name in unmatched.missing
    ]
    extra = [f"{each.name} {shape_of(each.shape)}" for each in unmatched.extra]
    lists = (("It lacks", lacks), ("It also has", extra))
    inventory = " ".join(f"{what} {_listed(those)}." for what, those in lists if those)
    count = (
        f"{model.name} has {expected:,} parameters, as asked for, but not in the shapes of one "
        "weight and one bias for each layer."
        if actual == expected
        else f"{model.name} has {actual:,} parameters; {expected:,} are asked for."
    )
    numbers: dict[str, Any] = {"expected": expected, "actual": actual}
    hidden = _not_found(exercise, model, unmatched)
    if hidden is not None:
        slug, what, name = hidden
        line = places.made(model, name) or places.of_class(model, name)
        return known(exercise, slug, f"{count} {what} {inventory}", where=line, **numbers)
    model.double()
    run = _runner(model, torch.float64, training=False)
    named = _structure(exercise, model, run, generator)
    if named is not None:
        explanation, how, parameter = named
        line = _of(bank.entry(explanation.alternatives[0][0].id), model, parameter)
        return explain.named(explanation, f"{count} {how}", line)
    if _made_anew(model):
        return known(exercise, "layer-in-forward", f"{count} {inventory}", **numbers)
    try:
        model.float()(torch.zeros(2, 1, 28, 28))
    except SubmissionFailure as failure:
        fits = _sizes(exercise, model, failure.cause.message, {})
        if fits or failure.event.kind == "raised":
            return fits or failure
    line = places.made(model, unmatched.extra[0].name) if unmatched.extra else ""
    return fail(count, inventory, bank.TABLES["otherwise"]["one_of_each"], where=line, **numbers)


def _listed(things: Sequence[str]) -> str:
    shown = ", ".join(things[:MOST_LISTED])
    more = len(things) - MOST_LISTED
    return f"{shown} and {more} more" if more > 0 else shown


MOST_LISTED = 6
"""Parameters that are told by name."""


def _called(exercise: str, weight: str) -> str:
    """One of the reference's weights in a sentence."""
    layer, _, kind = weight.rpartition(".")
    what = {"weight": "the weights", "bias": "the biases"}[kind]
    return f"{what} of {bank.LAYERS[exercise][layer]['its']}"


def _not_found(
    exercise: str, model: Model, unmatched: layouts.Unmatched
) -> tuple[str, str, str] | None:
    """Weights that are there, of the shapes that are missing, or layers of any shapes where none is
    known, and PyTorch does not see them: the mistake, how it is known, and the attribute.
    """
    axes = reference.NETWORKS[exercise].axes
    for held in model.unregistered:
        fitting = [
            name
            for name in unmatched.missing
            if any(layouts.possible(axes[name], shape) for shape in held.shapes)
        ]
        if not fitting and (model.parameters or held.type == "Tensor"):
            continue
        if held.type == "class":
            said = f"{held.name} belongs to the class and has {len(held.shapes)} weights or biases."
            return "in-the-class", said, held.name.partition(".")[2]
        if held.type == "Tensor":
            said = f"self.{held.name} is a tensor and no parameter."
            return "plain-tensors", said, held.name
        said = f"self.{held.name} is a {held.type} with {len(held.shapes)} weights and biases."
        slug = "tuple-of-one" if (held.type, held.parts) == ("tuple", 1) else "plain-list"
        return slug, said, held.name
    return None


def _structure(
    exercise: str, model: Model, run: probes.Run, generator: torch.Generator
) -> tuple[Explanation, str, str] | None:
    """The layers that the parameters make up, if the network with them is the learner's: in what
    way they are others, how that is known, and a parameter that shows it.
    """
    guesses = structures.structures(exercise, model.parameters)
    if not guesses:
        return None
    images = torch.randn(8, 1, 28, 28, generator=generator, dtype=torch.float64)
    weights = _drawn(guesses[0], model, generator)
    outputs = run(weights, images)
    if outputs is None:
        return None
    equal: list[structures.Structure] = []
    for guess in guesses:
        if equal and len(guess.faults) > len(equal[0].faults):
            break
        try:
            given = layouts.usual(guess.network, guess.matched).to_reference(weights)
            if layouts.equal(outputs, guess.network.forward(given, images)):
                equal.append(guess)
        except MISFIT:
            continue
    if equal:
        kinds = dict.fromkeys(
            tuple(sorted(guess.faults)) if len(guess.faults) <= 2 else ("other-layers",)
            for guess in equal
        )
        alternatives = tuple(
            tuple(bank.entry(f"{exercise}.{slug}") for slug in slugs) for slugs in kinds
        )
        found = explain.Explanation(alternatives, 0.0, equal[0].network)
        each = [bank.entry(f"{exercise}.{slug}").says for slug in equal[0].faults]
        how = " ".join([_built(equal[0]), *(each if len(each) > 2 else [])])
        return found, how, next(iter(equal[0].faults.values()), "")
    for guess in [guess for guess in guesses if len(guess.faults) <= 1][:MOST_EXPLAINED]:
        observed = probes.Observed(guess.matched, weights, images, outputs)
        try:
            finding = probes.explain(
                guess.network,
                bank.of(exercise),
                observed,
                run,
                generator,
                share=1 / MOST_EXPLAINED,
                at_most=1,
            )
        except MISFIT:
            continue
        if finding.explanation is not None:
            both = _with(finding.explanation, exercise, guess.faults, first=True)
            return both, _built(guess), next(iter(guess.faults.values()), "")
    return None


MOST_EXPLAINED = 2
"""Guesses of layers for which other mistakes are looked for as well."""


def _built(guess: structures.Structure) -> str:
    unused = ", ".join(f"{each.name} {shape_of(each.shape)}" for each in guess.unused)
    return (
        f"Its layers are {guess.sizes}: on 8 random images with random weights its outputs are "
        "those of such a network." + (f" They do not depend on {unused}." if unused else "")
    )


def _drawn(
    guess: structures.Structure, model: Model, generator: torch.Generator
) -> dict[str, Tensor]:
    known = layouts.draw_weights(guess.network, guess.matched, generator)
    return {
        each.name: known.get(
            each.name, torch.randn(each.shape, generator=generator, dtype=torch.float64)
        )
        for each in model.parameters
    }


def _made_anew(model: Model) -> bool:
    """Whether layers are made in forward, and the outputs are other ones each time."""
    images = torch.ones(2, 1, 28, 28)
    try:
        first, second = (model.float().forward(images) for _ in range(2))
    except SubmissionFailure:
        return False
    return first.made > 0 and not layouts.equal(first.logits, second.logits)


# Shapes, behaviour and training


def other_shapes(
    exercise: str, model: Model, failure: CheckFailure | SubmissionFailure
) -> CheckFailure | SubmissionFailure:
    """Outputs of another shape, or none at all."""
    if not is_of_the_code(failure) or (
        isinstance(failure, SubmissionFailure) and failure.cause.fault
    ):
        return failure
    details = at(failure)
    evidence = " ".join(filter(None, (failure.cause.message, failure.cause.evidence)))
    failed = isinstance(failure, SubmissionFailure)
    if failed and any(sign in evidence for sign in OTHER_TYPES):
        types = sorted({str(each.dtype).removeprefix("torch.") for each in model.parameters})
        slug = "converts-images" if types == ["float32"] else "other-dtype"
        said = f"The images are float32, the weights {', '.join(types)}. {evidence}"
        return known(exercise, slug, said, **details)
    other = [each for each in model.parameters if each.dtype != torch.float32]
    if other:
        kinds = ", ".join(sorted({str(each.dtype).removeprefix("torch.") for each in other}))
        return known(exercise, "other-dtype", f"They are {kinds}. {evidence}", **details)
    shapes = {size: _shape_for(model, size) for size in SIZES}
    right = [size for size, shape in shapes.items() if shape == (size, 10)]
    columns = [each for each in model.parameters if tuple(each.shape[1:]) == (1,)]
    for each in columns:
        if each.shape[0] > 1 and shapes[1] == (each.shape[0], 10):
            line = places.made(model, each.name)
            return known(exercise, "column-of-biases", evidence, **details | {"where": line})
    if all(shape == (10, size) for size, shape in shapes.items()):
        return known(exercise, "columns", evidence, **details)
    if len(right) == 1:
        return known(
            exercise,
            "one-batch-size",
            f"It gives ten outputs for each image of a batch of {right[0]}, and fails for "
            f"{len(SIZES) - 1} other sizes. {evidence}",
            **details,
        )
    if not right and shapes[1] == (10,) and not any(list(shapes.values())[1:]):
        return known(exercise, "flattens-batch", evidence, **details)
    if right == list(SIZES[1:]) and shapes[1] == (10,):
        return known(exercise, "squeezes", evidence, **details)
    if all(shape is not None and shape in ((size,), (size, 1)) for size, shape in shapes.items()):
        digits = model(torch.randn(16, 1, 28, 28))
        if not digits.is_floating_point():
            return known(exercise, "returns-classes", evidence, **details)
    of_size = isinstance(failure, CheckFailure) or failure.event.raised == "RuntimeError"
    named = _of_other_sides(model, evidence) if exercise == "cnn" and of_size else None
    return named or _sizes(exercise, model, evidence, details) or failure


def _of_other_sides(model: Model, evidence: str) -> CheckFailure | None:
    """Mistakes that change the sizes of maps, known from images for which the sizes fit."""
    network, generator = reference.NETWORKS["cnn"], torch.Generator().manual_seed(0)
    try:
        matched = layouts.match(network, model.parameters)
    except layouts.Unmatched:
        return None
    stored = layouts.draw_weights(network, matched, generator)
    given = layouts.usual(network, matched).to_reference(stored)
    model.double()
    run = _runner(model, torch.float64, training=False)
    for side, others in structures.of_other_sides().items():
        images = torch.randn(4, 1, side, side, generator=generator, dtype=torch.float64)
        outputs = run(stored, images) if others else None
        if outputs is None or outputs.shape != (4, 10):
            continue
        kinds = [
            ids for ids, other in others if layouts.equal(outputs, other.forward(given, images))
        ]
        if kinds:
            fewest = dict.fromkeys(ids for ids in kinds if len(ids) == len(min(kinds, key=len)))
            alternatives = tuple(tuple(map(bank.entry, ids)) for ids in fewest)
            said = f"On images of {side}x{side} its outputs are those of such a network. {evidence}"
            found = explain.Explanation(alternatives, 0.0, network)
            return explain.named(found, said, _line_of_layer(network, model, matched, found))
    return None


def _shape_for(model: Model, size: int) -> tuple[int, ...] | None:
    try:
        return tuple(model(torch.zeros(size, 1, 28, 28)).shape)
    except SubmissionFailure:
        return None


def _sizes(
    exercise: str, model: Model, evidence: str, details: dict[str, Any]
) -> CheckFailure | None:
    """What PyTorch says of a layer that gets another number of inputs than it takes."""
    said = re.search(r"shapes cannot be multiplied \((\d+)x(\d+) and (\d+)x\d+\)", evidence)
    if said is None:
        return None
    _, got, takes = map(int, said.groups())
    if (got, takes) == ((7, 1568) if exercise == "cnn" else (28, 784)):
        return known(exercise, "no-flatten", evidence, **details)
    layers = [each for each in model.parameters if tuple(each.shape[1:]) == (takes,)]
    shapes = reference.NETWORKS[exercise].axes.values()
    asked = {(axes[0], math.prod(axes[1:])) for axes in shapes}
    rightly = bool(layers) and all((each.shape[0], takes) in asked for each in layers)
    refuses_rightly = rightly and "where" in details
    as_asked = ", as asked for" if refuses_rightly else ""
    line = places.made(model, layers[0].name) if layers and not refuses_rightly else ""
    return known(
        exercise,
        "sizes-do-not-fit",
        f"It gets {got:,} numbers at a time and takes {takes:,}{as_asked}. {evidence}",
        expected=takes,
        actual=got,
        **(details | ({"where": line} if line else {})),
    )


def _runner(model: Model, dtype: torch.dtype, training: bool) -> probes.Run:
    def run(weights: Mapping[str, Tensor], images: Tensor) -> Tensor | None:
        try:
            model.set_weights(weights)
            return model.forward(images.to(dtype), training=training).logits
        except SubmissionFailure:
            return None

    return run


def _usual(axes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a weight in PyTorch's own layer: a dense layer's inputs are one axis."""
    dense = len(axes) > 1 and axes[-1] != 3
    return (axes[0], math.prod(axes[1:])) if dense else axes


def shape_of(shape: Sequence[int]) -> str:
    """The shape as it is written in Python."""
    return str(tuple(shape))
