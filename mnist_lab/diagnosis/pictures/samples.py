"""Does ``downsample`` draw as its handout asks?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from mnist_lab.diagnosis.degenerate import degenerate
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.pictures.findings import Findings
from mnist_lab.submission.answers import Batch
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.client import ExerciseHandle

MANY, SEEDS = 200, 40
"""Items half of which are drawn under so many seeds, to see that all come equally often."""

UNEVEN = 320
"""The sum over ``MANY`` items of (often - 20)^2 / 10, how often they came in ``SEEDS`` draws: 200
on average, above 320 once in 10 million right draws. Where half of the items have a chance of 0.6
and half one of 0.4 it is 512 on average."""

RARELY = 2
"""Fewer times no item comes in ``SEEDS`` draws: once in 70 million right ones one does."""

TOGETHER = 2
"""In fewer draws, or all but fewer, just one of two items comes: once in 700,000 right ones."""

ALIKE = 1040
"""The sum over pairs of such draws of (4 * items shared - 200)^2 / 200: 784 on average, with a
standard deviation of 40; twice as large where items go in pairs, whichever they are."""

FAR = 8_192_000
"""Between two seeds that end in the same three digits and the same sixteen bits."""

STEADY = 2.2
"""The variance of how many of ten labels such a draw has: 4.4 by chance, with a standard deviation
of 0.34; 0 where each label has its share."""

UNRELATED = 7.0
"""Standard deviations that the items which two draws share may be from what chance gives."""


@dataclass(frozen=True)
class Draws:
    """Draws from the items of ``dataset``, a list if ``plain``; what is wrong goes to ``found``."""

    exercise: ExerciseHandle
    dataset: Batch
    found: Findings
    plain: bool = False

    @property
    def items(self) -> int:
        return len(self.dataset[1])

    def draw(
        self, size: int, seed: int | None, reads: int = 1, *, again: bool = False
    ) -> tuple[int, ...]:
        """The items drawn, ``again`` of the same dataset as before; it is told if their number,
        their labels or repeats are wrong.
        """
        drawn = self.exercise.downsample(
            self.dataset, size, seed, reads, again=again, plain=self.plain
        )
        what = f"downsample of {self.items} items, size={size}, seed={seed}"
        if drawn.length != size:
            evidence = f"{what}: it gives a dataset of {drawn.length} items."
            self.found.add("wrong-number-of-items", evidence)
        different = len(set(drawn.indices))
        if different != len(drawn.indices):
            self.found.add("repeated-items", f"{what}: only {different} of them are different.")
        if not drawn.labels_kept:
            self.found.add("labels-changed", f"{what}.")
        return drawn.indices


def check_downsample(exercise: ExerciseHandle, grader: Grader) -> None:
    """``downsample`` draws distinct items, by the seed."""
    generator = grader.generator("preprocessing.downsample")
    items = 500 + int(torch.randint(100, (), generator=generator))
    size = items // 3
    seed = 1 + int(torch.randint(1000, (), generator=generator))
    found = Findings()
    draws = Draws(exercise, _items(generator, items), found)
    first = draws.draw(size, seed)
    if len(set(first)) < 2:
        said = f"downsample of {items} items, size={size}, seed={seed}."
        raise degenerate("dataset-one-item" if first else "dataset-empty", "downsample", said)
    at_random = _expect_random(draws, seed, first)
    again = draws.draw(size, seed, reads=2)  # nor are they others when they are read again
    if set(again) != set(first):
        found.add(
            "not-reproducible",
            f"Twice of {items} items with size={size}, seed={seed}: only "
            f"{len(set(first) & set(again))} items were drawn both times.",
        )
    elif at_random and _expect_seeded(draws, size, seed, first) and not found:
        _expect_nothing_kept(draws, generator, size, seed)
        _expect_even(Draws(exercise, _items(generator, MANY), found, plain=True), seed)
    if not found:
        exercise.close()  # What was kept so far is lost: a new program draws the same.
        anew = set(draws.draw(size, seed))
        if anew != set(first):
            found.add(
                "not-reproducible",
                f"Of {items} items with size={size}, seed={seed}, in one run of the program and in "
                f"another: only {len(anew & set(first))} items were drawn both times.",
            )
    _expect_all_drawn(draws, seed)
    _expect_value_error(draws)
    found.expect_none()


def _items(generator: torch.Generator, count: int) -> Batch:
    """Small images, each filled with a number that nobody can know; item i has the label i % 10."""
    marks = 1000 * torch.arange(count) + torch.randint(1000, (count,), generator=generator)
    marks = marks[torch.randperm(count, generator=generator)].float().view(-1, 1, 1, 1)
    return marks.expand(-1, 1, 4, 4), torch.arange(count) % 10


def _expect_random(draws: Draws, seed: int | None, drawn: tuple[int, ...]) -> bool:
    """No pattern in the positions, and all parts of the dataset have their share."""
    items, found = draws.items, draws.found
    places = sorted(set(drawn))
    steps = {after - before for before, after in pairwise(places)}
    if not 2 < len(places) < items:
        return True
    order = "" if list(drawn) == places else ", in another order"
    numbers = f"{', '.join(map(str, places[:4]))} ... {places[-1]}{order}"
    shown = f"Of {items} items it draws numbers {numbers}."
    digits = {place % 10 for place in places}
    if steps == {1}:
        name = {0: "first-items", items - len(places): "last-items"}.get(places[0])
        found.add(name or "neighbouring-items", shown)
    elif len(steps) == 1 or (max(steps) - min(steps) == 1 and _even(places)):
        found.add("every-kth-item", shown)
    elif places[-1] < 0.8 * items or places[0] > 0.2 * items:
        found.add("part-of-the-items", shown)
        return True
    elif len(digits) < 10:
        absent = ", ".join(str(digit) for digit in range(10) if digit not in digits)
        found.add(
            "part-of-the-items",
            f"Item i has the label i % 10, and of {len(places)} items drawn none has the labels "
            f"{absent}.",
        )
        return True
    else:
        drawn_at = torch.zeros(items, dtype=torch.float64)
        drawn_at[places] = 1
        waves, expected = torch.fft.rfft(drawn_at), len(places) ** 2 / items
        beside, across = (
            torch.fft.irfft(each, items) for each in (waves.abs().square(), waves.square())
        )
        beside = beside[: (items + 1) // 2]
        beside[0] = expected  # Not that each is beside itself.
        # A pair counts twice across: as its one item, and as its other.
        for counts, said, spread in (
            (beside, "the item {} places on beside them", 1.0),
            (across, "beside item i the item {} - i", math.sqrt(2)),
        ):
            at = int((counts - expected).abs().argmax())
            both = round(counts[at].item())
            if _by_chance(both, len(places), items, spread):
                continue
            few = draws.dataset[0][:MANY], draws.dataset[1][:MANY]
            bias = _bias(_many_draws(replace(draws, dataset=few), seed or 0))
            if bias:
                found.add("biased-draw", bias)
            else:
                found.observe(
                    "items-in-a-pattern",
                    f"{shown} Of {len(places)} items drawn {both} have {said.format(at)}; "
                    f"{expected:.0f} would by chance.",
                )
            return False
        return True
    return False


def _by_chance(both: int, size: int, items: int, spread: float = 1.0) -> bool:
    """Whether ``both`` items may be in two independent draws of ``size``: less than once in ten
    million times they are not. A ``spread`` is how much wider chance is than there.
    """
    share = size / items
    return abs(both - share * size) < spread * UNRELATED * share * (1 - share) * math.sqrt(items)


def _even(places: list[int]) -> bool:
    """Whether each place is where equal distances would have it, to within one."""
    step = (places[-1] - places[0]) / (len(places) - 1)
    return all(abs(place - places[0] - step * at) <= 1 for at, place in enumerate(places))


def _expect_seeded(draws: Draws, size: int, seed: int, first: tuple[int, ...]) -> bool:
    """Other seeds draw others, 0 is a seed and the default; whether each seed has its own draw."""
    found = draws.found
    others = {other: draws.draw(size, other) for other in (seed + 1, seed + FAR)}
    for other, drawn in others.items():
        if set(drawn) == set(first):
            found.add("seed-ignored", f"With seed={seed} and with seed={other}.")
            return False
    for other, drawn in others.items():
        both = len(set(drawn) & set(first))
        if {len(set(drawn)), len(set(first))} == {size} and not _by_chance(both, size, draws.items):
            found.observe(
                "same-items",
                f"With seed={seed} and seed={other}, {both} of {size} items are the same; "
                f"{size**2 / draws.items:.0f} would be by chance.",
            )
            return False
    size = draws.items * 4 // 5
    zero, again, default, one = (draws.draw(size, each) for each in (0, 0, None, 1))
    at_random = _expect_random(draws, 0, zero)
    if set(zero) != set(again):
        found.add(
            "zero-is-no-seed",
            f"Of {size} items only {len(set(zero) & set(again))} are the same in two calls.",
        )
    elif set(default) != set(zero):
        found.add(
            "other-default-seed",
            f"Of {size} items only {len(set(default) & set(zero))} are the same.",
        )
    elif set(zero) == set(one):
        found.observe("same-items", f"With seed=0 and seed=1 all {size} items are the same.")
    return at_random


def _expect_nothing_kept(draws: Draws, generator: torch.Generator, size: int, seed: int) -> None:
    """Of other datasets, as long and longer, other items are drawn with the same seed."""
    for count in (draws.items, 2 * draws.items):
        other = replace(draws, dataset=_items(generator, count))
        try:
            drawn = other.draw(size, seed)
        except SubmissionFailure as failure:
            if failure.event.mistake != "other-items":
                raise
            draws.found.observe("earlier-call", failure.cause.message, function="downsample")
            return
        _expect_random(other, seed, drawn)


def _expect_even(draws: Draws, seed: int) -> None:
    """Over many seeds every item comes about as often, and of the labels not always as many."""
    size, found, drawn = MANY // 2, draws.found, _many_draws(draws, seed)
    digits = torch.stack([each.remainder(10).bincount(minlength=10) for each in drawn]).double()
    if digits.var(0, correction=0).mean() < STEADY:
        found.add(
            "balanced-digits",
            f"With each of {SEEDS} seeds {size} of {MANY} items have {digits.min():.0f} to "
            f"{digits.max():.0f} of every label.",
        )
        return
    if bias := _bias(drawn):
        found.add("biased-draw", bias)
    elif related := _related(drawn):
        found.observe("tied-draws", f"{OF_MANY} {related}")


OF_MANY = f"Of {MANY} items {MANY // 2} were drawn with each of {SEEDS} seeds:"


def _many_draws(draws: Draws, seed: int) -> list[Tensor]:
    """Half of the items, under many seeds."""
    size = draws.items // 2
    return [
        torch.tensor(draws.draw(size, seed + other, again=other > 0)).long()
        for other in range(SEEDS)
    ]


def _bias(drawn: Sequence[Tensor]) -> str:
    """How much more often some items come than others, where that is no chance; else empty."""
    often = torch.cat([*drawn]).bincount(minlength=MANY)
    uneven = ((often - SEEDS / 2).square() / (SEEDS / 4)).sum().item()
    if uneven < UNEVEN and often.min() >= RARELY and often.max() <= SEEDS - RARELY:
        return ""
    most, least = int(often.argmax()), int(often.argmin())
    return f"{OF_MANY} number {most} came {often[most]} times, number {least} {often[least]} times."


def _related(drawn: list[Tensor]) -> str:
    """What draws of single items do not have; empty if there is nothing. Items that go together, or
    apart, make some draws more alike and others less.
    """
    here = 2.0 * torch.stack([each.bincount(minlength=MANY) for each in drawn]) - 1
    together = (here.T @ here).fill_diagonal_(0)
    one, other = divmod(int(together.abs().argmax()), MANY)
    if abs(int(together[one, other])) > SEEDS - 2 * TOGETHER:
        times = (SEEDS + abs(int(together[one, other]))) // 2
        which = "both or none" if together[one, other] > 0 else "just one"
        return f"of numbers {one} and {other} {which} came {times} times."
    shared = (here @ here.T).fill_diagonal_(0)
    if shared.square().sum() / 2 / MANY < ALIKE:
        return ""
    numbers = (shared + MANY)[~torch.eye(SEEDS, dtype=torch.bool)] // 4
    return f"two draws share {numbers.min():.0f} to {numbers.max():.0f} items."


def _expect_all_drawn(draws: Draws, seed: int) -> None:
    items = draws.items
    try:
        draws.draw(items, seed)
    except SubmissionFailure as failure:
        if failure.event.is_a != "ValueError":
            raise
        evidence = f"downsample of {items} items with size={items} raises ValueError."
        draws.found.add("refuses-all-items", evidence)


def _expect_value_error(draws: Draws) -> None:
    items = draws.items
    what = f"downsample of {items} items, size={items + 1}"
    try:
        drawn = draws.exercise.downsample(draws.dataset, items + 1)
    except SubmissionFailure as failure:
        event = failure.event
        if event.is_a == "ValueError":
            return
        if failure.outcome != "failed" or not event.raised or event.mistake == "exception":
            raise
        if event.mistake:
            draws.found.add("no-value-error", f"{what}: {failure.cause.message}")
        else:
            draws.found.add("other-error", f"{what}: it raises {event.raised}.")
    else:
        draws.found.add("no-value-error", f"{what} gave a dataset of {drawn.length}.")
