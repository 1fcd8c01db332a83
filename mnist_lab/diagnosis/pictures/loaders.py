"""Do the loaders of ``make_loaders`` give batches as their handout asks?"""

from __future__ import annotations

import math
from itertools import chain, combinations, pairwise

import torch
from torch import Tensor

from mnist_lab.contract import TEST_SIZE, TRAIN_SIZE
from mnist_lab.diagnosis import fail
from mnist_lab.diagnosis.degenerate import degenerate
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.pictures.findings import Findings
from mnist_lab.submission.answers import Batch
from mnist_lab.submission.client import ExerciseHandle


def check_make_loaders(exercise: ExerciseHandle, grader: Grader) -> None:
    """``make_loaders`` shuffles the training data anew each epoch, and drops nothing."""
    generator = grader.generator("preprocessing.loaders")
    batch_size = int(torch.randint(15, 50, (), generator=generator))
    sets = {
        "train": _dataset(generator, 6 * batch_size + 1, first=0),
        "test": _dataset(generator, 2 * batch_size + 1, first=1000),
    }
    seed = int(torch.randint(2**31, (), generator=generator))
    loaders = exercise.make_loaders(
        sets["train"], sets["test"], batch_size, epochs=EPOCHS, seed=seed
    )
    epochs = {"train": loaders.train, "test": loaders.test}
    found = Findings()
    _expect_form(epochs, found)
    if found.does("ends"):
        raise found.failure()
    _expect_images(sets, epochs)
    sets = _expect_own_set(sets, epochs, found)
    for name in epochs:
        _expect_batches(name, epochs[name], len(sets[name][1]), batch_size, found)
        _expect_items(name, epochs[name], sets[name], found)
    train, test = ("test", "train") if found.does("exchanges") else ("train", "test")
    _expect_in_order(epochs[test], sets[test], found)
    _expect_shuffled(epochs[train], len(sets[train][1]), found)
    if not found.does("hides-size"):
        _expect_of_many(exercise, generator, seed, found)
    found.expect_none()


EPOCHS, OF_MANY = 6, 4
"""Epochs that are looked at, and those of sets as large as the course's, of which the first batch
is: in fewer an item comes again at its place, or beside another, by chance."""


def _dataset(generator: torch.Generator, size: int, first: int) -> Batch:
    """Images of a drawn pattern, which begins with 0, plus a number of their own, counted from
    ``first``, and labels.
    """
    numbers = torch.arange(first, first + size, dtype=torch.float32).view(-1, 1, 1, 1)
    pattern = 0.4 * torch.rand(28, 28, generator=generator)
    pattern[0, 0] = 0
    return numbers + pattern, torch.randint(10, (size,), generator=generator)


Epochs = tuple[tuple[Batch, ...], ...]


def _expect_form(epochs: dict[str, Epochs], found: Findings) -> None:
    for name, each in epochs.items():
        for images, labels in (batch for epoch in each for batch in epoch):
            if images.shape[1:] != (1, 28, 28) or labels.shape != images.shape[:1]:
                raise fail(
                    f"The {name} loader gives images of shape {tuple(images.shape)} with labels of "
                    f"shape {tuple(labels.shape)}.",
                    "The items have (1, 28, 28) and a batch puts them side by side.",
                    "Leave collate_fn out: a DataLoader puts images and labels side by side by "
                    "itself.",
                )
            if images.dtype != torch.float32:
                raise fail(
                    f"The {name} loader gives images as {str(images.dtype).partition('.')[2]}.",
                    "Those of the dataset are float32, as are the weights of a network.",
                    "Leave the images as they are: a DataLoader puts them side by side by itself.",
                )
            if labels.dtype != torch.int64:
                raise fail(
                    f"The {name} loader gives labels as {str(labels.dtype).partition('.')[2]}.",
                    "Those of the dataset are whole numbers, of which a DataLoader makes int64.",
                    "Leave the labels as they are: nn.CrossEntropyLoss takes int64.",
                )
        first = [_order((batch,)) for batch in each[0]]
        seen = f"In the first of {len(each)} epochs."
        if not any(first):
            raise degenerate("loader-empty", "make_loaders", seen, loader=name)
        if len(set(chain(*first))) == 1 < len(first):
            raise degenerate("loader-images", "make_loaders", seen, loader=name)
        if all(batch == first[0] for batch in first[1:]) and len(first) > 1:
            raise degenerate("loader-same", "make_loaders", seen, loader=name)
        if not all(each):
            found.add(
                "one-pass-only",
                f"The {name} loader gave {len(each[0])} batches in the first epoch and "
                f"{len(each[1])} in the second.",
            )


def _expect_images(sets: dict[str, Batch], epochs: dict[str, Epochs]) -> None:
    """Each image as one of the datasets has it, by which its item is known."""
    items = torch.cat([images for images, _ in sets.values()])
    for name, each in epochs.items():
        shown = torch.cat([images for epoch in each for images, _ in epoch]).float()
        nearest = torch.cdist(shown[:, 0, 0, :1], items[:, 0, 0, :1]).argmin(1)
        if not torch.equal(shown, items[nearest]):
            off = (shown - items[nearest]).abs().max().item()
            raise fail(
                f"The {name} loader gives other images than the dataset's.",
                f"The pixels of its images are up to {off:.3g} off those of the nearest item.",
                "Leave the images as the dataset has them: what is to be done to each of them "
                "belongs in the transforms.",
            )


def _expect_own_set(
    sets: dict[str, Batch], epochs: dict[str, Epochs], found: Findings
) -> dict[str, Batch]:
    """The set that each loader is of: its own, but for mistakes."""
    of = {
        name: "test" if min(_order(each[0])) >= 1000 else "train" for name, each in epochs.items()
    }
    shown = ", ".join(
        f"the {name} loader has {len(_order(each[0]))} items" for name, each in epochs.items()
    )
    evidence = (
        f"Of {len(sets['train'][1])} items for training and {len(sets['test'][1])} for the test, "
        f"{shown}."
    )
    if of == {"train": "test", "test": "train"}:
        first, second = (_order(epochs[name][0]) for name in ("train", "test"))
        in_place = first != sorted(first) and second == sorted(second)
        found.add("sets-swapped" if in_place else "loaders-swapped", evidence)
    elif of["train"] == of["test"]:
        found.add("one-set-for-both", evidence)
    return {name: sets[of[name]] for name in epochs}


def _expect_batches(name: str, epochs: Epochs, items: int, size: int, found: Findings) -> None:
    """Full batches and a short last one; of each loader what it does wrong in every epoch."""
    odd: list[str] = []
    for epoch in epochs:
        sizes = [len(labels) for _, labels in epoch]
        given = max([1, *sizes])
        whole, rest = divmod(items, given)
        evidence = f"Of {items} items with batch_size={size} it makes batches of {_listed(sizes)}."
        if given > size or (given < size and len(sizes) > 1):
            found.add(f"{name}-batch-size", evidence)
        if sizes == [given] * whole and rest and not _same_missing(name, epochs):
            found.add(f"{name}-drops-last", evidence)
        elif (
            given == size and sum(sizes) == items and sizes != [size] * whole + [rest] * (rest > 0)
        ):
            odd.append(_listed(sizes))
    if odd:
        found.observe(
            "other-batches",
            f"{items} items are {items // size} batches of {size} and {items % size} more.",
            name=name,
            sizes=odd[0],
            size=size,
        )


def _same_missing(name: str, epochs: Epochs) -> bool:
    """Whether the same items are missing from every shuffled epoch: then no batch was dropped."""
    given = [set(_order(epoch)) for epoch in epochs]
    shuffled = any(order != sorted(order) for order in map(_order, epochs))
    return shuffled and name == "train" and all(each == given[0] for each in given)


def _expect_items(name: str, epochs: Epochs, dataset: Batch, found: Findings) -> None:
    """Every item of the dataset once an epoch, with its own label."""
    own = [int(number) for number in dataset[0][:, 0, 0, 0].tolist()]
    labels = dict(zip(own, dataset[1].tolist(), strict=True))
    for epoch in epochs:
        order = _order(epoch)
        given = set(order)
        evidence = (
            f"Of {len(own)} items the {name} loader gives {len(given & set(own))}, in an epoch of "
            f"{len(order)}."
        )
        if given - set(own):
            found.observe("other-items", evidence, name=name)
        elif len(given) < len(order) and len(order) > len(own):
            found.add("items-twice", evidence)
        elif len(given) < len(order):
            found.add("with-replacement", evidence)
        elif len(given) < len(own) and not found.does("drops", name):
            found.add("items-missing", evidence)
        seen = torch.cat([each for _, each in epoch]).tolist()
        pairs = zip(order, seen, strict=True)
        if any(labels.get(number, label) != label for number, label in pairs):
            found.add("loader-labels", f"In the {name} loader.")


def _expect_in_order(epochs: Epochs, dataset: Batch, found: Findings) -> None:
    first = int(dataset[0][0, 0, 0, 0])
    for epoch in epochs:
        order = _order(epoch)
        if order != sorted(order):
            shown = ", ".join(str(number - first) for number in order[:5])
            found.add("test-shuffled", f"Of {len(dataset[1])} items numbers {shown} are the first.")


def _expect_shuffled(epochs: Epochs, items: int, found: Findings) -> None:
    orders = [_order(epoch) for epoch in epochs]
    shown = ", ".join(map(str, orders[0][:5]))
    first = f"Of {items} items numbers {shown} are the first"
    in_order = [order in (sorted(order), sorted(order, reverse=True)) for order in orders]
    alike = [one == other for one, other in pairwise(orders)]
    groups = [
        {frozenset(_order((batch,))) for batch in epoch if len(batch[1]) > 1} for epoch in epochs
    ]
    # A few whole batches come in order now and then, by chance.
    moved = not all(in_order) and not all(alike)
    several = any(len(one & other) > 1 for one, other in pairwise(groups))
    if moved and (several or set.intersection(*groups)):
        found.add(
            "same-batches",
            f"With the same items in each, the second epoch has {len(groups[0] & groups[1])} of "
            f"the {len(groups[0])} batches of the first.",
        )
    elif any(in_order):
        found.add("train-unshuffled", f"{first}.")
    elif any(alike):
        found.add("shuffled-once", f"{first}, in each epoch.")
    elif tied := _tied(orders, items):
        found.observe("tied-items", f"Of {items} items {tied} in each of {len(orders)} epochs.")
    elif pattern := _pattern(orders, items):
        found.observe(
            "order-in-a-pattern",
            f"{pattern} {first}, in the next epoch {', '.join(map(str, orders[1][:5]))}.",
        )


def _tied(orders: list[list[int]], items: int) -> str:
    """What one item does or two do in each epoch, empty where there is nothing. Each happens by
    chance at most once in a million times.
    """
    always = sorted(set.intersection(*map(set, orders)))
    if always and len(orders[0]) < items / 2:
        return f"number {always[0]} is among the first {len(orders[0])}"
    where = [{number: place for place, number in enumerate(order)} for order in orders]
    moved: dict[tuple[int, ...], int] = {}
    near: list[int] = []
    for number in always:
        moves = tuple(each[number] - where[0][number] for each in where)
        if not any(moves):
            return f"number {number} comes after {where[0][number]} others"
        if moves in moved:
            return f"number {number} comes equally far from number {moved[moves]}"
        moved[moves] = number
        if max(moves) - min(moves) < items // 20:
            near.append(number)
    if len(near) > 1:
        return f"numbers {near[0]} and {near[1]} come within {items // 20} places of where they did"
    neighbours = [{frozenset(pair) for pair in pairwise(order)} for order in orders]
    if beside := set.intersection(*neighbours):
        return f"numbers {' and '.join(map(str, sorted(min(beside, key=sorted))))} are neighbours"
    return ""


def _pattern(orders: list[list[int]], items: int) -> str:
    """What no shuffling does, in each epoch or from one to another: a sentence, empty where there
    is nothing. It is of the places of all ``items``, or of the few that the orders have.

    Each happens by chance less than once in ten million times.
    """
    least, most = min(orders[0]), max(orders[0])
    if len(orders[0]) < items / 2 > most - least:
        return f"The first {len(orders[0])} in an epoch are from numbers {least} to {most}."
    if min(map(len, orders)) < max(30, *map(len, orders)):
        return ""
    places = torch.tensor(orders).argsort(1)
    if _is_regular(places):
        return "Where an item is in the dataset tells where it comes."
    whole = range(len(orders)) if len(orders[0]) == items else ()
    moves = {(a, b): places[b, places[a].argsort()] for a, b in combinations(whole, 2)}
    steps = [moves[pair] for pair in pairwise(whole)]
    if any((one == other).sum() > MOVED for one, other in pairwise(steps)):
        return "Each order is made from the one before in the same way."
    for (first, second), moved in moves.items():
        if _is_regular(moved[None]):
            epochs = f"in epoch {first + 1} tells where it does in epoch {second + 1}."
            return f"Where an item comes {epochs}"
    return ""


def _is_regular(places: Tensor) -> bool:
    """Whether in M orders (M, N) of N items a place tells the ones some places on, or follows from
    its own number: by and large, by that of its part, or as all others are moved.
    """
    times, items = places.shape
    numbers = torch.arange(items).expand_as(places)
    waves = torch.fft.rfft(places - places.double().mean(1, keepdim=True)).abs().square()
    alike = torch.fft.irfft(waves.sum(0), items)
    # Half of the items on, pairs count twice, and chance makes more.
    alike = (alike / alike[0])[1 : (items + 1) // 2].abs().max()
    along = torch.corrcoef(torch.stack([numbers.flatten(), places.flatten()]).double())[0, 1].abs()
    moves = ((places + numbers) % items, (places - numbers) % items)
    moved = max(int(each.flatten().bincount().max()) for each in moves)
    parts = (numbers * BLOCKS // items * BLOCKS + places * BLOCKS // items).flatten()
    often, expected = parts.bincount(minlength=BLOCKS**2), places.numel() / BLOCKS**2
    uneven = (often - expected).square().sum() / expected
    likely = max(alike, along) < UNLIKELY / math.sqrt(places.numel())
    enough = [each for each in DIVISORS if 8 * each**2 <= places.numel()]
    remain = any(_tells(numbers % each, places % each, each) for each in enough)
    return not (likely and moved < MOVED + 3 * times and uneven < UNEVEN) or remain


def _tells(number: Tensor, place: Tensor, kinds: int) -> bool:
    """Whether one of ``kinds`` tells the other, by chi-squared (Wilson and Hilferty, 1931).

    SciPy has it too, and takes most of a second to import.
    """
    often = (number * kinds + place).flatten().bincount(minlength=kinds**2).view(kinds, kinds)
    expected = often.sum(1, keepdim=True) * often.sum(0) / often.sum()
    uneven = ((often - expected).square() / expected).sum().item()
    spread = 2 / (9 * (kinds - 1) ** 2)
    scaled = (uneven / (kinds - 1) ** 2) ** (1 / 3)
    return scaled > 1 - spread + UNLIKELY * math.sqrt(spread)


DIVISORS = range(2, 11)
"""By which numbers and places may leave remainders that go together."""


UNLIKELY = 6.5
"""Standard deviations, of which chance makes no more."""

BLOCKS, UNEVEN, MOVED = 5, 75.0, 10
"""Parts of an order; the sum over their pairs of (items - expected)^2 / expected, 16 on average by
chance; and items that are moved by the same number of places, 1 on average in each order."""


def _expect_of_many(
    exercise: ExerciseHandle, generator: torch.Generator, seed: int, found: Findings
) -> None:
    """The default batch size, and whether as many items as the course has are shuffled as well."""
    labels = torch.randint(10, (TRAIN_SIZE,), generator=generator)
    numbers = torch.arange(TRAIN_SIZE, dtype=torch.float32).view(-1, 1, 1, 1)
    train, test = ((numbers[:size], labels[:size]) for size in (TRAIN_SIZE, TEST_SIZE))
    loaders = exercise.make_loaders(train, test, epochs=OF_MANY, most=1, seed=seed)
    sizes = [len(labels) for _, labels in loaders.train[0]]
    if sizes[:1] != [64]:
        found.add(
            "default-batch-size",
            f"Without batch_size the train loader makes batches of {_listed(sizes)} first; 64 are "
            "asked for.",
        )
    if found:
        return
    larger = int(torch.randint(70, 140, (), generator=generator))
    for call, size in enumerate((None, larger, larger)):  # Of other items each time.
        few = [_dataset(generator, 150, first=2000 * call + first) for first in (0, 1000)]
        made = exercise.make_loaders(few[0], few[1], size, epochs=1, seed=seed, plain=True)
        for name, epochs, own in (("train", made.train, few[0]), ("test", made.test, few[1])):
            _expect_batches(name, epochs, 150, size or 64, found)
            shown = set(_order(epochs[0]))
            if kept := shown - {int(number) for number in own[0][:, 0, 0, 0].tolist()}:
                evidence = f"Of {len(shown)} items in an epoch {len(kept)} are of other datasets."
                found.observe("earlier-call", evidence, function="make_loaders")
    _expect_in_order(loaders.test, test, found)
    _expect_shuffled(loaders.train, TRAIN_SIZE, found)


def _order(epoch: tuple[Batch, ...]) -> list[int]:
    """The numbers of an epoch's items."""
    return [
        int(number)
        for images, _ in epoch
        for number in images.double().flatten(1)[:, 0].round().tolist()
    ]


def _listed(sizes: list[int]) -> str:
    shown = [str(size) for size in sizes[:6]] + ["..."] * (len(sizes) > 6)
    return ", ".join(shown)
