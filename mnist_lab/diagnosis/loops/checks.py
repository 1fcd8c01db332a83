"""Do ``train_epoch`` and ``train`` train as their handout asks? Each step is replayed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis import CheckFailure, Waiting, draws, explain, fail, reference
from mnist_lab.diagnosis.degenerate import of_scores
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.explain import Fault
from mnist_lab.diagnosis.faults import Edits
from mnist_lab.diagnosis.loops import comparing, measured, trainings
from mnist_lab.diagnosis.loops.bank import LoopFault, entry
from mnist_lab.diagnosis.loops.replay import Call, Replayed, Score, Seen
from mnist_lab.diagnosis.measures.numbers import explain_numbers
from mnist_lab.diagnosis.measures.replays import ACCURACY, LOSS, Scores
from mnist_lab.submission.answers import Batches, Recipe, Trained
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.client import ExerciseHandle

LR = 0.05
EPOCHS, LARGE_LR = 12, 0.1
"""For ``train``: the loss rises again from the third epoch on at the latest, so that stopping early
or keeping the best epoch is seen."""

MOST_AT_ONCE = 2
"""Mistakes that are told together."""

MOST_ALTERNATIVES = 3
"""Where more mistakes than these explain the same numbers, the numbers are told instead."""

HIDDEN = 6
"""Units of the model."""

FAINT = 1e-6
"""What some pixels are multiplied with: their gradients are so small that Adam's epsilon counts
beside them, and with it the scale of the loss, which Adam hides elsewhere."""


def check_steps(exercise: ExerciseHandle, grader: Grader) -> None:
    """The weights after ``train_epoch`` are those of its steps."""
    tried = _epochs(exercise, grader)
    if not all(each.has_right_weights() for each in tried):
        raise _failure(exercise, grader, tried)


def check_results(exercise: ExerciseHandle, grader: Grader) -> None:
    """``train_epoch`` returns the mean loss and the accuracy before each step."""
    tried = _epochs(exercise, grader)
    if not all(each.has_right_results() for each in tried):
        raise _failure(exercise, grader, tried)


def check_train(exercise: ExerciseHandle, grader: Grader) -> None:
    """``train`` makes Adam's steps for all epochs and returns what each gave."""
    try:
        tried = _trainings(exercise, grader)
    except SubmissionFailure as failure:
        raise _broken_by_the_first_epoch(exercise, grader, failure) or failure from None
    if not all(each.has_right_weights() and each.has_right_results() for each in tried):
        raise _failure(exercise, grader, tried)


def check_state(exercise: ExerciseHandle, grader: Grader) -> None:
    """By the weights after training a model whose gradients in eval mode are others."""
    generator = grader.generator("training.state")
    weights, batches = draws.normed_weights(generator), _batches(generator)
    recipe = Recipe("normed", weights, training=False, lr=LR)
    found, seen = [], []
    for name, given in (("train_epoch", {}), ("train", {"epochs": 2, "lr": LR})):
        call = getattr(exercise, name)
        trained = comparing.in_float64(call, recipe, batches, **given)
        wrong = [*_mode(call, recipe, batches, given, trained), *_left_behind(trained)]
        if wrong:
            found += wrong
            seen.append(f"{name}: {_what_was_seen(trained)}")
        else:
            _expect_train_mode(name, call, recipe, batches, given, trained)
    if found:
        raise explain.failure([tuple(dict.fromkeys(found))], " ".join(seen))


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
    ``words`` say what it is called with.
    """

    recipe: Recipe
    batches: Batches
    given: Mapping[str, float]
    call: Call
    weights: dict[str, Tensor]
    history: tuple[Score, ...]
    words: str


@dataclass(frozen=True)
class Tried:
    """A call of the learner's code, what came of it, and what should have.

    ``given`` says in words what the code was called with.
    """

    call: Call
    recipe: Recipe
    trained: Trained
    weights: dict[str, Tensor]
    history: tuple[Score, ...]
    given: str

    @property
    def name(self) -> str:
        return self.call.function

    def has_right_weights(self) -> bool:
        return comparing.same(self.trained.weights, self.weights)

    def has_right_results(self) -> bool:
        numbers = all(
            kind in comparing.NUMBERS for score in self.trained.history for kind in score.types
        )
        return numbers and trainings.close_histories(self.call.seen.history, self.history)


# What the code is tried on


def prepare(grader: Grader) -> None:
    """Draw and compute what a right answer to ``grader`` is; it is remembered."""
    _epochs_asked(grader)
    _trainings_asked(grader)


@functools.lru_cache(maxsize=2)
def _epochs_asked(grader: Grader) -> tuple[Asked, ...]:
    """``train_epoch`` on usual batches; twice in a row, on many; on gradients of all sizes."""
    generator = grader.generator("training.steps")
    usual = Recipe("mlp", _weights(generator), lr=LR), _batches(generator)
    twice = (
        Recipe(
            "mlp",
            _weights(generator),
            training=False,
            loss="smoothed",
            lr=0.4 * LR,
            momentum=0.9,
            calls=2,
        ),
        _dimmed(_batches(generator, 47, 5)),
    )
    uneven = (
        Recipe("mlp", _weights(generator), lr=0.02 * LR),
        _uneven(_batches(generator, 20, 8)),
    )
    return tuple(
        _an_epoch(recipe, _half_known(recipe, batches))
        for recipe, batches in (usual, twice, uneven)
    )


def _an_epoch(recipe: Recipe, batches: Batches) -> Asked:
    smoothing = 0.1 if recipe.loss == "smoothed" else 0.0

    def loss(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, label_smoothing=smoothing)

    call = _asked("train_epoch", recipe, batches, recipe.lr, recipe.calls)
    call = replace(call, loss=loss, momentum=recipe.momentum)
    momentum = f" and momentum={recipe.momentum}" if recipe.momentum else ""
    words = (
        f"{_sizes(batches)}, with SGD (lr={recipe.lr:g}{momentum}) and "
        + {
            "cross_entropy": "CrossEntropyLoss()",
            "smoothed": "CrossEntropyLoss(label_smoothing=0.1)",
        }[recipe.loss]
    )
    return _with_answers(recipe, batches, {}, call, words)


def _asked(function: str, recipe: Recipe, batches: Batches, lr: float, epochs: int) -> Call:
    parts = tuple((images.double(), labels) for images, labels in batches.split())
    return Call(function, recipe.weights, parts, F.cross_entropy, lr, epochs)


def _with_answers(
    recipe: Recipe, batches: Batches, given: Mapping[str, float], call: Call, words: str
) -> Asked:
    replayed, _ = trainings.free(call)
    history = tuple(trainings.returned(replayed.epochs))
    return Asked(recipe, batches, given, call, call.split(replayed.weights), history, words)


@functools.lru_cache(maxsize=2)
def _trainings_asked(grader: Grader) -> tuple[Asked, ...]:
    """``train`` where its loss soon rises again, and with the default epochs and lr."""
    generator = grader.generator("training.train")
    restless = _restless(generator)
    default = Recipe("mlp", _weights(generator), training=False)
    return restless, _a_training(default, _half_known(default, _batches(generator, 14, 8)))


def _a_training(recipe: Recipe, batches: Batches, **given: float) -> Asked:
    epochs, lr = int(given.get("epochs", 10)), given.get("lr", 1e-3)
    named = f"epochs={epochs} and lr={lr:g}" if given else "the default epochs=10 and lr=0.001"
    call = _asked("train", recipe, batches, lr, epochs)
    return _with_answers(recipe, batches, given, call, f"{_sizes(batches)}, with {named}")


@functools.lru_cache(maxsize=1)
def _epochs(exercise: ExerciseHandle, grader: Grader) -> tuple[Tried, ...]:
    """Once for the check of the steps and that of the numbers."""
    return tuple(_try_an_epoch(exercise, asked) for asked in _epochs_asked(grader))


def _try_an_epoch(exercise: ExerciseHandle, asked: Asked) -> Tried:
    try:
        return _try(exercise.train_epoch, asked)
    except SubmissionFailure:
        # What a call leaves behind may break the next; training.state looks at that.
        if asked.recipe.calls == 1:
            raise
        return _try_an_epoch(exercise, _an_epoch(replace(asked.recipe, calls=1), asked.batches))


def _trainings(exercise: ExerciseHandle, grader: Grader) -> list[Tried]:
    return [_try(exercise.train, asked) for asked in _trainings_asked(grader)]


def _try(call: Callable[..., Trained], asked: Asked) -> Tried:
    trained = comparing.in_float64(call, asked.recipe, asked.batches, **asked.given)
    seen = replace(asked.call, seen=_seen(asked.recipe, trained))
    return Tried(seen, asked.recipe, trained, asked.weights, asked.history, asked.words)


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
        optimizers=tuple((used.name, used.options) for used in facts.optimizers.values()),
        passes=facts.passes,
    )


def _of_all_groups(rates: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The learning rate of each step, if it is the same for all parameters."""
    alike = all(len(set(each)) == 1 for each in rates)
    return tuple(each[0] for each in rates) if alike else ()


def _weights(generator: torch.Generator) -> dict[str, Tensor]:
    """Of few hidden units: what they show, many would not show better, and not as fast."""
    drawn = draws.fnn_weights(generator)
    return {
        "hidden.weight": drawn["hidden.weight"][:HIDDEN],
        "hidden.bias": drawn["hidden.bias"][:HIDDEN],
        "output.weight": drawn["output.weight"][:, :HIDDEN],
        "output.bias": drawn["output.bias"],
    }


def _batches(generator: torch.Generator, examples: int = 23, size: int = 10) -> Batches:
    labels = torch.randint(10, (examples,), generator=generator)
    images = 2 * draws.images(generator, examples)
    images[..., :2] *= FAINT
    return Batches(images, labels, size)


def _half_known(recipe: Recipe, batches: Batches) -> Batches:
    """With labels of which the model knows some already, so that accuracies differ."""
    known = reference.fnn(recipe.weights, batches.images).argmax(1)
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
    """Weights and batches with which the loss of ``train`` soon rises again.

    The images are almost equal, so there is nothing to learn but how often each digit occurs,
    which the weights know already.
    """
    while True:
        weights, batches = _weights(generator), _batches(generator)
        images = 0.02 * batches.images[:1] + 1e-4 * batches.images
        batches = replace(batches, images=images)
        weights["output.weight"] *= 0.05
        weights["output.bias"] = (torch.bincount(batches.labels, minlength=10) + 0.3).double().log()
        asked = _a_training(Recipe("mlp", weights), batches, epochs=EPOCHS, lr=LARGE_LR)
        losses = [loss for loss, _ in asked.history]
        if losses[-1] > 1.005 * min(losses) and min(losses) in losses[: EPOCHS // 2]:
            return asked


def _sizes(batches: Batches) -> str:
    sizes = [len(labels) for _, labels in batches.split()]
    if len(sizes) > 3:
        shown = f"{len(sizes)} batches, the last of {sizes[-1]}"
    else:
        shown = f"batches of {', '.join(map(str, sizes[:-1]))} and {sizes[-1]}"
    return f"on {sum(sizes)} examples in {shown}"


# What is said about it


def _failure(exercise: ExerciseHandle, grader: Grader, tried: Sequence[Tried]) -> CheckFailure:
    """Names the mistakes of the steps, of the numbers and of what was left behind."""
    calls = [each.call for each in tried]
    right = all(each.has_right_weights() for each in tried)
    steps = trainings.as_asked(calls) if right else trainings.explain_steps(calls)
    if steps is None:
        return _unknown_steps(tried)
    candidates, reached = steps
    first = candidates[0]
    results = trainings.explain_results(calls, reached.replays)
    if not first.faults:
        fewest = min((len(faults) for faults, _ in results or ()), default=MOST_AT_ONCE + 1)
        measured_as = _measured(tried, reached.replays) if fewest > 1 else ()
        if measured_as and len(measured_as[0]) < fewest:
            return explain.failure(measured_as, _evidence_of_results(tried))
        asked = tried[:1] if tried[0].name == "train" else tried
        history = [score for each in asked for score in each.call.seen.history]
        evidence = _evidence_of_results(tried)
        if fewest > 1 and (same := of_scores(tried[0].name, history, evidence)):
            return same
        if results is None:
            return _unknown_results(tried)
    implied = {name for fault in candidates[0].faults for name in fault.follows}
    numbers = [
        tuple(fault for fault in faults if fault.id not in implied)
        for faults, _ in results or [((), ())]
    ]
    besides = _observed(tried)
    if calls[0].function == "train_epoch":
        of_numbers = results[0][1] if results else ()
        besides += _in_train(exercise, grader, first.ways, of_numbers)
    alternatives = [
        tuple(dict.fromkeys([*candidate.faults, *faults, *besides]))
        for candidate, faults in product(candidates, numbers)
    ]
    evidence = (
        _evidence_of_steps(tried, reached.far, len(first.faults))
        if candidates[0].faults
        else _evidence_of_results(tried)
    )
    return explain.failure(alternatives, evidence)


def _broken_by_the_first_epoch(
    exercise: ExerciseHandle, grader: Grader, failure: SubmissionFailure
) -> CheckFailure | None:
    """What ``train_epoch`` leaves behind with which no second epoch can be trained."""
    if not failure.raised:
        return None
    generator = grader.generator("training.steps")
    recipe = Recipe("mlp", _weights(generator), lr=LR)
    trained = comparing.in_float64(exercise.train_epoch, recipe, _batches(generator))
    found = [
        fault
        for fault in _left_behind(trained)
        if fault in (entry("grad-left-off"), entry("freezes"))
    ]
    if not found:
        return None
    seen = f"train ends with {failure.raised}, for after a single epoch {_what_was_seen(trained)}"
    return explain.failure([tuple(found)], seen)


def _evidence_of_steps(tried: Sequence[Tried], far: float, count: int) -> str:
    wrong = next((each for each in tried if not each.has_right_weights()), tried[0])
    off = comparing.furthest(wrong.trained.weights, wrong.weights)
    these = "this mistake" if count == 1 else "these mistakes"
    if torch.equal(wrong.call.seen.weights.double(), wrong.call.start):
        return (
            f"{wrong.name} {wrong.given}: the weights are the same afterwards. "
            f"{trainings.counted(wrong.call.seen.events)}"
        )
    return (
        f"{wrong.name} {wrong.given}: replayed with {these} from the same weights, the "
        f"weights agree to {f'{far:.1g}' if far else 'the last digit'}; those asked for are up to "
        f"{off:.3g} away."
    )


def _evidence_of_results(tried: Sequence[Tried]) -> str:
    wrong = next((each for each in tried if not each.has_right_results()), tried[0])
    for number, (seen, asked) in enumerate(
        zip(wrong.call.seen.history, wrong.history, strict=False), start=1
    ):
        if not trainings.close_histories([seen], [asked]):
            epoch = f", epoch {number}" if len(wrong.history) > 1 else ""
            return (
                f"{wrong.name} {wrong.given}{epoch}: it returns ({seen[0]:.6g}, {seen[1]:.6g}), "
                f"and ({asked[0]:.6g}, {asked[1]:.6g}) is asked for."
            )
    if len(wrong.call.seen.history) != len(wrong.history):
        return (
            f"{wrong.name} {wrong.given}: it returns {len(wrong.call.seen.history)} results for "
            f"{len(wrong.history)} epochs."
        )
    kinds = {kind for score in wrong.trained.history for kind in score.types}
    return f"The numbers are right; their types are {', '.join(sorted(kinds))}."


def _unknown_steps(tried: Sequence[Tried]) -> CheckFailure:
    message, evidence = trainings.departure([each.call for each in tried])
    wrong = next((each for each in tried if not each.has_right_weights()), tried[0])
    return fail(message, f"{wrong.name} {wrong.given}. {evidence}")


def _unknown_results(tried: Sequence[Tried]) -> CheckFailure:
    wrong = next(each for each in tried if not each.has_right_results())
    if len(wrong.call.seen.history) != len(wrong.history):
        return fail(
            f"{wrong.name} returns {len(wrong.call.seen.history)} results; one for each of "
            f"{len(wrong.history)} epochs is asked for.",
            f"{wrong.name} {wrong.given}.",
            expected=len(wrong.history),
            actual=len(wrong.call.seen.history),
        )
    try:
        for score, (loss, accuracy) in zip(wrong.trained.history, wrong.history, strict=True):
            comparing.expect_score(
                wrong.name, score, loss, accuracy, f"{wrong.name} {wrong.given}."
            )
    except CheckFailure as failure:
        return failure
    return fail(f"The numbers that {wrong.name} returns are of another type.")


def _measured(
    tried: Sequence[Tried], replays: Sequence[Replayed]
) -> tuple[tuple[Fault[str], ...], ...]:
    """The mistakes of a loss or an accuracy that is computed as no replay of the steps knows, for
    steps that are right: they are those that ``evaluate`` can have.
    """
    plain = [
        (each, replayed)
        for each, replayed in zip(tried, replays, strict=True)
        if each.recipe.loss == "cross_entropy" and len(each.call.seen.history) == len(each.history)
    ]
    scored = [
        [(step.scores, step.labels) for step in steps]
        for _, replayed in plain
        for steps in replayed.epochs
    ]
    history = [score for each, _ in plain for score in each.call.seen.history]
    if not history:
        return ()
    returned = zip(*history, strict=True)
    name = tried[0].name
    explained = [
        explain_numbers(
            Scores(scored),
            asked,
            measured.in_number(number, name),
            measured.in_number(number, name, paired=True),
            numbers,
        )
        for number, asked, numbers in zip(
            ("loss", "accuracy"), (LOSS, ACCURACY), returned, strict=True
        )
    ]
    if None in explained:
        return ()
    known = [each.alternatives for each in explained if each is not None]
    alternatives = tuple(tuple(chain(*chosen)) for chosen in product(*known))
    if len(alternatives) > MOST_ALTERNATIVES or not any(alternatives):
        return ()
    return alternatives


def _in_train(
    exercise: ExerciseHandle, grader: Grader, ways: Sequence[Edits], of_numbers: Sequence[Edits]
) -> list[LoopFault]:
    """What is wrong in ``train`` besides the mistakes of ``train_epoch``, which it may share."""
    try:
        tried = _trainings(exercise, grader)
    except SubmissionFailure:
        return []
    calls = [each.call for each in tried]
    for pairs in (None, False):
        for shared, counted in ((ways, of_numbers), ((), ())):
            steps = trainings.explain_steps(calls, shared, pairs=pairs)
            if steps is None:
                continue
            candidates, reached = steps
            results = trainings.explain_results(calls, reached.replays, counted)
            if len(candidates) == 1 and results is not None and len(results) == 1:
                return [*candidates[0].faults, *results[0][0]]
    return []


def _observed(tried: Sequence[Tried]) -> list[LoopFault]:
    """What no replay shows: modes, types, and what is left behind."""
    kinds = [kind for each in tried for score in each.trained.history for kind in score.types]
    found = []
    if any("graph" in kind for kind in kinds):
        found.append(entry("keeps-graph"))
    elif not all(kind in comparing.NUMBERS for kind in kinds):
        found.append(entry("returns-tensors"))
    found += _modes([(each.recipe.training, each.trained.facts.modes) for each in tried])
    for each in tried:
        found += [fault for fault in _left_behind(each.trained) if fault not in found]
    return found


def _modes(seen: Sequence[tuple[bool, Sequence[bool]]]) -> list[LoopFault]:
    """From the mode in which the model came and the modes of the forward passes, of each call."""
    modes = [mode for _, each in seen for mode in each]
    if not modes or all(modes):
        return []
    if not any(modes):
        return [entry("eval-mode")]
    if all(mode == came for came, each in seen for mode in each):
        return [entry("no-train-mode")]
    return [entry("train-mode-once")]


def _left_behind(trained: Trained) -> list[LoopFault]:
    facts = trained.facts
    return [
        entry(name)
        for name, fine in (
            ("grad-left-off", facts.grad_after),
            ("default-dtype", facts.default_dtype_after == "torch.float32"),
            ("reseeds", not facts.reseeded),
            ("freezes", facts.requires_grad_after),
        )
        if not fine
    ]


def _mode(
    call: Callable[..., Trained],
    recipe: Recipe,
    batches: Batches,
    given: dict[str, float],
    trained: Trained,
) -> list[LoopFault]:
    """The mode that a model is trained in which comes from an evaluation."""
    if all(trained.facts.modes):
        return []
    other = replace(recipe, training=True)
    again = comparing.in_float64(call, other, batches, **given)
    return _modes([(False, trained.facts.modes), (True, again.facts.modes)])


def _what_was_seen(trained: Trained) -> str:
    facts = trained.facts
    seen = []
    if not all(facts.modes):
        seen.append(
            "the model came in eval mode, and was in eval mode for "
            f"{facts.modes.count(False)} of {len(facts.modes)} batches"
        )
    if not facts.grad_after:
        seen.append("torch.is_grad_enabled() is False after the call and was True before")
    if facts.default_dtype_after != "torch.float32":
        seen.append(
            f"torch.get_default_dtype() is {facts.default_dtype_after} after the call and was "
            "torch.float32 before"
        )
    if facts.reseeded:
        seen.append("torch.initial_seed() is another after the call than before")
    if not facts.requires_grad_after:
        seen.append("requires_grad of parameters is False after the call and was True before")
    return "; ".join(seen) + "."


def _expect_train_mode(
    what: str,
    call: Callable[..., Trained],
    recipe: Recipe,
    batches: Batches,
    given: dict[str, float],
    trained: Trained,
) -> None:
    """In train mode batch normalisation gives other gradients, and moves its running averages.

    Raises ``Waiting`` where a model that is the same in both modes is not trained as asked either.
    """
    asked = _trained_by_the_reference(what, recipe.weights, batches)
    if comparing.furthest(trained.weights, recipe.weights) == 0:
        raise fail(
            f"{what} does not train the model that it is given.",
            "Neither its weights nor the running averages of its batch normalisation changed.",
        )
    came = "The model has batch normalisation and came in eval mode, as from an evaluation."
    averages = {"norm.running_mean": recipe.weights["norm.running_mean"]}
    if comparing.furthest(trained.weights, averages) == 0:
        raise fail(
            f"{what} does not put the model into train mode.",
            f"{came} The running averages of its batch normalisation are still the same.",
            "model.train() belongs at the start of every epoch.",
        )
    if _agree(trained, asked):
        return
    weights = {name: value for name, value in recipe.weights.items() if "norm" not in name}
    plain = comparing.in_float64(
        call, replace(recipe, kind="mlp", weights=weights), batches, **given
    )
    if not _agree(plain, _trained_by_the_reference(what, weights, batches)):
        raise Waiting({"train_epoch": "training.steps", "train": "training.train"}[what])
    raise fail(
        f"{what} leaves other weights than training in train mode does.",
        f"{came}" + " A part of it was in eval mode." * any(trained.facts.partly),
        "model.train() puts all layers into train mode; leave them in it until the end.",
    )


def _trained_by_the_reference(
    what: str, weights: Mapping[str, Tensor], batches: Batches
) -> dict[str, Tensor]:
    trained = {name: value for name, value in weights.items() if "running" not in name}
    recipe = Recipe("mlp", trained)
    call = _asked(what, recipe, batches, LR, 2 if what == "train" else 1)
    normed = any("norm" in name for name in weights)
    call = replace(call, network=reference.normed_fnn if normed else None)
    return call.split(trainings.free(call)[0].weights)


def _agree(trained: Trained, asked: Mapping[str, Tensor]) -> bool:
    """A bias before batch normalisation has no effect, and gradients that are rounding."""
    told = {n: v for n, v in asked.items() if n != "hidden.bias" and "running" not in n}
    return comparing.same({name: trained.weights[name] for name in told}, told)
