"""Which mistakes explain what was seen of a training, and where it departs if none does.

A loop explains a call if its replay gives the same weights, at every forward pass that was recorded
and in the end, and the same gradients at every step. Pairs are screened by the point at which the
training first departs from what is asked: one of the two must change it, neither may change
anything before.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

import torch
from torch import Tensor

from mnist_lab.diagnosis.faults.changes import Change
from mnist_lab.diagnosis.faults.training import BANK, LoopFault, entry
from mnist_lab.diagnosis.loops.replay import (
    Call,
    Impossible,
    Loop,
    Mark,
    Moment,
    Never,
    Replayed,
    Score,
    Seen,
    replay,
)
from mnist_lab.diagnosis.loops.replay import results as returned
from mnist_lab.diagnosis.match import EQUAL, difference

__all__ = [
    "Attempt",
    "Candidate",
    "Point",
    "as_asked",
    "attempt",
    "close",
    "close_histories",
    "counted",
    "departure",
    "explain_results",
    "explain_steps",
]

NUMBER = 1e-5
"""Losses of size 1 that are summed in float32 agree to 1e-6; a known mistake changes 1e-3."""

SINGLE = 1e-4
"""How exactly code that works in float32 only makes the steps of one in float64: the difference,
as a part of the way that the weights went."""

MOST_SEEN = {"weights": 40, "gradients": 24, "images": 1, "slope": 1}
"""So many were recorded at most: what is missing below that did not happen."""

STEPS = tuple(fault for fault in BANK if fault.about == "steps")
RESULTS = tuple(fault for fault in BANK if fault.about == "results")

HOOKED = (
    *(fault for fault in STEPS if fault.other_optimizer),
    *map(entry, ("weight-decay", "betas", "eps", "amsgrad", "maximize")),
    *map(entry, ("learning-rate", "schedule")),
)
"""What an optimizer shows of itself: as many of these as there are count as one candidate."""

ONE_AT_A_TIME = {
    *("images", "labels", "trains", "start", "epochs", "keeps", "renews"),
    *("mean_loss", "mean_accuracy", "loss_of", "accuracy_of", "right"),
}
"""Parts of a loop in which nobody makes two mistakes."""

Faults = tuple[LoopFault, ...]


@dataclass(frozen=True)
class Point:
    """A point of the replay of the call ``call``: the ``number``-th of its ``weights`` or
    ``gradients``, or its ``end``.
    """

    call: int
    kind: str
    number: int


NOT_SO = (Impossible, ArithmeticError, LookupError, RuntimeError, ValueError)
"""What a loop raises that cannot be what was seen; the last ones where the parts do not fit."""

NOWHERE = Point(-1, "impossible", 0)


@dataclass(frozen=True)
class Attempt:
    """How far a loop agrees with what was seen: ``departs`` is where it does not any more.

    ``far`` is the largest difference up to there; ``value`` what the loop has at the point that was
    watched. ``maybe``: it could be with another mistake beside it.
    """

    departs: Point | None
    far: float
    replays: tuple[Replayed, ...]
    value: Tensor | None = None
    maybe: bool = False


@dataclass(frozen=True)
class Candidate:
    """Mistakes, how they are made, and the loop with them."""

    faults: Faults
    changes: tuple[Change, ...]
    loop: Loop


def attempt(loop: Loop, calls: Sequence[Call], watched: Point | None = None) -> Attempt:
    """Replay ``loop`` until it departs from what was seen."""
    far, replays, value = 0.0, [], None
    for index, call in enumerate(calls):
        marks = replay(loop, call)
        mask = _mask(loop, call)
        while True:
            try:
                kind, number, expected = next(marks)
                point = Point(index, kind, number)
                seen = call.seen.at(kind)
                actual = seen[number] if number < len(seen) else None
                value = expected if point == watched else value
                if actual is None and 0 < len(seen) < MOST_SEEN[kind]:
                    return Attempt(point, math.inf, (), value)  # there was no such thing
            except StopIteration as stop:
                replays.append(stop.value)
                point, expected = Point(index, "end", 0), stop.value.weights
                actual = call.seen.weights
                value = expected if point == watched else value
            except Never:
                return Attempt(NOWHERE, math.inf, (), value)
            except NOT_SO:
                return Attempt(NOWHERE, math.inf, (), value, maybe=True)
            if actual is not None:
                if point.kind == "gradients" and mask is not None:
                    # What is not trained is not cleared either.
                    expected = torch.where(mask, expected, actual.double())
                lasting = (point.kind, point.number) if call.lasts(expected) else None
                if lasting in call.compared:
                    apart, allowed = call.compared[lasting]
                else:
                    apart, allowed = distance(call, point.kind, actual, expected)
                    if lasting is not None:
                        call.compared[lasting] = apart, allowed
                far = max(far, apart)
                if not apart < allowed:
                    return Attempt(point, far, (), value)
            if point.kind == "end":
                break
    return Attempt(None, far, tuple(replays), value)


def distance(call: Call, kind: str, actual: Tensor, expected: Tensor) -> tuple[float, float]:
    """How far apart two vectors are, and how far they may be."""
    if kind == "images" and actual.numel() == expected.numel():
        actual = actual.view(expected.shape)  # a model may be given them flat
    if actual.shape != expected.shape:
        return math.inf, 0.0
    key, actual = id(actual), actual.double()
    if call.exact:
        apart = (actual - expected).abs().max().item()
        if math.isnan(apart):
            return math.inf, 0.0
        if apart < EQUAL:
            return apart, EQUAL
        if key not in call.sizes:
            call.sizes[key] = actual.abs().max().item()
        return apart, EQUAL * max(1.0, call.sizes[key])
    way = expected - call.start if kind in ("weights", "end") else expected
    apart = (actual - expected).norm().item()
    allowed = SINGLE * way.norm().item() + 1e-6 * expected.norm().item()
    return (math.inf if math.isnan(apart) else apart), allowed


def explain_steps(
    calls: Sequence[Call], asked: Loop, pairs: bool | None = True
) -> tuple[list[Candidate], Attempt] | None:
    """The mistakes with which ``asked`` makes the steps that were seen: all that do, singles before
    pairs, those whose passes and steps were seen in the same order before others.

    One candidate without mistakes where ``asked`` does; None if there is no explanation.
    """
    calls = [_trusted(asked, call) for call in calls]
    first = attempt(asked, calls)
    if first.departs is None:
        return [Candidate((), (), asked)], first
    if pairs is None:
        return None
    origin = attempt(asked, calls, watched=first.departs)
    singles = [*_singles(asked, STEPS), *_by_the_hook(calls, asked)]
    reached = [(each, attempt(each.loop, calls, first.departs)) for each in singles]
    matches = _matching(calls, reached)
    if not matches and pairs and not any(map(_was_not_asked, calls)):
        both = _pairs(calls, asked, reached, first.departs, origin.value)
        matches = _matching(calls, both)
    return None if not matches else ([candidate for candidate, _ in matches], matches[0][1])


def _was_not_asked(call: Call) -> bool:
    """Whether there was no pass and no step, or weights that come from neither: pairs of mistakes
    have nothing there to be compared with.
    """
    events, moved = call.seen.events, not torch.equal(call.seen.weights.double(), call.start)
    return "f" not in events and (moved or "s" not in events)


def as_asked(calls: Sequence[Call], asked: Loop) -> tuple[list[Candidate], Attempt]:
    """For steps that are right: what ``explain_steps`` gives where there is no mistake."""
    unseen = [replace(call, seen=Seen(call.seen.weights, ())) for call in calls]
    replays = []
    for call in unseen:
        marks = replay(asked, call)
        replays.append(_to_the_end(marks))
    return [Candidate((), (), asked)], Attempt(None, 0.0, tuple(replays))


def _to_the_end(marks: Generator[Mark, None, Replayed]) -> Replayed:
    while True:
        try:
            next(marks)
        except StopIteration as stop:
            replayed: Replayed = stop.value
            return replayed


def _trusted(asked: Loop, call: Call) -> Call:
    """Without the images and slopes where they are others and the gradients are right all the same:
    who scales a loss and unscales its gradients makes no mistake.
    """
    own: dict[str, Tensor] = {}
    for kind, _, value in replay(asked, call):
        own.setdefault(kind, value)
        if kind == "gradients":
            break
    seen = call.seen

    def agrees(kind: str) -> bool:
        there = seen.at(kind)
        if not there or kind not in own:
            return False
        apart, allowed = distance(call, kind, there[0], own[kind])
        return apart < allowed

    if not agrees("gradients") or (agrees("images") and agrees("slope")):
        return call
    return replace(call, seen=replace(seen, inputs=(), slopes=()))


def explain_results(
    calls: Sequence[Call], loop: Loop, replays: Sequence[Replayed], beside: Faults = ()
) -> list[tuple[Faults, Loop]] | None:
    """The mistakes in the numbers that are returned, if the steps are those of ``loop``, which has
    the mistakes ``beside``; with the loop that has both.

    One entry without mistakes if there is none; None if there is no explanation.
    """
    if not all(math.isfinite(n) for call in calls for score in call.seen.history for n in score):
        return None

    def columns(loop: Loop) -> tuple[bool, bool]:
        """Whether the losses and whether the accuracies are those that were seen."""
        try:
            right = [True, True]
            for call, replayed in zip(calls, replays, strict=True):
                for place, same in enumerate(
                    _same_columns(call.seen.history, returned(loop, call, replayed))
                ):
                    right[place] = right[place] and same
                if not any(right):
                    break
            return right[0], right[1]
        except NOT_SO:
            return False, False

    def explained(loop: Loop) -> bool:
        return all(columns(loop))

    variants = _variants(loop, beside)
    for variant in variants:
        if explained(variant):
            return [((), variant)]
    found: list[tuple[Faults, Loop]] = []
    for variant in variants:
        base, singles = columns(variant), _singles(variant, RESULTS)
        right = [(columns(single.loop), single) for single in singles]
        found += [(single.faults, single.loop) for both, single in right if all(both)]
        if found:
            continue
        for (first_right, first), (second_right, second) in combinations(right, 2):
            if first.faults == second.faults:
                continue
            parts = [_column(variant, each.loop) for each in (first, second)]
            # Where each changes a column of its own, both must be right alone.
            apart = set(parts) == {0, 1}
            if apart and not all(
                fine[part]
                for part, fine in zip(parts, (first_right, second_right), strict=True)
                if part is not None
            ):
                continue
            # Where both change the same one, the other must be right already.
            alike = parts[0] if parts[0] == parts[1] else None
            if alike is not None and not base[1 - alike]:
                continue
            found += [
                (made.faults, made.loop)
                for made in _together(variant, first, second)
                if explained(made.loop)
            ]
    fewest = min((len(faults) for faults, _ in found), default=0)
    alone = {
        tuple(sorted(fault.id for fault in faults)): (faults, loop)
        for faults, loop in found
        if len(faults) == fewest
    }
    return list(alone.values()) or None


def _variants(loop: Loop, beside: Faults) -> list[Loop]:
    """What mistakes in the steps leave open: which loss is told, which labels count as right, and
    how many examples there are. None of that is another mistake.
    """
    asked = Loop(function=loop.function)
    changed = _changed(asked, loop)
    reports: list[Any] = [None]
    if changed & {"loss", "penalty"}:
        made = (change(asked) for fault in beside for change in fault.changes)
        losses = [each.loss for each in made if each is not None and each.loss is not asked.loss]
        reports += [asked.loss, *losses]
    return [
        loop.but(reports=reports_, told=told, all_examples=all_examples)
        for reports_ in reports
        for told in ((True, False) if "labels" in changed else (True,))
        for all_examples in ((False, True) if "batches" in changed else (False,))
    ]


def _column(asked: Loop, loop: Loop) -> int | None:
    """0 if only losses are others, 1 if only accuracies are, None if both may be."""
    changed = _changed(asked, loop)
    if changed <= {"mean_loss", "loss_of"}:
        return 0
    return 1 if changed <= {"mean_accuracy", "accuracy_of", "right"} else None


def _same_columns(actual: Sequence[Score], expected: Sequence[Score]) -> tuple[bool, bool]:
    if len(actual) != len(expected):
        return False, False
    pairs = list(zip(actual, expected, strict=True))
    losses, accuracies = (all(close(a[i], b[i]) for a, b in pairs) for i in (0, 1))
    return losses, accuracies


def departure(calls: Sequence[Call], asked: Loop) -> tuple[str, str]:
    """Where the steps that were seen are not those of ``asked`` any more: a sentence, and numbers.

    For a training that no known mistake explains: it says what was seen and no more.
    """
    calls = [_trusted(asked, call) for call in calls]
    reached = attempt(asked, calls)
    point = reached.departs
    assert point is not None, "a training that departs from what is asked"
    call, value = calls[point.call], attempt(asked, calls, point).value
    name, seen = call.function, call.seen
    if torch.equal(seen.weights.double(), call.start):
        return (
            f"{name} does not change the weights of the model that it is given.",
            counted(seen.events),
        )
    if point.kind == "end":
        epoch = next(
            (
                number
                for number, (own, score) in enumerate(
                    zip(_asked_history(asked, call), seen.history, strict=False), start=1
                )
                if not close_histories([score], [own])
            ),
            None,
        )
        far = _apart(seen.weights, value)
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
            f"They are off by up to {_apart(seen.inputs[0].flatten(), _flat(value)):.3g}.",
        )
    if point.kind == "slope":
        return (
            f"In {name} the loss is not loss_fn(scores, labels), the mean over the batch: its "
            "gradient with respect to the scores of batch 1 is another.",
            f"That gradient is off by up to {_apart(seen.slopes[0], value):.3g}.",
        )
    if point.kind != "end" and point.number >= len(seen.at(point.kind)):
        return (
            f"{name} makes fewer steps than one for every batch.",
            counted(seen.events),
        )
    if point.kind == "weights" and point.number == 0:
        return (
            f"{name} changes the weights of the model before the first step.",
            f"At the first forward pass they are off by up to {_apart(seen.states[0], value):.3g}.",
        )
    steps = point.number if point.kind == "gradients" else point.number - 1
    so_far = f"The first {steps} steps are as asked for. " if steps > 1 else ""
    so_far = "The first step is as asked for. " if steps == 1 else so_far
    which = f"step {steps + 1}"
    if point.kind == "weights":
        far = _apart(seen.states[point.number], value)
        right = "finds the right gradients and " if seen.gradients else ""
        return (
            f"In {name} {which} {right}leaves other weights than the optimizer asked for.",
            f"{so_far}After {which} weights are off by up to {far:.3g}.",
        )
    seen_gradient = seen.gradients[point.number].double()
    assert value is not None
    size = seen_gradient.norm().item() / max(value.norm().item(), 1e-300)
    alike = torch.nn.functional.cosine_similarity(seen_gradient, value, dim=0).item()
    numbers = (
        f"They are off by up to {_apart(seen_gradient, value):.3g}: {size:.3g} times as long as "
        f"those of the mean loss of this batch, and the cosine of the angle between both is "
        f"{alike:.3g}."
    )
    images, by_scores = _forward(asked, call, steps)
    if steps < len(seen.inputs) and not _alike(seen.inputs[steps], images):
        return (
            f"In {name} the model does not get the images of the loader at forward pass "
            f"{steps + 1}.",
            f"{so_far}They are off by up to {_apart(seen.inputs[steps], images):.3g}. {numbers}",
        )
    if steps < len(seen.slopes) and not _alike(seen.slopes[steps], by_scores):
        far = _apart(seen.slopes[steps], by_scores)
        return (
            f"In {name} the loss is not loss_fn(scores, labels), the mean over the batch: its "
            f"gradient with respect to the scores of batch {steps + 1} is another.",
            f"{so_far}That gradient is off by up to {far:.3g}.",
        )
    return (
        f"In {name} {which} finds other gradients than those of the loss of its batch.",
        f"{so_far}{numbers}",
    )


def _asked_history(asked: Loop, call: Call) -> Sequence[Score]:
    return returned(asked, call, _to_the_end(replay(asked, call)))


def _forward(asked: Loop, call: Call, number: int) -> tuple[Tensor, Tensor]:
    """The images of a forward pass of ``asked``, and the gradient of the loss with respect to the
    scores.
    """
    images, labels = call.batches[number % len(call.batches)]
    states = (mark for mark in replay(asked, call) if mark[0] == "weights")
    w = next(value for _, index, value in states if index == number)
    return images, call.backward(w, images, labels, call.loss).slope


def _alike(actual: Tensor, expected: Tensor) -> bool:
    size = max(1.0, expected.abs().max().item())
    same = 1e-9 if actual.dtype == torch.float64 else 1e-4
    return _apart(actual.reshape(-1), expected.reshape(-1)) < same * size


def _flat(value: Tensor | None) -> Tensor | None:
    return None if value is None else value.flatten()


def _apart(actual: Tensor, expected: Tensor | None) -> float:
    return math.inf if expected is None else difference(actual, expected)


def counted(events: str) -> str:
    """How many passes and steps were seen, as a sentence."""
    names = {"f": "forward", "b": "backward"}
    passes = " and ".join(f"{events.count(e)} {name}" for e, name in names.items())
    return f"{passes} passes and {events.count('s')} steps of an optimizer were seen."


def close(actual: float, expected: float) -> bool:
    """Whether two numbers are the same but for what summing in float32 loses."""
    return abs(actual - expected) < NUMBER * max(1.0, abs(expected))


def close_histories(actual: Sequence[Score], expected: Sequence[Score]) -> bool:
    """As ``close``, for the numbers of as many epochs."""
    return all(_same_columns(actual, expected))


def _singles(asked: Loop, bank: Sequence[LoopFault]) -> list[Candidate]:
    made = ((fault, change, change(asked)) for fault in bank for change in fault.changes)
    return [
        Candidate((fault,), (change,), loop) for fault, change, loop in made if loop is not None
    ]


def _together(asked: Loop, first: Candidate, second: Candidate) -> Iterator[Candidate]:
    """Both, in either order where they change the same part of the loop."""
    faults = first.faults + second.faults
    orders = [first.changes + second.changes]
    shared = _changed(asked, first.loop) & _changed(asked, second.loop)
    if shared & ONE_AT_A_TIME:
        return
    if shared:
        orders.append(second.changes + first.changes)
    for changes in orders:
        loop = _after(asked, changes)
        if loop is not None:
            yield Candidate(faults, changes, loop)


def _after(asked: Loop, changes: Sequence[Change]) -> Loop | None:
    loop: Loop | None = asked
    for change in changes:
        loop = None if loop is None else change(loop)
    return loop


def _changed(asked: Loop, loop: Loop) -> set[str]:
    """The fields that are not those of ``asked``."""
    mine, others = vars(loop), vars(asked)
    return {name for name in mine if mine[name] is not others[name]}


def _by_the_hook(calls: Sequence[Call], asked: Loop) -> list[Candidate]:
    """Everything at once by which the optimizer that was seen is not the one asked for."""
    loop, faults, changes = asked, [], []
    at = Moment(calls[0])
    for fault in HOOKED:
        made = fault.changes[0](loop)
        if made is None:
            continue
        try:
            optimizer = made.optimizer(calls[0].optimizer, at)
            rate = made.rate(optimizer.lr, at)
        except Impossible:
            continue
        rates = set(calls[0].seen.rates)
        if fault is entry("learning-rate") and (len(rates) > 1 or rate == optimizer.lr):
            continue
        if fault is entry("schedule") and len(rates) < 2:
            continue
        loop = made
        faults.append(fault)
        changes.append(fault.changes[0])
    return [Candidate(tuple(faults), tuple(changes), loop)] if len(faults) > 1 else []


def _pairs(
    calls: Sequence[Call],
    asked: Loop,
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
        elif tried.departs is NOWHERE or value is None:
            continue
        elif tried.departs != departure:
            if tried.value is not None or _later(tried.departs, departure):
                explains.append(candidate)
        elif tried.value is not None:
            apart, allowed = distance(calls[departure.call], departure.kind, tried.value, value)
            (later if apart < allowed else shows).append(candidate)
    for first, second in [*product(explains, later), *combinations([*explains, *shows], 2)]:
        if not set(first.faults) & set(second.faults):
            for candidate in _together(asked, first, second):
                yield candidate, attempt(candidate.loop, calls)


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
        if reached.departs is not None:
            continue
        faults = _told(candidate.faults, calls, reached)
        if faults is None:
            continue
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


def _told(faults: Faults, calls: Sequence[Call], reached: Attempt) -> Faults | None:
    """The mistakes with their sentences; None where the numbers found are not theirs."""
    found = [each.found for each in reached.replays]
    told = []
    for fault in faults:
        says = fault.told(calls, found) if fault.told else fault.says
        if says is None:
            return None
        told.append(replace(fault, says=says))
    return tuple(told)


def _rank(call: Call, replayed: Replayed) -> int:
    """0 where all passes and steps were seen in the order of the replay, 1 where backward passes
    and steps were, else 2.
    """
    seen, own = call.seen.events, replayed.events
    moved = not torch.equal(call.seen.weights.double(), call.start)
    if "s" not in seen and (moved or call.function == "train"):
        own = own.replace("s", "")  # of an optimizer that is none of PyTorch's
    if own == seen:
        return 0
    return 1 if own.replace("f", "") == seen.replace("f", "") else 2


def _mask(loop: Loop, call: Call) -> Tensor | None:
    if loop.trains is Loop.trains:
        return None
    try:
        return call.where(lambda name: loop.trains(name, Moment(call)))
    except Impossible:
        return None
