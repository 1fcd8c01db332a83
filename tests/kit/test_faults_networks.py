"""Every known mistake of the networks shows under the probes, differs from all others, and is found
by comparison alone; what is unknown is located."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from mnist_lab.diagnosis import draws
from mnist_lab.diagnosis.faults import bank
from mnist_lab.diagnosis.networks import bank as networks
from mnist_lab.diagnosis.networks import layouts, places, probes, structures
from mnist_lab.diagnosis.reference import LINEAR, NETWORKS, Network
from mnist_lab.submission.answers import Parameter, Step


def parameter(name: str, shape: tuple[int, ...]) -> Parameter:
    return Parameter(name, shape, torch.float32, requires_grad=True)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stored_as_pytorch_does(network: Network) -> dict[str, Parameter]:
    flat = {
        name: (axes[0], *axes[1:]) if axes[-1] == 3 or len(axes) == 1 else (axes[0], _size(axes))
        for name, axes in network.axes.items()
    }
    return {name: parameter(name, shape) for name, shape in flat.items()}


def _size(axes: tuple[int, ...]) -> int:
    return torch.Size(axes[1:]).numel()


def runner(learners: Network, asked: Network) -> probes.Run:
    """As a learner's model that computes what ``learners`` does."""
    matched = stored_as_pytorch_does(asked)

    def run(weights: dict[str, Tensor], images: Tensor) -> Tensor | None:
        given = layouts.usual(asked, matched).to_reference(weights)
        try:
            outputs = learners.forward(given, images)
        except RuntimeError:
            return None
        return outputs if torch.isfinite(outputs).all() else None

    return run


@torch.no_grad()
def found(exercise: str, learners: Network) -> probes.Finding:
    asked = NETWORKS[exercise]
    matched, source = stored_as_pytorch_does(asked), generator(1)
    weights = layouts.draw_weights(asked, matched, source)
    images, run = draws.images(source, 8), runner(learners, asked)
    outputs = run(weights, images)
    assert outputs is not None
    observed = probes.Observed(matched, weights, images, outputs)
    return probes.explain(asked, networks.of(exercise), observed, run, source)


def with_faults(*names: str, ways: tuple[int, ...] = ()) -> Network:
    network: Network | None = NETWORKS[names[0].partition(".")[0]]
    for name, way in zip(names, ways or [0] * len(names), strict=True):
        network = networks.entry(name).changes[way](network)
        assert network is not None
    return network


@cache
@torch.no_grad()
def outputs_of(exercise: str) -> dict[tuple[str, int], Tensor]:
    """By fault and way what it gives for the images and weights of the check; "" is as asked."""
    asked, source = NETWORKS[exercise], generator(3)
    weights = layouts.draw_weights(asked, stored_as_pytorch_does(asked), source)
    given = layouts.usual(asked, stored_as_pytorch_does(asked)).to_reference(weights)
    images = draws.images(source, 8)
    made = {("", 0): asked.forward(given, images)}
    for fault in networks.of(exercise):
        for way, change in enumerate(fault.changes):
            network = change(asked)
            assert network is not None, fault.id
            made[fault.id, way] = network.forward(given, images)
    return made


def test_every_entry_has_an_id_of_its_own_a_sentence_and_a_hint() -> None:
    ids = [fault.id for fault in networks.BANK]
    assert len(ids) == len(set(ids))
    for fault in networks.BANK:
        assert fault.id.partition(".")[0] in NETWORKS
        assert fault.says.endswith(".")
        assert "{" not in fault.says + fault.hint
        assert fault.hint.endswith((".", "."))
    assert len(bank()) >= len(networks.BANK)


@pytest.mark.parametrize("exercise", NETWORKS)
def test_every_mistake_shows_in_the_outputs(exercise: str) -> None:
    made = outputs_of(exercise)
    asked = made["", 0]
    hidden = [key for key, outputs in made.items() if key[0] and layouts.equal(asked, outputs)]
    assert hidden == []


@pytest.mark.parametrize("exercise", NETWORKS)
def test_no_two_mistakes_are_the_same_network(exercise: str) -> None:
    made = outputs_of(exercise)
    by_shape = [(key, value) for key, value in made.items() if torch.isfinite(value).all()]
    table = torch.stack([value.flatten() for _, value in by_shape])
    near = torch.cdist(table, table, p=float("inf")) < 1e-9
    twins = {
        frozenset({by_shape[i][0][0], by_shape[j][0][0]})
        for i, j in near.triu(1).nonzero().tolist()
        if by_shape[i][0][0] != by_shape[j][0][0]
    }
    assert twins == set()


@pytest.mark.parametrize("exercise", ["logistic_regression", "fnn"])
def test_every_mistake_is_named(exercise: str) -> None:
    for fault in networks.of(exercise):
        for change in fault.changes[:1]:
            explanation = found(exercise, change(NETWORKS[exercise])).explanation
            assert explanation is not None, fault.id
            assert explanation.fault == fault.id


@pytest.mark.parametrize(
    "fault",
    [fault for fault in networks.of("cnn") if fault.changes],
    ids=lambda fault: fault.id,
)
def test_a_mistake_in_the_cnn_is_named(fault) -> None:
    explanation = found("cnn", fault.changes[-1](NETWORKS["cnn"])).explanation
    assert explanation is not None
    assert explanation.fault == fault.id


@pytest.mark.parametrize(
    "names",
    [
        ("logistic_regression.no-sigmoid", "logistic_regression.unused-bias-linear"),
        ("fnn.hidden-tanh", "fnn.output-softmax"),
        ("fnn.output-softmax", "fnn.output-relu"),
        ("fnn.no-relu", "fnn.input-centred"),
        ("cnn.conv1-tanh", "cnn.conv2-tanh"),
        ("cnn.conv2-circular-padding", "cnn.pool2-average"),
        ("cnn.input-scaled", "cnn.input-normalised"),
        ("cnn.unused-bias-conv1", "cnn.conv2-circular-padding"),
    ],
    ids="+".join,
)
def test_two_mistakes_at_once_are_both_named(names: tuple[str, ...]) -> None:
    exercise = names[0].partition(".")[0]
    explanation = found(exercise, with_faults(*names)).explanation
    assert explanation is not None
    assert set(explanation.fault.split("+")) == set(names)


def test_missing_relus_everywhere_are_one_mistake() -> None:
    names = [f"cnn.no-relu-{place}" for place in ("conv1", "conv2", "dense")]
    explanation = found("cnn", with_faults(*names)).explanation
    assert explanation is not None
    assert explanation.fault == "cnn.no-relu"
    for pair in combinations(names, 2):
        explanation = found("cnn", with_faults(*pair)).explanation
        assert explanation is not None
        assert set(explanation.fault.split("+")) == set(pair)


def with_stage(exercise: str, place: str, text: str) -> Network:
    network = NETWORKS[exercise]
    return replace(network, stages={**network.stages, place: text})


@pytest.mark.parametrize(
    ("exercise", "place", "text", "departs"),
    [
        ("logistic_regression", "sigmoid", "x.sigmoid() ** 1.5", "linear"),
        ("fnn", "relu", "x.relu() ** 1.5", "hidden"),
        ("cnn", "relu3", "x.relu() ** 1.5", "hidden"),
        ("cnn", "relu2", "x.relu() ** 1.5", "conv2"),
        ("cnn", "relu1", "x.relu() ** 1.5", "behind conv1"),
        ("cnn", "pool1", "F.max_pool2d(x, 2) - 0.1 * F.avg_pool2d(x, 2)", "behind conv1"),
        ("cnn", "pool1", "F.max_pool2d(x.roll(1, 2), 2)", "centre"),
        ("cnn", "pool2", "F.max_pool2d(x, 2).roll(1, 3)", "order"),
    ],
)
def test_what_is_unknown_is_located(exercise: str, place: str, text: str, departs: str) -> None:
    finding = found(exercise, with_stage(exercise, place, text))
    assert finding.explanation is None
    assert finding.departs == departs


@pytest.mark.parametrize(
    ("exercise", "place", "text", "fault"),
    [
        ("logistic_regression", "sigmoid", "torch.sigmoid(0.37 * x)", "scaled-sigmoid"),
        ("logistic_regression", "sigmoid", "x.sigmoid().clamp(0.03, 0.97)", "output-clipping"),
        ("fnn", "relu", "1.37 * F.relu(x)", "hidden-scaled"),
        ("fnn", "output", f"({LINEAR.format('output')} / 2.7).softmax(1)", "output-softmax"),
        ("cnn", "relu1", "F.relu(x) + 0.123", "conv1-shifted"),
        ("cnn", "relu2", "-1.37 * F.relu(x)", "conv2-scaled"),
        ("cnn", "relu2", "F.elu(x, 0.7)", "conv2-elu"),
    ],
)
def test_a_constant_that_is_in_no_list_is_found(
    exercise: str, place: str, text: str, fault: str
) -> None:
    explanation = found(exercise, with_stage(exercise, place, text)).explanation
    assert explanation is not None
    assert explanation.fault == f"{exercise}.{fault}"


def test_more_than_two_mistakes_are_never_told() -> None:
    names = ("cnn.pool1-average", "cnn.conv2-tanh", "cnn.no-relu-dense")
    assert found("cnn", with_faults(*names)).explanation is None
    explanation = found("cnn", with_faults(*names[:2])).explanation
    assert explanation is not None
    assert set(explanation.fault.split("+")) == set(names[:2])


def test_an_unknown_padding_is_located_in_its_convolution() -> None:
    def padded(layer: str) -> Network:
        pad = "F.pad(x, (1, 1, 1, 1), value=0.3)"
        return with_stage("cnn", layer, f"F.conv2d({pad}, w['{layer}.weight'], w['{layer}.bias'])")

    assert found("cnn", padded("conv2")).departs == "conv1"
    assert found("cnn", padded("conv1")).departs in ("flat", "whole")


@pytest.mark.parametrize("exercise", NETWORKS)
def test_the_right_network_departs_nowhere(exercise: str) -> None:
    finding = found(exercise, NETWORKS[exercise])
    assert finding.explanation is not None
    assert finding.explanation.alternatives == ((),)


def test_neutral_weights_are_the_same_in_every_layout() -> None:
    network = NETWORKS["cnn"]
    matched = stored_as_pytorch_does(network)
    weights = layouts.neutral_weights(network, matched, generator())
    for name, each in matched.items():
        assert layouts.is_neutral(weights[name], each)
    assert len(layouts.possible((128, 32, 7, 7), (128, 1568))) > 1
    assert not layouts.is_neutral(torch.randn(128, 32, 7, 7), matched["hidden.weight"])


def test_a_mistake_is_named_in_an_unusual_layout_too() -> None:
    """Features flattened height, width, channel, and no ReLU before."""
    asked = NETWORKS["cnn"]
    wrong = with_faults("cnn.no-relu-conv2")
    hidden = wrong.stages["hidden"].replace("x.flatten", "x.permute(0, 2, 3, 1).flatten")
    stages = {**wrong.stages, "hidden": hidden}
    explanation = found("cnn", replace(asked, stages=stages)).explanation
    assert explanation is not None
    assert explanation.fault == "cnn.no-relu-conv2"


# The layers that parameters make up


def parameters(model: nn.Module) -> list[Parameter]:
    return [parameter(name, tuple(value.shape)) for name, value in model.named_parameters()]


@torch.no_grad()
def fitting(exercise: str, model: nn.Module) -> set[tuple[str, ...]]:
    """The faults of the guesses that give what the model gives, of the fewest faults."""
    model.double().eval()
    images = draws.images(generator(), 4)
    weights = dict(model.named_parameters())
    equal = []
    for guess in structures.structures(exercise, parameters(model)):
        given = layouts.usual(guess.network, guess.matched).to_reference(weights)
        try:
            if layouts.equal(model(images), guess.network.forward(given, images)):
                equal.append(tuple(guess.faults))
        except layouts.MISFIT:
            continue
    return {faults for faults in equal if len(faults) == len(equal[0])}


def dense(*sizes: int, **options: bool) -> list[nn.Module]:
    pairs = pairwise(sizes)
    return [part for pair in pairs for part in (nn.Linear(*pair, **options), nn.ReLU())][:-1]


def block(before: int, after: int, kernel: int = 3, padding: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, after, kernel, padding=padding), nn.ReLU(), nn.MaxPool2d(2)]


def cnn(convolutions: list[nn.Module], *sizes: int) -> nn.Sequential:
    return nn.Sequential(*convolutions, nn.Flatten(), *dense(*sizes))


def fnn(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), *layers)


LARGE, SMALL = block(1, 16, 5, padding=2), block(1, 16, padding=0)


@pytest.mark.parametrize(
    ("exercise", "model", "faults"),
    [
        ("fnn", fnn(*dense(784, 100, 10)), {"other-width"}),
        ("fnn", fnn(*dense(784, 10)), {"no-hidden-layer"}),
        ("fnn", fnn(*dense(784, 256, 256, 10)), {"extra-layer"}),
        (
            "fnn",
            fnn(*dense(784, 256, 10, bias=False)),
            {"no-biases"},
        ),
        (
            "fnn",
            fnn(nn.Linear(784, 256), nn.ReLU(), nn.BatchNorm1d(256), nn.Linear(256, 10)),
            {"hidden-batch-norm-layer"},
        ),
        ("cnn", cnn([*block(1, 16), *block(16, 64)], 64 * 49, 128, 10), {"conv2-filters"}),
        ("cnn", cnn([*LARGE, *block(16, 32)], 1568, 128, 10), {"conv1-kernel-size"}),
        (
            "cnn",
            cnn([*SMALL, *block(16, 32, padding=0)], 800, 128, 10),
            {"conv1-padding", "conv2-padding"},
        ),
        ("cnn", cnn([*block(1, 16), *block(16, 32)[:2]], 6272, 128, 10), {"no-pool2"}),
        ("cnn", cnn(block(1, 16), 16 * 196, 128, 10), {"one-convolution"}),
        (
            "cnn",
            cnn([*block(1, 16), *block(16, 32), *block(32, 64)], 576, 128, 10),
            {"extra-convolution"},
        ),
        ("cnn", cnn([*block(1, 16), *block(16, 32)], 1568, 128, 64, 10), {"extra-layer"}),
        (
            "cnn",
            cnn([*block(1, 16), *block(16, 32), nn.AdaptiveAvgPool2d(1)], 32, 128, 10),
            {"global-pool"},
        ),
    ],
)
def test_other_layers_are_recognised_by_what_they_compute(exercise, model, faults) -> None:
    assert [set(each) for each in fitting(exercise, model)] == [faults]
    assert all(networks.entry(f"{exercise}.{slug}") for slug in faults)


# Dropout


def steps(*values: Tensor) -> list[Step]:
    return [Step(value, 7 + number, "", False) for number, value in enumerate(values)]


@pytest.mark.parametrize(
    "drop", [nn.Dropout(0.3), nn.Dropout2d(0.3), lambda x: x * (torch.rand(x.shape) < 0.7) / 0.7]
)
def test_dropout_is_found_with_its_step_and_share(drop) -> None:
    torch.manual_seed(1)
    images = draws.images(generator(), 3)
    maps = nn.functional.conv2d(images, torch.randn(64, 1, 3, 3).double(), padding=1)
    bent = maps.relu()
    noise = torch.rand(bent.shape).double()

    found = places.dropping(images, steps(maps, bent, noise, drop(bent), bent.flatten(1)))

    assert found is not None
    assert found[0].line == 10
    assert found[1] == pytest.approx(0.3, abs=0.1)


def test_dropout_of_the_images_is_found() -> None:
    torch.manual_seed(1)
    images = draws.images(generator(), 3)
    found = places.dropping(images, steps(nn.functional.dropout(images, 0.2)))
    assert found is not None
    assert found[1] == pytest.approx(0.2, abs=0.1)


def masked(x: Tensor) -> Tensor:
    """As a picture that is moved, with 0 where it came from."""
    return x * (torch.arange(20) > 4)


@pytest.mark.parametrize(
    "bend", [torch.relu, torch.neg, lambda x: torch.relu(-x), torch.tanh, masked]
)
def test_functions_and_noise_are_not_taken_for_dropout(bend) -> None:
    torch.manual_seed(1)
    images = draws.images(generator(), 3)
    sums = images.flatten(1) @ torch.randn(784, 20).double()
    assert places.dropping(images, steps(sums, bend(sums), bend(sums) + torch.randn(3, 20))) is None


# Lines


TEXT = """
class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3)
        self.rest = nn.Sequential(
            nn.Flatten(),
            nn.Linear(1568, 10),
        )

    def forward(self, x):
        return self.rest(
            self.conv(x)
        )
"""


@pytest.mark.parametrize(
    ("parameter", "made", "used"),
    [("conv.weight", "5", "13"), ("rest.1.weight", "8", "8"), ("rest.7.bias", "6", "6")],
)
def test_the_lines_of_a_layer_are_found(parameter: str, made: str, used: str) -> None:
    model = SimpleNamespace(file="cnn.py", text=TEXT, name="CNN")
    assert places.made(model, parameter) == f"cnn.py:{made}"
    assert places.used(model, parameter) == f"cnn.py:{used}"


def test_of_a_layer_that_is_not_in_the_file_no_line_is_told() -> None:
    model = SimpleNamespace(file="cnn.py", text="from helper import CNN", name="CNN")
    assert places.made(model, "conv.weight") == places.used(model, "conv.weight") == ""
