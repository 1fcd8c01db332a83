"""Whatever modules a learner puts together, they are graded: no check of a network ends in an error
of the grader's own.
"""

from __future__ import annotations

import copy
import math
import os
import random
from collections.abc import Callable
from contextlib import suppress

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mnist_lab.diagnosis import CheckFailure, Waiting
from mnist_lab.diagnosis.networks import checks, layouts, structures
from mnist_lab.diagnosis.reference import NETWORKS
from mnist_lab.grade import Cause
from mnist_lab.submission import answers
from mnist_lab.submission.answers import Gradients, Output, Parameter, Step
from mnist_lab.submission.caller import Caller, Event, SubmissionFailure
from mnist_lab.submission.guest import networks
from mnist_lab.submission.guest.learner import Learner
from mnist_lab.submission.protocol import Message


def resized(x: Tensor, size: int) -> Tensor:
    """Rows of ``size`` numbers, by repeating or cutting those that are there."""
    x = x.flatten(1)
    return x.repeat(1, math.ceil(size / max(x.shape[1], 1)))[:, :size]


class Assembled(nn.Module):
    """Any parts, one after another, whose sizes need not fit; ``ends`` says what comes out."""

    def __init__(self, parts: list[nn.Module | nn.Parameter], ends: str) -> None:
        super().__init__()
        self.parts = nn.ModuleList(part for part in parts if isinstance(part, nn.Module))
        for number, part in enumerate(parts):
            setattr(self, f"part{number}", part)
        self.nested = nn.Sequential(nn.Sequential(*self.parts[:2]))
        self.ends = ends

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            if isinstance(part, nn.Linear):
                x = resized(x, part.in_features)
            elif isinstance(part, nn.Conv2d):
                x = resized(x, part.in_channels * 196).view(len(x), part.in_channels, 14, 14)
            elif isinstance(part, nn.LayerNorm):
                x = resized(x, math.prod(part.normalized_shape)).view(-1, *part.normalized_shape)
            x = part(x)
        ends = {
            "ten": resized(x, 10),
            "rows": x,
            "one": x.mean(),
            "none": x.flatten(1)[:, :0],
            "squeezed": x.flatten(1).mean(1).squeeze(),
            "batch": resized(x.reshape(1, -1), 10),
        }
        return ends[self.ends]


class Model:
    """As the checks see a learner's module, without the wall."""

    def __init__(self, module: nn.Module) -> None:
        self.name, self._module = "Net", module
        self.file, self.text = "net.py", ""
        self.modules = {name: type(each).__name__ for name, each in module.named_modules()}
        self.parameters = [
            Parameter(name, tuple(value.shape), value.dtype, value.requires_grad)
            for name, value in module.named_parameters()
        ]
        self.unregistered: list[object] = []

    def weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self._module.named_parameters()}

    @torch.no_grad()
    def set_weights(self, weights: dict[str, Tensor]) -> None:
        named = dict(self._module.named_parameters())
        for name, value in weights.items():
            named[name].copy_(value)

    def another(self) -> Model:
        return Model(copy.deepcopy(self._module).float())

    def reseeds(self, images: Tensor) -> tuple[str, ...]:
        return ()

    def reseeds_when_made(self) -> tuple[str, ...]:
        return ()

    def double(self) -> Model:
        self._module.double()
        return self

    def float(self) -> Model:
        self._module.float()
        return self

    def on_fake_device(self) -> str:
        return "meta"

    def __call__(self, images: Tensor) -> Tensor:
        return self.forward(images).logits

    @torch.no_grad()
    def forward(self, images: Tensor, *, training: bool = False, **_: object) -> Output:
        return Output(self._outputs(images, training), images)

    def steps(self, images: Tensor, *, training: bool = False) -> list[Step]:
        learner = Learner()
        fields = {"id": learner.keep(self._module), "training": training}
        with raising():
            return answers.steps(networks.steps(learner, Message(fields, {"images": images})))

    def repeated(
        self, images: Tensor, calls: int, *, training: bool = False, seed: int = 0
    ) -> Tensor:
        torch.manual_seed(seed)
        random.seed(seed)
        with torch.set_grad_enabled(training):
            outputs = [self._outputs(images, training).detach() for _ in range(calls)]
        return torch.stack(outputs)

    def gradients(self, images: Tensor, cotangent: Tensor, *, training: bool = False) -> Gradients:
        logits = self._outputs(images, training)
        self._module.zero_grad()
        with raising():
            logits.backward(cotangent.to(logits.dtype))
        found = {name: value.grad for name, value in self._module.named_parameters()}
        return Gradients(found, logits.detach())

    def _outputs(self, images: Tensor, training: bool) -> Tensor:
        with raising():
            outputs = self._module.train(training)(images)
        if not torch.isfinite(outputs).all():
            raise SubmissionFailure(Cause("Not all of its outputs are numbers."), event("garbage"))
        return outputs


def event(kind: str, raised: str = "") -> Event:
    return Event(kind, caller=Caller("fnn.py", {}, None), raised=raised)


class raising(suppress):  # noqa: N801
    """What the learner's code raises is theirs."""

    def __init__(self) -> None:
        super().__init__(Exception)

    def __exit__(self, kind, error, trace) -> bool:
        if kind is not None:
            raise SubmissionFailure(Cause(str(error)), event("raised", kind.__name__))
        return False


SIZES = st.sampled_from([1, 3, 10, 64, 128, 256, 784, 1568])
CHANNELS = st.sampled_from([1, 3, 16, 32])
SHAPES = st.sampled_from(
    [(), (0,), (1,), (16,), (0, 784), (784, 0), (1, 1), (10, 28, 28), (256, 784, 1), (2,) * 6]
)


@st.composite
def parts(draw: st.DrawFn) -> nn.Module | nn.Parameter:
    kind = draw(st.sampled_from(["linear", "linear", "conv", "conv", "norm", "other", "parameter"]))
    if kind == "linear":
        return nn.Linear(draw(SIZES), draw(SIZES), bias=draw(st.booleans()))
    if kind == "conv":
        return nn.Conv2d(draw(CHANNELS), draw(CHANNELS), draw(st.sampled_from([1, 3, 5])))
    if kind == "norm":
        return nn.LayerNorm(draw(st.sampled_from([(16, 14, 14), (256,), (10,), (3, 4)])))
    if kind == "other":
        return draw(st.sampled_from([nn.PReLU(), nn.ReLU(), nn.Dropout(), nn.MaxPool2d(2)]))
    return nn.Parameter(torch.randn(draw(SHAPES)))


ENDS = ["ten", "rows", "one", "none", "squeezed", "batch"]
A_LAYER_FOR_EACH_DIGIT = Assembled([nn.Linear(784, 1) for _ in range(10)], "ten")
RIGHT = Assembled([nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10)], "ten")
NO_RELU = Assembled([nn.Linear(784, 256), nn.Linear(256, 10)], "ten")
DEEP = Assembled([nn.Linear(784, 64), *(nn.Linear(64, 64) for _ in range(40))], "ten")


@st.composite
def modules(draw: st.DrawFn) -> Assembled:
    """Up to seven parts, some the same object twice, before or after those that are asked for."""
    drawn = draw(st.lists(parts(), max_size=7))
    asked = {
        "nothing": [],
        "fnn": [nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10)],
        "cnn": [
            nn.Conv2d(1, 16, 3),
            nn.Conv2d(16, 32, 3),
            nn.Linear(1568, 128),
            nn.Linear(128, 10),
        ],
    }[draw(st.sampled_from(["nothing", "fnn", "cnn"]))]
    chosen = [*drawn, *asked, *drawn[: draw(st.integers(0, 2))]]
    return Assembled(chosen, draw(st.sampled_from(["ten", "ten", *ENDS])))


ANY = settings(max_examples=8, derandomize=True, suppress_health_check=list(HealthCheck))


@given(module=modules(), exercise=st.sampled_from(list(NETWORKS)))
@example(A_LAYER_FOR_EACH_DIGIT, "logistic_regression")
@example(A_LAYER_FOR_EACH_DIGIT, "fnn")
@example(DEEP, "fnn")
@settings(ANY, max_examples=40)
def test_any_parameters_have_a_place_or_none(module: Assembled, exercise: str) -> None:
    parameters = Model(module).parameters
    with suppress(layouts.Unmatched):
        layouts.match(NETWORKS[exercise], parameters)
    for guess in structures.structures(exercise, parameters):
        placed = {each.name for each in (*guess.matched.values(), *guess.unused)}
        assert placed == {each.name for each in parameters}
        assert set(guess.matched) == set(guess.network.axes)


@pytest.mark.parametrize("check", ["parameters", "shapes", "network", "behaviour", "learns"])
@given(module=modules(), exercise=st.sampled_from(list(NETWORKS)))
@example(module=RIGHT, exercise="fnn")
@example(module=NO_RELU, exercise="fnn")
@ANY
def test_any_network_is_judged(module: Assembled, exercise: str, check: str) -> None:
    judge = getattr(checks, f"check_{check}")
    with suppress(CheckFailure, SubmissionFailure, Waiting, layouts.Unmatched):
        judge(exercise, Model(module), torch.Generator().manual_seed(0))


class Sometimes(nn.Module):
    """A right network but for what ``happens`` to its images."""

    def __init__(self, happens: Callable[[Sometimes, Tensor], Tensor]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10)
        )
        self.happens, self.calls = happens, 0
        self.own = random.Random(0)  # No seed that is set reaches it.

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.layers(self.happens(self, x))


def noisy(x: Tensor) -> Tensor:
    return x + 0.01 * torch.randn_like(x)


HAPPENS = {
    "noise": lambda net, x: noisy(x) if torch.rand(()) < 0.1 else x,
    "flips-in-training": lambda net, x: x.flip(3) if net.training and random.random() < 0.1 else x,
    "by-draws-of-its-own": lambda net, x: x.roll(1, 3) if net.own.random() < 0.1 else x,
    "urandom": lambda net, x: noisy(x) if os.urandom(1)[0] < 26 else x,
    "every-other-large-batch": lambda net, x: noisy(x) if len(x) > 16 and net.calls % 2 else x,
    "every-tenth-call": lambda net, x: x + 1 if net.calls % 10 == 0 else x,
    "dropout": lambda net, x: nn.functional.dropout(x, 0.001, net.training),
}


RANDOM = ("fnn.random", "fnn.random-in-training", "fnn.dropout")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("happens", HAPPENS)
def test_what_happens_now_and_then_is_found(happens: str, seed: int) -> None:
    model = Model(Sometimes(HAPPENS[happens]))
    with pytest.raises(CheckFailure) as failure:
        checks.check_network("fnn", model, torch.Generator().manual_seed(seed))
    assert failure.value.cause.fault in RANDOM


def test_what_happens_only_where_gradients_are_recorded_is_told() -> None:
    model = Model(Sometimes(lambda net, x: x.flip(2) if torch.is_grad_enabled() else x))
    with pytest.raises(CheckFailure, match="where gradients are recorded"):
        checks.check_network("fnn", model, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_mistake_that_is_made_in_one_mode_is_told_as_that(mode: str) -> None:
    turned = mode == "train"
    model = Model(Sometimes(lambda net, x: x.flip(2) if net.training == turned else x))
    with pytest.raises(CheckFailure, match=f"In {mode} mode only: FNN turns the images upside"):
        checks.check_network("fnn", model, torch.Generator().manual_seed(0))


ODD: dict[str, Callable[[int], bool]] = {
    "one": lambda size: size == 1,
    "three": lambda size: size == 3,
    "large": lambda size: size > 64,
}


@pytest.mark.parametrize("odd", ODD)
def test_what_is_done_to_batches_of_some_sizes_is_told(odd: str) -> None:
    model = Model(Sometimes(lambda net, x: x.flip(2) if ODD[odd](len(x)) else x))
    with pytest.raises(CheckFailure, match="depends on the batch that it is in"):
        checks.check_network("fnn", model, torch.Generator().manual_seed(0))


def test_a_network_that_does_the_same_at_every_call_passes() -> None:
    for seed in range(10):
        model = Model(Sometimes(lambda net, x: x))
        checks.check_network("fnn", model, torch.Generator().manual_seed(seed))
