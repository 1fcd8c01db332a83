"""Which mistakes explain what was seen of a training, and where it departs if none does.

A text explains a call if it gives the same weights, at every forward pass that was recorded and in
the end, and the same gradients at every step. Pairs are screened by the point at which the training
first departs from what is asked: one of the two must change it, neither may change anything before.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, permutations, product
from typing import Any

import torch
from torch import Tensor

from mnist_lab.diagnosis import reference
from mnist_lab.diagnosis.faults import Edits, Fault, edited, tables
from mnist_lab.diagnosis.loops.bank import BANK, sentence
from mnist_lab.diagnosis.loops.replay import (
    KINDS,
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
from mnist_lab.diagnosis.loops.solved import GIVEN, fitted, unusual
from mnist_lab.diagnosis.measures.comparing import NUMBER
from mnist_lab.diagnosis.measures.numbers import Column, Explained, explain_numbers
from mnist_lab.diagnosis.reference import Batch, Loss

STEPS = tuple(fault for fault in BANK if fault.ways)

NOT_SO = (
    *(Impossible, ArithmeticError, LookupError, RuntimeError, ValueError),
    *(TypeError, AttributeError, NameError, SyntaxError),
)
"""What a text raises that cannot be what was seen; most where its parts do not fit."""

Faults = tuple[Fault, ...]


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
    calls: Sequence[Call], ways: Sequence[Edits] = (), pairs: bool = True
) -> tuple[list[Candidate], Attempt] | None:
    """The mistakes beside the edits ``ways`` with which the steps are those that were seen: all
    that explain them, singles before pairs, those whose passes and steps were seen in the same
    order before others.

    One candidate without mistakes where there is none; None if there is no explanation, as where
    nothing was done with the model.
    """
    asked = text_of(calls[0].function, ways)
    if asked is None or not any(call.moved or call.seen.events for call in calls):
        return None
    calls = [_trusted(asked, call) for call in calls]
    first = attempt(asked, calls)
    if first.fits:
        return [Candidate((), tuple(ways), asked)], first
    if first.departs is None:
        return None
    origin = attempt(asked, calls, first.departs)
    singles = [*_singles(asked, calls[0].function), *_shown(calls, asked)]
    reached = [(each, attempt(each.text, calls, first.departs)) for each in singles]
    matches = _matching(calls, reached)
    without = [] if matches else _without_scale(asked, calls)
    if without and (found := explain_steps(without, ways, pairs=False)):
        return found
    # What does the first call right and nothing in another is in no text: it is kept of the first.
    still = first.departs.call > 0 and not calls[first.departs.call].moved
    if not matches and pairs and not still and not any(map(_was_not_asked, calls)):
        matches = _matching(calls, _pairs(calls, asked, reached, first.departs, origin.value))
    if not matches and pairs and without:
        return explain_steps(without, ways)
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


def _without_scale(asked: str, calls: Sequence[Call]) -> list[Call]:
    """Without the slopes, if those of each call that has some are the same multiple of those asked
    for: gradients that are unscaled before they are clipped show no more of it.
    """
    factors = []
    for call in (call for call in calls if call.seen.slopes):
        own = free(call, asked)[1].get(("slope", 0))
        if own is None or call.seen.slopes[0].shape != own.shape:
            return []
        seen = call.seen.slopes[0].double()
        factors.append(fitted(seen, own))
        if not torch.allclose(seen, factors[-1] * own, rtol=1e-6):
            return []
    alike = factors and math.isclose(min(factors), max(factors), rel_tol=1e-6)
    known = not alike or math.isclose(factors[0], 1, rel_tol=1e-6)
    return [] if known else [replace(c, seen=replace(c.seen, slopes=())) for c in calls]


# The numbers that are returned


class Epoch(tuple[Batch, ...]):
    """The scores before each of its ``steps`` and the labels: those that the loss was ``told``, or
    the right ones.
    """

    steps: Sequence[Step]

    @classmethod
    def of(cls, steps: Sequence[Step], told: bool) -> Epoch:
        epoch = cls((step.scores, step.told if told else step.labels) for step in steps)
        epoch.steps = steps
        return epoch

    @cached_property
    def after_step(self) -> tuple[Batch, ...]:
        return self._measured([step.weights for step in self.steps])

    @cached_property
    def after_epoch(self) -> tuple[Batch, ...]:
        return self._measured([self.steps[-1].weights] * len(self))

    @property
    def examples(self) -> int:
        """How many the loader has."""
        return self.steps[0].call.examples

    def _measured(self, weights: Sequence[Tensor]) -> tuple[Batch, ...]:
        return tuple(
            (step.call.scores(w, step.images), labels)
            for step, w, (_, labels) in zip(self.steps, weights, self, strict=True)
        )


@dataclass(frozen=True)
class Noted:
    """The losses that were noted of some scores and labels; of others what ``loss_fn`` gives."""

    loss_fn: Loss
    values: Mapping[tuple[int, int], float]

    def __call__(self, scores: Tensor, labels: Tensor) -> Tensor:
        known = self.values.get((id(scores), id(labels)))
        return self.loss_fn(scores, labels) if known is None else scores.new_tensor(known)


def explain_results(
    calls: Sequence[Call],
    replays: Sequence[Replayed],
    asked: tuple[str, str] = (reference.LOSS, reference.ACCURACY),
    pairs: bool = True,
) -> Explained:
    """Why the numbers that are returned for ``replays`` are what they are, where a loss and an
    accuracy are computed as these texts.

    Mistakes in the steps leave open which loss is meant, which labels count as right, and how many
    examples there are: none of that is another mistake.
    """

    def columns(text: str, kinds: Sequence[tuple[str, bool]]) -> list[Column]:
        found: dict[tuple[float, ...], Column] = {}
        for base in filter(None, (text, edited(text, ALL_EXAMPLES))):
            for noted, told in kinds:
                epochs = [[Epoch.of(steps, told) for steps in each.epochs] for each in replays]
                losses = [_noting(noted, *each) for each in zip(calls, replays, strict=True)]
                column = Column(base, epochs, losses)
                numbers = [round(x, 9) for call in range(len(calls)) for x in column.of(base, call)]
                found.setdefault(tuple(numbers), column)
        return list(found.values())

    function, returned = calls[0].function, [call.seen.history for call in calls]
    if not all(math.isfinite(n) for history in returned for score in history for n in score):
        return Explained(function, None, None, swapped=False)
    losses = columns(asked[0], [("", False), ("", True), ("loss", True), ("given", True)])
    accuracies = columns(asked[1], [("", False), ("", True)])
    return explain_numbers(function, losses, accuracies, returned, NUMBER, pairs)


ALL_EXAMPLES: Edits = ((" / count", " / batches.examples"),)


def _noting(noted: str, call: Call, replayed: Replayed) -> Loss:
    """The call's loss, or what the field ``noted`` of the steps has."""
    steps = [step for epoch in replayed.epochs for step in epoch] if noted else []
    return Noted(call.loss, {(id(s.scores), id(s.told)): getattr(s, noted) for s in steps})


def history(call: Call, replayed: Replayed) -> tuple[Score, ...]:
    """What is to be returned for what was replayed."""
    epochs = [Epoch.of(steps, told=False) for steps in replayed.epochs]
    loss = Column(reference.LOSS, [epochs], [call.loss])
    accuracy = Column(reference.ACCURACY, [epochs])
    return tuple(zip(loss.of(loss.asked), accuracy.of(accuracy.asked), strict=True))


# Candidates


def _singles(asked: str, function: str) -> Iterator[Candidate]:
    for fault in STEPS:
        for way in fault.ways:
            text = edited(asked, way) if fault.more.get("function", function) == function else None
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
    shown = {name} if name != "Adam" else {*unusual(name, options)}
    shown |= {"rates"} if len(rates) > 1 else set()
    shown |= {"lr"} if len(rates) == 1 and rates != {calls[0].lr} else set()
    faults = tuple(fault for fault in STEPS if fault.more.get("shows") in shown)
    if len(faults) > 1:
        ways = (fault.ways if fault.more["shows"] == "lr" else fault.ways[:1] for fault in faults)
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
        made = zip(candidate.faults, candidate.ways, strict=True)
        if not all(way in fault.paired for fault, way in made):
            continue
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
        told = [(fault, sentence(fault, reached.found)) for fault in candidate.faults]
        faults = tuple(replace(fault, says=says) for fault, says in told if says)
        if len(faults) < len(told):
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
    special = min(map(_open, left))
    return [each for each in left if _open(each) == special]


def _open(matching: tuple[Candidate, Attempt]) -> int:
    return max((fault.more.get("open", 0) for fault in matching[0].faults), default=0)


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


def departure(calls: Sequence[Call]) -> tuple[str, str, str]:
    """Where the steps that were seen depart from those asked for: a sentence, numbers and a hint.

    For a training that no known mistake explains: it says what was seen and no more.
    """
    asked = text_of(calls[0].function) or ""
    calls = [_trusted(asked, call) for call in calls]
    point = attempt(asked, calls).departs
    assert point is not None, "a training that departs from what is asked"
    call, kind, number = calls[point.call], point.kind, point.number
    seen = {**call.seen.at, "images": call.seen.inputs, "slope": call.seen.slopes}
    _, marks = free(call)

    def compared(kind: str) -> tuple[float, float]:
        """How far apart both are there, and how far they may be."""
        if number >= len(seen[kind]) or (kind, number) not in marks:
            return 0.0, math.inf
        return distance(call, kind, seen[kind][number], marks[kind, number])

    if kind == "gradients":  # it may be clear from what they are computed of
        earlier = (each for each in ("images", "slope") if compared(each)[0] > compared(each)[1])
        kind = next(earlier, kind)
    told, step = kind, number + (kind != "weights")
    too_few = kind == "gradients" and _steps(call) < len(call.batches) * call.epochs
    if kind != "end" and (number >= len(seen[kind]) or too_few):
        told = "fewer"
    if (kind, number) == ("weights", 0):
        told = "before"
    if kind == "end" and _steps(call) > len(call.batches) * call.epochs:
        told = "more"
    if not call.moved:
        told = "once" if calls[0].moved else "still" if call.seen.events else "unused"
    if told == "images" and any(
        torch.equal(seen[kind][number].double(), given) for given, _ in call.batches
    ):
        told = "order"
    right = "finds the right gradients, but " if call.seen.gradients else ""
    optimizer, options = call.seen.optimizers[0] if len(call.seen.optimizers) == 1 else ("", {})
    groups = " and ".join(map(str, options.get("of_groups", [])))
    if told == "weights" and right and call.function == "train":
        other = optimizer in KINDS and optimizer != "Adam"
        told = "optimizer" if other else "groups" if groups else told
    if told == "gradients" and _lacks_some(call, seen[kind][number], marks[kind, number]):
        told = "missing"
    single = call.function == "train_epoch"
    says, hint = tables("training")["departure"][told].values()
    says = says.format(
        name=call.function,
        step=step,
        right=right,
        optimizer=optimizer,
        groups=groups,
        loss="loss_fn(scores, labels)" if single else "the mean cross-entropy of the batch",
    )
    if told in ("still", "unused", "once", "fewer", "more"):
        return says, counted(call.seen.events), hint
    if told == "order":
        return says, f"Forward pass {step} gets another batch of the loader.", hint
    before = {0: "", 1: "The first step is as asked for. "}
    so_far = before.get(step - 1, f"The first {step - 1} steps are as asked for. ")
    so_far = "" if told in ("before", "end") else so_far
    apart = compared(kind)[0]
    by = f"are off by up to {apart:.3g}" if math.isfinite(apart) else "have another shape"
    what = {"images": "images", "gradients": "gradients", "slope": "gradients"}.get(kind, "weights")
    off = f"{so_far}The {what} {by}."
    if kind not in ("gradients", "slope") or not math.isfinite(apart):
        return says, off, hint
    found, own = (each.double().flatten() for each in (seen[kind][number], marks[kind, number]))
    size = found.norm().item() / max(own.norm().item(), 1e-300)
    alike = torch.nn.functional.cosine_similarity(found, own, dim=0).item()
    angle = f"the cosine of the angle between both is {alike:.3g}."
    times = f"{size:.3g} times " if f"{size:.3g}" != "1" else ""
    long = f"{times}as long as those of the mean loss of this batch"
    return says, f"{off[:-1]}: {long}, and {angle}", hint


def _lacks_some(call: Call, found: Tensor, asked: Tensor) -> bool:
    """Whether the gradients of a whole parameter are 0, or not there, and should not be."""
    parts = zip(call.split(found).values(), call.split(asked).values(), strict=True)
    return any(part.any() and not there.any() for there, part in parts)


def _steps(call: Call) -> int:
    """How many steps of an optimizer were seen."""
    return call.seen.events.count("s")


def counted(events: str) -> str:
    """How many passes and steps were seen, as a sentence."""
    forward, backward, steps = (events.count(event) for event in "fbs")
    of_optimizer = f"{steps} step{'s' * (steps != 1)} of an optimizer"
    return f"{forward} forward and {backward} backward passes and {of_optimizer} were seen."
