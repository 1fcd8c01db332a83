"""Which mistakes explain what was seen of a training, and where it departs if none does.

A text explains a call if it gives the same weights, at every forward pass that was recorded and in
the end, and the same gradients at every step. Pairs are screened by the point at which the training
first departs from what is asked: one of the two must change it, neither may change anything before.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, permutations, product
from typing import Any

import torch
from torch import Tensor

from mnist_lab.diagnosis import reference
from mnist_lab.diagnosis.explain import difference
from mnist_lab.diagnosis.faults import Edits, compiled, edited
from mnist_lab.diagnosis.loops.bank import BANK, LoopFault
from mnist_lab.diagnosis.loops.replay import (
    Call,
    Departs,
    Impossible,
    Never,
    Point,
    Replayed,
    Run,
    Score,
    Step,
    distance,
)
from mnist_lab.diagnosis.loops.solved import GIVEN, UNSEEN

__all__ = [
    "Attempt",
    "Candidate",
    "as_asked",
    "close",
    "close_histories",
    "counted",
    "departure",
    "explain_results",
    "explain_steps",
    "returned",
]

NUMBER = 1e-5
"""Losses of size 1 that are summed in float32 agree to 1e-6; a known mistake changes 1e-3."""

STEPS = tuple(fault for fault in BANK if fault.ways and fault.of == "steps")
NUMBERS = tuple(fault for fault in BANK if fault.ways and fault.of == "numbers")

NOT_SO = (
    *(Impossible, ArithmeticError, LookupError, RuntimeError, ValueError),
    *(TypeError, AttributeError, NameError, SyntaxError),
)
"""What a text raises that cannot be what was seen; most where its parts do not fit."""

Faults = tuple[LoopFault, ...]


@dataclass(frozen=True)
class Attempt:
    """How far a text agrees with what was seen: ``departs`` is where it does not any more, ``far``
    the largest difference up to there, ``value`` what it has at the point that was watched.

    ``failed``: it cannot be; ``maybe``: but it could with another mistake beside it.
    """

    departs: Point | None
    far: float
    replays: tuple[Replayed, ...] = ()
    value: Tensor | None = None
    found: Any = None
    failed: bool = False
    maybe: bool = False

    @property
    def fits(self) -> bool:
        return self.departs is None and not self.failed


@dataclass(frozen=True)
class Candidate:
    """Mistakes, the edits that make them, and the text with them."""

    faults: Faults
    ways: tuple[Edits, ...]
    text: str

    @cached_property
    def ids(self) -> frozenset[str]:
        return frozenset(fault.id for fault in self.faults)


def text_of(function: str, ways: Sequence[Edits] = ()) -> str | None:
    """The reference with these edits, of ``train_epoch`` alone or of both."""
    alone, _, _ = reference.TRAINING.partition("\n\n\ndef train(")
    return edited(alone + "\n" if function == "train_epoch" else reference.TRAINING, *ways)


def attempt(text: str, calls: Sequence[Call], watched: Point | None = None) -> Attempt:
    """Run ``text`` until it departs from what was seen."""
    try:
        run = Run(text, calls[0].function, GIVEN, watched)
    except SyntaxError:  # of edits that do not go together
        return Attempt(None, math.inf, failed=True)
    try:
        replays = tuple(run(call, index) for index, call in enumerate(calls))
    except Departs as departs:
        return Attempt(departs.point, run.far, value=run.value)
    except Never:
        return Attempt(None, math.inf, failed=True)
    except Impossible:
        return Attempt(None, math.inf, value=run.value, failed=True, maybe=True)
    except NOT_SO:
        return Attempt(None, math.inf, failed=True)
    return Attempt(None, run.far, replays, run.value, run.found)


def explain_steps(
    calls: Sequence[Call], ways: Sequence[Edits] = (), pairs: bool | None = True
) -> tuple[list[Candidate], Attempt] | None:
    """The mistakes beside the edits ``ways`` with which the steps are those that were seen: all
    that explain them, singles before pairs, those whose passes and steps were seen in the same
    order before others. ``pairs`` is None where no mistake at all may be beside.

    One candidate without mistakes where there is none; None if there is no explanation.
    """
    asked = text_of(calls[0].function, ways)
    if asked is None:
        return None
    calls = [_trusted(asked, call) for call in calls]
    first = attempt(asked, calls)
    if first.fits:
        return [Candidate((), tuple(ways), asked)], first
    if pairs is None or first.departs is None:
        return None
    origin = attempt(asked, calls, first.departs)
    singles = [*_singles(asked, calls[0].function), *_shown(calls, asked)]
    reached = [(each, attempt(each.text, calls, first.departs)) for each in singles]
    matches = _matching(calls, reached)
    if not matches and pairs and not any(map(_was_not_asked, calls)):
        matches = _matching(calls, _pairs(calls, asked, reached, first.departs, origin.value))
    return None if not matches else ([candidate for candidate, _ in matches], matches[0][1])


def _was_not_asked(call: Call) -> bool:
    """Whether there was no pass and no step, or weights that come from neither: pairs of mistakes
    have nothing there to be compared with.
    """
    return "f" not in call.seen.events and (call.moved or "s" not in call.seen.events)


def as_asked(calls: Sequence[Call]) -> tuple[list[Candidate], Attempt]:
    """For steps that are right: what ``explain_steps`` gives where there is no mistake."""
    text = text_of(calls[0].function) or ""
    replays = tuple(free(call)[0] for call in calls)
    return [Candidate((), (), text)], Attempt(None, 0.0, replays)


def free(call: Call, text: str = "") -> tuple[Replayed, dict[tuple[str, int], Tensor]]:
    """What is asked for or what ``text`` does, whatever was seen; with the points of it."""
    text = text or text_of(call.function) or ""
    run = Run(text, call.function, GIVEN, compares=False)
    replayed = run(call)
    return replayed, run.marks or {}


def _trusted(asked: str, call: Call) -> Call:
    """Without the images and slopes where they are others and the gradients are right all the same:
    who scales a loss and unscales its gradients makes no mistake.
    """
    try:
        _, own = free(call, asked)
    except NOT_SO:
        return call

    def agrees(kind: str) -> bool:
        seen = call.seen.at[kind]
        if not seen or (kind, 0) not in own:
            return False
        apart, allowed = distance(call, kind, seen[0], own[kind, 0])
        return apart < allowed

    if not agrees("gradients") or (agrees("images") and agrees("slope")):
        return call
    return replace(call, seen=replace(call.seen, inputs=(), slopes=()))


# The numbers that are returned

Given = tuple[tuple[Call, Sequence[Sequence[Step]]], ...]
"""Calls, and what there is to count for the epochs of each."""

ALL_EXAMPLES: Edits = (("examples += len(step.labels)", "examples = step.call.examples"),)


def returned(epochs: Sequence[Sequence[Step]], text: str = reference.RETURNED) -> Sequence[Score]:
    """The history of what was replayed."""
    history: Sequence[Score] = compiled(text, "returned", {})(epochs)
    return history


def explain_results(
    calls: Sequence[Call], replays: Sequence[Replayed], ways: Sequence[Edits] = ()
) -> list[tuple[Faults, tuple[Edits, ...]]] | None:
    """The mistakes in the numbers that are returned for ``replays``, beside the edits ``ways`` of
    the reference, with all edits.

    One entry without mistakes if there is none; None if there is no explanation.
    """
    if not all(math.isfinite(n) for call in calls for score in call.seen.history for n in score):
        return None
    variants = list(_variants(calls, replays, ways))
    for given, base in variants:
        if all(_right(_text(base), given)):
            return [((), base)]
    found: dict[tuple[str, ...], tuple[Faults, tuple[Edits, ...]]] = {}
    for given, base in variants:
        function = calls[0].function
        singles = list(_singles(_text(base), function, NUMBERS))
        explained = [one for one in singles if all(_right(one.text, given))]
        for one in explained or _pairs_of_numbers(_text(base), singles, given):
            key = tuple(sorted(fault.id for fault in one.faults))
            found.setdefault(key, (one.faults, (*base, *one.ways)))
    fewest = min(map(len, found), default=0)
    return [each for key, each in found.items() if len(key) == fewest] or None


def _text(ways: Sequence[Edits]) -> str:
    return edited(reference.RETURNED, *ways) or reference.RETURNED


def _variants(
    calls: Sequence[Call], replays: Sequence[Replayed], ways: Sequence[Edits]
) -> Iterator[tuple[Given, tuple[Edits, ...]]]:
    """What mistakes in the steps leave open: which loss is told, which labels count as right, and
    how many examples there are. None of that is another mistake.
    """
    losses: tuple[Callable[[Step], float], ...] = (
        lambda step: step.loss,
        lambda step: step.given,
        lambda step: step.call.loss(step.scores, step.told).item(),
        lambda step: step.call.loss(step.scores, step.labels).item(),
    )
    labels: tuple[Callable[[Step], Tensor], ...] = (
        lambda step: step.told,
        lambda step: step.labels,
    )
    known: list[list[Sequence[Score]]] = []
    for base in ((*ways,), (*ways, ALL_EXAMPLES)):
        for loss, right in product(losses, labels):
            try:
                given = tuple(
                    (call, [[_counted(step, loss, right) for step in steps] for steps in epochs])
                    for call, epochs in zip(calls, (each.epochs for each in replays), strict=True)
                )
                each = [returned(epochs, _text(base)) for _, epochs in given]
            except NOT_SO:
                continue
            if not any(all(map(close_histories, each, other)) for other in known):
                known.append(each)
                yield given, base


def _counted(step: Step, loss: Callable[[Step], float], right: Callable[[Step], Tensor]) -> Step:
    return replace(step, loss=loss(step), labels=right(step))


def _right(text: str, given: Given) -> tuple[bool, bool]:
    """Whether the losses and whether the accuracies are those that were seen."""
    right = (True, True)
    try:
        counts = compiled(text, "returned", {})
        for call, epochs in given:
            same = _same_columns(call.seen.history, counts(epochs))
            right = (right[0] and same[0], right[1] and same[1])
            if not any(right):
                break
    except NOT_SO:
        return False, False
    return right


def _pairs_of_numbers(base: str, singles: Sequence[Candidate], given: Given) -> Iterator[Candidate]:
    """Two mistakes: a column that one of them changes alone must be right with it alone, and one
    that neither changes must be right already.
    """
    rights = [_right(each.text, given) for each in singles]
    epochs = given[0][1]
    changes = [_changes(each.text, base, epochs) for each in singles]
    already = _right(base, given)
    for (i, first), (j, second) in combinations(enumerate(singles), 2):
        columns = zip(already, rights[i], changes[i], rights[j], changes[j], strict=True)
        if first.faults != second.faults and all(
            (a_right if a else b_right if b else right) or (a and b)
            for right, a_right, a, b_right, b in columns
        ):
            for each in _together(base, first, second):
                if all(_right(each.text, given)):
                    yield each


def _changes(text: str, base: str, epochs: Sequence[Sequence[Step]]) -> tuple[bool, bool]:
    try:
        losses, accuracies = _same_columns(returned(epochs, text), returned(epochs, base))
    except NOT_SO:
        return True, True
    return not losses, not accuracies


def _same_columns(actual: Sequence[Score], expected: Sequence[Score]) -> tuple[bool, bool]:
    if len(actual) != len(expected):
        return False, False
    pairs = list(zip(actual, expected, strict=True))
    losses, accuracies = (all(close(a[i], b[i]) for a, b in pairs) for i in (0, 1))
    return losses, accuracies


def close(actual: float, expected: float) -> bool:
    """Whether two numbers are the same but for what summing in float32 loses."""
    return abs(actual - expected) < NUMBER * max(1.0, abs(expected))


def close_histories(actual: Sequence[Score], expected: Sequence[Score]) -> bool:
    """As ``close``, for the numbers of as many epochs."""
    return all(_same_columns(actual, expected))


# Candidates


def _singles(asked: str, function: str, bank: Sequence[LoopFault] = STEPS) -> Iterator[Candidate]:
    for fault in bank:
        for way in fault.ways:
            text = edited(asked, way) if fault.function in ("", function) else None
            if text is not None:
                yield Candidate((fault,), (way,), text)


def _together(asked: str, first: Candidate, second: Candidate) -> list[Candidate]:
    """Both, in either order."""
    texts: dict[str, Candidate] = {}
    for a, b in permutations((first, second)):
        text = edited(asked, *a.ways, *b.ways)
        if text is not None and text not in texts:
            texts[text] = Candidate(first.faults + second.faults, (*a.ways, *b.ways), text)
    return list(texts.values())


def _shown(calls: Sequence[Call], asked: str) -> Iterator[Candidate]:
    """Everything at once by which the optimizer that was seen is not the one asked for."""
    seen = calls[0].seen
    if not seen.optimizers:
        return
    name, options = seen.optimizers[0]
    rates = set(seen.rates)
    shown = (
        {name}
        if name != "Adam"
        else {
            setting
            for setting, usual in inspect.signature(torch.optim.Adam).parameters.items()
            if setting in options.keys() - UNSEEN and _plain(options[setting]) != usual.default
        }
    )
    shown |= {"rates"} if len(rates) > 1 else set()
    shown |= {"lr"} if len(rates) == 1 and rates != {calls[0].lr} else set()
    faults = tuple(fault for fault in STEPS if fault.shows in shown - {""})
    if len(faults) > 1:
        ways = (fault.ways if fault.shows == "lr" else fault.ways[:1] for fault in faults)
        for chosen in product(*ways):
            text = edited(asked, *chosen)
            if text is not None:
                yield Candidate(faults, chosen, text)


def _pairs(
    calls: Sequence[Call],
    asked: str,
    reached: Sequence[tuple[Candidate, Attempt]],
    departure: Point,
    value: Tensor | None,
) -> Iterator[tuple[Candidate, Attempt]]:
    """Two mistakes of which one at least shows at ``departure`` and none earlier."""
    explains: list[Candidate] = []
    shows: list[Candidate] = []
    later: list[Candidate] = []
    for candidate, tried in reached:
        if tried.maybe:
            shows.append(candidate)
        elif tried.failed or value is None:
            continue
        elif tried.departs != departure:
            if tried.value is not None or _later(tried.departs, departure):
                explains.append(candidate)
        elif tried.value is not None:
            apart, allowed = distance(calls[departure.call], departure.kind, tried.value, value)
            (later if apart < allowed else shows).append(candidate)
    for first, second in [*product(explains, later), *combinations([*explains, *shows], 2)]:
        if first.ids.isdisjoint(second.ids):
            for candidate in _together(asked, first, second):
                yield candidate, attempt(candidate.text, calls)


def _later(point: Point | None, other: Point) -> bool:
    """Whether a replay that departs at ``point`` has left ``other`` behind."""
    if point is None or point.call > other.call:
        return True
    return point.call == other.call and point.kind == "end"


def _matching(
    calls: Sequence[Call], tried: Iterable[tuple[Candidate, Attempt]]
) -> list[tuple[Candidate, Attempt]]:
    """Those that agree with what was seen, each mistake once and told with its numbers."""
    found: dict[tuple[str, ...], tuple[int, Candidate, Attempt]] = {}
    for candidate, reached in tried:
        if not reached.fits:
            continue
        says = [fault.sentence(reached.found) for fault in candidate.faults]
        if None in says:
            continue
        faults = tuple(map(_saying, candidate.faults, says))
        key = tuple(sorted(fault.id for fault in faults))
        rank = max(map(_rank, calls, reached.replays))
        if key not in found or rank < found[key][0]:
            found[key] = rank, replace(candidate, faults=faults), reached
    if not found:
        return []
    closest = min(rank for rank, _, _ in found.values())
    left = [
        (candidate, reached)
        for key, (rank, candidate, reached) in found.items()
        if rank == closest and not any(set(other) < set(key) for other in found)
    ]
    special = [each for each in left if not any(fault.open for fault in each[0].faults)]
    return special or left


def _saying(fault: LoopFault, says: str | None) -> LoopFault:
    return replace(fault, says=says or fault.says)


def _rank(call: Call, replayed: Replayed) -> int:
    """0 where all passes and steps were seen in the order of the replay, 1 where backward passes
    and steps were, else 2.
    """
    seen, own = call.seen.events, replayed.events
    if "s" not in seen and (call.moved or call.function == "train"):
        own = own.replace("s", "")  # of an optimizer that is none of PyTorch's
    if own == seen:
        return 0
    return 1 if own.replace("f", "") == seen.replace("f", "") else 2


# What no mistake explains


def departure(calls: Sequence[Call]) -> tuple[str, str]:
    """Where the steps that were seen depart from those asked for: a sentence, and numbers.

    For a training that no known mistake explains: it says what was seen and no more.
    """
    asked = text_of(calls[0].function) or ""
    calls = [_trusted(asked, call) for call in calls]
    point = attempt(asked, calls).departs
    assert point is not None, "a training that departs from what is asked"
    call = calls[point.call]
    replayed, marks = free(call)
    value = marks[point.kind, point.number]
    name, seen = call.function, call.seen
    if not call.moved:
        return (
            f"{name} does not change the weights of the model that it is given.",
            counted(seen.events),
        )
    if point.kind == "end":
        epoch = next(
            (
                number
                for number, (own, score) in enumerate(
                    zip(returned(replayed.epochs), seen.history, strict=False), start=1
                )
                if not close_histories([score], [own])
            ),
            None,
        )
        far = difference(seen.weights, value)
        return (
            f"The first steps of {name} are as asked for, and the weights in the end are not.",
            f"They are off by up to {far:.3g}. "
            + (
                f"The numbers of epoch {epoch} are the first that differ."
                if epoch
                else counted(seen.events)
            ),
        )
    if point.kind == "images":
        return (
            f"In {name} the model does not get the images of the loader's first batch.",
            f"They are off by up to {difference(seen.inputs[0].flatten(), value.flatten()):.3g}.",
        )
    if point.kind == "slope":
        return (
            f"In {name} the loss is not loss_fn(scores, labels), the mean over the batch: its "
            "gradient with respect to the scores of batch 1 is another.",
            f"That gradient is off by up to {difference(seen.slopes[0], value):.3g}.",
        )
    if point.kind != "end" and point.number >= len(seen.at[point.kind]):
        return (
            f"{name} makes fewer steps than one for every batch.",
            counted(seen.events),
        )
    if point.kind == "weights" and point.number == 0:
        return (
            f"{name} changes the weights of the model before the first step.",
            "At the first forward pass they are off by up to "
            f"{difference(seen.states[0], value):.3g}.",
        )
    steps = point.number if point.kind == "gradients" else point.number - 1
    so_far = f"The first {steps} steps are as asked for. " if steps > 1 else ""
    so_far = "The first step is as asked for. " if steps == 1 else so_far
    which = f"step {steps + 1}"
    if point.kind == "weights":
        far = difference(seen.states[point.number], value)
        right = "finds the right gradients and " if seen.gradients else ""
        return (
            f"In {name} {which} {right}leaves other weights than the optimizer asked for.",
            f"{so_far}After {which} weights are off by up to {far:.3g}.",
        )
    seen_gradient = seen.gradients[point.number].double()
    size = seen_gradient.norm().item() / max(value.norm().item(), 1e-300)
    alike = torch.nn.functional.cosine_similarity(seen_gradient, value, dim=0).item()
    numbers = (
        f"They are off by up to {difference(seen_gradient, value):.3g}: {size:.3g} times as long "
        f"as those of the mean loss of this batch, and the cosine of the angle between both is "
        f"{alike:.3g}."
    )
    images, by_scores = marks["images", steps], marks["slope", steps]
    if steps < len(seen.inputs) and not _alike(seen.inputs[steps], images):
        return (
            f"In {name} the model does not get the images of the loader at forward pass "
            f"{steps + 1}.",
            f"{so_far}They are off by up to {difference(seen.inputs[steps], images):.3g}. "
            f"{numbers}",
        )
    if steps < len(seen.slopes) and not _alike(seen.slopes[steps], by_scores):
        far = difference(seen.slopes[steps], by_scores)
        return (
            f"In {name} the loss is not loss_fn(scores, labels), the mean over the batch: its "
            f"gradient with respect to the scores of batch {steps + 1} is another.",
            f"{so_far}That gradient is off by up to {far:.3g}.",
        )
    return (
        f"In {name} {which} finds other gradients than those of the loss of its batch.",
        f"{so_far}{numbers}",
    )


def _alike(actual: Tensor, expected: Tensor) -> bool:
    size = max(1.0, expected.abs().max().item())
    same = 1e-9 if actual.dtype == torch.float64 else 1e-4
    return difference(actual.reshape(-1), expected.reshape(-1)) < same * size


def counted(events: str) -> str:
    """How many passes and steps were seen, as a sentence."""
    names = {"f": "forward", "b": "backward"}
    passes = " and ".join(f"{events.count(e)} {name}" for e, name in names.items())
    return f"{passes} passes and {events.count('s')} steps of an optimizer were seen."


def _plain(value: Any) -> Any:
    """A list was a tuple before it was sent."""
    return tuple(value) if isinstance(value, list) else value
