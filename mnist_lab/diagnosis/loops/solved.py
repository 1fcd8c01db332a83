"""What an edited text may call: numbers that nobody can list, such as a learning rate, a limit or
the share of smoothing, are solved from what was seen of a call. The text with them is then compared
as any other is.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mnist_lab.diagnosis.explain import EQUAL, difference
from mnist_lab.diagnosis.faults import tables
from mnist_lab.diagnosis.loops.replay import KINDS, Impossible, Model, Never, Optimizer, Run
from mnist_lab.diagnosis.reference import Batch, Loss

UNSEEN = {"lr", "foreach", "fused", "capturable", "differentiable"}
"""Settings of PyTorch's optimizers that are told elsewhere or change no number."""


def fitted(target: Tensor, own: Tensor) -> float:
    """The factor by which ``own`` comes closest to ``target``."""
    size = own.square().sum().item()
    return (target.double() * own).sum().item() / size if size else math.nan


def neat(value: float, digits: int = 6) -> float:
    """``value``, or the number of few digits that it is but for rounding errors."""
    rounded = float(f"{value:.{digits}g}")
    return rounded if math.isclose(rounded, value, rel_tol=1e-8) else value


def once(run: Run, name: str, solve: Callable[[], float]) -> float:
    """What ``solve`` gives the first time."""
    if name not in run.found:
        run.found[name] = neat(solve())
    value: float = run.found[name]
    return value


def seen_slope(run: Run, like: Tensor) -> Tensor:
    """The gradient with respect to the scores that was seen now; ``like`` has its shape."""
    slopes, number = run.call.seen.slopes, run.counts["slope"]
    if number >= len(slopes) or slopes[number].shape != like.shape:
        raise Impossible
    return slopes[number].double()


def shows_gradient(run: Run) -> bool:
    """Whether the gradients that this step found were seen: those of the first steps were."""
    return run.counts["gradients"] < len(run.call.seen.gradients)


def seen_gradient(run: Run) -> Tensor:
    """The gradients that this step found."""
    if not shows_gradient(run):
        raise Impossible
    return run.call.seen.gradients[run.counts["gradients"]].double()


def slope(run: Run, loss: Tensor) -> Tensor:
    """The gradient of a loss with respect to the scores of the model."""
    (found,) = torch.autograd.grad(loss, run.scores, retain_graph=True)
    return found


def is_factor(factor: float) -> float:
    """``factor``, if it is one that changes something."""
    if math.isclose(factor, 1, rel_tol=1e-6) or abs(factor) < 1e-9 or math.isnan(factor):
        raise Impossible
    return factor


# Losses


def scaled(run: Run, loss: Tensor) -> Tensor:
    """A multiple of the loss."""

    def solve() -> float:
        own = slope(run, loss)
        return fitted(seen_slope(run, own), own)

    return is_factor(once(run, "factor", solve)) * loss


def smoothed(run: Run, loss_fn: Loss) -> Loss:
    """Szegedy et al., 2016: the one-hot target mixed with 0.1 for every digit.

    The share is solved whatever the loss is multiplied by afterwards.
    """

    def mixed(scores: Tensor, labels: Tensor) -> Tensor:
        loss, even = loss_fn(scores, labels), -scores.log_softmax(1).mean()

        def solve() -> float:
            own, towards = slope(run, loss), slope(run, even)
            parts = torch.stack([own.flatten(), towards.flatten()], 1)
            seen = seen_slope(run, own).reshape(-1, 1)
            a, b = torch.linalg.lstsq(parts, seen).solution.flatten().tolist()
            return b / (a + b) if a + b else math.nan

        share = once(run, "smoothing", solve)
        if not 1e-6 < share <= 1:
            raise Impossible
        return run.gives((1 - share) * loss + share * even, labels)

    return mixed


def class_weighted(run: Run, loss_fn: Loss) -> Loss:
    """The weights of the classes in each call, from how much larger their examples' slopes are."""

    def weighted(scores: Tensor, labels: Tensor) -> Tensor:
        weights: dict[int, float] = run.local.setdefault("classes", {})
        classes = labels.tolist()
        losses = [loss_fn(scores[i : i + 1], labels[i : i + 1]) for i in range(len(classes))]
        if not set(classes) <= set(weights):
            own = slope(run, torch.stack(losses).sum())
            seen = seen_slope(run, own)
            # What is all but 0 of an example that the model is sure of tells no ratio.
            sizes = {c: own[labels == c].norm().item() for c in classes}
            ratios = {c: fitted(seen[labels == c], own[labels == c]) for c in sizes}
            known = max(sizes.keys() & weights.keys(), key=lambda c: sizes[c], default=None)
            first = max(sizes, key=lambda c: sizes[c])
            unit = 1 / ratios[first] if known is None else weights[known] / ratios[known]
            for c, ratio in ratios.items():
                weights.setdefault(c, ratio * unit)
            if not all(math.isfinite(value) for value in weights.values()):
                raise Impossible
        if max(weights.values()) < 1.0001 * min(weights.values()):
            raise Impossible
        shares = torch.tensor([weights[c] for c in classes], dtype=scores.dtype)
        return run.gives((shares * torch.stack(losses)).sum() / shares.sum(), labels)

    return weighted


def penalised(run: Run, loss: Tensor, power: int, of: str) -> Tensor:
    """The loss and a multiple of the sum over the weights' absolute values, or of half of their
    squares; ``of`` all parameters, or those whose names end so.
    """
    w = run.weights
    counted = torch.cat(
        [
            torch.full((value.numel(),), name.endswith(of))
            for name, value in run.call.weights.items()
        ]
    )
    size = ((w.abs() if power == 1 else w**2 / 2) * counted).sum()

    def solve() -> float:
        run.quiet = True
        (own,) = torch.autograd.grad(loss, w, retain_graph=True)
        (towards,) = torch.autograd.grad(size, w, retain_graph=True)
        run.quiet = False
        return fitted(seen_gradient(run) - own, towards)

    factor = once(run, "penalty", solve)
    if not abs(factor) > 1e-9:
        raise Impossible
    return loss + factor * size


# Labels, images and batches


def seen_labels(run: Run, scores: Tensor, labels: Tensor) -> Tensor:
    """Those that make the slopes of cross-entropy what was seen: (softmax - one-hot) / N."""
    probabilities = scores.detach().softmax(1)
    seen = seen_slope(run, probabilities)
    found = (probabilities - len(labels) * seen).argmax(1)
    if not torch.equal(found, labels) and "told" not in run.found:
        first = int((found != labels).nonzero()[0])
        run.found["told"] = ", ".join(map(str, found[first : first + 6].tolist()))
        run.found["right"] = ", ".join(map(str, labels[first : first + 6].tolist()))
    return found


def one_label(run: Run, scores: Tensor, labels: Tensor) -> Tensor:
    """The same for all images of all batches, as the first one shows."""
    if "label" not in run.found:
        run.found["label"] = int(seen_labels(run, scores, labels)[0])
    return torch.full_like(labels, run.found["label"])


def seen_images(run: Run, images: Tensor) -> Tensor:
    """The images, whatever was done with them."""
    inputs, number = run.call.seen.inputs, run.counts["images"]
    if number >= len(inputs) or inputs[number].numel() != images.numel():
        raise Never
    return inputs[number].double().view(images.shape)


def rescaled_images(run: Run, images: Tensor) -> Tensor:
    """A multiple of the images plus a number, as in the first batch."""
    if "scale" not in run.found:
        seen = seen_images(run, images)
        scale = neat(fitted(seen - seen.mean(), images - images.mean()))
        run.found["scale"] = scale
        run.found["shift"] = round((seen.mean() - scale * images.mean()).item(), 12) + 0.0
        if not run.found["shift"]:
            part = round(1 / scale) if scale else 0
            is_part = part > 1 and math.isclose(scale * part, 1, rel_tol=1e-6)
            run.found["times"] = f"1/{part}" if is_part else f"{scale:.4g}"
    scale, shift = run.found["scale"], run.found["shift"]
    if math.isclose(scale, 1, rel_tol=1e-6) and abs(shift) < 1e-6:
        raise Impossible
    return images * scale + shift


def batches_a_step(run: Run) -> int:
    """How many backward passes were seen before the first step, all if there was none.

    It may be that the end of the epoch cut them short.
    """
    events = run.call.seen.events.replace("f", "")
    count = events.find("s")
    if count == 1 or not events:
        raise Never
    known: int = run.found.get("batches", len(events) + 1)
    if count in (-1, len(run.call.batches)):
        return known if count == -1 else count
    if run.found.setdefault("batches", count) != count:
        raise Never
    return count


def given_to_the_model(run: Run, batches: Sequence[Batch]) -> Iterator[Batch]:
    """Those whose images were seen next, at a forward pass; all, where images are not kept any more
    and there are passes left.
    """
    for images, labels in batches:
        seen, number = run.call.seen, run.counts["images"]
        if number >= len(seen.inputs):
            is_next = number < seen.events.count("f")
        else:
            is_next = torch.equal(seen.inputs[number].double(), images)
        if is_next:
            yield images, labels


def learned_from(run: Run, loss: Tensor) -> bool:
    """Whether the backward pass that was seen next is that of this loss; any is, where slopes are
    not kept any more.
    """
    seen, number = run.call.seen, run.counts["slope"]
    if number >= len(seen.slopes):
        return number < seen.events.count("b")
    return difference(seen.slopes[number], slope(run, loss)) < EQUAL


# Gradients


def cut(seen: Tensor, own: Tensor, size: Callable[[Tensor], Tensor]) -> float | None:
    """The size of ``seen`` if it was cut."""
    shorter, whole = size(seen).item(), size(own).item()
    return shorter if 0 < shorter < (1 - 1e-7) * whole else None


def clip_norm(run: Run) -> None:
    """As ``torch.nn.utils.clip_grad_norm_``; the limit from the first step that is clipped."""
    _clip_norms(run, lambda g: [g])


def clip_each_norm(run: Run) -> None:
    """As above for the gradient of each parameter apart."""
    _clip_norms(run, lambda g: [part.view(-1) for part in run.call.split(g).values()])


def _clip_norms(run: Run, parts_of: Callable[[Tensor], list[Tensor]]) -> None:
    g = run.weights.grad
    if g is None:
        return
    parts = parts_of(g)
    if "limit" not in run.found and shows_gradient(run):
        for seen, part in zip(parts_of(seen_gradient(run)), parts, strict=True):
            shorter, norm = cut(seen, part, torch.Tensor.norm), part.norm().item()
            if shorter is not None:
                run.found["limit"] = neat(shorter * (norm + 1e-6) / norm)
    for part in parts:
        part.mul_(min(1.0, run.found.get("limit", math.inf) / (part.norm().item() + 1e-6)))


def clip_value(run: Run) -> None:
    """As ``torch.nn.utils.clip_grad_value_``."""
    g = run.weights.grad
    if g is None:
        return
    if "limit" not in run.found and shows_gradient(run):
        limit = cut(seen_gradient(run), g, lambda values: values.abs().max())
        if limit is not None:
            run.found["limit"] = limit
    if "limit" in run.found:
        g.clamp_(-run.found["limit"], run.found["limit"])


def normalise_gradients(run: Run) -> None:
    """Gradients of one length, which is seen at the first step."""
    g = run.weights.grad
    length = once(run, "length", lambda: seen_gradient(run).norm().item())
    if g is None or not length > 0:
        raise Impossible
    g.mul_(length / g.norm().item())


def scale_gradients(run: Run) -> None:
    """A multiple of the gradients."""
    g = run.weights.grad
    if g is None:
        raise Impossible
    own = g
    g.mul_(is_factor(once(run, "factor", lambda: fitted(seen_gradient(run), own))))


# Parameters and optimizers


def what_moved(run: Run) -> Tensor:
    """Where parameters are others afterwards, if some are and some are not."""
    before, after = (run.call.split(w) for w in (run.call.start, run.call.seen.weights.double()))
    moved = tuple(name for name in before if not torch.equal(before[name], after[name]))
    if not moved or len(moved) == len(before):
        raise Never
    some = f"{len(moved)} of the model's {len(before)} parameters are trained"
    if run.found.setdefault("_moved", moved) != moved:
        raise Never
    run.found["trained"] = tables("training")["trained"].get(" ".join(moved), some)
    parts = [torch.full((value.numel(),), name in moved) for name, value in before.items()]
    return torch.cat(parts)


def seen_optimizer(run: Run) -> tuple[str, Mapping[str, Any]]:
    """The class and the settings of the optimizer that made the first step."""
    for name, options in run.call.seen.optimizers[:1]:
        if name in KINDS:
            return name, options
    raise Never


def unusual(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the settings of an optimizer that are not PyTorch's own."""
    usual = inspect.signature(getattr(torch.optim, kind)).parameters
    return {
        name: value
        for name, value in options.items()
        if name in usual and name not in UNSEEN and value != usual[name].default
    }


def settings(run: Run, kind: str) -> dict[str, Any]:
    """Those of the optimizer that was seen, which is of this kind, where they are not PyTorch's."""
    seen, options = seen_optimizer(run)
    if seen != kind:
        raise Never
    found = unusual(kind, options)
    shown = ", ".join(f"{name}={value}" for name, value in found.items())
    run.found["optimizer"] = f"{kind} ({shown})" if shown else kind
    return found


def unseen(run: Run, kind: str) -> dict[str, Any]:
    """No settings, for an optimizer that does not show what it is."""
    if any(name in KINDS for name, _ in run.call.seen.optimizers[:1]):
        raise Never
    run.found["optimizer"] = kind
    return {}


def setting(run: Run, name: str, asked: Any) -> Any:
    """One of Adam, as it was seen to be another than ``asked``."""
    kind, options = seen_optimizer(run)
    value = options.get(name)
    if kind != "Adam" or value is None or value == asked:
        raise Never
    return usual(run, name, value)


def usual(run: Run, name: str, value: Any) -> Any:
    """A value that is told."""
    run.found[name] = value
    return value


def own_optimizer(run: Run, given: Optimizer, kept: bool = False) -> Optimizer:
    """That of ``train_epoch``, whatever it is."""
    if kept and "own" in run.local:
        own: Optimizer = run.local["own"]
        return own
    kind, options = seen_optimizer(run)
    rate = options.get("lr", given.lr)
    own = Optimizer(run, kind, [run.weights], lr=rate, **settings(run, kind))
    if (kind, rate, own.settings) == (given.kind, given.lr, given.settings):
        raise Never
    run.local["own"] = own
    run.found["own"] = f"{kind} with the learning rate {rate:g}"
    return own


def by_hand(run: Run, given: Optimizer) -> Optimizer:
    """Plain gradient descent, written out: no optimizer was seen."""
    if run.call.seen.rates:
        raise Never
    run.found["own"] = "makes plain steps of gradient descent itself"
    return Optimizer(run, "SGD", [run.weights], lr=given.lr)


def rate(run: Run, optimizer: Optimizer) -> float:
    """One that stays the same: as it was seen, or as the first step shows."""
    if "rate" not in run.local:
        rates = run.call.seen.rates
        if rates and max(rates) > min(rates):
            raise Never
        run.local["rate"] = rates[0] if rates else neat(_rate_of_the_first_step(run, optimizer), 4)
    found: float = run.local["rate"]
    return found


def _rate_of_the_first_step(run: Run, optimizer: Optimizer) -> float:
    """From how far the weights went."""
    states, number = run.call.seen.states, run.counts["weights"]
    if number == 0 or number >= len(states) or run.weights.grad is None:
        raise Never
    w = run.weights.detach().clone().requires_grad_()
    w.grad = run.weights.grad.clone()
    tried = Optimizer(run, optimizer.kind, [w], **{**optimizer.settings, "lr": 1.0})
    tried.take_step()
    before = run.weights.detach()
    return fitted(before - states[number].double(), before - w.detach())


def one_rate(run: Run, optimizer: Optimizer) -> float:
    """The same in all calls, whatever is asked for."""
    return run.found.setdefault("rate", rate(run, optimizer))


def times_rate(run: Run, optimizer: Optimizer) -> float:
    """The same multiple of the one given in all calls."""
    ratio = run.found.setdefault("ratio", neat(rate(run, optimizer) / run.call.lr, 4))
    return ratio * run.call.lr


def each_rate(run: Run, optimizer: Optimizer) -> float:
    """Another in each call, not only in the one without an lr."""
    found = rate(run, optimizer)
    rates = run.found.setdefault("_rates", {})
    rates[run.index] = f"{found:g} where lr is {run.call.lr:g}"
    if not run.call.by_default and not math.isclose(found, run.call.lr, rel_tol=1e-3):
        run.found["_given"] = True
    if "_given" in run.found:
        run.found["rates"] = " and ".join(rates.values())
    return found


def default_rate(run: Run, optimizer: Optimizer) -> float:
    """Another in the call without an lr alone."""
    if not run.call.by_default:
        return run.call.lr
    found = run.found["default"] = rate(run, optimizer)
    return found


def seen_rate(run: Run) -> float:
    """That of this step as it was seen."""
    rates, number = run.call.seen.rates, run.counts["gradients"]
    if number >= len(rates):
        raise Never
    if len(set(rates)) > 1 and "rates" not in run.found:
        run.found["rates"] = _listed(rates, run.call.epochs)
    return rates[number]


def seen_beta(run: Run) -> float:
    """The optimizer's first one at this step as it was seen, if it changes."""
    betas, number = run.call.seen.betas, run.counts["gradients"]
    if number >= len(betas) or len(set(betas)) == 1:
        raise Never
    run.found.setdefault("beta", f"between {min(betas):.3g} and {max(betas):.3g}")
    return betas[number]


def _listed(rates: Sequence[float], epochs: int) -> str:
    """How the learning rate begins, by epochs if it stays the same in each."""
    each = len(rates) // epochs if epochs > 1 and len(rates) % epochs == 0 else 1
    firsts = rates[::each]
    steady = each > 1 and all(
        len(set(rates[i : i + each])) == 1 for i in range(0, len(rates), each)
    )
    told = firsts if steady else rates
    changes = next(i for i, rate in enumerate(told) if rate != told[0])
    if changes > 3:
        when = f"{'epoch' if steady else 'step'} {changes + 1}"
        return f"{told[0]:.3g} at first, {told[changes]:.3g} in {when}."
    shown = ", ".join(f"{rate:.3g}" for rate in told[:4])
    return f"{'epoch by epoch' if steady else 'step by step'} {shown}, ..."


def hidden_rate(run: Run, rate: float) -> float:
    """One by the epoch, for an optimizer that does not show it."""
    if run.call.seen.rates:
        raise Never
    rates = run.found.setdefault("_hidden", [])
    rates.append(f"{rate:.3g}")
    run.found["rates"] = f"epoch by epoch {', '.join(rates[:4])}, ..."
    return rate


# Epochs and weights


def seen_epochs(run: Run, count: str) -> int:
    """As many as were seen, in one way to count them."""
    seen = run.call.seen
    counts: dict[str, float] = {
        "passes": seen.passes,
        "results": len(seen.history),
        "batches": seen.events.count("b") / len(run.call.batches),
    }
    done = counts[count]
    if not 0 < done < 200 or done != int(done):
        raise Never
    return int(done)


def same_epochs(run: Run, count: str) -> int:
    """The same number whatever is asked for."""
    done = run.found.setdefault("_epochs", seen_epochs(run, count))
    run.found["times"] = "once" if done == 1 else f"{done} times"
    return done


def default_epochs(run: Run, count: str) -> int:
    """Another number in the call without epochs alone."""
    if not run.call.by_default:
        return run.call.epochs
    done = run.found["many"] = seen_epochs(run, count)
    return done


def fewer_epochs(run: Run, count: str) -> int:
    """Fewer than are asked for, in one call at least."""
    done, asked = seen_epochs(run, count), run.call.epochs
    if done > asked:
        raise Never
    if done < asked and "done" not in run.found:
        run.found["done"], run.found["asked"] = done, asked
    return done


def start_anew(run: Run, model: Model) -> None:
    """Weights that have nothing to do with those that the model has, as they were seen."""
    states, number = run.call.seen.states, run.counts["weights"]
    if number >= len(states):
        raise Never
    new, old = states[number].double(), run.weights.detach()
    if F.cosine_similarity(new, old, dim=0).abs().item() > 0.3:
        raise Never
    load(run, model, new)


def load(run: Run, model: Model, weights: Tensor) -> None:
    """The model goes on with other weights."""
    run.weights.data.copy_(weights)
    run.fresh = False


def copied(run: Run, model: Model) -> Model:
    """A copy, whose forward passes nobody sees."""
    if "f" in run.call.seen.events:
        raise Never
    run.hidden = True
    return model


GIVEN: Mapping[str, Callable[..., Any]] = {
    name: function
    for name, function in list(globals().items())
    if inspect.isfunction(function) and next(iter(inspect.signature(function).parameters)) == "run"
}
"""By the names that the edits use."""
