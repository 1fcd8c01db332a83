"""Changes of a ``Loop`` by numbers that nobody can list: a learning rate, a limit, the share of
smoothing. They are found in what was seen of a call; the loop with them is proven as any other is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis.faults.changes import (
    Change,
    both,
    changed,
    losing_at,
    only_in,
    optimizing,
    skipping,
    uniform_loss,
)
from mnist_lab.diagnosis.loops.optimizers import KINDS, Optimizer
from mnist_lab.diagnosis.loops.replay import ACTIONS, Call, Impossible, Loop, Moment, Never
from mnist_lab.diagnosis.reference import Loss

Found = Mapping[str, Any]
Told = Callable[[Sequence[Call], Sequence[Found]], str | None]


def fitted(target: Tensor, own: Tensor) -> float:
    """The factor by which ``own`` comes closest to ``target``."""
    size = own.square().sum().item()
    return (target.double() * own).sum().item() / size if size else math.nan


def slope_of(loss: Loss, scores: Tensor, labels: Tensor) -> Tensor:
    """The gradient of a loss with respect to the scores."""
    leaf = scores.detach().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf, labels), leaf)
    return slope


def seen_slope(at: Moment, like: Tensor) -> Tensor:
    """The gradient with respect to the scores that was seen now; ``like`` has its shape."""
    slopes = at.call.seen.slopes
    if at.backward >= len(slopes) or slopes[at.backward].shape != like.shape:
        raise Impossible
    return slopes[at.backward].double()


def seen_gradient(at: Moment) -> Tensor:
    """The gradients that this step found."""
    if at.step >= len(at.call.seen.gradients):
        raise Impossible
    return at.call.seen.gradients[at.step].double()


def found_once(at: Moment, name: str, find: Callable[[], float]) -> float:
    """What ``find`` gives the first time in a replay."""
    if name not in at.found:
        at.found[name] = find()
    value: float = at.found[name]
    return value


def neat(value: float, digits: int = 6) -> float:
    """``value``, or the number of few digits that it is but for rounding errors."""
    rounded = float(f"{value:.{digits}g}")
    return rounded if math.isclose(rounded, value, rel_tol=1e-8) else value


def scaled_loss(loss: Loss, at: Moment) -> Loss:
    """A multiple of the loss."""

    def scaled(scores: Tensor, labels: Tensor) -> Tensor:
        value = loss(scores, labels)

        def find() -> float:
            own = slope_of(loss, scores, labels)
            return fitted(seen_slope(at, own), own)

        factor = found_once(at, "factor", find)
        if math.isclose(factor, 1, rel_tol=1e-6) or abs(factor) < 1e-9 or math.isnan(factor):
            raise Impossible
        return factor * value

    return scaled


def scaled_gradients(g: Tensor, w: Tensor, at: Moment) -> Tensor:
    """A multiple of the gradients."""
    factor = found_once(at, "factor", lambda: fitted(seen_gradient(at), g))
    if math.isclose(factor, 1, rel_tol=1e-6) or abs(factor) < 1e-9 or math.isnan(factor):
        raise Impossible
    return factor * g


def smoothed(loss: Loss, at: Moment, then: Callable[[Loss], Loss] = lambda loss: loss) -> Loss:
    """Szegedy et al., 2016: the one-hot target mixed with 0.1 for every digit.

    ``then`` is what is made of the loss afterwards; the share is fitted to what comes out.
    """

    def mixed(scores: Tensor, labels: Tensor) -> Tensor:
        def find() -> float:
            own = slope_of(then(loss), scores, labels)
            towards = slope_of(then(uniform_loss), scores, labels) - own
            return neat(fitted(seen_slope(at, own) - own, towards))

        share = found_once(at, "smoothing", find)
        if not 1e-6 < share <= 1:
            raise Impossible
        return (1 - share) * then(loss)(scores, labels) + share * then(uniform_loss)(scores, labels)

    return mixed


def smoothing_first(loop: Loop) -> Loop | None:
    """In the loss that is given, which something else is made of."""
    if loop.loss is Loop.loss:
        return None
    return loop.but(
        loss=lambda given, at: smoothed(given, at, lambda loss: loop.loss(loss, at)),
        loss_name=None,
    )


def class_weighted(loss: Loss, at: Moment) -> Loss:
    """The weights of the classes, from how much each example's slope is larger than usual."""

    def weighted(scores: Tensor, labels: Tensor) -> Tensor:
        weights: dict[int, float] = at.found.setdefault("classes", {})
        classes = labels.tolist()
        if not set(classes) <= set(weights):
            own = slope_of(loss, scores, labels)
            seen = seen_slope(at, own)
            ratios = [fitted(seen[i], own[i]) for i in range(len(classes))]
            known = [i for i, c in enumerate(classes) if c in weights]
            unit = weights[classes[known[0]]] / ratios[known[0]] if known else 1 / ratios[0]
            for c, ratio in zip(classes, ratios, strict=True):
                weights.setdefault(c, ratio * unit)
            if not all(math.isfinite(value) for value in weights.values()):
                raise Impossible
        losses = [loss(scores[i : i + 1], labels[i : i + 1]) for i in range(len(classes))]
        shares = [weights[c] for c in classes]
        if max(weights.values()) < 1.0001 * min(weights.values()):
            raise Impossible
        parts = (share * each for share, each in zip(shares, losses, strict=True))
        return sum(parts, torch.zeros(())) / sum(shares)

    return weighted


def scores_at(at: Moment) -> Tensor:
    """Of the batch, with the weights of the moment."""
    return at.call.scores(at.weights, at.call.batches[at.batch % len(at.call.batches)][0])


def seen_labels(labels: Tensor, at: Moment) -> Tensor:
    """Those that make the slopes of cross-entropy what was seen: (softmax - one-hot) / N."""
    probabilities = scores_at(at).softmax(1)
    if len(probabilities) != len(labels):
        raise Impossible
    seen = seen_slope(at, probabilities)
    found = (probabilities - len(labels) * seen).argmax(1)
    if not torch.equal(found, labels) and "labels" not in at.found:
        at.found["labels"] = (labels.tolist(), found.tolist())
    return found


def one_label(labels: Tensor, at: Moment) -> Tensor:
    """The same for all images of all batches, as the first one shows."""
    if "label" not in at.found:
        at.found["label"] = seen_labels(labels, at)[0].item()
    return torch.full_like(labels, at.found["label"])


def predicted_labels(labels: Tensor, at: Moment) -> Tensor:
    """The digits that the model takes the images for."""
    return scores_at(at).argmax(1)


def seen_images(images: Tensor, at: Moment) -> Tensor:
    """The images, whatever was done with them."""
    inputs = at.call.seen.inputs
    if at.forward >= len(inputs) or inputs[at.forward].numel() != images.numel():
        raise Never
    return inputs[at.forward].double().view(images.shape)


def rescaled_images(images: Tensor, at: Moment) -> Tensor:
    """A multiple of the images plus a number, as in the first batch."""
    if "scale" not in at.found:
        seen = seen_images(images, at)
        centred = images - images.mean()
        at.found["scale"] = neat(fitted(seen - seen.mean(), centred))
        at.found["shift"] = (seen.mean() - at.found["scale"] * images.mean()).item()
    if math.isclose(at.found["scale"], 1, rel_tol=1e-6) and abs(at.found["shift"]) < 1e-6:
        raise Impossible
    return at.found["scale"] * images + at.found["shift"]


def shorter(seen: Tensor, own: Tensor, of: Callable[[Tensor], Tensor]) -> float | None:
    """The size of ``seen`` where it was cut, by one of the functions that cut gradients."""
    cut, whole = of(seen).item(), of(own).item()
    return cut if 0 < cut < (1 - 1e-7) * whole else None


def clipped_by_norm(g: Tensor, w: Tensor, at: Moment) -> Tensor:
    """As ``torch.nn.utils.clip_grad_norm_``; the limit from the first step that is clipped."""
    norm = g.norm().item()
    if "limit" not in at.found:
        cut = shorter(seen_gradient(at), g, torch.Tensor.norm)
        if cut is None:
            return g
        at.found["limit"] = neat(cut * (norm + 1e-6) / norm)
    return g * min(1.0, at.found["limit"] / (norm + 1e-6))


def each_clipped_by_norm(g: Tensor, w: Tensor, at: Moment) -> Tensor:
    """As above for the gradient of each parameter apart."""
    parts = at.call.split(g)
    if "limit" not in at.found:
        seen = at.call.split(seen_gradient(at))
        for name, part in parts.items():
            cut = shorter(seen[name], part, torch.Tensor.norm)
            if cut is not None:
                norm = part.norm().item()
                at.found["limit"] = neat(cut * (norm + 1e-6) / norm)
    limit = at.found.get("limit", math.inf)
    scaled = (
        part.flatten() * min(1.0, limit / (part.norm().item() + 1e-6)) for part in parts.values()
    )
    return torch.cat(tuple(scaled))


def largest(g: Tensor) -> Tensor:
    """The largest size of an element."""
    return g.abs().max()


def clipped_by_value(g: Tensor, w: Tensor, at: Moment) -> Tensor:
    """As ``torch.nn.utils.clip_grad_value_``."""
    if "limit" not in at.found:
        cut = shorter(seen_gradient(at), g, largest)
        if cut is None:
            return g
        at.found["limit"] = cut
    return g.clamp(-at.found["limit"], at.found["limit"])


def normalised(g: Tensor, w: Tensor, at: Moment) -> Tensor:
    """Gradients of one length, which is seen at the first step."""
    length = found_once(at, "length", lambda: neat(seen_gradient(at).norm().item()))
    if not length > 0:
        raise Impossible
    return g * (length / g.norm().item())


def told_limit(sentence: str) -> Callable[[Sequence[Call], Sequence[Found]], str | None]:
    """With the limit, which every call that reaches it shows."""

    def told(calls: Sequence[Call], found: Sequence[Found]) -> str | None:
        limits = [each["limit"] for each in found if "limit" in each]
        if not limits or max(limits) > (1 + 1e-5) * min(limits):
            return None
        return sentence.format(f"{limits[0]:.4g}")

    return told


def penalised(
    size: Callable[[Tensor], Tensor],
    slope: Callable[[Tensor], Tensor],
    chosen: Callable[[str], bool],
) -> Change:
    """A multiple of the sum over ``size`` of the weights is added to the loss."""

    def penalty(w: Tensor, g: Tensor, at: Moment) -> tuple[float, Tensor]:
        counted = at.call.where(chosen)
        towards = slope(w) * counted
        factor = found_once(at, "penalty", lambda: neat(fitted(seen_gradient(at) - g, towards)))
        if not abs(factor) > 1e-9:
            raise Impossible
        return factor * (size(w) * counted).sum().item(), factor * towards

    return lambda loop: loop.but(penalty=penalty)


def untouched(call: Call) -> tuple[str, ...]:
    """The parameters that are afterwards as they were before."""
    before, after = call.split(call.start), call.split(call.seen.weights.double())
    return tuple(name for name in before if torch.equal(before[name], after[name]))


def only_what_moved(loop: Loop) -> Loop:
    """Parameters that are the same afterwards are not trained."""

    def trains(name: str, at: Moment) -> bool:
        still = untouched(at.call)
        if not still or len(still) == len(at.call.weights):
            raise Never
        return name not in still

    return loop.but(trains=trains)


def told_what_moved(calls: Sequence[Call], found: Sequence[Found]) -> str | None:
    """Which parameters are trained."""
    still = {untouched(call) for call in calls}
    if len(still) != 1:
        return None
    (names,) = still
    moved = tuple(name for name in calls[0].weights if name not in names)
    sentences: dict[tuple[str, ...], str] = {
        ("output.weight", "output.bias"): "Only the last layer is trained: the other's weights "
        "and biases stay as they were.",
        ("hidden.weight", "hidden.bias"): "Only the first layer is trained: the last layer's "
        "weights and biases stay as they were.",
        ("hidden.weight", "output.weight"): "Only weights are trained: the biases stay as they "
        "were.",
        ("hidden.bias", "output.bias"): "Only biases are trained: the weights stay as they were.",
    }
    some = f"Only {len(moved)} of the model's {len(calls[0].weights)} parameters are trained."
    return sentences.get(moved, some)


def seen_optimizer(at: Moment) -> tuple[str, Mapping[str, Any]]:
    """The rule and the settings of the optimizer that made the first step."""
    if not at.call.seen.optimizers:
        raise Never
    name, options = at.call.seen.optimizers[0]
    kind = name.lower()
    if kind not in KINDS:
        raise Never
    return kind, options


COMMON = ("weight_decay", "maximize")


def usual_settings(kind: str) -> Callable[[Optimizer, Moment], Optimizer]:
    """The rule ``kind`` with PyTorch's defaults."""

    def choose(given: Optimizer, at: Moment) -> Optimizer:
        hidden = not at.call.seen.optimizers or at.call.seen.optimizers[0][0].lower() not in KINDS
        if given.kind != "adam" or not hidden:
            raise Never
        common = {name: value for name, value in given.settings.items() if name in COMMON}
        return Optimizer(kind, given.lr, common)

    return choose


def seen_settings(kind: str) -> Callable[[Optimizer, Moment], Optimizer]:
    """The rule ``kind`` with the settings that are its own as they were seen."""

    def choose(given: Optimizer, at: Moment) -> Optimizer:
        seen, options = seen_optimizer(at)
        if seen != kind or given.kind != "adam":
            raise Never
        known = {*(KINDS[kind].__kwdefaults__ or {}), "decoupled_weight_decay"}
        if kind == "adamw":
            known |= {"weight_decay"}
        own = {name: plain(value) for name, value in options.items() if name in known}
        common = {name: value for name, value in given.settings.items() if name in COMMON}
        return Optimizer(kind, given.lr, common | own)

    return choose


def plain(value: Any) -> Any:
    """A list was a tuple before it was sent."""
    return tuple(value) if isinstance(value, list) else value


def described(optimizer: Optimizer, name: str) -> str:
    """The name with whatever setting is not PyTorch's default."""
    defaults = KINDS[optimizer.kind].__kwdefaults__ or {}
    unusual = [
        f"{setting}={value}"
        for setting, value in optimizer.settings.items()
        if setting in defaults and value != defaults[setting]
    ]
    return f"{name} ({', '.join(unusual)})" if unusual else name


def setting(name: str, *usual: Any) -> tuple[Change, ...]:
    """A setting of the optimizer as it was seen, or one of those that are usual."""

    def as_seen(given: Optimizer, at: Moment) -> Optimizer:
        _, options = seen_optimizer(at)
        value = plain(options.get(name))
        if value is None or value == given.setting(name) or not takes(given, name):
            raise Never
        return replace(given, settings={**given.settings, name: value})

    def fixed(value: Any) -> Callable[[Optimizer, Moment], Optimizer]:
        def choose(given: Optimizer, at: Moment) -> Optimizer:
            # Where settings are seen they are believed: no other needs a try.
            told = at.call.seen.optimizers and name in at.call.seen.optimizers[0][1]
            if told or not takes(given, name) or given.setting(name) == value:
                raise Never
            return replace(given, settings={**given.settings, name: value})

        return choose

    return tuple(optimizing(choose) for choose in (as_seen, *map(fixed, usual)))


def takes(optimizer: Optimizer, name: str) -> bool:
    """Whether it has such a setting."""
    return name in COMMON or name in (KINDS[optimizer.kind].__kwdefaults__ or {})


def told_setting(name: str, sentence: str) -> Callable[[Sequence[Call], Sequence[Found]], str]:
    """The sentence with the setting in it."""

    def told(calls: Sequence[Call], found: Sequence[Found]) -> str:
        return sentence.format(found[0]["optimizer"].setting(name))

    return told


def its_own_optimizer(given: Optimizer, at: Moment) -> Optimizer:
    """That of ``train_epoch``, whatever it is."""
    kind, options = seen_optimizer(at)
    known = {*(KINDS[kind].__kwdefaults__ or {}), *COMMON}
    seen = {name: plain(value) for name, value in options.items() if name in known}
    own = Optimizer(kind, options.get("lr", given.lr), seen)
    if (own.kind, own.lr) == (given.kind, given.lr) and all(
        own.setting(name) == given.setting(name) for name in known
    ):
        raise Never
    return own


def told_its_own_optimizer(calls: Sequence[Call], found: Sequence[Found]) -> str:
    """Which optimizer it is."""
    if not calls[0].seen.optimizers:
        return (
            "train_epoch does not use the optimizer that it is given but makes plain steps of "
            "gradient descent itself."
        )
    own: Optimizer = found[0]["optimizer"]
    name, _ = calls[0].seen.optimizers[0]
    return (
        f"train_epoch does not use the optimizer that it is given but {name} with the learning "
        f"rate {own.lr:g}."
    )


def by_hand(given: Optimizer, at: Moment) -> Optimizer:
    """Plain gradient descent, written out: no optimizer was seen."""
    if at.call.seen.rates:
        raise Never
    return Optimizer("sgd", given.lr)


def seen_rate(rate: float, at: Moment) -> float:
    """One that stays the same: as it was seen, or as the first step shows."""
    seen = at.call.seen
    if seen.rates:
        if max(seen.rates) > min(seen.rates):
            raise Never
        found = seen.rates[0]
    else:
        found = found_once(at, "rate", lambda: rate_of_the_first_step(at))
    at.found["rate"] = found
    return found


def rate_of_the_first_step(at: Moment) -> float:
    """From how far the weights went."""
    if at.state == 0 or at.state >= len(at.call.seen.states):
        raise Never
    w, g, optimizer = (at.found[name] for name in ("weights", "gradient", "optimizer"))
    moved = w - at.call.seen.states[at.state].double()
    return neat(fitted(moved, w - optimizer.begin()(w, g, 1.0)), 4)


def told_rate(calls: Sequence[Call], found: Sequence[Found]) -> str | None:
    """What the learning rate is, and whether it depends on the one given."""
    given = [call.optimizer.lr for call in calls]
    used = [each["rate"] for each in found]
    if all(math.isclose(rate, lr, rel_tol=1e-7) for rate, lr in zip(used, given, strict=True)):
        return None
    if len(set(given)) > 1 and all(math.isclose(rate, used[0], rel_tol=1e-6) for rate in used):
        return f"The learning rate is {used[0]:g}, whatever lr is given."
    ratios = [rate / lr for rate, lr in zip(used, given, strict=True)]
    if all(math.isclose(ratio, ratios[0], rel_tol=1e-3) for ratio in ratios):
        return f"The learning rate is {ratios[0]:.4g} times the lr that is given."
    pairs = " and ".join(
        f"{rate:g} where lr is {lr:g}" for rate, lr in zip(used, given, strict=True)
    )
    return f"The learning rate is not the lr that is given: it is {pairs}."


def seen_rates(rate: float, at: Moment) -> float:
    """That of every step as it was seen."""
    rates = at.call.seen.rates
    if at.step >= len(rates):
        raise Never
    return rates[at.step]


def told_rates(calls: Sequence[Call], found: Sequence[Found]) -> str | None:
    """How the learning rate begins."""
    call = next((call for call in calls if len(set(call.seen.rates)) > 1), None)
    if call is None:
        hidden = not any(call.seen.rates for call in calls)
        return "The learning rate changes in the course of the training." if hidden else None
    rates = call.seen.rates
    epochs = call.epochs if call.epochs and len(rates) % call.epochs == 0 else 1
    each = len(rates) // epochs
    firsts = rates[::each] if epochs > 1 else rates
    steady = all(len(set(rates[i : i + each])) == 1 for i in range(0, len(rates), each))
    listed = ", ".join(f"{rate:.3g}" for rate in (firsts if steady else rates)[:4])
    what = "epoch by epoch" if steady and epochs > 1 else "step by step"
    return f"The learning rate changes in the course of the training: {what} {listed}, ..."


def falling(factor: Callable[[int, int], float]) -> Change:
    """The learning rate by epoch, for an optimizer that does not show it."""

    def change(loop: Loop) -> Loop:
        def rate(given: float, at: Moment) -> float:
            if at.call.seen.rates or at.call.epochs < 2:
                raise Never
            return loop.rate(given, at) * factor(at.epoch, at.call.epochs)

        return loop.but(rate=rate)

    return change


def new_weights(every_epoch: bool) -> Change:
    """Weights at the start that have nothing to do with those given."""

    def start(w: Tensor, at: Moment) -> Tensor:
        if at.epoch and not every_epoch:
            return w
        states = at.call.seen.states
        if at.state >= len(states):
            raise Never
        new = states[at.state].double()
        like = F.cosine_similarity(new, w, dim=0).abs().item()
        if like > 0.3:
            raise Never
        return new

    return changed(start=start)


def as_seen(count: Callable[[Call], float]) -> Change:
    """As many epochs as were seen, in one way to count them."""

    def epochs(asked: int, at: Moment) -> int:
        done = count(at.call)
        if not 0 < done < 200 or done != int(done):
            raise Never
        at.found["epochs"] = int(done)
        return int(done)

    return only_in("train", changed(epochs=epochs))


AS_SEEN = tuple(
    map(
        as_seen,
        (
            lambda call: call.seen.passes,
            lambda call: len(call.seen.history),
            lambda call: call.seen.events.count("b") / len(call.batches),
        ),
    )
)


def told_fixed_epochs(calls: Sequence[Call], found: Sequence[Found]) -> str | None:
    """How many epochs, where the calls ask for different numbers of them."""
    done = {each["epochs"] for each in found}
    if len(calls) < 2 or len(done) != 1:
        return None
    (number,) = done
    return (
        f"train goes through the data {number} times, whatever epochs is."
        if (number > 1)
        else "train goes through the data once, whatever epochs is."
    )


def told_early_stop(calls: Sequence[Call], found: Sequence[Found]) -> str | None:
    """How many of how many epochs, if the number is no simple function of what is asked."""
    done = [each["epochs"] for each in found]
    short = [call.epochs - number for call, number in zip(calls, done, strict=True)]
    if min(short) < 0 or max(short) <= 0 or len(set(done)) == 1 or len(set(short)) == 1:
        return None
    worst = short.index(max(short))
    return (
        f"train stops early: after {done[worst]} of {calls[worst].epochs} epochs where the loss "
        "does not fall any more."
        if short.count(0)
        else f"train stops early: after {done[worst]} of {calls[worst].epochs} epochs."
    )


def batches_a_step(at: Moment) -> int:
    """How many backward passes were seen before the first step, all if there was none."""
    events = at.call.seen.events.replace("f", "")
    count = events.find("s")
    if count == 1 or not events:
        raise Never
    at.found["batches"] = max(count, 0)
    return count if count > 0 else len(events) + 1


def told_batches_a_step(calls: Sequence[Call], found: Sequence[Found]) -> str | None:
    """How many batches make a step, which every call shows that has as many."""
    counts = {each.get("batches", 0) for each in found} - {0}
    if len(counts) != 1:
        return None
    (count,) = counts
    return f"The optimizer makes one step for {count} batches, with their gradients added up."


def between_steps(at: Moment) -> bool:
    """No step after this batch."""
    return (at.batch + 1) % batches_a_step(at) != 0


def between_steps_and_before_the_end(at: Moment) -> bool:
    """The same, where the rest of an epoch gets a step too."""
    return between_steps(at) and at.batch + 1 != at.batches


def one_number(found: Sequence[Found], name: str) -> bool:
    """Whether all calls show the same number."""
    numbers = [each[name] for each in found if name in each]
    return len(numbers) == len(found) and all(
        math.isclose(number, numbers[0], rel_tol=1e-5) for number in numbers
    )


def accumulating(skip: Callable[[Moment], bool], mean: bool) -> Change:
    """One step for several batches, cleared after it; their gradients added or averaged."""

    def change(loop: Loop) -> Loop | None:
        if loop.actions != ACTIONS:
            return None
        cleared = loop.but(actions=("forward", "backward", "alter", "step", "clear"))
        skipped = skipping("clear", skip)(cleared)
        return None if skipped is None else skipping("step", skip)(skipped)

    share = losing_at(lambda loss, at: lambda s, y: loss(s, y) / batches_a_step(at))[0]
    return both(share, change) if mean else change
