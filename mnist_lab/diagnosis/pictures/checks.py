"""Do the transforms, ``downsample`` and ``make_loaders`` do what their handout asks for?"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from mnist_lab.diagnosis import draws, fail, match
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.faults.preprocessing import NAMES
from mnist_lab.diagnosis.findings import Findings
from mnist_lab.diagnosis.pictures import transforms
from mnist_lab.diagnosis.pictures.transforms import Tones
from mnist_lab.submission.answers import Batch
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.client import ExerciseHandle
from mnist_lab.submission.remote import Transform


def check_test_transform(exercise: ExerciseHandle, grader: Grader) -> None:
    """``test_transform`` resizes, scales and normalises, always alike."""
    generator = grader.generator("preprocessing.test_transform")
    transform, found = exercise.test_transform(), Findings(NAMES)
    images = _images(generator)
    results, kind = transform.of_any_kind(list(images), seed=1)
    again, _ = transform.of_any_kind(list(images), seed=2)
    seen = transforms.look(results, kind, transform.name, found)
    tones: Tones | None = None
    if not torch.equal(results, again):
        tones = _say_random(exercise, transform, images, match.difference(results, again), found)
    elif seen.planes is not None and seen.planes.shape[1:] == images.shape[1:]:
        before = bool(found)
        tones = transforms.read_pixels(images, seen, found)
        if tones is None and bool(found) == before:
            tones = transforms.say_unknown(transform, images, seen, found)
    elif seen.planes is not None:
        tones = transforms.read_levels(transform, 0, found, seen)
    transforms.expect_float32(seen, found)
    if not found.has("transforms-swapped"):
        transforms.expect_resized(transform, tones, found)
    _expect_no_seed(transform, generator, found)
    found.expect_none()


def check_train_transform(exercise: ExerciseHandle, grader: Grader) -> None:
    """``train_transform`` rotates and distorts at random besides, within its bounds."""
    generator = grader.generator("preprocessing.train_transform")
    seed = int(torch.randint(2**31, (), generator=generator))
    transform, found = exercise.train_transform(), Findings(NAMES)
    images = _images(generator)
    results, kind = transform.of_any_kind(list(images), 2, seed)
    seen = transforms.look(results, kind, transform.name, found)
    tones: Tones | None = None
    if seen.planes is not None:
        tones = transforms.read_warped(transform, seen, seed, found)
    transforms.expect_float32(seen, found)
    _expect_no_seed(transform, generator, found)
    if tones is not None and not found.has("noise", "erased", "brightness-changed", "other-size"):
        fill = 0.0
        if not found.has("normalised-by-itself"):
            fill = transforms.expect_background(transform, tones, seed, found)
        transforms.expect_warps(transform, exercise.train_transform, tones, fill, seed, found)
    transforms.expect_resized(transform, tones, found, 8, seed)
    found.expect_none()


def _images(generator: torch.Generator) -> Tensor:
    """uint8 (4, 28, 28): three from black to white and one of greys in between, so that a picture's
    own extremes are not always those of all.
    """
    full = [draws.pixels(generator, 28, 28) for _ in range(3)]
    grey = torch.randint(40, 200, (28, 28), generator=generator, dtype=torch.uint8)
    return torch.stack([*full, grey])


def _say_random(
    exercise: ExerciseHandle, transform: Transform, images: Tensor, off: float, found: Findings
) -> Tones | None:
    """test_transform draws random numbers; perhaps the two transforms are exchanged."""
    evidence = f"Two calls with the same picture differ by up to {off:.3g}."
    if _is_steady(exercise, images):
        found.add("transforms-swapped", f"{evidence} Two of train_transform's are equal.")
    else:
        found.add("test-augmented", evidence)
    results, kind = transform.of_any_kind(list(images), seed=1)
    seen = transforms.look(results, kind, transform.name, Findings(NAMES))
    return transforms.read_levels(transform, 0, found, seen)


def _is_steady(exercise: ExerciseHandle, images: Tensor) -> bool:
    """Whether train_transform is there and uses no randomness."""
    try:
        train = exercise.train_transform()
        one, two = (train.of_any_kind(list(images), seed=seed)[0] for seed in (1, 2))
    except SubmissionFailure:
        return False
    return torch.equal(one, two)


def _expect_no_seed(transform: Transform, generator: torch.Generator, found: Findings) -> None:
    called = transform.reseeds(draws.pixels(generator, 28, 28))
    for when, seeded in (("called", called), ("made", transform.reseeds_when_made())):
        if seeded:
            found.add(
                "reseeds",
                f"After {transform.name} was {when} with different seeds set before, the next "
                f"random numbers of {' and '.join(seeded)} were the same.",
            )


# downsample


def check_downsample(exercise: ExerciseHandle, grader: Grader) -> None:
    """``downsample`` draws distinct items, by the seed."""
    generator = grader.generator("preprocessing.downsample")
    items = 500 + int(torch.randint(100, (), generator=generator))
    size = items // 3
    seed = 1 + int(torch.randint(1000, (), generator=generator))
    dataset, found = _items(generator, items), Findings(NAMES)
    first = _drawn(exercise, dataset, size, seed, found)
    _expect_random(first, items, found)
    again = _drawn(exercise, dataset, size, seed, found)
    if set(again) != set(first):
        found.add(
            "not-reproducible",
            f"Twice of {items} items with size={size}, seed={seed}: only "
            f"{len(set(first) & set(again))} items were drawn both times.",
        )
    elif not found.has(*PATTERNS):
        _expect_seeded(exercise, dataset, size, seed, first, found)
    _expect_all_drawn(exercise, dataset, seed, found)
    _expect_value_error(exercise, dataset, found)
    found.expect_none()


def _items(generator: torch.Generator, count: int) -> Batch:
    """Small images, each filled with a number that nobody can know; item i has the label i % 10."""
    marks = 1000 * torch.arange(count) + torch.randint(1000, (count,), generator=generator)
    marks = marks[torch.randperm(count, generator=generator)].float().view(-1, 1, 1, 1)
    return marks.expand(-1, 1, 4, 4), torch.arange(count) % 10


def _drawn(
    exercise: ExerciseHandle, dataset: Batch, size: int, seed: int | None, found: Findings
) -> tuple[int, ...]:
    """The items drawn; it is told if their number, their labels or repeats are wrong."""
    drawn = exercise.downsample(dataset, size, seed)
    what = f"downsample of {len(dataset[1])} items, size={size}, seed={seed}"
    if drawn.length != size:
        found.add("wrong-number-of-items", f"{what}: it gives a dataset of {drawn.length} items.")
    different = len(set(drawn.indices))
    if different != len(drawn.indices):
        found.add("repeated-items", f"{what}: only {different} of them are different.")
    if not drawn.labels_kept:
        found.add("labels-changed", f"{what}.")
    return drawn.indices


PATTERNS = ("first-items", "last-items", "neighbouring-items", "every-kth-item")


def _expect_random(drawn: tuple[int, ...], items: int, found: Findings) -> None:
    """No pattern in the positions, and all parts of the dataset have their share."""
    places = sorted(set(drawn))
    steps = {after - before for before, after in pairwise(places)}
    shown = f"Of {items} items it draws numbers {', '.join(map(str, places[:4]))} ... {places[-1]}."
    if not 2 < len(places) < items:
        return
    if steps == {1}:
        name = {0: "first-items", items - len(places): "last-items"}.get(places[0])
        found.add(name or "neighbouring-items", shown)
    elif len(steps) == 1 or (
        max(steps) - min(steps) == 1 and len(places) > items // 4 and _even(places)
    ):
        found.add("every-kth-item", shown)
    elif places[-1] < 0.8 * items or places[0] > 0.2 * items:
        found.add("part-of-the-items", shown)
    elif len(digits := {place % 10 for place in places}) < 10:
        absent = sorted(set(range(10)) - digits)
        found.add(
            "part-of-the-items",
            f"Item i has the label i % 10, and of {len(places)} items drawn none has the labels "
            f"{', '.join(map(str, absent))}.",
        )


def _even(places: list[int]) -> bool:
    """Whether each place is where equal distances would have it, to within one."""
    step = (places[-1] - places[0]) / (len(places) - 1)
    return all(abs(place - places[0] - step * at) <= 1 for at, place in enumerate(places))


def _expect_seeded(
    exercise: ExerciseHandle,
    dataset: Batch,
    size: int,
    seed: int,
    first: tuple[int, ...],
    found: Findings,
) -> None:
    for other in (seed + 1, seed + 2):
        if set(_drawn(exercise, dataset, size, other, found)) == set(first):
            found.add("seed-ignored", f"With seed={seed} and with seed={other}.")
            return
    default, zero = (_drawn(exercise, dataset, size, each, found) for each in (None, 0))
    if set(default) != set(zero):
        found.add(
            "other-default-seed",
            f"Of {size} items only {len(set(default) & set(zero))} are the same.",
        )


def _expect_all_drawn(exercise: ExerciseHandle, dataset: Batch, seed: int, found: Findings) -> None:
    items = len(dataset[1])
    try:
        _drawn(exercise, dataset, items, seed, found)
    except SubmissionFailure as failure:
        if failure.raised != "ValueError":
            raise
        found.add("refuses-all-items", f"downsample of {items} items with size={items} raises it.")


def _expect_value_error(exercise: ExerciseHandle, dataset: Batch, found: Findings) -> None:
    items = len(dataset[1])
    what = f"downsample of {items} items, size={items + 1}"
    try:
        drawn = exercise.downsample(dataset, items + 1)
    except SubmissionFailure as failure:
        if failure.raised == "ValueError":
            return
        if failure.outcome != "failed" or not failure.raised:
            raise
        found.add("other-error", f"{what}: it raises {failure.raised}.")
    else:
        found.add("no-value-error", f"{what} gave a dataset of {drawn.length}.")


# make_loaders


def check_make_loaders(exercise: ExerciseHandle, grader: Grader) -> None:
    """``make_loaders`` shuffles the training data anew each epoch, and drops nothing."""
    generator = grader.generator("preprocessing.loaders")
    batch_size = int(torch.randint(20, 40, (), generator=generator))
    sets = {
        "train": _dataset(generator, 3 * batch_size + 5, first=0),
        "test": _dataset(generator, 2 * batch_size + 3, first=1000),
    }
    seed = int(torch.randint(2**31, (), generator=generator))
    loaders = exercise.make_loaders(sets["train"], sets["test"], batch_size, epochs=3, seed=seed)
    epochs = {"train": loaders.train, "test": loaders.test}
    found = Findings(NAMES)
    _expect_form(epochs, found)
    if found.has("one-pass-only"):
        raise found.failure()
    sets = _expect_own_set(sets, epochs, found)
    for name in epochs:
        _expect_batches(name, epochs[name], len(sets[name][1]), batch_size, found)
        _expect_items(name, epochs[name], sets[name], found)
    train, test = ("test", "train") if found.has("loaders-swapped") else ("train", "test")
    _expect_in_order(epochs[test], sets[test], found)
    _expect_shuffled(epochs[train], found)
    if not found.has("train-batch-size", "loaders-swapped", "sets-swapped", "items-missing"):
        _expect_default_size(exercise, generator, sets["test"], seed, found)
    found.expect_none()


def _dataset(generator: torch.Generator, size: int, first: int) -> Batch:
    """Images filled with a number of their own, counted from ``first``, and labels."""
    numbers = torch.arange(first, first + size, dtype=torch.float32).view(-1, 1, 1, 1)
    return numbers.expand(size, 1, 28, 28), torch.randint(10, (size,), generator=generator)


Epochs = tuple[tuple[Batch, ...], ...]


def _expect_form(epochs: dict[str, Epochs], found: Findings) -> None:
    for name, each in epochs.items():
        for images, labels in (batch for epoch in each for batch in epoch):
            if images.shape[1:] != (1, 28, 28) or labels.shape != images.shape[:1]:
                raise fail(
                    f"The {name} loader gives images of shape {tuple(images.shape)} with labels of "
                    f"shape {tuple(labels.shape)}.",
                    "The items have (1, 28, 28) and a batch puts them side by side.",
                )
        if not each[0]:
            raise fail(f"The {name} loader gives no batches.", "In the first of three epochs.")
        if not all(each):
            found.add(
                "one-pass-only",
                f"The {name} loader gave {len(each[0])} batches in the first epoch and "
                f"{len(each[1])} in the second.",
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
    for epoch in epochs:
        sizes = [len(labels) for _, labels in epoch]
        given = max(sizes)
        whole, rest = divmod(items, given)
        evidence = f"Of {items} items with batch_size={size} it makes batches of {_listed(sizes)}."
        if given > size or (given < size and len(sizes) > 1):
            found.add(f"{name}-batch-size", evidence)
        if sizes == [given] * whole and rest and not _same_missing(name, epochs):
            found.add(f"{name}-drops-last", evidence)
        elif (
            given == size and sum(sizes) == items and sizes != [size] * whole + [rest] * (rest > 0)
        ):
            found.observe(
                f"The {name} loader makes batches of {_listed(sizes)} where batch_size={size}.",
                f"{items} items are {whole} batches of {size} and a last one of {rest}.",
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
            found.observe(f"The {name} loader gives items of the other dataset too.", evidence)
        elif len(given) < len(order) and len(order) > len(own):
            found.add("items-twice", evidence)
        elif len(given) < len(order):
            found.add("with-replacement", evidence)
        elif len(given) < len(own) and not found.has(f"{name}-drops-last"):
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
            found.add("test-shuffled", f"Its first items are numbers {shown} of the dataset.")


def _expect_shuffled(epochs: Epochs, found: Findings) -> None:
    orders = [_order(epoch) for epoch in epochs]
    shown = ", ".join(map(str, orders[0][:5]))
    if any(order in (sorted(order), sorted(order, reverse=True)) for order in orders):
        found.add("train-unshuffled", f"It begins with numbers {shown} of the dataset.")
    elif any(one == other for one, other in pairwise(orders)):
        found.add("shuffled-once", f"Each time it begins with numbers {shown} of the dataset.")
    else:
        groups = [
            {frozenset(_order((batch,))) for batch in epoch if len(batch[1]) > 1}
            for epoch in epochs
        ]
        if any(len(one & other) > 1 for one, other in pairwise(groups)):
            found.add(
                "same-batches",
                f"Of {len(groups[0])} batches of the first epoch {len(groups[0] & groups[1])} "
                "are those of the second, with the same items in each.",
            )


def _expect_default_size(
    exercise: ExerciseHandle,
    generator: torch.Generator,
    test: Batch,
    seed: int,
    found: Findings,
) -> None:
    train = _dataset(generator, 130, first=0)
    loaders = exercise.make_loaders(train, test, epochs=1, seed=seed)
    sizes = [len(labels) for _, labels in loaders.train[0]]
    if sizes[:1] != [64]:
        found.add(
            "default-batch-size",
            f"Without batch_size the train loader makes batches of {_listed(sizes)} from 130 "
            "items; 64, 64 and 2 are asked for.",
        )


def _order(epoch: tuple[Batch, ...]) -> list[int]:
    """The numbers of an epoch's items."""
    return [
        int(number) for images, _ in epoch for number in images.flatten(1)[:, 0].round().tolist()
    ]


def _listed(sizes: list[int]) -> str:
    shown = [str(size) for size in sizes[:6]] + ["..."] * (len(sizes) > 6)
    return ", ".join(shown)
