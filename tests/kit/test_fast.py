"""The fast steps keep the mathematics of the plain ones."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mnist_lab.fast import _GRADIENTS, FastSteps, fast_forward
from mnist_lab.models import CNN, FNN, MODELS, LogisticRegression

CPU = torch.device("cpu")


def a_batch(size, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(size, 1, 28, 28, generator=generator, dtype=dtype)
    return images, torch.randint(0, 10, (size,), generator=generator)


@pytest.mark.parametrize("model", [LogisticRegression, FNN])
def test_the_written_out_gradients_are_those_of_autograd_in_float64(model):
    torch.manual_seed(0)
    network = model().double()
    images, labels = a_batch(23, torch.float64)
    parameters = list(network.parameters())
    logits = network(images)
    expected = torch.autograd.grad(F.cross_entropy(logits, labels), parameters)
    gradients = [torch.empty_like(parameter) for parameter in parameters]

    outputs = _GRADIENTS[model](
        images, F.one_hot(labels, 10).double(), [p.detach() for p in parameters], gradients
    )

    assert torch.allclose(outputs, logits, rtol=0, atol=1e-12)
    for ours, theirs in zip(gradients, expected, strict=True):
        assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", MODELS.values())
def test_three_steps_are_three_steps_of_torch_optim_adam(model):
    torch.manual_seed(0)
    plain = model()
    fast = copy.deepcopy(plain)
    images, labels = a_batch(23)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3)
    expected = []
    for batch, answers in zip(images.split(10), labels.split(10), strict=True):
        optimizer.zero_grad()
        logits = plain(batch)
        F.cross_entropy(logits, answers).backward()
        optimizer.step()
        expected.append(logits.detach())

    outputs = FastSteps(fast, 1e-3).learn(images, labels, 10)

    assert torch.allclose(outputs, torch.cat(expected), atol=1e-3)
    before = nn.utils.parameters_to_vector(plain.parameters())
    after = nn.utils.parameters_to_vector(fast.parameters())
    # A correct rewrite can sit some 1e-5 off after three steps of Adam in float32.
    assert (after - before).abs().max() < 1e-4
    assert (after - before).abs().mean() < 1e-7


def test_the_cnn_in_the_blocked_layout_is_the_cnn():
    torch.manual_seed(0)
    model = CNN()
    images, _ = a_batch(65)

    with torch.inference_mode():
        assert torch.allclose(fast_forward(model, images), model(images), atol=1e-5)


def test_the_fast_steps_suit_only_the_reference_models_in_float32_on_a_cpu():
    class MyCNN(CNN):
        pass

    assert FastSteps.suit(CNN(), CPU)
    assert not FastSteps.suit(CNN().double(), CPU)
    assert not FastSteps.suit(CNN(), torch.device("cuda"))
    assert not FastSteps.suit(MyCNN(), CPU)
