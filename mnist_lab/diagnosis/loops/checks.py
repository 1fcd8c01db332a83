"""Do ``train_epoch`` and ``train`` train as their handout asks? Each step is replayed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations, product
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis import CheckFailure, Waiting, draws, explain, fail, reference
from mnist_lab.diagnosis.degenerate import of_weights
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.faults import Edits, Fault
from mnist_lab.diagnosis.loops import trainings
from mnist_lab.diagnosis.loops.bank import entry
from mnist_lab.diagnosis.loops.replay import Call, Replayed, Score, Seen
from mnist_lab.diagnosis.measures import amounts, comparing
from mnist_lab.diagnosis.measures.bank import merged, observed
from mnist_lab.diagnosis.measures.numbers import Explained
from mnist_lab.submission.answers import Batches, Facts, Recipe, Trained
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.client import ExerciseHandle
from mnist_lab.submission.given import LOSSES

LR = 0.05
"""The learning rate of ``train_epoch``, roughly: each learning rate is drawn near such a value."""

LARGE_LR = 0.1
"""For ``train``: the loss soon rises again, and the accuracy falls below its best, so that stopping
early or keeping the best epoch is seen."""

SMALL_LR = 0.03
"""For ``train`` on many batches."""

MOST_AT_ONCE, MOST_ALTERNATIVES = 2, 3
"""Mistakes in the numbers that are told together. Where more explain the same numbers, the numbers
are told instead."""

BY_SGD, BY_ADAM = 1e-5, 5e-4
"""Weights agree to this in float32: of the right ones none was further off than 9e-7 and 3e-4, in
240 and 180 calls.
"""

NEARLY = 0.01
"""The share of the way that weights go, and of a loss of size 1, by which they may be off in
float32: of 300 right trainings two were by more than 1e-5. Now and then a unit is on the other side
of its ReLU, or Adam makes a whole step the other way where a gradient all but cancels out: 0.005
was seen. In bfloat16 it is 0.013 and more.
"""

ADAMS_SCALARS = 1e-5
"""Weights of ``train`` agree to this in float64: a learning rate that is a float32 tensor makes
them differ by some 1e-8, a count of steps that is one by some 1e-6.
"""

APART = 1e-2
"""Between the two highest scores of an example, which Adam's steps in float32 do not change."""

TIED = 2e-5
"""Of two scores that are closer, either may be the higher one in float32, after many steps."""

TINY_LR = 3e-4
"""For ``train`` where nothing is left to learn: less than the default."""

FEW_UNITS = 6
"""Units of the model."""

MOST_PASSES = 10
"""Through the loader, from which the ones that train are found."""

FAINT = 1e-6
"""What some pixels are multiplied with: their gradients are so small that Adam's epsilon counts
beside them, and with it the scale of the loss, which Adam hides elsewhere."""


def check_steps(exercise: ExerciseHandle, grader: Grader) -> None:
    """The weights after ``train_epoch`` are those of its steps, on the images as they come."""
    _expect_epochs(exercise, grader, lambda tried: tried.makes_right_steps)


def check_results(exercise: ExerciseHandle, grader: Grader) -> None:
    """``train_epoch`` returns the mean loss and the accuracy before each step."""
    _expect_epochs(exercise, grader, lambda tried: tried.has_right_results)


def check_train(exercise: ExerciseHandle, grader: Grader) -> None:
    """``train`` makes Adam's steps for all epochs and returns what each gave."""
    try:
        tried = _trainings(exercise, grader)
    except SubmissionFailure as failure:
        raise _broken_by_the_first_epoch(exercise, grader, failure) or failure from None

    def right(each: Tried) -> bool:
        return each.makes_right_steps and each.has_right_results

    if not all(map(right, tried)):
        raise _failure(exercise, grader, tried)
    _, others, *few = _many_asked(grader)
    for short in _short_trainings(grader):
        if _is_nearly_right(_try(exercise.train, _in_float32(short))):
            break
    else:
        raise _of_many(exercise.train, short, _is_nearly_right)
    if not right(_try(exercise.train, _in_float32(others))):
        raise _of_many(exercise.train, others, right)
    for asked in few:
        if not right(_try(exercise.train, asked)):
            raise _of_many(exercise.train, asked, right)


def check_state(exercise: ExerciseHandle, grader: Grader) -> None:
    """By the weights after training a model whose gradients in eval mode are others."""
    generator = grader.generator("training.state")
    weights = draws.normed_weights(generator)
    seed = int(torch.randint(2**31, (), generator=generator))
    more, epochs = (int(torch.randint(3, 5, (), generator=generator)) for _ in range(2))
    batches = replace(_batches(generator, more), seed=seed)
    plus, lr = draws.plus(generator), draws.near(generator, LR)
    recipe = Recipe("normed", weights, training=False, lr=lr, plus=plus)
    twice = replace(recipe, calls=2)
    found: dict[Fault, list[str]] = {}
    loops: dict[str, dict[str, float]] = {"train_epoch": {}, "train": {"epochs": epochs, "lr": lr}}
    short: dict[str, dict[str, float]] = {"train_epoch": {}, "train": {"epochs": 2, "lr": lr}}
    for name, given in loops.items():
        call = functools.partial(comparing.in_float64, getattr(exercise, name))
        single = name == "train_epoch"  # What Adam makes of rounding errors is chance.
        own, fed = comparing.in_float32(recipe, batches) if single else (recipe, batches)
        loop = Loop(name, recipe, batches, call(own, fed, **given), 1 if single else epochs)
        facts = loop.trained.facts
        left = [
            *comparing.left_behind(facts),
            *comparing.reseeds(exercise, getattr(exercise, name), twice, batches, **short[name]),
        ]
        for wrong, said in left:
            found.setdefault(observed(wrong, name), []).append(f"{name}: {said}")
        if loop.trains_in_train_mode:
            said = loop.other_results()
            if said and _has_right_results(exercise, grader, name):
                found.setdefault(entry("scores-of-another-pass"), []).append(f"{name}: {said}")
            continue
        if loop.keeps_batches:
            said = f"{name}: the loader gives other batches when it is gone through again."
            found.setdefault(entry("keeps-batches"), []).append(said)
            continue
        again = call(replace(recipe, training=True), batches, **given)
        for mode in _modes([(False, facts), (True, again.facts)]):
            found.setdefault(mode, []).append(f"{name}: {_what_modes(facts)}")
        if not found:
            raise _other_mode(loop, functools.partial(call, **given))
    for name, given in short.items():
        for wrong, said in comparing.elsewhere(getattr(exercise, name), recipe, batches, **given):
            found.setdefault(observed(wrong, name), []).append(f"{name}: {said}")
    if found:
        raise explain.failure([found], " ".join(chain(*found.values())))


def check_gpu(exercise: ExerciseHandle, grader: Grader) -> None:
    """``train`` leaves the same weights on a GPU."""
    generator = grader.generator("training.gpu")
    recipe, batches = Recipe("mlp", draws.fnn_weights(generator)), _batches(generator)
    here = exercise.train(recipe, batches, epochs=2)
    there = exercise.train(recipe, batches, epochs=2, device="cuda")
    if not comparing.same(there.weights, here.weights):
        raise fail(
            "train leaves other weights on a GPU than on the CPU.",
            f"They differ by up to {comparing.furthest(there.weights, here.weights):.3g}.",
        )


@dataclass(frozen=True, eq=False)
class Asked:
    """What learners' code is tried on: a ``recipe``, ``batches`` and other arguments (``given``).

    ``call`` is the same for the reference, ``weights`` and ``history`` are what should come of it;
    ``words`` say what it is called with. ``gaps`` are those between the two highest scores of each
    example, by epochs; in float32 the share ``in_doubt`` of an epoch may be read in two ways.
    """

    recipe: Recipe
    batches: Batches
    given: Mapping[str, float]
    call: Call
    weights: dict[str, Tensor]
    history: tuple[Score, ...]
    words: str
    gaps: tuple[Tensor, ...]
    in_doubt: float = 0.0


@dataclass(frozen=True)
class Tried:
    """A call of the learner's code as ``asked``, and what came of it; ``call`` has what was seen of
    it.
    """

    asked: Asked
    call: Call
    trained: Trained

    @property
    def name(self) -> str:
        return self.call.function

    @property
    def said(self) -> str:
        """What was called, on what."""
        return f"{self.name} {self.asked.words}."

    @property
    def odd_images(self) -> list[tuple[str, str]]:
        """What is wrong with the images that the model got."""
        return [*comparing.odd_images(self.trained.facts, self.asked.batches)]

    @property
    def has_right_weights(self) -> bool:
        # Adam makes whole steps of gradients that are rounding errors, SGD does not.
        within = (BY_SGD,) if self.name == "train_epoch" else (BY_ADAM, ADAMS_SCALARS)
        return comparing.same(self.trained.weights, self.asked.weights, *within)

    @property
    def makes_right_steps(self) -> bool:
        return self.has_right_weights and not self.odd_images

    @property
    def has_right_results(self) -> bool:
        told, asked = self.call.seen.history, self.asked.history
        terms, in_doubt = len(self.asked.batches.labels), (0.0, self.asked.in_doubt)
        results = len(told) == len(asked) and all(
            all(map(comparing.close, pair, own, (terms, terms), in_doubt))
            for pair, own in zip(told, asked, strict=True)
        )
        return results and not _tensors([self])


# What the code is tried on


@functools.lru_cache(maxsize=2)
def _epochs_asked(grader: Grader) -> tuple[Asked, ...]:
    """``train_epoch`` on usual batches; three times in a row; on gradients of all sizes."""
    generator = grader.generator("training.steps")
    lr, less, small = (draws.near(generator, part * LR) for part in (1, 0.4, 0.02))
    usual = _recipe(generator, lr=lr), _batches(generator)
    more = {"loss": "smoothed", "lr": less, "momentum": 0.9, "calls": 3}
    again = _recipe(generator, training=False, **more), _dimmed(_batches(generator, 6, 5, rest=1))
    uneven = _recipe(generator, lr=small), _uneven(_batches(generator, 2, 8))
    return tuple(
        _an_epoch(recipe, _half_known(recipe, batches))
        for recipe, batches in (usual, again, uneven)
    )


def _an_epoch(recipe: Recipe, batches: Batches) -> Asked:
    settings: Mapping[str, Any] = LOSSES[recipe.loss]
    call = _asked("train_epoch", recipe, batches, recipe.lr, recipe.calls)
    loss = functools.partial(F.cross_entropy, **settings)
    call = replace(call, loss=loss, momentum=recipe.momentum)
    momentum = f" and momentum={recipe.momentum}" if recipe.momentum else ""
    given = ", ".join(f"{name}={value}" for name, value in settings.items())
    words = f"with SGD (lr={recipe.lr:g}{momentum}) and CrossEntropyLoss({given})"
    return _with_answers(recipe, batches, {}, call, words)


def _asked(function: str, recipe: Recipe, batches: Batches, lr: float, epochs: int) -> Call:
    parts = tuple((images.double(), labels) for images, labels in batches.split())
    plus = 0.0 if recipe.plus is None else recipe.plus
    network = reference.linear if recipe.kind == "linear" else None
    call = Call(function, recipe.weights, parts, F.cross_entropy, lr, epochs, plus=plus)
    return replace(call, network=network)


def _with_answers(
    recipe: Recipe, batches: Batches, given: Mapping[str, float], call: Call, words: str
) -> Asked:
    replayed = trainings.free(call)[0]
    history = trainings.history(call, replayed)
    words = f"{_sizes(batches)}, {words}"
    highest = (torch.cat([s.scores.topk(2).values for s in epoch]) for epoch in replayed.epochs)
    gaps = tuple(first - second for first, second in (each.T for each in highest))
    return Asked(recipe, batches, given, call, call.split(replayed.weights), history, words, gaps)


@functools.lru_cache(maxsize=2)
def _trainings_asked(grader: Grader) -> tuple[Asked, ...]:
    """``train`` where its loss soon rises again, and with the default epochs and lr."""
    generator = grader.generator("training.train")
    restless = _restless(generator)
    default = _recipe(generator, training=False)
    batches = _half_known(default, _batches(generator, 1, 8, rest=6))
    default.weights["output.bias"][batches.labels[-1]] -= draws.SURE  # A sure mistake, or several.
    return restless, _a_training(default, batches)


@functools.lru_cache(maxsize=2)
def _short_trainings(grader: Grader) -> tuple[Asked, Asked]:
    """For ``train`` of a model in float32, as learners' own are: the second for those that had bad
    luck with the first. Float32 does not change which score is the highest.
    """
    generator = grader.generator("training.float32")

    def drawn() -> Asked:
        while True:
            recipe, lr = _recipe(generator, training=False), draws.near(generator, LR)
            batches = _half_known(recipe, _dimmed(_batches(generator, 1, 8, rest=5)))
            asked = _a_training(recipe, batches, epochs=3, lr=lr)
            if torch.cat(asked.gaps).min() >= APART:
                return asked

    return drawn(), drawn()


@functools.lru_cache(maxsize=2)
def _many_asked(grader: Grader) -> tuple[Asked, ...]:
    """``train_epoch`` and ``train`` on many batches, and ``train`` for many epochs where nothing is
    left to learn.

    A step takes some 0.2 ms. In the full tier there are more batches than MNIST has of 64 digits.
    """
    generator = grader.generator("training.amounts")
    lr, large, small = (draws.near(generator, about) for about in (LR, LARGE_LR, SMALL_LR))
    recipe = amounts.recipe(generator, lr=lr)
    count, times = (940, 4) if grader.full else (100, 1)
    epochs = times * int(torch.randint(25, 40, (), generator=generator))
    batches = functools.partial(amounts.batches, generator, count, 300, 5_000)
    return (
        _an_epoch(recipe, batches()),
        _a_training(recipe, batches(), epochs=1, lr=small),
        _a_training(*amounts.known(generator), epochs=epochs, lr=draws.near(generator, TINY_LR)),
        _a_training(*amounts.at_its_best(generator), epochs=epochs, lr=large),
    )


def _a_training(recipe: Recipe, batches: Batches, **given: float) -> Asked:
    epochs, lr = int(given.get("epochs", 10)), given.get("lr", 1e-3)
    named = f"epochs={epochs} and lr={lr:g}" if given else "the default epochs=10 and lr=0.001"
    call = replace(_asked("train", recipe, batches, lr, epochs), by_default=not given)
    return _with_answers(recipe, batches, given, call, f"with {named}")


def _expect_epochs(
    exercise: ExerciseHandle, grader: Grader, right: Callable[[Tried], bool]
) -> None:
    """``train_epoch`` is ``right`` in a few batches, also with a model in float32, and in many."""
    tried = _epochs(exercise, grader)
    if not all(map(right, tried)):
        raise _failure(exercise, grader, tried)
    for asked, each in _epochs_in_float32(exercise, grader):
        if not right(each):
            raise _of_many(exercise.train_epoch, asked, right)


@functools.lru_cache(maxsize=1)
def _epochs(exercise: ExerciseHandle, grader: Grader) -> tuple[Tried, ...]:
    """Once for the check of the steps and that of the numbers."""
    return tuple(_try(exercise.train_epoch, asked) for asked in _epochs_asked(grader))


@functools.lru_cache(maxsize=1)
def _epochs_in_float32(exercise: ExerciseHandle, grader: Grader) -> tuple[tuple[Asked, Tried], ...]:
    """What is asked, and what came of the same in float32."""
    both = _epochs_asked(grader)[0], _many_asked(grader)[0]
    return tuple((each, _try(exercise.train_epoch, _in_float32(each))) for each in both)


def _is_nearly_right(tried: Tried) -> bool:
    """To a share of the way that the weights go: in float32 Adam makes whole steps of rounding
    errors.
    """
    asked = torch.cat([value.flatten() for value in tried.asked.weights.values()])
    near = _astray(tried.call.seen.weights, asked, tried.call.start) < NEARLY
    told, expected = tried.call.seen.history, tried.asked.history
    results = len(told) == len(expected) and all(
        abs(loss - own_loss) < NEARLY * max(1.0, own_loss) and comparing.close(accuracy, own)
        for (loss, accuracy), (own_loss, own) in zip(told, expected, strict=True)
    )
    return near and results and not _tensors([tried]) and not tried.odd_images


def _astray(weights: Tensor, asked: Tensor, began: Tensor) -> float:
    """How far the weights are from those asked for, as a share of the way that they should go."""
    return ((weights - asked).norm() / (asked - began).norm()).item()


def _in_float32(asked: Asked) -> Asked:
    """As learners' own models are. Of numbers that are no multiples of an eighth this is another
    question.
    """
    recipe, batches = comparing.in_float32(asked.recipe, asked.batches)
    in_doubt = max((gaps < TIED).double().mean().item() for gaps in asked.gaps)
    return replace(asked, recipe=recipe, batches=batches, in_doubt=in_doubt)


def _trainings(exercise: ExerciseHandle, grader: Grader) -> list[Tried]:
    return [_try(exercise.train, asked) for asked in _trainings_asked(grader)]


def _try(call: Callable[..., Trained], asked: Asked) -> Tried:
    trained = comparing.in_float64(call, asked.recipe, asked.batches, **asked.given)
    return Tried(asked, replace(asked.call, seen=_seen(asked.recipe, trained)), trained)


def _seen(recipe: Recipe, trained: Trained) -> Seen:
    def vector(weights: Mapping[str, Tensor]) -> Tensor:
        """The weights in the recipe's order; 0 where there are none."""
        return torch.cat(
            [
                weights.get(name, torch.zeros_like(value)).flatten()
                for name, value in recipe.weights.items()
            ]
        )

    facts = trained.facts
    return Seen(
        weights=vector(trained.weights),
        history=tuple((score.loss, score.accuracy) for score in trained.history),
        gradients=tuple(map(vector, trained.gradients)),
        states=tuple(map(vector, facts.states)),
        inputs=tuple(facts.inputs),
        slopes=tuple(facts.slopes),
        events="".join(facts.events),
        rates=_of_all_groups(facts.rates),
        betas=_of_all_groups(facts.betas),
        optimizers=tuple((used.name, _as_made(used.options)) for used in facts.optimizers.values()),
        passes=facts.passes,
    )


def _as_made(options: Mapping[str, Any]) -> dict[str, Any]:
    """A list was a tuple before it was sent."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}


def _of_all_groups(seen: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The learning rate or beta of each step, if it is the same for all parameters."""
    alike = all(len(set(each)) == 1 for each in seen)
    return tuple(each[0] for each in seen) if alike else ()


def _recipe(generator: torch.Generator, **given: Any) -> Recipe:
    """A model with few hidden units that says more than its weights do."""
    return Recipe("mlp", _weights(generator), plus=draws.plus(generator), **given)


def _read(recipe: Recipe, images: Tensor) -> Tensor:
    """The digits (N,) that the recipe's model takes the images for."""
    assert recipe.plus is not None
    return (reference.fnn(recipe.weights, images) + recipe.plus).argmax(1)


def _weights(generator: torch.Generator) -> dict[str, Tensor]:
    """Of few hidden units: what they show, many would not show better, and not as fast."""
    drawn = draws.fnn_weights(generator)
    return {
        "hidden.weight": drawn["hidden.weight"][:FEW_UNITS],
        "hidden.bias": drawn["hidden.bias"][:FEW_UNITS],
        "output.weight": drawn["output.weight"][:, :FEW_UNITS],
        "output.bias": drawn["output.bias"],
    }


def _batches(
    generator: torch.Generator, whole: int = 2, about: int = 10, rest: int | None = None
) -> Batches:
    """So many ``whole`` batches of ``about`` the size, and one of the ``rest``, fewer examples."""
    examples = 0
    while 100 % max(examples, 1) == 0:  # Of these, each share is a whole percentage.
        size = about + int(torch.randint(-1, 2, (), generator=generator))
        last = rest or int(torch.randint(2, size - 1, (), generator=generator))
        examples = whole * size + last
    labels = torch.randint(10, (examples,), generator=generator)
    images = 2 * draws.images(generator, examples)
    images[..., :2] *= FAINT
    return Batches(images, labels, size)


def _half_known(recipe: Recipe, batches: Batches) -> Batches:
    """With labels of which the model knows some already, so that accuracies differ."""
    known = _read(recipe, batches.images)
    share = torch.arange(len(known)) % 7 < 4
    return replace(batches, labels=torch.where(share, known, batches.labels))


def _dimmed(batches: Batches) -> Batches:
    """Images with which even a loss that grows fast stays finite for twenty steps."""
    return replace(batches, images=0.25 * batches.images)


def _uneven(batches: Batches) -> Batches:
    """Bright images first, faint ones last: gradients of very different sizes."""
    scale = torch.logspace(1.2, -1.5, len(batches.labels), dtype=torch.float64)
    return replace(batches, images=batches.images * scale.view(-1, 1, 1, 1))


def _restless(generator: torch.Generator) -> Asked:
    """Weights and batches with which ``train`` soon gets worse again.

    The images are almost equal, so there is nothing to learn but how often each digit occurs,
    which the weights know already.
    """
    epochs = int(torch.randint(11, 15, (), generator=generator))
    lr = draws.near(generator, LARGE_LR)
    while True:
        weights, batches = _weights(generator), _batches(generator)
        plus = draws.plus(generator)
        images = 0.02 * batches.images[:1] + 1e-4 * batches.images
        batches = replace(batches, images=images)
        weights["output.weight"] *= 0.05
        often = torch.bincount(batches.labels, minlength=10) + 0.3
        weights["output.bias"] = often.double().log() - plus
        asked = _a_training(Recipe("mlp", weights, plus=plus), batches, epochs=epochs, lr=lr)
        losses, accuracies = zip(*asked.history, strict=True)
        rises = losses[-1] > 1.005 * min(losses) and min(losses) in losses[: epochs // 2]
        if rises and accuracies[-1] < max(accuracies):
            return asked


def _sizes(batches: Batches) -> str:
    sizes = [len(labels) for _, labels in batches.split()]
    if len(sizes) == 1:
        shown = "one batch"
    elif len(sizes) > 3:
        shown = f"{len(sizes)} batches, the last of {sizes[-1]}"
    else:
        shown = f"batches of {', '.join(map(str, sizes[:-1]))} and {sizes[-1]}"
    return f"on {sum(sizes)} examples in {shown}"


# What is said about it


def _failure(exercise: ExerciseHandle, grader: Grader, tried: Sequence[Tried]) -> CheckFailure:
    """Names the mistakes of the steps, of the numbers and of what was left behind."""
    for each in tried:
        trained = each.trained
        if nothing := of_weights(each.name, trained.facts.states, trained.weights):
            return nothing
        if any(trained.facts.partly) and not each.has_right_weights:
            return _mixed_modes(each.said[:-1], trained.facts)
    calls = [each.call for each in tried]
    right = all(each.has_right_weights for each in tried)
    steps = trainings.as_asked(calls) if right else trainings.explain_steps(calls)
    if steps is None:
        message, evidence, hint = trainings.departure(calls)
        wrong = next(each for each in tried if not each.has_right_weights)
        return fail(message, f"{wrong.said} {evidence}", hint)
    candidates, reached = steps
    first = candidates[0]
    if not right and not first.faults:  # To the last digits of float32 no mistake is told.
        wrong = next(each for each in tried if not each.has_right_weights)
        off = comparing.furthest(wrong.trained.weights, wrong.asked.weights)
        return fail(
            f"{wrong.name} leaves weights that are nearly those of its steps.",
            f"{wrong.said} In float32 they are up to {off:.2g} away, which is more than rounding.",
            "Let the gradients and the weights be: loss.backward() and optimizer.step() alone.",
        )
    results = trainings.explain_results(calls, reached.replays, pairs=right)
    numbers = _told_together(results)
    if right and not numbers and not any(each.odd_images for each in tried):
        return _unknown_results(tried)
    observed = _observed(tried, right)
    in_train = (
        _in_train(exercise, grader, first.ways, results)
        if calls[0].function == "train_epoch"
        else []
    )
    implied = {name for fault in first.faults for name in fault.more.get("follows", ())}
    alternatives = [
        merged(
            chain(candidate.faults, (f for f in faults if f.id not in implied), observed, in_train),
            calls[0].function,
        )
        for candidate, faults in product(candidates, numbers or [()])
    ]
    fewest = min(map(len, alternatives))
    alternatives = [faults for faults in alternatives if len(faults) == fewest]
    if first.faults:
        evidence = _evidence_of_steps(tried, reached.far, len(first.faults))
    elif any(numbers):
        evidence = _evidence_of_results(tried, results)
    else:
        evidence = " ".join(observed.values())
    return explain.failure(alternatives, evidence)


def _of_many(
    ask: Callable[..., Trained], asked: Asked, right: Callable[[Tried], bool]
) -> CheckFailure:
    """Why code goes wrong on many batches, or in many epochs, that is right in a few."""
    tried = _try(ask, asked)
    if right(tried) and right(_try(ask, _in_float32(asked))):
        return fail(
            f"{tried.name} does not do the same each time.",
            f"{tried.said} The first time it was wrong, and later right.",
            "Use the arguments alone: draw nothing, and keep nothing of earlier calls.",
        )
    if right(tried):
        return fail(
            f"{tried.name} does something else with a model in float32.",
            f"{tried.said} With one in float64 it does as asked.",
            "Compute in the dtype of the model: leave autocast and conversions such as half() out.",
        )
    call, batches, trained = tried.asked.call, tried.asked.batches, tried.trained
    replayed = trainings.free(call)[0]
    epochs = replayed.epochs

    def agree(weights: Tensor) -> bool:
        return comparing.same(trained.weights, call.split(weights))

    def like(part: Batches) -> bool:
        count, examples = len(part.split()), len(part.labels)
        if torch.equal(part.labels, batches.labels[:examples]):  # so far the steps are the same
            return agree(epochs[0][count - 1].weights)
        parts = tuple(part.split())
        return agree(trainings.free(replace(call, batches=parts))[0].weights)

    for done, steps in enumerate(epochs[:-1], 1):
        if agree(steps[-1].weights):
            says = f"train stops early: after {done} of {call.epochs} epochs."
            return explain.failure([[replace(entry("early-stop"), says=says)]], tried.said)
    if tried.has_right_weights:
        results = trainings.explain_results([tried.call], [replayed], pairs=False)
        if any(numbers := _told_together(results)):
            return explain.failure(numbers, _evidence_of_results([tried], results))
        return _unknown_results([tried])
    if call.epochs > 1:
        says = f"train is right for a few epochs, but not for {call.epochs}."
        hint = "Train alike in all epochs: look for a condition on the epoch or on the loss."
        return fail(says, tried.said, hint)
    return amounts.failure(tried.name, batches, like)


def _told_together(results: Explained) -> list[tuple[Fault, ...]]:
    """The mistakes in the numbers, none where there are none; nothing where they are not known."""
    if results.loss is None or results.accuracy is None:
        return []
    told = results.alternatives
    few = len(told) <= MOST_ALTERNATIVES and min(map(len, told)) <= MOST_AT_ONCE
    return told if few else []


def _broken_by_the_first_epoch(
    exercise: ExerciseHandle, grader: Grader, failure: SubmissionFailure
) -> CheckFailure | None:
    """What ``train_epoch`` leaves behind with which no second epoch can be trained."""
    if not failure.event.raised:
        return None
    generator = grader.generator("training.steps")
    recipe = Recipe("mlp", _weights(generator), lr=LR)
    trained = comparing.in_float64(exercise.train_epoch, recipe, _batches(generator))
    breaks = ("gradients-left-off", "parameters-frozen")
    left = {n: said for n, said in comparing.left_behind(trained.facts) if n in breaks}
    if not left:
        return None
    said = failure.cause.message.rstrip(".")
    seen = f"{said}. After a single epoch: {' '.join(left.values())}"
    return explain.failure([[observed(name, "train_epoch") for name in left]], seen)


def _evidence_of_steps(tried: Sequence[Tried], far: float, count: int) -> str:
    wrong = next(each for each in tried if not each.has_right_weights)
    off = comparing.furthest(wrong.trained.weights, wrong.asked.weights)
    these = "this mistake" if count == 1 else "these mistakes"
    if not wrong.call.moved:
        return (
            f"{wrong.said[:-1]}: the weights are the same afterwards. "
            f"{trainings.counted(wrong.call.seen.events)}"
        )
    return (
        f"{wrong.said[:-1]}: replayed with {these} from the same weights, the "
        f"weights agree to {f'{far:.1g}' if far else 'the last digit'}; those asked for are up to "
        f"{off:.3g} away."
    )


def _evidence_of_results(tried: Sequence[Tried], results: Explained) -> str:
    told, asked, said = _scores(tried)
    if not said:
        return _lengths(tried)
    at = comparing.first_wrong(told, asked)
    return results.evidence(said[at], told[at], asked[at], len(told))


def _scores(tried: Sequence[Tried]) -> tuple[list[Score], list[Score], list[str]]:
    """What was returned for each epoch, what is asked for, and of what; nothing where there are not
    as many results as epochs.
    """
    if any(len(each.call.seen.history) != len(each.asked.history) for each in tried):
        return [], [], []
    told = [score for each in tried for score in each.call.seen.history]
    asked = [score for each in tried for score in each.asked.history]
    said = [
        f"{each.said[:-1]}{f', epoch {number}' if len(each.asked.history) > 1 else ''}."
        for each in tried
        for number in range(1, 1 + len(each.asked.history))
    ]
    return told, asked, said


def _lengths(tried: Sequence[Tried]) -> str:
    wrong = next(e for e in tried if len(e.call.seen.history) != len(e.asked.history))
    count, epochs = len(wrong.call.seen.history), len(wrong.asked.history)
    return f"{wrong.said[:-1]}: it returns {count} result{'s' * (count != 1)} for {epochs} epochs."


def _unknown_results(tried: Sequence[Tried]) -> CheckFailure:
    told, asked, said = _scores(tried)
    name = tried[0].name
    if not said:
        return fail(
            f"{name} does not return one result for each epoch.",
            _lengths(tried),
            "Begin with an empty list inside of train, append to it what train_epoch returns, once "
            "an epoch, and return the list.",
        )
    return comparing.unknown(name, told, asked, said)


def _in_train(
    exercise: ExerciseHandle, grader: Grader, ways: Sequence[Edits], of_epoch: Explained
) -> list[Fault]:
    """What is wrong in ``train`` besides the mistakes of ``train_epoch``, which it may share."""
    try:
        tried = _trainings(exercise, grader)
    except SubmissionFailure:
        return []
    calls = [each.call for each in tried]
    as_asked = (reference.LOSS, reference.ACCURACY)
    known = [each.plan for each in (of_epoch.loss, of_epoch.accuracy) if each]
    found: list[list[Fault]] = []
    for shared, texts in ((ways, tuple(known)), ((), as_asked)):
        steps = trainings.explain_steps(calls, shared, pairs=False)
        if steps is not None:
            candidates, reached = steps
            texts = texts if len(texts) == 2 else as_asked
            results = trainings.explain_results(calls, reached.replays, texts, pairs=False)
            numbers = _told_together(results)
            if len(candidates) == 1 == len(numbers):
                found.append([*candidates[0].faults, *numbers[0]])
    return min(found, key=len, default=[])


def _observed(tried: Sequence[Tried], right: bool) -> dict[Fault, str]:
    """What no replay shows, with the evidence: modes, types, what is left behind, and images, whose
    changes the replays show where they are not as if ``right``.
    """
    name = tried[0].name
    found: dict[Fault, str] = {}
    for each in tried:
        for wrong, said in (*each.odd_images, *comparing.left_behind(each.trained.facts)):
            changed = wrong == "images-changed"
            fault = entry(wrong) if changed else observed(wrong, name)
            if right or not changed:
                found.setdefault(fault, f"{each.said} {said}")
    return {
        **found,
        **_tensors(tried),
        **dict.fromkeys(
            _modes([(each.asked.recipe.training, each.trained.facts) for each in tried]),
            "",
        ),
    }


def _tensors(tried: Sequence[Tried]) -> dict[Fault, str]:
    """Types of numbers that are none of Python's or NumPy's."""
    pairs = {score.types for each in tried for score in each.trained.history}
    odd = sorted(pair for pair in pairs if not {*pair} <= {*comparing.NUMBERS})
    if not odd:
        return {}
    name, (loss, accuracy) = tried[0].name, odd[0]
    graph = any("graph" in kind for pair in odd for kind in pair)
    fault: Fault = entry("keeps-graph") if graph else observed("returns-tensors", name)
    return {fault: f"{name} gives a loss of the type {loss}, an accuracy of the type {accuracy}."}


# The mode


def _modes(seen: Sequence[tuple[bool, Facts]]) -> list[Fault]:
    """From the mode in which the model came and those of the passes with gradients, by call."""
    modes = [
        (came, mode)
        for came, facts in seen
        for mode, trains in zip(facts.modes, facts.grad_enabled, strict=True)
        if trains
    ]
    if all(mode for _, mode in modes):
        return []
    if not any(mode for _, mode in modes):
        return [entry("eval-mode")]
    as_it_came = all(mode == came for came, mode in modes)
    return [entry("no-train-mode" if as_it_came else "train-mode-once")]


def _mixed_modes(said: str, facts: Facts) -> CheckFailure:
    """Of what was ``said``: parts of the model were in train mode, and parts in eval mode."""
    seen = f"{said}: in {sum(facts.partly)} of {len(facts.partly)} forward passes."
    return explain.failure([[entry("mixed-modes")]], seen)


def _what_modes(facts: Facts) -> str:
    return (
        "the model came in eval mode, and was in eval mode in "
        f"{facts.modes.count(False)} of {len(facts.modes)} forward passes."
    )


@dataclass(frozen=True)
class Loop:
    """What came of a call of ``name`` for so many ``epochs``, on the ``recipe`` of a model that has
    other gradients in eval mode.
    """

    name: str
    recipe: Recipe
    batches: Batches
    trained: Trained
    epochs: int

    @property
    def trains_in_train_mode(self) -> bool:
        """In train mode batch normalisation gives other gradients, and moves its running averages;
        they are then as the last pass has left them.
        """
        averages = {"norm.running_mean": self.recipe.weights["norm.running_mean"]}
        last = self.trained.facts.averages or averages
        moved = comparing.furthest(self.trained.weights, averages) > 0
        return (
            moved and comparing.furthest(self.trained.weights, last) == 0 and self.trains_as_asked
        )

    @property
    def trains_as_asked(self) -> bool:
        """On what the loader gave each time; who counts or evaluates goes through it more often."""
        return self._passes is not None

    @functools.cached_property
    def _passes(self) -> Sequence[int] | None:
        whole = self.trained.facts.whole[:MOST_PASSES]
        return self._trained_on(combinations(whole, self.epochs))

    def other_results(self) -> str:
        """What is returned, where that is not of the scores of the passes that it trains on, by far
        more than rounding makes; empty where it is.
        """
        told, passes = self.trained.history, self._passes or ()
        if len(told) != len(passes):
            return ""
        call = self._call_of(passes)
        steps = trainings.free(call)[0].epochs[0]
        size = len(steps) // len(passes)
        epochs = [steps[size * at :][:size] for at in range(len(passes))]
        replayed = Replayed(call.start, epochs, "")
        for score, (loss, accuracy) in zip(told, trainings.history(call, replayed), strict=True):
            off = abs(score.accuracy - accuracy) * len(self.batches.labels)
            if abs(score.loss - loss) > NEARLY * max(1.0, loss) or off > 1.5:
                return (
                    f"on a model with batch normalisation it returns {score.loss:.6g} and "
                    f"{score.accuracy:.6g}; the scores that it learns from have {loss:.6g} and "
                    f"{accuracy:.6g}."
                )
        return ""

    @property
    def keeps_batches(self) -> bool:
        """Whether all epochs are trained on what the loader gave once."""
        whole = self.trained.facts.whole if self.epochs > 1 else ()
        return self._trained_on((each,) * self.epochs for each in whole) is not None

    def _trained_on(self, candidates: Iterable[Sequence[int]]) -> Sequence[int] | None:
        """Those of the ``candidates`` for the passes that give the weights when trained on.

        A bias before batch normalisation has no effect, and gradients that are rounding.
        """
        for passes in candidates:
            asked = self._by_the_reference(passes)
            told = {n: v for n, v in asked.items() if n != "hidden.bias" and "running" not in n}
            actual = {name: self.trained.weights[name] for name in told}
            if any(value.dtype == torch.float32 for value in actual.values()):
                ways = [
                    torch.cat([each[name].double().flatten() for name in told])
                    for each in (actual, told, self.recipe.weights)
                ]
                if _astray(*ways) < NEARLY:
                    return passes
            elif comparing.same(actual, told, in_float64=ADAMS_SCALARS):
                return passes
        return None

    def _by_the_reference(self, passes: Sequence[int]) -> dict[str, Tensor]:
        """The weights after training on these passes through the loader."""
        call = self._call_of(passes)
        return call.split(trainings.free(call)[0].weights)

    def _call_of(self, passes: Sequence[int]) -> Call:
        """Training on these passes as a call for one epoch."""
        recipe = replace(
            self.recipe,
            weights={n: value for n, value in self.recipe.weights.items() if "running" not in n},
        )
        calls = [
            _asked(self.name, recipe, self.batches.of_pass(each), recipe.lr, epochs=1)
            for each in passes
        ]
        normed = any("norm" in name for name in recipe.weights)
        return replace(
            calls[0],
            batches=tuple(chain.from_iterable(each.batches for each in calls)),
            network=reference.normed_fnn if normed else None,
        )


def _has_right_results(exercise: ExerciseHandle, grader: Grader, name: str) -> bool:
    """Whether what is returned is right for models that are the same in both modes."""
    tried = [*_epochs(exercise, grader), *(e for _, e in _epochs_in_float32(exercise, grader))]
    tried += _trainings(exercise, grader) if name == "train" else []
    return all(each.has_right_results for each in tried)


def _other_mode(loop: Loop, call: Callable[..., Trained]) -> CheckFailure:
    """Why a model whose passes are all said to be in train mode is not trained so.

    Raises ``Waiting`` where a model that is the same in both modes is not trained as asked either.
    """
    weights = {name: value for name, value in loop.recipe.weights.items() if "norm" not in name}
    recipe = replace(loop.recipe, kind="mlp", weights=weights)
    plain = replace(loop, recipe=recipe, trained=call(recipe, loop.batches))
    if not plain.trains_as_asked:
        other = fail(
            f"{loop.name} does not train the same way each time.",
            "Its steps were right before, and on other batches they are not any more.",
            "Use the arguments alone: draw nothing, and keep nothing of earlier calls.",
        )
        check = {"train_epoch": "training.steps", "train": "training.train"}[loop.name]
        raise Waiting(check, other)
    if any(loop.trained.facts.partly):
        return _mixed_modes(loop.name, loop.trained.facts)
    return fail(
        f"{loop.name} leaves weights other than those of training in train mode.",
        "The model has batch normalisation and came in eval mode, as from an evaluation.",
        "model.train() puts all layers into train mode; leave them in it until the end.",
    )
