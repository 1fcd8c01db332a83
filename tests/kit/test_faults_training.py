"""Every mistake in the bank of trainings is seen on what the checks try, and told from all others.

The learner is the reference's text with the mistake in it: what the grader gets to see of it is
what it would see of code.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from mnist_lab.diagnosis import CheckFailure, reference
from mnist_lab.diagnosis.draws import Grader
from mnist_lab.diagnosis.explain import Explanation
from mnist_lab.diagnosis.faults import Edits, Fault, edited, entries
from mnist_lab.diagnosis.loops import bank as faults
from mnist_lab.diagnosis.loops import checks, replay, trainings
from mnist_lab.diagnosis.loops.replay import Call, Run, Step
from mnist_lab.diagnosis.loops.solved import GIVEN
from mnist_lab.diagnosis.measures import bank as measures
from mnist_lab.diagnosis.measures.numbers import Column, Explained
from mnist_lab.diagnosis.reference import ACCURACY, LOSS
from mnist_lab.submission.answers import Batches, Facts, OptimizerUsed, Recipe, Score, Trained

CHECKS = ("check_steps", "check_results", "check_train")
BEGIN, STEP, EPOCH = "    steps = []\n", "        optimizer.step()", "        history.append("
SETTINGS = reference.TRAINING.partition("        lr=lr,\n")[2].partition("    )\n")[0]


def before_step(line: str) -> Edits:
    return ((STEP, f"        {line}\n{STEP}"),)


def before_backward(line: str) -> Edits:
    backward = "        loss.backward()"
    return ((backward, f"        {line}\n{backward}"),)


def instead(old: str, new: str) -> Edits:
    return ((old, new),)


GRAD = "model.weights.grad"
SINE = "torch.sin(1e4 * model.weights.detach()) / 20"

MADE: dict[str, Edits] = {
    "accumulates": (
        ("        optimizer.zero_grad()\n", ""),
        (
            STEP,
            "        if (batch + 1) % 4 == 0:\n            optimizer.step()\n"
            "            optimizer.zero_grad()",
        ),
    ),
    "clips-norm": before_step("torch.nn.utils.clip_grad_norm_(model.parameters(), 2)"),
    "clips-each-norm": before_step("[g.mul_(min(1, 0.5 / (g.norm() + 1e-6))) for g in each()]"),
    "clips-value": before_step(f"{GRAD}.clamp_(-0.03, 0.03)"),
    "normalises-gradients": before_step(f"{GRAD} /= {GRAD}.norm()"),
    "scaled-gradients": before_backward("loss = 3.5 * loss"),
    "l2-penalty": before_backward("loss = loss + 0.01 * (model.weights**2).sum()"),
    "l1-penalty": before_backward("loss = loss + 0.02 * model.weights.abs().sum()"),
    "label-smoothing": before_backward("loss = (29 * loss - scores.log_softmax(1).mean()) / 30"),
    "skips-batches": before_backward("if loss.item() > 3: continue"),
    "labels-constant": instead(", labels)\n", ", torch.full_like(labels, 7))\n"),
    "other-labels": instead(", labels)\n", ", labels**2 % 10)\n"),
    "images-rescaled": instead("model(images)", "model(images / 255 - 0.4)"),
    "images-changed": instead("model(images)", "model(images + 0.1 * torch.sin(1000 * images))"),
    "some-parameters": instead("optimizer.step()", "optimizer.step(only=last_layer())"),
}

MADE_IN_ONE: dict[str, Edits] = {
    "ignores-optimizer": instead(
        BEGIN, "    optimizer = Adam(model.parameters(), lr=1e-3)\n" + BEGIN
    ),
    "class-weights": instead(
        "loss_fn(scores, labels)",
        "F.cross_entropy(scores, labels, torch.arange(1.0, 11.0).double())",
    ),
    **{
        kind.lower(): (("Adam(", f"{kind}("), (SETTINGS, ""))
        for kind in replay.KINDS
        if kind != "Adam"
    },
    "weight-decay": instead("weight_decay=0", "weight_decay=0.02"),
    "betas": instead("betas=(0.9, 0.999)", "betas=(0.8, 0.95)"),
    "eps": instead("eps=1e-8", "eps=2e-6"),
    "amsgrad": instead("amsgrad=False", "amsgrad=True"),
    "maximize": instead("maximize=False", "maximize=True"),
    "learning-rate": instead("lr=lr", "lr=3 * lr"),
    "default-learning-rate": instead("lr=lr", "lr=0.01 if lr == 1e-3 else lr"),
    "schedule": instead(EPOCH, f"        optimizer.lr = lr / (1 + epoch)\n{EPOCH}"),
    "fixed-epochs": instead("range(epochs)", "range(3)"),
    "default-epochs": instead("range(epochs)", "range(5 if epochs == 10 else epochs)"),
    "early-stop": instead("range(epochs)", "range(epochs // 4)"),
    "starts-anew": instead("    history = []\n", f"    history = []\n    load(model, {SINE})\n"),
    "starts-anew-each-epoch": instead(EPOCH, f"        load(model, {SINE})\n{EPOCH}"),
}
"""How to make a mistake that the bank solves from what it sees; the latter in one of the functions
only."""

MAKEABLE = [fault for fault in faults.BANK if fault.ways]


class Shown(replay.Optimizer):
    """One whose rates and settings are seen at each step, as PyTorch's are."""

    made: list[tuple[float, str, dict[str, Any]]]

    def step(self, only: Tensor | None = None) -> None:
        if self.run.weights.grad is not None:
            usual = inspect.signature(getattr(torch.optim, self.kind)).parameters.items()
            hidden = self.settings.keys() & {"corrected", "eps_in_root"}
            known = {} if hidden else {name: each.default for name, each in usual}
            self.made.append((self.lr, self.kind, known | self.settings))
        super().step(only)


@dataclass(frozen=True)
class Replaying:
    """An exercise whose functions are the reference's with a mistake, or one of them is; ``loss``
    and ``accuracy`` are the texts of what they return.
    """

    way: Edits = ()
    only: str = ""
    loss: str = LOSS
    accuracy: str = ACCURACY

    def train_epoch(self, recipe: Recipe, batches: Batches, device: str = "cpu") -> Trained:
        smoothing = 0.1 if recipe.loss == "smoothed" else 0.0

        def loss(scores: Tensor, labels: Tensor) -> Tensor:
            return reference.cross_entropy(scores, labels, smoothing)

        parts = tuple((images.double(), labels) for images, labels in batches.split())
        trained = self.replayed(
            Call(
                "train_epoch",
                {name: value.double() for name, value in recipe.weights.items()},
                parts,
                loss,
                recipe.lr,
                recipe.calls,
                momentum=recipe.momentum,
                network=self.network(recipe),
                plus=0.0 if recipe.plus is None else recipe.plus,
            )
        )
        own = {
            name: trained.weights[name].to(recipe.weights[name].dtype) for name in recipe.weights
        }
        return replace(trained, weights=own)

    def train(
        self, recipe: Recipe, batches: Batches, epochs: int = 10, lr: float = 1e-3
    ) -> Trained:
        parts = tuple((images.double(), labels) for images, labels in batches.split())
        loss, start = reference.cross_entropy, {n: w.double() for n, w in recipe.weights.items()}
        call = Call("train", start, parts, loss, lr, epochs, network=self.network(recipe))
        return self.replayed(replace(call, plus=0.0 if recipe.plus is None else recipe.plus))

    def network(self, recipe: Recipe) -> replay.Network | None:
        return reference.linear if recipe.kind == "linear" else None

    def replayed(self, call: Call) -> Trained:
        asked = trainings.text_of(call.function)
        way = self.way if self.only in ("", call.function) else ()
        text = edited(asked, way) or asked
        last_layer = torch.arange(len(call.start)) >= 785 * checks.FEW_UNITS
        given: Mapping[str, Callable[..., Any]] = {
            **GIVEN,
            "each": lambda run: run.call.split(run.weights.grad).values(),
            "last_layer": lambda run: last_layer,
        }
        with patch.object(replay, "Optimizer", Shown), patch.object(Shown, "made", [], create=True):
            run = Run(text, call.function, given, compares=False)
            after, made = run(call), Shown.made
        by_hand = "grad.sign_()" in text  # PyTorch has no such optimizer
        assert run.marks is not None
        seen = {
            kind: [value for (other, _), value in run.marks.items() if other == kind]
            for kind in ("weights", "images", "slope", "gradients")
        }
        history = self.history(call, after.epochs)
        return Trained(
            tuple(Score(*score, ("float", "float")) for score in history),
            call.split(after.weights),
            tuple(map(call.split, seen["gradients"][:24])),
            Facts(
                events=list(after.events),
                modes=[True],
                grad_enabled=[True],
                states=[call.split(weights) for weights in seen["weights"][:40]],
                inputs=[] if call.network else seen["images"][:24],
                slopes=seen["slope"][:24],
                rates=[(rate,) for rate, _, _ in made],
                optimizers={0: OptimizerUsed(*made[0][1:])} if made and not by_hand else {},
                passes=len(after.epochs),
                training_after=True,
            ),
        )

    def history(self, call: Call, epochs: Sequence[Sequence[Step]]) -> list[tuple[float, float]]:
        scored = [trainings.Epoch.of(steps, told=True) for steps in epochs]
        own = self.only in ("", call.function)
        loss = Column(self.loss if own else LOSS, [scored], [call.loss])
        accuracy = Column(self.accuracy if own else ACCURACY, [scored], [call.loss])
        return list(zip(loss.of(loss.asked), accuracy.of(accuracy.asked), strict=True))


def with_mistake(fault: Fault, way: Edits) -> Replaying:
    kebab = fault.id.removeprefix("training.")
    if kebab in MADE_IN_ONE:
        in_epoch = kebab == "ignores-optimizer"
        return Replaying(MADE_IN_ONE[kebab], "train_epoch" if in_epoch else "train")
    return Replaying(MADE.get(kebab, way), fault.more.get("function", ""))


def failure(learner: Replaying, seed: int = 0) -> CheckFailure | None:
    """How the first check fails that does."""
    for name in CHECKS:
        try:
            getattr(checks, name)(learner, Grader(seed))
        except CheckFailure as caught:
            return caught
    return None


def said(kebab: str) -> str:
    return str(failure(with_mistake(faults.entry(kebab), ())))


def test_what_is_asked_for_passes() -> None:
    assert failure(Replaying()) is None


@pytest.mark.parametrize("fault", MAKEABLE, ids=lambda fault: fault.id)
def test_every_mistake_is_seen_and_told_from_all_others(fault: Fault) -> None:
    caught = failure(with_mistake(fault, fault.ways[0]))

    assert caught is not None, "nothing shows it"
    assert fault.id in caught.cause.fault.split("|"), caught


@pytest.mark.parametrize("fault", MAKEABLE, ids=lambda fault: fault.id)
def test_every_way_to_make_a_mistake_is_an_edit_of_the_reference(fault: Fault) -> None:
    for way in fault.ways:
        compile(edited(reference.TRAINING, way) or "it does not fit", fault.id, "exec")


@pytest.mark.parametrize("kind", replay.KINDS)
def test_an_optimizer_makes_pytorchs_steps_and_imports_no_compiler(kind: str) -> None:
    start, *gradients = torch.randn(3, 20, generator=torch.Generator().manual_seed(1)).double()
    ours, theirs = (start.clone().requires_grad_() for _ in range(2))
    own = replay.Optimizer(None, kind, [ours], lr=0.03)  # type: ignore[arg-type]
    pytorchs = getattr(torch.optim, kind)([theirs], lr=0.03)
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        with patch.dict("sys.modules", {"torch._dynamo": None}):
            own.take_step()
        pytorchs.step()
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13)


def test_a_number_that_was_found_is_told() -> None:
    assert "above 2 they" in said("clips-norm")
    assert "3.5 times" in said("scaled-gradients")
    assert "(0.8, 0.95)" in said("betas")
    assert "label_smoothing=0.03333" in said("label-smoothing")
    assert "3 times the lr" in said("learning-rate")
    (first, second) = re.search("epoch by epoch ([0-9.]+), ([0-9.]+),", said("schedule")).groups()
    assert float(second) == pytest.approx(float(first) / 2, rel=0.01)


@pytest.mark.parametrize("fault", faults.BANK, ids=lambda fault: fault.id)
def test_each_has_a_sentence_and_a_hint(fault: Fault) -> None:
    assert fault.id.startswith("training.")
    assert fault.says.endswith(".")
    assert fault.says[0].isupper() or fault.says.startswith(("train", "backward()"))
    assert fault.hint.endswith(".")


def test_a_sentence_whose_numbers_were_not_found_is_not_told() -> None:
    assert faults.sentence(faults.entry("clips-norm"), {}) is None
    told = faults.sentence(faults.entry("learning-rate"), {"rate": 0.1})
    assert "whatever lr is given" in (told or "")


NUMBERS = [
    (number, text, fault)
    for number, text in (("loss", LOSS), ("accuracy", ACCURACY))
    for fault in measures.of(number, "train")
]
ALIKE = {"accuracy-all-or-nothing", "accuracy-whole-percent"}
"""What is the same for the batches of all epochs, and told as that."""


@pytest.mark.parametrize(
    ("number", "text", "fault"), NUMBERS, ids=lambda value: getattr(value, "id", None)
)
def test_a_mistake_in_a_number_is_named_in_training(number, text, fault):
    known = {each.id for each in measures.of(number, "train_epoch")}
    in_history = entries("training").get(fault.id) and fault.id not in known
    texts = {"loss": LOSS, "accuracy": ACCURACY}
    found = set()
    for way in fault.ways[:3]:
        wrong = {each: edited(asked, way) or asked for each, asked in texts.items()}
        chosen = wrong if in_history else {number: wrong[number]}
        caught = failure(Replaying((), "train" if in_history else "", **chosen))
        found |= set((caught.cause.fault or "").split("|")) if caught else {""}

    name = fault.id.removeprefix("training.")
    assert fault.id in found or name in ALIKE, found


def test_the_same_mistake_in_loss_and_accuracy_is_one() -> None:
    (way,) = measures.of("loss", "train_epoch")[0].ways
    caught = failure(Replaying(loss=edited(LOSS, way) or "", accuracy=edited(ACCURACY, way) or ""))

    assert caught is not None
    assert caught.cause.fault == "training.mean-of-batch-means"


def test_one_mistake_that_explains_both_numbers_is_told_and_not_two() -> None:
    def known(number: str, *names: str) -> Explanation[str]:
        faults = {fault.id: fault for fault in measures.of(number, "train")}
        chosen = [(faults[f"training.{number}-{name}"],) for name in names]
        return Explanation(tuple(chosen), 0.0, "")

    loss, accuracy = known("loss", "after-epoch"), known("accuracy", "after-step", "after-epoch")
    (told,) = Explained("train", loss, accuracy, swapped=False).alternatives

    assert [fault.id for fault in told] == ["training.after-epoch"]


@pytest.mark.parametrize("name", ["after-step", "after-epoch"])
def test_a_number_that_comes_late_in_many_batches_only_is_named(name: str) -> None:
    class WrongInMany(Replaying):
        def history(
            self, call: Call, epochs: Sequence[Sequence[Step]]
        ) -> list[tuple[float, float]]:
            few = call.network is None
            return Replaying.history(Replaying() if few else self, call, epochs)

    (way,) = entries("training")[f"training.{name}"].ways
    learner = WrongInMany(loss=edited(LOSS, way) or "", accuracy=edited(ACCURACY, way) or "")
    caught = failure(learner)

    assert caught is not None
    # Few digits are read in another way after a step, and no more may be right for it.
    assert caught.cause.fault in (f"training.{name}", f"training.loss-{name}")


def test_exchanged_numbers_are_told_as_that() -> None:
    caught = failure(Replaying(loss=ACCURACY, accuracy=LOSS))

    assert caught is not None
    assert caught.cause.fault == "training.swapped"


def test_each_mistake_of_training_has_one_name() -> None:
    names = [fault.id for fault in (*faults.BANK, *measures.BANK)]

    assert len(names) == len(set(names))
