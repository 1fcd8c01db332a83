"""The three models are the networks of the handouts."""

import pytest
import torch
from torch.nn import functional as F

from mnist_lab.models import CNN, FNN, MODELS, LogisticRegression


@pytest.mark.parametrize(
    ("model", "count"), [(LogisticRegression, 7_850), (FNN, 203_530), (CNN, 206_922)]
)
def test_a_model_has_as_many_parameters_as_the_handout_says(model, count):
    assert sum(value.numel() for value in model().parameters()) == count


@pytest.mark.parametrize("model", MODELS.values())
@pytest.mark.parametrize("batch", [1, 7, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_model_maps_images_to_ten_outputs_and_leaves_the_images_alone(model, batch, dtype):
    images = torch.randn(batch, 1, 28, 28, dtype=dtype)
    before = images.clone()

    outputs = model().to(dtype)(images)

    assert outputs.shape == (batch, 10)
    assert outputs.dtype == dtype
    assert torch.equal(images, before)


def test_the_outputs_of_logistic_regression_are_probabilities():
    outputs = LogisticRegression()(torch.randn(50, 1, 28, 28))

    assert 0 < outputs.min() < outputs.max() < 1


def test_the_fnn_is_two_linear_layers_with_a_relu_between():
    model = FNN().double()
    images = torch.randn(5, 1, 28, 28, dtype=torch.float64)
    w1, b1, w2, b2 = model.parameters()

    expected = (images.view(5, 784) @ w1.T + b1).clamp(min=0) @ w2.T + b2

    assert torch.allclose(model(images), expected, rtol=0, atol=1e-12)


def test_pooling_before_relu_gives_the_values_and_gradients_of_relu_before_pooling():
    torch.manual_seed(0)
    model = CNN().double()
    images = torch.randn(9, 1, 28, 28, dtype=torch.float64)
    labels = torch.arange(9)
    parameters = list(model.parameters())

    x = F.max_pool2d(F.relu(model.conv1(images)), 2)
    x = F.max_pool2d(F.relu(model.conv2(x)), 2)
    expected = model.output(F.relu(model.hidden(x.flatten(1))))
    outputs = model(images)

    assert torch.allclose(outputs, expected, rtol=0, atol=1e-12)
    for ours, theirs in zip(
        torch.autograd.grad(F.cross_entropy(outputs, labels), parameters),
        torch.autograd.grad(F.cross_entropy(expected, labels), parameters),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)
