"""The mistakes of a training, each a change of a ``Loop``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis.faults.changes import (
    Mean,
    altering,
    another_loss,
    both,
    broadcast,
    changed,
    cumulative,
    cut,
    doing,
    focal,
    given_weights_again,
    halves,
    highest_accuracy,
    highest_accuracy_last,
    in_the_top,
    is_any,
    is_weight,
    losing,
    losing_at,
    lowest_loss,
    mean_of,
    merged,
    of_scores,
    one_hot,
    only_in,
    optimizing,
    rated,
    recording,
    redrawn,
    relabelled,
    repeated,
    right_by,
    rounded,
    running,
    scoring,
    skipping,
    times,
    total,
    using,
)
from mnist_lab.diagnosis.faults.findings import (
    AS_SEEN,
    Found,
    accumulating,
    between_steps,
    between_steps_and_before_the_end,
    by_hand,
    class_weighted,
    clipped_by_norm,
    clipped_by_value,
    described,
    each_clipped_by_norm,
    falling,
    its_own_optimizer,
    neat,
    new_weights,
    normalised,
    one_label,
    one_number,
    only_what_moved,
    penalised,
    predicted_labels,
    rescaled_images,
    scaled_gradients,
    scaled_loss,
    seen_images,
    seen_labels,
    seen_rate,
    seen_rates,
    seen_settings,
    setting,
    smoothed,
    smoothing_first,
    told_batches_a_step,
    told_early_stop,
    told_fixed_epochs,
    told_its_own_optimizer,
    told_limit,
    told_rate,
    told_rates,
    told_setting,
    told_what_moved,
    usual_settings,
)
from mnist_lab.diagnosis.loops.optimizers import Optimizer
from mnist_lab.diagnosis.loops.replay import Call, Loop
from mnist_lab.diagnosis.match import Fault
from mnist_lab.diagnosis.reference import Batch, Loss

__all__ = ["BANK", "LoopFault", "entry"]


@dataclass(frozen=True)
class LoopFault(Fault[Loop]):
    """A mistake in a training.

    ``about``: ``steps``, where weights or gradients differ; ``results``, where only the numbers do
    that are returned; ``observed``, what no replay shows. ``told`` gives the sentence with the
    numbers that were found in each call, or None if they are not those of this mistake. ``open``
    mistakes leave so much to be chosen that they explain what a more special one explains too.
    ``follows`` are the ids of wrong results that are no mistakes of their own beside this one.
    ``other_optimizer``: steps are made with another optimizer than the one asked for.
    """

    about: str = "steps"
    told: Callable[[Sequence[Call], Sequence[Found]], str | None] | None = None
    open: bool = False
    follows: tuple[str, ...] = ()
    other_optimizer: bool = False


LOSSES: dict[str, tuple[str, Loss]] = {
    "nll-on-scores": (
        "negative log-likelihood (NLLLoss) of raw scores, which are no logarithms",
        F.nll_loss,
    ),
    "mse": (
        "mean squared error between scores and one-hot labels",
        lambda scores, labels: F.mse_loss(scores, one_hot(labels)),
    ),
    "mse-of-softmax": (
        "mean squared error between probabilities and one-hot labels",
        lambda scores, labels: F.mse_loss(scores.softmax(1), one_hot(labels)),
    ),
    "l1": (
        "mean absolute error between scores and one-hot labels",
        lambda scores, labels: F.l1_loss(scores, one_hot(labels)),
    ),
    "huber": (
        "smooth L1 (Huber) loss between scores and one-hot labels",
        lambda scores, labels: F.smooth_l1_loss(scores, one_hot(labels)),
    ),
    "bce": (
        "binary cross-entropy (BCEWithLogitsLoss) with one-hot labels",
        lambda scores, labels: F.binary_cross_entropy_with_logits(scores, one_hot(labels)),
    ),
    "bce-of-softmax": (
        "binary cross-entropy (BCELoss) between probabilities and one-hot labels",
        lambda scores, labels: F.binary_cross_entropy(scores.softmax(1), one_hot(labels)),
    ),
    "multi-margin": ("multi-class hinge loss (MultiMarginLoss)", F.multi_margin_loss),
    "focal": ("focal loss with gamma = 2", focal),
    "of-probability": (
        "negative probability of the right digit, without the logarithm",
        lambda scores, labels: F.nll_loss(scores.softmax(1), labels),
    ),
}

BEFORE_THE_LOSS: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "softmax": ("softmax", lambda scores: scores.softmax(1)),
    "sigmoid": ("sigmoid", torch.sigmoid),
    "relu": ("ReLU", F.relu),
    "tanh": ("tanh", torch.tanh),
    "batch-softmax": ("softmax over the batch", lambda scores: scores.softmax(0)),
    "negated": ("minus sign", lambda scores: -scores),
}


def another_optimizer(kind: str, name: str, what: str) -> LoopFault:
    def told(calls: Sequence[Call], found: Sequence[Found]) -> str | None:
        optimizer: Optimizer = found[0]["optimizer"]
        return f"train makes its steps with {described(optimizer, name)}, {what}; not with Adam."

    return LoopFault(
        f"training.{kind}",
        f"train makes its steps with {name}, {what}; not with Adam.",
        "The optimizer asked for is torch.optim.Adam(model.parameters(), lr=lr).",
        (
            only_in("train", optimizing(seen_settings(kind))),
            only_in("train", optimizing(usual_settings(kind))),
        ),
        told=told,
        other_optimizer=True,
    )


MEANS: dict[str, tuple[str, str, tuple[Mean, ...]]] = {
    "mean-of-means": (
        "the mean of the batches' {}s, in which the examples of the short last batch count more",
        "Add up {} times batch size, and divide by the number of examples in the end.",
        (lambda values, sizes, examples: sum(values) / len(values),),
    ),
    "last-batch": (
        "that of the last batch alone",
        "Sum up over all batches of the epoch; begin with 0 before the loop.",
        (
            lambda values, sizes, examples: values[-1],
            lambda values, sizes, examples: values[-1] * sizes[-1] / examples,
        ),
    ),
    "first-batch": (
        "that of the first batch alone",
        "Sum up over all batches of the epoch; return after the loop.",
        (lambda values, sizes, examples: values[0],),
    ),
    "sum": (
        "a sum over the batches that is not divided by anything",
        "Divide by the number of examples in the end.",
        (
            lambda values, sizes, examples: sum(values),
            lambda values, sizes, examples: total(values, sizes),
        ),
    ),
    "per-batch": (
        "the sum over the examples divided by the number of batches",
        "Divide a sum over examples by the number of examples.",
        (lambda values, sizes, examples: total(values, sizes) / len(values),),
    ),
    "per-example": (
        "the sum of the batches' means divided by the number of examples",
        "A batch's {} is a mean over its examples: multiply it by the size of the batch before it "
        "is added.",
        (lambda values, sizes, examples: sum(values) / examples,),
    ),
    "full-batches": (
        "computed as if the short last batch had as many examples as the others",
        "Use the size of each batch, len(labels), not loader.batch_size or the first batch's.",
        (
            lambda values, sizes, examples: sum(values) * sizes[0] / examples,
            lambda values, sizes, examples: total(values, sizes) / (len(sizes) * sizes[0]),
        ),
    ),
    "running": (
        "a running average, in which late batches count more than early ones",
        "Sum up over the examples and divide once, after the loop.",
        tuple(map(running, (0.9, 0.99, 0.95, 0.5, 0.1, 0.98, 0.8))),
    ),
}


def mean_faults(what: str, field: str) -> list[LoopFault]:
    name = {"loss": "loss", "accuracy": "accuracy"}[what]
    return [
        LoopFault(
            f"training.{what}-{key}",
            f"The {name} that is returned is {says.format(MANY[what])}.",
            hint.format(what),
            tuple(changed(**{field: mean}) for mean in means),
            about="results",
        )
        for key, (says, hint, means) in MEANS.items()
    ]


MANY = {"loss": "losse", "accuracy": "accuracie"}

FIVE_STEPS = "For every batch: clear the gradients, compute the scores, the loss, backward, step."

CLEARING = [
    LoopFault(
        "training.no-zero-grad",
        "The gradients are never cleared: each batch adds its own to those of all batches before.",
        "optimizer.zero_grad() belongs into the loop over the batches, before backward().",
        (skipping("clear", lambda at: True),),
    ),
    LoopFault(
        "training.zero-grad-once",
        "The gradients are cleared once an epoch only: each batch adds its own to those of the "
        "batches before.",
        "optimizer.zero_grad() belongs into the loop over the batches, not before it.",
        (skipping("clear", lambda at: at.batch > 0),),
    ),
    LoopFault(
        "training.zero-grad-sometimes",
        "The gradients are not cleared for every batch: those of some batches are added to the "
        "next ones'.",
        "Clear the gradients of every batch, without a condition.",
        tuple(
            skipping("clear", lambda at, k=k, r=r: at.batch % k != r)  # type: ignore[misc]
            for k in range(2, 5)
            for r in (0, k - 1)
        ),
        open=True,
    ),
    LoopFault(
        "training.zero-grad-after-backward",
        "The gradients are cleared between backward() and step(): the step finds none.",
        "Clear the gradients before backward(), or after step().",
        (doing("forward", "backward", "clear", "alter", "step"),),
    ),
]

STEPPING = [
    LoopFault(
        "training.no-step",
        "The optimizer makes no step: gradients are computed and not used.",
        "optimizer.step() after loss.backward(), for every batch.",
        (doing("clear", "forward", "backward", "alter"),),
    ),
    LoopFault(
        "training.no-backward",
        "backward() is not called: the optimizer makes its steps without any gradients.",
        "loss.backward() computes the gradients that optimizer.step() uses.",
        (doing("clear", "forward", "alter", "step"),),
    ),
    LoopFault(
        "training.nothing-learned",
        "Neither backward() nor step() is called: the scores are computed and nothing is learned.",
        FIVE_STEPS,
        (doing("clear", "forward"),),
    ),
    LoopFault(
        "training.step-before-backward",
        "The optimizer makes its step before backward(): it finds no gradients, which were just "
        "cleared.",
        "First loss.backward(), then optimizer.step().",
        (doing("clear", "forward", "step", "backward", "alter"),),
    ),
    LoopFault(
        "training.late-step",
        "The step comes one batch late: that of the last batch is never made.",
        "The five steps belong together: finish each batch with optimizer.step().",
        (
            doing("step", "clear", "forward", "backward", "alter"),
            doing("alter", "step", "clear", "forward", "backward"),
        ),
    ),
    LoopFault(
        "training.several-steps",
        "The optimizer makes several steps for every batch, all with the same gradients.",
        "Call optimizer.step() once for every batch.",
        tuple(doing("clear", "forward", "backward", "alter", *["step"] * k) for k in (2, 3, 4, 5)),
    ),
    LoopFault(
        "training.several-backwards",
        "backward() is called more than once for every batch, and its gradients add up.",
        "Call loss.backward() once for every batch.",
        tuple(doing("clear", "forward", *["backward"] * k, "alter", "step") for k in (2, 3, 4, 5)),
    ),
    LoopFault(
        "training.step-after-the-loop",
        "The optimizer makes one step an epoch, after the loop over the batches.",
        "optimizer.step() belongs into the loop: indent it as far as backward().",
        (
            doing("clear", "forward", "backward", at_the_end=("alter", "step")),
            doing("clear", "forward", "backward", "alter", at_the_end=("step",)),
            both(
                doing("clear", "forward", "backward", at_the_end=("alter", "step")),
                skipping("clear", lambda at: at.batch > 0),
            ),
            both(
                doing("clear", "forward", "backward", at_the_end=("alter", "step")),
                skipping("clear", lambda at: True),
            ),
        ),
    ),
    LoopFault(
        "training.backward-after-the-loop",
        "backward() and step() come once an epoch, after the loop over the batches: only the last "
        "batch is learned from.",
        "Both belong into the loop: indent them as far as the computation of the loss.",
        (doing("clear", "forward", at_the_end=("backward", "alter", "step")),),
    ),
    LoopFault(
        "training.one-backward-an-epoch",
        "The losses of all batches are added up, and backward() and step() come once an epoch.",
        "Call backward() and step() for every batch.",
        (
            doing("clear", "forward", at_the_end=("backward of all", "alter", "step")),
            both(
                doing("clear", "forward", at_the_end=("backward of all", "alter", "step")),
                losing_at(lambda loss, at: lambda s, y: loss(s, y) / at.batches)[0],
            ),
        ),
    ),
    LoopFault(
        "training.accumulates",
        "The optimizer makes one step for several batches, with their gradients added up.",
        "Clear the gradients and make a step for every batch.",
        tuple(
            accumulating(skip, mean)
            for skip in (between_steps, between_steps_and_before_the_end)
            for mean in (False, True)
        ),
        told=told_batches_a_step,
    ),
    LoopFault(
        "training.steps-sometimes",
        "The optimizer makes no step for some of the batches, whose gradients are cleared unused.",
        "Make a step for every batch, without a condition.",
        tuple(
            skipping("step", lambda at, k=k, r=r: at.batch % k != r)  # type: ignore[misc]
            for k in range(2, 5)
            for r in (0, k - 1)
        ),
        open=True,
    ),
]

GRADIENTS = [
    LoopFault(
        "training.clips-norm",
        "The gradients are clipped: their norm is cut to a limit.",
        "Leave clip_grad_norm_ out: no clipping is asked for.",
        (altering(clipped_by_norm),),
        told=told_limit(
            "The gradients are clipped: where their norm is above {} they are scaled down to it."
        ),
    ),
    LoopFault(
        "training.clips-each-norm",
        "The gradients are clipped: the norm of each parameter's is cut to a limit.",
        "Leave clip_grad_norm_ out: no clipping is asked for.",
        (altering(each_clipped_by_norm),),
        told=told_limit(
            "The gradients are clipped, those of each parameter apart: where their norm is above "
            "{} they are scaled down to it."
        ),
    ),
    LoopFault(
        "training.clips-value",
        "The gradients are clipped: values beyond a limit are cut off.",
        "Leave clip_grad_value_ out: no clipping is asked for.",
        (altering(clipped_by_value),),
        told=told_limit("The gradients are clipped: values beyond {} are cut off."),
    ),
    LoopFault(
        "training.normalises-gradients",
        "The gradients are scaled to the same norm for every batch, small ones too.",
        "Leave the gradients as backward() computes them.",
        (altering(normalised),),
        told=lambda calls, found: (
            f"The gradients are scaled to the norm {found[0]['length']:.4g} for every batch, small "
            "ones too."
            if one_number(found, "length")
            else None
        ),
    ),
    LoopFault(
        "training.sign-of-gradients",
        "Only the signs of the gradients are used.",
        "Leave the gradients as backward() computes them.",
        (altering(lambda g, w, at: g.sign()),),
    ),
    LoopFault(
        "training.scaled-gradients",
        "The gradients are a multiple of those of the loss.",
        "Look for a factor at the loss or at the gradients; the mean loss of the batch is asked "
        "for as loss_fn gives it.",
        (*losing_at(scaled_loss), altering(scaled_gradients)),
        told=lambda calls, found: (
            f"The gradients are {neat(found[0]['factor'], 4):.4g} times those of the loss."
            if one_number(found, "factor")
            else None
        ),
        open=True,
    ),
    LoopFault(
        "training.l2-penalty",
        "A multiple of the weights is added to their gradients, as by a squared (L2) penalty in "
        "the loss.",
        "The loss is loss_fn(scores, labels) and nothing more.",
        tuple(penalised(lambda w: w**2 / 2, lambda w: w, chosen) for chosen in (is_any, is_weight)),
        told=lambda calls, found: (
            f"{found[0]['penalty']:.4g} times the weights is added to their gradients, as by a "
            "squared (L2) penalty in the loss."
            if one_number(found, "penalty")
            else None
        ),
    ),
    LoopFault(
        "training.l1-penalty",
        "A multiple of the weights' signs is added to their gradients, as by an absolute (L1) "
        "penalty in the loss.",
        "The loss is loss_fn(scores, labels) and nothing more.",
        tuple(penalised(torch.abs, torch.sign, chosen) for chosen in (is_any, is_weight)),
        told=lambda calls, found: (
            f"{found[0]['penalty']:.4g} times the weights' signs is added to their gradients, as "
            "by an absolute (L1) penalty in the loss."
            if one_number(found, "penalty")
            else None
        ),
    ),
]

LOSING = [
    *(
        LoopFault(
            f"training.{key}-before-loss",
            f"A {what} is applied to the scores before the loss.",
            "The loss takes the scores as the model gives them: loss_fn(model(images), labels).",
            of_scores(f),
        )
        for key, (what, f) in BEFORE_THE_LOSS.items()
    ),
    *(
        LoopFault(
            f"training.{key}",
            f"The loss that is minimised is the {what}.",
            "train_epoch minimises the loss_fn that it is given; train gives it "
            "nn.CrossEntropyLoss().",
            another_loss(loss),
        )
        for key, (what, loss) in LOSSES.items()
    ),
    LoopFault(
        "training.ignores-loss-fn",
        "train_epoch minimises plain cross-entropy, whatever loss_fn it is given.",
        "Call the loss_fn that is given: loss = loss_fn(scores, labels).",
        (only_in("train_epoch", another_loss(F.cross_entropy)[0]),),
    ),
    LoopFault(
        "training.label-smoothing",
        "The labels are smoothed.",
        "Leave label_smoothing at 0.",
        (losing_at(smoothed)[0], smoothing_first),
        told=lambda calls, found: (
            f"The labels are smoothed, with label_smoothing={found[0]['smoothing']:.4g}."
            if one_number(found, "smoothing")
            else None
        ),
    ),
    LoopFault(
        "training.class-weights",
        "Some digits count more in the loss than others.",
        "Leave the weight of CrossEntropyLoss out: every example counts the same.",
        losing_at(class_weighted),
        open=True,
    ),
    LoopFault(
        "training.summed-loss",
        "The loss that is minimised is the sum over the batch's examples, not their mean.",
        "loss_fn gives the mean over the batch: do not multiply it, and leave reduction at 'mean'.",
        times(lambda n: n),
        follows=("training.loss-sum",),
    ),
    LoopFault(
        "training.loss-by-batch-size",
        "The mean loss is divided by the batch size once more.",
        "loss_fn gives the mean over the batch already.",
        times(lambda n: 1 / n),
    ),
    LoopFault(
        "training.loss-by-batches",
        "The loss of each batch is divided by the number of batches before backward().",
        "Call backward() on the loss as loss_fn gives it.",
        losing_at(lambda loss, at: lambda s, y: loss(s, y) / at.batches),
    ),
    LoopFault(
        "training.loss-times-examples",
        "The loss of each batch is multiplied or divided by the size of the dataset.",
        "Call backward() on the loss as loss_fn gives it.",
        (
            *losing_at(lambda loss, at: lambda s, y: loss(s, y) * at.call.examples),
            *losing_at(lambda loss, at: lambda s, y: loss(s, y) / at.call.examples),
            *losing_at(lambda loss, at: lambda s, y: loss(s, y) * len(y) / at.call.examples),
        ),
    ),
    LoopFault(
        "training.ascent",
        "The loss is made larger, not smaller: its sign is turned around.",
        "Call backward() on the loss itself.",
        times(lambda n: -1.0),
    ),
    LoopFault(
        "training.squared-loss",
        "The loss is squared before backward().",
        "Call backward() on the loss as loss_fn gives it.",
        losing(lambda loss: lambda scores, labels: loss(scores, labels) ** 2),
    ),
]

LABELS: dict[str, tuple[str, tuple[Callable[[Tensor], Tensor], ...]]] = {
    "labels-plus-one": (
        "The labels are shifted by one: each image is learned as the next digit.",
        (lambda y: (y + 1) % 10, lambda y: (y + 1).clamp(max=9)),
    ),
    "labels-minus-one": (
        "The labels are shifted by one: each image is learned as the digit before.",
        (lambda y: (y - 1) % 10, lambda y: (y - 1).clamp(min=0)),
    ),
    "labels-turned": (
        "The labels are turned around: 0 is learned as 9, 1 as 8 and so on.",
        (lambda y: 9 - y,),
    ),
    "labels-rolled": (
        "The labels are moved against the images: each image gets that of its neighbour in the "
        "batch.",
        (lambda y: y.roll(1), lambda y: y.roll(-1)),
    ),
    "labels-reversed": (
        "The labels of a batch are in reverse order: its first image gets the last one's.",
        (lambda y: y.flip(0),),
    ),
    "labels-sorted": (
        "The labels of a batch are sorted, and belong to other images then.",
        (lambda y: y.sort().values, lambda y: y.sort(descending=True).values),
    ),
    "labels-of-first": (
        "All images of a batch are learned as the digit of one of them.",
        (lambda y: y[:1].expand_as(y), lambda y: y[-1:].expand_as(y)),
    ),
}

IMAGES: dict[str, tuple[str, tuple[Callable[[Tensor], Tensor], ...]]] = {
    "images-transposed": (
        "The images are transposed before the model gets them.",
        (lambda x: x.transpose(2, 3),),
    ),
    "images-mirrored": (
        "The images are mirrored before the model gets them.",
        (lambda x: x.flip(3), lambda x: x.flip(2), lambda x: x.flip(2, 3)),
    ),
    "images-reordered": (
        "The images of a batch are reordered, and their labels are not.",
        (lambda x: x.flip(0), lambda x: x.roll(1, 0), lambda x: x.roll(-1, 0)),
    ),
}

DATA = [
    *(
        LoopFault(
            f"training.{key}",
            says,
            "Give loss_fn the labels of the loader as they are.",
            tuple(map(relabelled, relabels)),
        )
        for key, (says, relabels) in LABELS.items()
    ),
    LoopFault(
        "training.labels-constant",
        "All images are learned as the same digit.",
        "Give loss_fn the labels of the loader as they are.",
        (lambda loop: loop.but(labels=lambda labels, at: one_label(loop.labels(labels, at), at)),),
        told=lambda calls, found: (
            f"All images are learned as the digit {found[0]['label']}."
            if one_number(found, "label")
            else None
        ),
    ),
    LoopFault(
        "training.own-predictions",
        "The loss is told the model's own predictions in the place of the labels.",
        "Give loss_fn the labels of the loader as they are.",
        (
            lambda loop: loop.but(
                labels=lambda labels, at: predicted_labels(loop.labels(labels, at), at)
            ),
        ),
    ),
    LoopFault(
        "training.other-labels",
        "The loss is told other labels than those of the images.",
        "Give loss_fn the labels of the loader as they are.",
        (
            lambda loop: loop.but(
                labels=lambda labels, at: seen_labels(loop.labels(labels, at), at)
            ),
        ),
        told=lambda calls, found: next(
            (
                "The loss is told other labels than those of the images: "
                f"{', '.join(map(str, each['labels'][1][:6]))}, ... where they are "
                f"{', '.join(map(str, each['labels'][0][:6]))}, ..."
                for each in found
                if "labels" in each
            ),
            None,
        ),
        open=True,
    ),
    *(
        LoopFault(
            f"training.{key}",
            says,
            "Give the model the images of the loader as they are.",
            tuple(map(redrawn, redraws)),
        )
        for key, (says, redraws) in IMAGES.items()
    ),
    LoopFault(
        "training.images-rescaled",
        "The images are scaled or shifted before the model gets them.",
        "Give the model the images of the loader as they are: they are normalised already.",
        (
            lambda loop: loop.but(
                images=lambda images, at: rescaled_images(loop.images(images, at), at)
            ),
        ),
        told=lambda calls, found: (
            "The model does not get the images of the loader but "
            f"{neat(found[0]['scale'], 4):.4g} times them plus {neat(found[0]['shift'], 4):.4g}."
            if one_number(found, "scale")
            else None
        ),
    ),
    LoopFault(
        "training.images-changed",
        "The model does not get the images of the loader but changed ones.",
        "Give the model the images of the loader as they are.",
        (
            lambda loop: loop.but(
                images=lambda images, at: seen_images(loop.images(images, at), at)
            ),
        ),
        open=True,
    ),
]

BATCHES: dict[str, tuple[str, str, tuple[Callable[[Sequence[Batch]], Sequence[Batch]], ...]]] = {
    "first-batch-only": (
        "Only the first batch of an epoch is learned from.",
        "Look for a return or a break inside the loop.",
        (lambda b: b[:1],),
    ),
    "last-batch-only": (
        "Only the last batch of an epoch is learned from.",
        "All five steps belong into the loop over the batches.",
        (lambda b: b[-1:],),
    ),
    "skips-last-batch": (
        "The short last batch of an epoch is left out.",
        "Every batch counts, the short one too.",
        (lambda b: b[:-1],),
    ),
    "skips-first-batch": (
        "The first batch of an epoch is left out.",
        "Use what the loop over the loader gives, from the first batch on.",
        (lambda b: b[1:],),
    ),
    "every-other-batch": (
        "Only every second batch is learned from.",
        "Take one batch from the loader for each turn of the loop.",
        (lambda b: b[::2], lambda b: b[1::2]),
    ),
    "some-batches": (
        "Only a part of an epoch's batches is learned from.",
        "Go through the whole loader in every epoch.",
        (
            *(lambda b, k=k: b[:k] for k in (2, 3, 4, 5)),  # type: ignore[misc]
            *(lambda b, k=k: b[::k] for k in (3, 4)),  # type: ignore[misc]
            lambda b: b[: len(b) // 2],
            lambda b: b[len(b) // 2 :],
        ),
    ),
    "same-batch-again": (
        "The same first batch is learned from again and again.",
        "next(iter(loader)) begins anew each time: loop over the loader itself.",
        (lambda b: [b[0]] * len(b),),
    ),
    "batches-twice": (
        "Every batch is learned from twice in a row.",
        "One step for every batch.",
        tuple(
            lambda b, k=k: [each for each in b for _ in range(k)]  # type: ignore[misc]
            for k in (2, 3)
        ),
    ),
    "epoch-twice": (
        "train_epoch goes through the loader more than once.",
        "One loop over the loader is one epoch.",
        tuple(lambda b, k=k: [*b] * k for k in (2, 3, 5)),  # type: ignore[misc]
    ),
    "reversed-batches": (
        "The batches are learned from in reverse order.",
        "Take the batches as the loader gives them.",
        (lambda b: b[::-1],),
    ),
    "half-of-batches": (
        "Only one half of the examples of every batch is learned from.",
        "Use all images and labels of a batch.",
        (halves(slice(None, 1)), halves(slice(1, None))),
    ),
    "first-examples": (
        "Only one example of every batch is learned from.",
        "Use all images and labels of a batch.",
        (lambda b: [(x[:1], y[:1]) for x, y in b], lambda b: [(x[-1:], y[-1:]) for x, y in b]),
    ),
    "one-by-one": (
        "A step is made for every single example, not for every batch.",
        "Give the whole batch to the model and make one step.",
        (lambda b: cut(b, 1),),
    ),
    "smaller-batches": (
        "The batches are cut into smaller ones, with a step for each.",
        "Give the whole batch to the model and make one step.",
        tuple(lambda b, k=k: cut(b, k) for k in (2, 3, 4, 5)),  # type: ignore[misc]
    ),
    "merged-batches": (
        "Several batches are put together, and one step is made for them.",
        "One step for every batch of the loader.",
        (*(lambda b, k=k: merged(b, k) for k in (2, 3)), lambda b: merged(b, len(b))),  # type: ignore[misc]
    ),
}

USING = [
    LoopFault(f"training.{key}", says, hint, tuple(map(using, choices)))
    for key, (says, hint, choices) in BATCHES.items()
]

PARAMETERS = [
    LoopFault(
        "training.some-parameters",
        "Only some of the model's parameters are trained.",
        "Give the optimizer model.parameters(), and leave requires_grad as it is.",
        (only_what_moved,),
        told=told_what_moved,
    ),
]

OPTIMIZERS = [
    another_optimizer("sgd", "SGD", "plain gradient descent"),
    another_optimizer("adamw", "AdamW", "which makes the weights smaller besides"),
    another_optimizer("rmsprop", "RMSprop", "which has no average of the gradients themselves"),
    another_optimizer("nadam", "NAdam", "which looks ahead in its momentum"),
    another_optimizer("radam", "RAdam", "which begins without scaling the steps"),
    another_optimizer("adamax", "Adamax", "which scales by the largest past gradients"),
    another_optimizer("adagrad", "Adagrad", "which scales by the sum of all past gradients"),
    another_optimizer("adadelta", "Adadelta", "which scales by past steps too"),
    another_optimizer("rprop", "Rprop", "which uses the signs of the gradients only"),
    another_optimizer("sign", "the sign of each gradient", "whatever its size"),
    LoopFault(
        "training.ignores-optimizer",
        "train_epoch does not use the optimizer that it is given.",
        "Use the optimizer of the arguments: optimizer.zero_grad() and optimizer.step().",
        (
            only_in("train_epoch", both(changed(renews="epoch"), optimizing(its_own_optimizer))),
            only_in("train_epoch", both(changed(renews="batch"), optimizing(its_own_optimizer))),
            only_in("train_epoch", optimizing(its_own_optimizer)),
            only_in("train_epoch", optimizing(by_hand)),
        ),
        told=told_its_own_optimizer,
    ),
]

ADAM_AS_ASKED = "torch.optim.Adam(model.parameters(), lr=lr), and PyTorch's defaults for the rest."

SETTINGS = [
    LoopFault(
        "training.weight-decay",
        "The optimizer has a weight decay.",
        ADAM_AS_ASKED,
        setting("weight_decay", 1e-4, 1e-2, 1e-3, 5e-4, 1e-5, 0.1),
        told=told_setting("weight_decay", "The optimizer has a weight decay of {:g}."),
    ),
    LoopFault(
        "training.betas",
        "Adam has other betas than (0.9, 0.999).",
        ADAM_AS_ASKED,
        setting("betas", (0.5, 0.999), (0.9, 0.99), (0.9, 0.9), (0.999, 0.9), (0.0, 0.999)),
        told=told_setting("betas", "Adam has the betas {}, not (0.9, 0.999)."),
    ),
    LoopFault(
        "training.eps",
        "Adam's epsilon is not the 1e-08 of PyTorch.",
        ADAM_AS_ASKED,
        setting("eps", 1e-7, 1e-6, 1e-4, 1e-3, 1e-10),
        told=told_setting("eps", "Adam's epsilon is {:g}, not the 1e-08 of PyTorch."),
    ),
    LoopFault(
        "training.amsgrad",
        "Adam is used in its variant AMSGrad.",
        ADAM_AS_ASKED,
        setting("amsgrad", True),
    ),
    LoopFault(
        "training.maximize",
        "The optimizer is told to make the loss larger (maximize=True).",
        ADAM_AS_ASKED,
        setting("maximize", True),
    ),
    LoopFault(
        "training.no-bias-correction",
        "Adam's averages are not corrected for their start at 0.",
        "Divide m by 1 - beta1 ** t and v by 1 - beta2 ** t, or use torch.optim.Adam.",
        setting("corrected", False),
    ),
    LoopFault(
        "training.eps-in-root",
        "Adam's epsilon is under the square root.",
        "It is added to the root: sqrt(v) + eps.",
        setting("eps_in_root", True),
    ),
    LoopFault(
        "training.learning-rate",
        "The learning rate is not the lr that is given.",
        "Pass lr on to the optimizer: torch.optim.Adam(model.parameters(), lr=lr).",
        (rated(seen_rate),),
        told=told_rate,
    ),
    LoopFault(
        "training.schedule",
        "The learning rate changes in the course of the training.",
        "No schedule is asked for: the learning rate stays as given.",
        (
            rated(seen_rates),
            *(
                falling(lambda epoch, epochs, f=f: f**epoch)  # type: ignore[misc]
                for f in (0.1, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
            ),
            falling(lambda epoch, epochs: 1 - epoch / epochs),
            falling(lambda epoch, epochs: (1 + math.cos(math.pi * epoch / epochs)) / 2),
            falling(lambda epoch, epochs: 1 / (epoch + 1)),
        ),
        told=told_rates,
    ),
    LoopFault(
        "training.new-optimizer-each-epoch",
        "A new optimizer is made for every epoch, and begins without the averages of the past "
        "gradients.",
        "Make the optimizer once, before the loop over the epochs.",
        (only_in("train", changed(renews="epoch")),),
    ),
    LoopFault(
        "training.new-optimizer-each-batch",
        "A new optimizer is made for every batch, and begins without the averages of the past "
        "gradients.",
        "Make the optimizer once, before the loops.",
        (only_in("train", changed(renews="batch")),),
    ),
]

EPOCHS = [
    LoopFault(
        "training.one-epoch-short",
        "train does one epoch less than asked for.",
        "range(epochs) runs epochs times; range(1, epochs) does not.",
        (repeated(lambda n: n - 1),),
    ),
    LoopFault(
        "training.one-epoch-more",
        "train does one epoch more than asked for.",
        "range(epochs) runs epochs times; range(epochs + 1) does not.",
        (repeated(lambda n: n + 1),),
    ),
    LoopFault(
        "training.twice-the-epochs",
        "train does twice as many epochs as asked for.",
        "One loop over range(epochs), with one train_epoch in it.",
        (repeated(lambda n: 2 * n),),
    ),
    LoopFault(
        "training.half-the-epochs",
        "train does half as many epochs as asked for.",
        "One loop over range(epochs), with one train_epoch in it.",
        (repeated(lambda n: n // 2),),
    ),
    LoopFault(
        "training.fixed-epochs",
        "train does the same number of epochs whatever epochs is.",
        "Loop over range(epochs), and return after the loop.",
        AS_SEEN,
        told=told_fixed_epochs,
    ),
    LoopFault(
        "training.early-stop",
        "train stops early.",
        "No early stop is asked for: always do all epochs.",
        AS_SEEN,
        told=told_early_stop,
        open=True,
    ),
    LoopFault(
        "training.best-weights",
        "In the end the model gets back the weights of its best epoch.",
        "The model is to keep the weights of the last epoch.",
        tuple(
            only_in("train", changed(keeps=keeps))
            for keeps in (lowest_loss, highest_accuracy, highest_accuracy_last)
        ),
    ),
    LoopFault(
        "training.starts-anew",
        "The training does not start from the weights that the model came with but from new ones.",
        "Leave the weights alone before the first batch.",
        (new_weights(every_epoch=False),),
    ),
    LoopFault(
        "training.starts-anew-each-epoch",
        "Every epoch starts from new weights, and forgets what the one before learned.",
        "Leave the weights alone between the epochs.",
        (new_weights(every_epoch=True), changed(start=given_weights_again)),
    ),
    LoopFault(
        "training.a-copy",
        "A copy of the model is trained; the model that was given stays as it was.",
        "Train the model of the arguments itself: no copy.deepcopy.",
        (changed(a_copy=True),),
    ),
]

RESULTS = [
    *mean_faults("loss", "mean_loss"),
    *mean_faults("accuracy", "mean_accuracy"),
    LoopFault(
        "training.loss-after-step",
        "The loss that is returned is of scores computed after the step.",
        "Use the loss that backward() was called on.",
        (changed(loss_of="after"),),
        about="results",
    ),
    LoopFault(
        "training.accuracy-after-step",
        "The accuracy that is returned is of scores computed after the step.",
        "Use the scores that the loss was computed from.",
        (changed(accuracy_of="after"),),
        about="results",
    ),
    LoopFault(
        "training.loss-after-epoch",
        "The loss that is returned is computed after the epoch, with the weights at its end.",
        "Sum up the losses of the steps while they are made.",
        (changed(loss_of="end"),),
        about="results",
    ),
    LoopFault(
        "training.accuracy-after-epoch",
        "The accuracy that is returned is computed after the epoch, with the weights at its end.",
        "Count the right answers while the steps are made.",
        (changed(accuracy_of="end"),),
        about="results",
    ),
    LoopFault(
        "training.percent",
        "The accuracy that is returned is in percent, not a fraction.",
        "Leave the factor 100 out.",
        (scoring(lambda loss, accuracy: (loss, 100 * accuracy)),),
        about="results",
    ),
    LoopFault(
        "training.swapped",
        "The accuracy is returned first and the loss second.",
        "Return (loss, accuracy), in this order.",
        (scoring(lambda loss, accuracy: (accuracy, loss)),),
        about="results",
    ),
    LoopFault(
        "training.error-rate",
        "The fraction of wrong answers is returned for the accuracy.",
        "Count where the prediction equals the label.",
        (scoring(lambda loss, accuracy: (loss, 1 - accuracy)),),
        about="results",
    ),
    LoopFault(
        "training.negative-loss",
        "The loss that is returned has the wrong sign.",
        "Return the loss as loss_fn gives it.",
        (scoring(lambda loss, accuracy: (-loss, accuracy)),),
        about="results",
    ),
    LoopFault(
        "training.rounded",
        "The numbers that are returned are rounded.",
        "Return them as they are; round where they are printed.",
        tuple(
            rounded(loss, accuracy)
            for digits in (4, 3, 2, 1, 0)
            for loss, accuracy in ((digits, digits), (digits, None), (None, digits))
        ),
        about="results",
    ),
    LoopFault(
        "training.argmin",
        "The digit with the lowest score is taken for the prediction.",
        "scores.argmax(dim=1) is the digit with the highest score.",
        (right_by(lambda scores, labels: (scores.argmin(1) == labels).double().mean().item()),),
        about="results",
    ),
    LoopFault(
        "training.broadcast",
        "Every prediction is compared with every label of its batch, not with its own.",
        "Compare tensors of the same shape (N,): a shape (N, 1) against (N,) gives (N, N).",
        (right_by(broadcast),),
        about="results",
    ),
    LoopFault(
        "training.top-k",
        "An answer counts as right when the label is among the highest scores, not the highest.",
        "scores.argmax(dim=1) is the one digit with the highest score.",
        tuple(right_by(in_the_top(k)) for k in (2, 3, 5)),
        about="results",
    ),
    LoopFault(
        "training.first-epoch-missing",
        "The history that train returns lacks the first epoch.",
        "Append the result of every epoch to the list.",
        (only_in("train", recording(lambda history: history[1:])),),
        about="results",
    ),
    LoopFault(
        "training.last-epoch-missing",
        "The history that train returns lacks the last epoch.",
        "Append the result of every epoch to the list.",
        (only_in("train", recording(lambda history: history[:-1])),),
        about="results",
    ),
    LoopFault(
        "training.last-epoch-only",
        "train returns the numbers of the last epoch only.",
        "Append the result of every epoch to a list, and return the list.",
        (only_in("train", recording(lambda history: history[-1:])),),
        about="results",
    ),
    LoopFault(
        "training.first-epoch-only",
        "train returns the numbers of the first epoch only.",
        "Append the result of every epoch to a list, and return the list.",
        (only_in("train", recording(lambda history: history[:1])),),
        about="results",
    ),
    LoopFault(
        "training.mean-of-epochs",
        "train returns one mean over all epochs.",
        "Append the result of every epoch to a list, and return the list.",
        (only_in("train", recording(mean_of)),),
        about="results",
    ),
    LoopFault(
        "training.history-reversed",
        "The history that train returns begins with the last epoch.",
        "Append the result of every epoch at the end of the list.",
        (only_in("train", recording(lambda history: history[::-1])),),
        about="results",
    ),
    LoopFault(
        "training.history-repeats",
        "All entries of the history are the same: those of one epoch.",
        "Append the numbers of every epoch as soon as they are there.",
        (
            only_in("train", recording(lambda history: [history[-1]] * len(history))),
            only_in("train", recording(lambda history: [history[0]] * len(history))),
        ),
        about="results",
    ),
    LoopFault(
        "training.sums-over-epochs",
        "The sums are not begun anew for every epoch: each result is of all epochs so far.",
        "Set the sums to 0 at the start of every epoch.",
        (recording(cumulative(mean=True)), recording(cumulative(mean=False))),
        about="results",
    ),
]

OBSERVED = [
    LoopFault(
        "training.keeps-graph",
        "A number that is returned is a tensor that keeps the graph of its batches in memory.",
        "loss.item() gives the plain number.",
        (),
        about="observed",
    ),
    LoopFault(
        "training.returns-tensors",
        "A number that is returned is not a plain number but a tensor.",
        "tensor.item() gives its number.",
        (),
        about="observed",
    ),
    LoopFault(
        "training.eval-mode",
        "The model is put into eval mode and trained so.",
        "Call model.train() at the start of every epoch; model.eval() is for evaluation.",
        (),
        about="observed",
    ),
    LoopFault(
        "training.no-train-mode",
        "The model is not put into train mode: it stays in the mode in which it came.",
        "Call model.train() at the start of every epoch.",
        (),
        about="observed",
    ),
    LoopFault(
        "training.train-mode-once",
        "Only a part of the training is in train mode.",
        "Call model.train() at the start of every epoch.",
        (),
        about="observed",
    ),
    LoopFault(
        "training.grad-left-off",
        "Afterwards PyTorch records no gradients any more.",
        "Use `with torch.no_grad():`, which ends with its block.",
        (),
        about="observed",
    ),
    LoopFault(
        "training.default-dtype",
        "PyTorch's default dtype is changed for the rest of the program.",
        "Leave torch.set_default_dtype out.",
        (),
        about="observed",
    ),
    LoopFault(
        "training.reseeds",
        "PyTorch's global random numbers are seeded.",
        "Remove torch.manual_seed: whoever calls decides on the seed.",
        (),
        about="observed",
    ),
    LoopFault(
        "training.freezes",
        "Afterwards parameters of the model cannot be trained any more.",
        "Leave requires_grad of the parameters as it is.",
        (),
        about="observed",
    ),
]

BANK: tuple[LoopFault, ...] = (
    *CLEARING,
    *STEPPING,
    *GRADIENTS,
    *LOSING,
    *DATA,
    *USING,
    *PARAMETERS,
    *OPTIMIZERS,
    *SETTINGS,
    *EPOCHS,
    *RESULTS,
    *OBSERVED,
)

_BY_ID = {fault.id: fault for fault in BANK}


def entry(kebab: str) -> LoopFault:
    """The mistake with the id ``training.<kebab>``."""
    return _BY_ID[f"training.{kebab}"]
