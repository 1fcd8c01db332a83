"""Every mistake in the bank of trainings is seen on what the checks try, and told from all others.

The learner is a replay of a loop with the mistake: what the grader gets to see of it is what it
would see of code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from mnist_lab.diagnosis import CheckFailure, reference
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.faults import changes, findings, measured
from mnist_lab.diagnosis.faults import training as faults
from mnist_lab.diagnosis.loops import checks, optimizers
from mnist_lab.diagnosis.loops.optimizers import Optimizer
from mnist_lab.diagnosis.loops.replay import (
    Call,
    Impossible,
    Loop,
    Moment,
    Replayed,
    Seen,
    replay,
    results,
)
from mnist_lab.diagnosis.measures.replays import ACCURACY, LOSS, Scores
from mnist_lab.submission.answers import Batches, Facts, OptimizerUsed, Recipe, Score, Trained

CHECKS = ("check_steps", "check_results", "check_train")


def clipped(of: Callable[[Tensor], Tensor]) -> changes.Change:
    return changes.altering(lambda g, w, at: of(g))


def each_clipped(g: Tensor, w: Tensor, at: Moment) -> Tensor:
    parts = at.call.split(g).values()
    return torch.cat([p.flatten() * min(1, 0.5 / (p.norm().item() + 1e-6)) for p in parts])


def noisy(images: Tensor) -> Tensor:
    return images + 0.1 * torch.sin(1000 * images)


def weighted(scores: Tensor, labels: Tensor) -> Tensor:
    return reference.F.cross_entropy(scores, labels, torch.arange(1.0, 11.0).double())


def scaled(factor: float) -> changes.Change:
    return changes.losing(lambda loss: lambda scores, labels: factor * loss(scores, labels))[0]


def smoothed(share: float) -> changes.Change:
    return changes.losing(
        lambda loss: lambda s, y: (1 - share) * loss(s, y) + share * changes.uniform_loss(s, y)
    )[0]


def penalty(power: int) -> changes.Change:
    def change(loop: Loop) -> Loop:
        def of(w: Tensor, g: Tensor, at: Moment) -> tuple[float, Tensor]:
            slope = w if power == 2 else w.sign()
            return 0.02 * (w.abs() ** power).sum().item() / power, 0.02 * slope

        return loop.but(penalty=of)

    return change


def optimizer(kind: str, **settings: object) -> changes.Change:
    return changes.only_in(
        "train", changes.optimizing(lambda given, at: Optimizer(kind, given.lr, settings))
    )


def in_train(change: changes.Change) -> changes.Change:
    return changes.only_in("train", change)


MADE: dict[str, changes.Change] = {
    "accumulates": findings.accumulating(lambda at: (at.batch + 1) % 4 != 0, mean=False),
    "clips-norm": clipped(lambda g: g * min(1, 2 / (g.norm().item() + 1e-6))),
    "clips-each-norm": changes.altering(each_clipped),
    "clips-value": clipped(lambda g: g.clamp(-0.03, 0.03)),
    "normalises-gradients": clipped(lambda g: g / g.norm()),
    "scaled-gradients": scaled(3.5),
    "l2-penalty": penalty(2),
    "l1-penalty": penalty(1),
    "label-smoothing": smoothed(1 / 30),
    "class-weights": in_train(changes.another_loss(weighted)[0]),
    "labels-constant": changes.relabelled(lambda labels: torch.full_like(labels, 7)),
    "other-labels": changes.relabelled(lambda labels: labels**2 % 10),
    "images-rescaled": changes.redrawn(lambda images: images / 255 - 0.4),
    "images-changed": changes.redrawn(noisy),
    "some-parameters": lambda loop: loop.but(trains=lambda name, at: "hidden" not in name),
    "ignores-optimizer": changes.only_in(
        "train_epoch",
        changes.both(
            changes.changed(renews="epoch"),
            changes.optimizing(lambda given, at: Optimizer("adam", 1e-3)),
        ),
    ),
    **{
        kind: optimizer(kind)
        for kind in optimizers.KINDS
        if f"training.{kind}" in {fault.id for fault in faults.BANK}
    },
    "weight-decay": optimizer("adam", weight_decay=0.02),
    "betas": optimizer("adam", betas=(0.8, 0.95)),
    "eps": optimizer("adam", eps=2e-6),
    "amsgrad": optimizer("adam", amsgrad=True),
    "maximize": optimizer("adam", maximize=True),
    "no-bias-correction": optimizer("adam", corrected=False),
    "eps-in-root": optimizer("adam", eps_in_root=True),
    "learning-rate": in_train(changes.rated(lambda rate, at: 3 * rate)),
    "schedule": in_train(changes.rated(lambda rate, at: rate / (1 + at.epoch))),
    "fixed-epochs": changes.repeated(lambda epochs: 3),
    "early-stop": changes.repeated(lambda epochs: epochs // 4),
    "starts-anew": in_train(
        changes.changed(start=lambda w, at: w if at.epoch else torch.sin(1e4 * w) / 20)
    ),
    "starts-anew-each-epoch": in_train(
        changes.changed(start=lambda w, at: torch.sin(1e4 * (1 + at.epoch) * at.call.start) / 20)
    ),
}
"""How to make a mistake that the bank finds in what it sees, and not in a list."""

MAKEABLE = [fault for fault in faults.BANK if fault.changes]


@dataclass(frozen=True)
class Replaying:
    """An exercise whose functions are replays of a loop with one mistake."""

    change: changes.Change

    def train_epoch(self, recipe: Recipe, batches: Batches, device: str = "cpu") -> Trained:
        smoothing = 0.1 if recipe.loss == "smoothed" else 0.0
        settings = {"momentum": recipe.momentum} if recipe.momentum else {}
        return self.replayed(
            "train_epoch",
            recipe,
            batches,
            lambda scores, labels: reference.cross_entropy(scores, labels, smoothing),
            Optimizer("sgd", recipe.lr, settings),
            recipe.calls,
        )

    def train(
        self, recipe: Recipe, batches: Batches, epochs: int = 10, lr: float = 1e-3
    ) -> Trained:
        loss = reference.cross_entropy
        return self.replayed("train", recipe, batches, loss, Optimizer("adam", lr), epochs)

    def replayed(
        self,
        function: str,
        recipe: Recipe,
        batches: Batches,
        loss: reference.Loss,
        given: Optimizer,
        epochs: int,
    ) -> Trained:
        asked = Loop(function=function)
        loop = self.change(asked) or asked
        start = torch.cat([value.flatten() for value in recipe.weights.values()])
        parts = tuple(batches.split())
        call = Call(function, recipe.weights, parts, loss, given, epochs, Seen(start, ()))
        seen: dict[str, list[Tensor]] = {"weights": [], "images": [], "slope": [], "gradients": []}
        marks = replay(loop, call)
        while True:
            try:
                kind, _, value = next(marks)
                seen[kind].append(value)
            except StopIteration as stop:
                after = stop.value
                break
        used = after.found.get("optimizer", given)
        return Trained(
            tuple(Score(*score, ("float", "float")) for score in self.history(loop, call, after)),
            call.split(after.weights),
            tuple(map(call.split, seen["gradients"][:24])),
            Facts(
                events=list(after.events),
                modes=[True],
                states=[call.split(weights) for weights in seen["weights"][:40]],
                inputs=seen["images"][:24],
                slopes=seen["slope"][:24],
                rates=[(rate,) for rate in after.rates],
                optimizers={0: OptimizerUsed(used.kind, {"lr": used.lr, **all_settings(used)})},
                passes=len(after.epochs),
                training_after=True,
            ),
        )

    def history(self, loop: Loop, call: Call, after: Replayed) -> Sequence[tuple[float, float]]:
        return results(loop, call, after)


@dataclass(frozen=True)
class Measuring(Replaying):
    """Steps as asked, and numbers that are computed as ``evaluate`` may compute them."""

    loss: str = LOSS
    accuracy: str = ACCURACY

    def history(self, loop: Loop, call: Call, after: Replayed) -> Sequence[tuple[float, float]]:
        epochs = [
            [(p.scores("before", call, p.after), p.true) for p in epoch] for epoch in after.epochs
        ]
        scores = Scores(epochs, call.loss)
        return list(zip(scores.of(self.loss), scores.of(self.accuracy), strict=True))


def all_settings(used: Optimizer) -> dict[str, object]:
    names = {"weight_decay", "maximize", *(optimizers.KINDS[used.kind].__kwdefaults__ or {})}
    # These are no settings of PyTorch's: whoever makes such a mistake shows no settings.
    if used.settings.keys() & {"corrected", "eps_in_root"}:
        return {}
    return {name: used.setting(name) for name in names - {"corrected", "eps_in_root"}}


def failure(change: changes.Change, seed: int = 0) -> CheckFailure | None:
    """How the first check fails that does."""
    for name in CHECKS:
        try:
            getattr(checks, name)(Replaying(change), Grader(seed))
        except CheckFailure as caught:
            return caught
    return None


def test_what_is_asked_for_passes() -> None:
    assert failure(lambda loop: loop) is None


@pytest.mark.parametrize("fault", MAKEABLE, ids=lambda fault: fault.id)
def test_every_mistake_is_seen_and_told_from_all_others(fault: faults.LoopFault) -> None:
    caught = failure(MADE.get(fault.id.removeprefix("training."), fault.changes[0]))

    assert caught is not None, "nothing shows it"
    assert fault.id in caught.cause.fault.split("|"), caught


def test_a_number_that_was_found_is_told() -> None:
    assert "above 2 they" in str(failure(MADE["clips-norm"]))
    assert "3.5 times" in str(failure(MADE["scaled-gradients"]))
    assert "(0.8, 0.95)" in str(failure(MADE["betas"]))
    assert "label_smoothing=0.03333" in str(failure(MADE["label-smoothing"]))


def test_ids_are_unique_and_of_the_exercise() -> None:
    ids = [fault.id for fault in faults.BANK]
    assert len(set(ids)) == len(ids)
    assert all(name.startswith("training.") for name in ids)


@pytest.mark.parametrize("fault", faults.BANK, ids=lambda fault: fault.id)
def test_each_has_a_sentence_and_a_hint(fault: faults.LoopFault) -> None:
    assert fault.says.endswith(".")
    assert fault.says[0].isupper() or fault.says.startswith(("train", "backward()"))
    assert fault.hint.endswith(".")
    assert bool(fault.changes) == (fault.about != "observed")


def test_a_mistake_that_cannot_be_made_is_none() -> None:
    assert faults.entry("sgd").changes[0](Loop(function="train_epoch")) is None
    assert faults.entry("ignores-loss-fn").changes[0](Loop(function="train")) is None


OF_PYTORCH = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "adamax": torch.optim.Adamax,
    "nadam": torch.optim.NAdam,
    "radam": torch.optim.RAdam,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "rprop": torch.optim.Rprop,
    "sgd": torch.optim.SGD,
}


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *((kind, {}) for kind in OF_PYTORCH),
        ("adam", {"betas": (0.5, 0.9), "eps": 1e-3, "amsgrad": True, "weight_decay": 0.1}),
        ("adam", {"maximize": True}),
        ("adamw", {"weight_decay": 0.2}),
        ("nadam", {"momentum_decay": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
        ("rmsprop", {"alpha": 0.9, "momentum": 0.9, "centered": True}),
        ("adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
        ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
        ("sgd", {"momentum": 0.9, "dampening": 0.5}),
    ],
)
def test_optimizers_are_pytorchs(kind: str, settings: dict) -> None:
    generator = torch.Generator().manual_seed(1)
    start, *gradients = torch.randn(9, 20, generator=generator, dtype=torch.float64)
    theirs = torch.nn.Parameter(start.clone())
    optimizer = OF_PYTORCH[kind]([theirs], lr=0.03, **settings)
    ours, step = start, Optimizer(kind, 0.03, settings).begin()
    for gradient in gradients:
        theirs.grad = gradient.clone()
        optimizer.step()
        ours = step(ours, gradient, 0.03)
    torch.testing.assert_close(ours, theirs.detach(), rtol=1e-13, atol=1e-14)


def test_a_loop_as_asked_is_the_references_training() -> None:
    generator = torch.Generator().manual_seed(2)
    weights, batches = checks._weights(generator), checks._batches(generator)
    trained = Replaying(lambda loop: loop).train(Recipe("mlp", weights), batches, 3, 0.01)

    history = reference.train(reference.fnn, weights, batches.split(), 3, 0.01)

    for name, value in history[-1].weights.items():
        torch.testing.assert_close(trained.weights[name], value, rtol=1e-11, atol=1e-12)
    for score, epoch in zip(trained.history, history, strict=True):
        assert (score.loss, score.accuracy) == pytest.approx((epoch.loss, epoch.accuracy))


def test_an_impossible_loop_says_so() -> None:
    with pytest.raises(Impossible):
        Replaying(changes.altering(findings.scaled_gradients)).train_epoch(
            Recipe("mlp", checks._weights(torch.Generator())),
            checks._batches(torch.Generator()),
        )


@pytest.mark.parametrize("fault", measured.BANK, ids=lambda fault: fault.id)
def test_a_mistake_of_evaluate_is_named_in_train_epoch(fault) -> None:
    in_loss = "training.loss-" in fault.id
    which, asked = ("loss", LOSS) if in_loss else ("accuracy", ACCURACY)
    plans = [plan for change in fault.changes if (plan := change(asked)) is not None]

    assert any(fault.id in said_of(**{which: plan}).split("|") for plan in plans)


def said_of(**wrong: str) -> str:
    """The name of the failure, if there is one that has a name."""
    try:
        checks.check_results(Measuring(lambda loop: loop, **wrong), Grader(0))
    except CheckFailure as failure:
        return failure.cause.fault or ""
    return ""


def test_each_mistake_of_training_has_one_name() -> None:
    names = [fault.id for fault in (*faults.BANK, *measured.BANK)]

    assert len(names) == len(set(names))


def test_what_training_knows_keeps_its_name() -> None:
    told = {fault.id for fault in measured.in_number("accuracy", "train")}

    assert "training.top-k" in told
    assert not {"training.accuracy-top-k", "training.loss-by-batches"} & told
