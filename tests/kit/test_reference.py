"""The reference agrees with PyTorch's own layers, losses and optimizers; matching sees through
every layout and nothing else; draws come from the seed alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import v2

from mnist_lab.diagnosis import draws, explain, reference
from mnist_lab.diagnosis.loops import trainings
from mnist_lab.diagnosis.loops.replay import Call, Replayed
from mnist_lab.diagnosis.networks import layouts
from mnist_lab.diagnosis.pictures import warps
from mnist_lab.models import CNN, FNN, LogisticRegression
from mnist_lab.submission.answers import Parameter

MODELS = {"logistic_regression": LogisticRegression, "fnn": FNN, "cnn": CNN}


def parameter(name: str, shape: tuple[int, ...]) -> Parameter:
    return Parameter(name, shape, torch.float32, requires_grad=True)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def shapes(model: nn.Module) -> list[Parameter]:
    return [parameter(name, tuple(value.shape)) for name, value in model.named_parameters()]


def loaded(model: nn.Module, weights: dict[str, Tensor]) -> nn.Module:
    model.double().load_state_dict(weights)
    return model


def compared(name: str, model: nn.Module) -> layouts.Comparison:
    """``model`` with drawn weights against the reference of ``name``."""
    network = reference.NETWORKS[name]
    matched = layouts.match(network, shapes(model))
    weights = layouts.draw_weights(network, matched, generator(1))
    images = normal(5, 1, 28, 28, seed=2)
    with torch.no_grad():
        outputs = loaded(model, weights)(images)
    return layouts.compare(network, matched, weights, images, outputs)


@pytest.mark.parametrize("name", MODELS)
def test_each_network_equals_the_labs_own_model(name: str) -> None:
    assert compared(name, MODELS[name]()).difference < 1e-12


class MatmulFNN(nn.Module):
    """Own parameters, inputs before outputs, registered in reverse, flattened by columns."""

    def __init__(self) -> None:
        super().__init__()
        self.b2, self.w2 = nn.Parameter(torch.zeros(1, 10)), nn.Parameter(torch.zeros(256, 10))
        self.b1, self.w1 = nn.Parameter(torch.zeros(256)), nn.Parameter(torch.zeros(784, 256))

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.transpose(2, 3).flatten(1)
        return (pixels @ self.w1 + self.b1).relu() @ self.w2 + self.b2


class HwcCNN(CNN):
    """Channels last in the flatten."""

    def forward(self, images: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(images)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.output(F.relu(self.hidden(x.permute(0, 2, 3, 1).flatten(1))))


class AllConvCNN(nn.Module):
    """Dense layers as convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 128, 7),
            nn.ReLU(),
            nn.Conv2d(128, 10, 1),
            nn.Flatten(),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


@pytest.mark.parametrize(
    ("name", "model"), [("fnn", MatmulFNN), ("cnn", HwcCNN), ("cnn", AllConvCNN)]
)
def test_a_harmless_layout_makes_no_difference(name: str, model: type[nn.Module]) -> None:
    assert compared(name, model()).difference < 1e-12


class OneReluShort(CNN):
    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv1(images), 2))
        x = F.max_pool2d(self.conv2(x), 2)
        return self.output(F.relu(self.hidden(x.flatten(1))))


class TanhFNN(FNN):
    def forward(self, images: Tensor) -> Tensor:
        return self.output(self.hidden(images.flatten(1)).tanh())


class NoSigmoid(LogisticRegression):
    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


@pytest.mark.parametrize(
    ("name", "model"),
    [("cnn", OneReluShort), ("fnn", TanhFNN), ("logistic_regression", NoSigmoid)],
)
def test_another_network_differs_in_every_layout(name: str, model: type[nn.Module]) -> None:
    assert compared(name, model()).difference > 0.01


def test_a_missing_bias_is_unmatched() -> None:
    with pytest.raises(layouts.Unmatched) as caught:
        layouts.match(
            reference.NETWORKS["fnn"],
            [parameter("a", (256, 784)), parameter("b", (10, 256)), parameter("c", (10,))],
        )
    assert caught.value.missing == ("hidden.bias",)
    assert caught.value.extra == ()


def test_a_layer_too_many_is_unmatched() -> None:
    parameters = [*shapes(CNN()), parameter("norm.weight", (32,))]
    with pytest.raises(layouts.Unmatched) as caught:
        layouts.match(reference.NETWORKS["cnn"], parameters)
    assert caught.value.missing == ()
    assert [each.name for each in caught.value.extra] == ["norm.weight"]


def test_a_weight_with_axes_of_other_sizes_has_no_layout() -> None:
    assert layouts.possible((256, 28, 28), (512, 392)) == []


def test_every_layout_undoes_its_own_storing() -> None:
    weight = normal(4, 3, 2, 2)
    stored = weight.permute(0, 2, 3, 1).reshape(4, 12)
    restored = [layout.to_reference(stored) for layout in layouts.possible((4, 3, 2, 2), (4, 12))]
    assert any(torch.equal(each, weight) for each in restored)


def test_a_value_that_is_not_a_number_is_infinitely_far() -> None:
    assert explain.difference(torch.tensor([[math.nan]]), torch.tensor([[1.0]])) == math.inf


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_pytorchs(smoothing: float) -> None:
    logits, labels = 5 * normal(23, 10), torch.arange(23) % 10
    expected = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    assert reference.cross_entropy(logits, labels, smoothing).item() == pytest.approx(
        expected.item(), abs=1e-12
    )


def test_the_confusion_matrix_has_a_row_for_each_true_digit() -> None:
    logits = F.one_hot(torch.tensor([3, 3, 5]), 10).double()
    matrix = reference.confusion_matrix(logits, torch.tensor([3, 7, 5]))
    assert matrix.nonzero().tolist() == [[3, 3], [5, 5], [7, 3]]
    assert reference.accuracy(logits, torch.tensor([3, 7, 5])) == pytest.approx(2 / 3)


def small_weights() -> dict[str, Tensor]:
    return {
        "hidden.weight": 0.2 * normal(8, 784, seed=3),
        "hidden.bias": normal(8, seed=4),
        "output.weight": normal(10, 8, seed=5),
        "output.bias": normal(10, seed=6),
    }


def small_data() -> list[reference.Batch]:
    labels = torch.randint(10, (23,), generator=generator(8))
    return reference.batches(normal(23, 1, 28, 28, seed=7), labels, 10)


def small_model(weights: dict[str, Tensor], normed: bool = False) -> nn.Module:
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten(), "hidden": nn.Linear(784, 8)}
    if normed:
        layers["norm"] = nn.BatchNorm1d(8)
    model = nn.Sequential()
    for name, layer in {**layers, "relu": nn.ReLU(), "output": nn.Linear(8, 10)}.items():
        model.add_module(name, layer)
    model.double().load_state_dict(weights, strict=False)
    return model


def steps_of_pytorch(model: nn.Module, optimizer: torch.optim.Optimizer, epochs: int = 1) -> None:
    for _ in range(epochs):
        for images, labels in small_data():
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()


def call(function: str, lr: float, epochs: int = 1, momentum: float = 0.0) -> Call:
    loss, batches = F.cross_entropy, tuple(small_data())
    return Call(function, small_weights(), batches, loss, lr, epochs, momentum=momentum)


def replayed(function: str, lr: float, epochs: int = 1, momentum: float = 0.0) -> Replayed:
    return trainings.free(call(function, lr, epochs, momentum))[0]


def assert_same_vector(model: nn.Module, weights: Tensor) -> None:
    ours = torch.cat([value.detach().flatten() for value in model.parameters()])
    assert explain.difference(ours, weights) < 1e-10


def test_an_epoch_with_momentum_is_pytorchs() -> None:
    model = small_model(small_weights())
    steps_of_pytorch(model, torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9))
    assert_same_vector(model, replayed("train_epoch", 0.05, momentum=0.9).weights)


def test_three_epochs_of_training_are_pytorchs() -> None:
    model = small_model(small_weights())
    steps_of_pytorch(model, torch.optim.Adam(model.parameters(), lr=0.01), epochs=3)
    trained = replayed("train", 0.01, epochs=3)
    assert len(trained.epochs) == 3
    assert_same_vector(model, trained.weights)


@pytest.mark.parametrize(
    "settings",
    [
        {"betas": (0.5, 0.9), "eps": 1e-3, "amsgrad": True, "weight_decay": 0.1},
        {"maximize": True},
    ],
)
def test_adam_is_pytorchs_with_other_settings(settings: dict) -> None:
    start, *gradients = normal(9, 20)
    ours, theirs = (start.clone().requires_grad_() for _ in range(2))
    both = reference.Adam([ours], 0.03, **settings), torch.optim.Adam([theirs], 0.03, **settings)
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimizer in both:
            optimizer.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-14)


def test_the_numbers_of_an_epoch_are_means_over_examples_before_each_step() -> None:
    epoch = call("train_epoch", 0.0)
    ((loss, accuracy),) = trainings.history(epoch, trainings.free(epoch)[0])
    images, labels = (torch.cat(parts) for parts in zip(*small_data(), strict=True))
    logits = reference.fnn(small_weights(), images)
    assert loss == pytest.approx(reference.cross_entropy(logits, labels).item(), abs=1e-12)
    assert accuracy == pytest.approx(reference.accuracy(logits, labels), abs=1e-12)


@pytest.mark.parametrize("training", [True, False])
def test_batch_normalisation_is_pytorchs_in_both_modes(training: bool) -> None:
    weights = small_weights() | {
        "norm.weight": normal(8, seed=9),
        "norm.bias": normal(8, seed=10),
        "norm.running_mean": normal(8, seed=11),
        "norm.running_var": normal(8, seed=12).exp(),
    }
    images, _ = small_data()[0]
    model = small_model(weights, normed=True).train(training)
    actual = model(images).detach()
    assert explain.difference(actual, reference.normed_fnn(weights, images, training)) < 1e-12


def test_normalising_is_torchvisions() -> None:
    images = torch.randint(256, (3, 28, 28), generator=generator(), dtype=torch.uint8)
    transform = v2.Compose(
        [v2.ToDtype(torch.float64, scale=True), v2.Normalize([0.1307], [0.3081])]
    )
    assert explain.difference(transform(images.unsqueeze(1)), reference.normalise(images)) < 1e-12


def warped(transform: v2.Transform, times: int = 200) -> warps.Warps:
    torch.manual_seed(0)
    image = warps.dots().unsqueeze(0) / 255
    return warps.measure(torch.cat([transform(image) for _ in range(times)]))


def test_the_angle_of_a_rotation_is_measured() -> None:
    measured = warped(v2.RandomRotation((7, 7)), times=1)
    assert measured.rotations.all()
    assert measured.degrees.item() == pytest.approx(7, abs=0.6)


def test_a_rotation_is_never_taken_for_a_perspective() -> None:
    assert warped(v2.RandomRotation(10)).rotations.all()


def test_a_perspective_is_hardly_ever_taken_for_a_rotation() -> None:
    measured = warped(v2.RandomPerspective(0.2, p=1))
    assert measured.rotations.double().mean() < 0.05
    assert measured.scale.mean().item() == pytest.approx(0.926, abs=0.01)


def test_a_mirrored_image_is_seen_by_its_dark_dot() -> None:
    assert warped(v2.RandomRotation(10)).upright.all()
    assert not warped(v2.RandomHorizontalFlip(p=1)).upright.any()


def drawn(seed: int, check: str) -> Tensor:
    return draws.images(draws.Grader(seed).generator(check), 2)


def test_a_check_draws_the_same_whatever_else_was_drawn() -> None:
    drawn(0, "fnn.network")
    assert torch.equal(drawn(0, "cnn.network"), drawn(0, "cnn.network"))


def test_another_seed_and_another_check_draw_otherwise() -> None:
    assert not torch.equal(drawn(0, "cnn.network"), drawn(1, "cnn.network"))
    assert not torch.equal(drawn(0, "cnn.network"), drawn(0, "fnn.network"))


def test_the_digits_drawn_are_as_bright_as_mnists_and_of_all_kinds() -> None:
    images, labels = draws.digits(generator(), 64)
    assert abs(images.mean().item()) < 0.5
    assert 0.7 < images.std().item() < 1.3
    assert len(labels.unique()) == 10
