"""The steps of the three reference models, written for a CPU: the same mathematics, less overhead.

A training step of these networks is mostly not arithmetic: it is building and walking the autograd
graph, updating small tensors one by one and, in the CNN, moving activations between layouts. Here
the gradients are written out, the CNN stays in oneDNN's blocked layout from the first convolution
to the last pooling, and Adam updates all parameters as one vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.adam import adam

from mnist_lab.models import CNN, FNN, LogisticRegression

__all__ = ["FastSteps", "fast_forward"]

aten = torch.ops.aten


class FastSteps:
    """Adam with PyTorch's defaults and the mean cross-entropy, for one of the reference models.

    The model's parameters become views of one vector, which ``learn`` changes in place.
    """

    def __init__(self, model: nn.Module, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self.gradients = _GRADIENTS[type(model)]
        parameters = list(model.parameters())
        self.vector = nn.utils.parameters_to_vector(parameters).detach()
        nn.utils.vector_to_parameters(self.vector, parameters)
        self.parameters = [parameter.detach() for parameter in parameters]
        self.gradient = torch.zeros_like(self.vector)
        sizes = [parameter.numel() for parameter in self.parameters]
        self.parts = [
            part.view_as(parameter)
            for part, parameter in zip(self.gradient.split(sizes), self.parameters, strict=True)
        ]
        self.mean, self.square = torch.zeros_like(self.vector), torch.zeros_like(self.vector)
        self.steps = torch.tensor(0.0)

    @staticmethod
    def suit(model: nn.Module, device: torch.device) -> bool:
        """Whether ``model`` is one of the three, in float32, on a CPU that oneDNN serves."""
        return (
            type(model) in _GRADIENTS
            and device.type == "cpu"
            and torch.backends.mkldnn.is_available()
            and all(parameter.dtype == torch.float32 for parameter in model.parameters())
        )

    @torch.no_grad()
    def learn(self, images: Tensor, labels: Tensor, batch_size: int) -> Tensor:
        """A step for each batch of ``images`` (N, 1, 28, 28); the logits (N, 10) before each."""
        targets = F.one_hot(labels, 10).to(images.dtype)
        outputs = []
        for batch, target in zip(images.split(batch_size), targets.split(batch_size), strict=True):
            outputs.append(self.gradients(batch, target, self.parameters, self.parts))
            self._update()
        return torch.cat(outputs)

    def _update(self) -> None:
        adam(
            [self.vector],
            [self.gradient],
            [self.mean],
            [self.square],
            [],
            [self.steps],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


def fast_forward(model: nn.Module, images: Tensor) -> Tensor:
    """``model(images)``, with the CNN's activations in oneDNN's layout where that is possible."""
    if type(model) is CNN and FastSteps.suit(model, images.device):
        return _cnn(images, list(model.parameters()))
    return model(images)


def _error(logits: Tensor, target: Tensor) -> Tensor:
    """The gradient of the mean cross-entropy: (softmax(logits) - one-hot) / N."""
    return logits.softmax(1).sub_(target).div_(len(target))


def _logistic_gradients(
    images: Tensor, target: Tensor, parameters: Sequence[Tensor], out: Sequence[Tensor]
) -> Tensor:
    weight, bias = parameters
    x = images.flatten(1)
    scores = torch.addmm(bias, x, weight.T).sigmoid_()
    delta = _error(scores, target).mul_(scores).mul_(1 - scores)
    torch.mm(delta.T, x, out=out[0])
    torch.sum(delta, 0, out=out[1])
    return scores


def _fnn_gradients(
    images: Tensor, target: Tensor, parameters: Sequence[Tensor], out: Sequence[Tensor]
) -> Tensor:
    hidden_weight, hidden_bias, output_weight, output_bias = parameters
    x = images.flatten(1)
    hidden = torch.addmm(hidden_bias, x, hidden_weight.T).relu_()
    logits = torch.addmm(output_bias, hidden, output_weight.T)
    delta = _error(logits, target)
    torch.mm(delta.T, hidden, out=out[2])
    torch.sum(delta, 0, out=out[3])
    delta = torch.mm(delta, output_weight).mul_(hidden > 0)
    torch.mm(delta.T, x, out=out[0])
    torch.sum(delta, 0, out=out[1])
    return logits


def _cnn_gradients(
    images: Tensor, target: Tensor, parameters: Sequence[Tensor], out: Sequence[Tensor]
) -> Tensor:
    weight1, bias1, weight2, bias2, hidden_weight, hidden_bias, weight, bias = parameters
    x = images.to_mkldnn()
    conv1 = F.conv2d(x, weight1, bias1, padding=1)
    pool1 = _max_pool(conv1)
    relu1 = pool1.relu()
    conv2 = F.conv2d(relu1, weight2, bias2, padding=1)
    pool2 = _max_pool(conv2)
    features = pool2.to_dense().relu_()
    flat = features.flatten(1)
    hidden = torch.addmm(hidden_bias, flat, hidden_weight.T).relu_()
    logits = torch.addmm(bias, hidden, weight.T)

    delta = _error(logits, target)
    torch.mm(delta.T, hidden, out=out[6])
    torch.sum(delta, 0, out=out[7])
    delta = aten.threshold_backward(torch.mm(delta, weight), hidden, 0)
    torch.mm(delta.T, flat, out=out[4])
    torch.sum(delta, 0, out=out[5])
    delta = aten.threshold_backward(torch.mm(delta, hidden_weight), flat, 0)
    delta = delta.view_as(features).to_mkldnn()
    delta = aten.mkldnn_max_pool2d_backward(delta, pool2, conv2, [2, 2], [2, 2])
    delta, *second = _convolution_backward(delta, relu1, weight2, [True, True, True])
    delta = aten.threshold_backward(delta, relu1, 0)
    delta = aten.mkldnn_max_pool2d_backward(delta, pool1, conv1, [2, 2], [2, 2])
    _, *first = _convolution_backward(delta, x, weight1, [False, True, True])
    torch._foreach_copy_(list(out[:4]), [*first, *second])
    return logits


def _max_pool(maps: Tensor) -> Tensor:
    # oneDNN keeps what its backward pass needs only if the input asks for gradients.
    with torch.enable_grad():
        return F.max_pool2d(maps.requires_grad_(), 2, 2).detach()


def _convolution_backward(
    delta: Tensor, images: Tensor, weight: Tensor, wanted: list[bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of a 3x3 convolution with padding 1 for its input, weight and bias."""
    one, none = [1, 1], [0, 0]
    return aten.convolution_backward(
        delta, images, weight, [len(weight)], one, one, one, False, none, 1, wanted
    )


def _cnn(images: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    weight1, bias1, weight2, bias2, hidden_weight, hidden_bias, weight, bias = parameters
    x = images.to_mkldnn()
    x = F.max_pool2d(F.conv2d(x, weight1, bias1, padding=1), 2, 2).relu()
    x = F.max_pool2d(F.conv2d(x, weight2, bias2, padding=1), 2, 2).relu()
    hidden = F.linear(x.to_dense().flatten(1), hidden_weight, hidden_bias).relu()
    return F.linear(hidden, weight, bias)


_GRADIENTS: dict[type[nn.Module], Callable[..., Tensor]] = {
    LogisticRegression: _logistic_gradients,
    FNN: _fnn_gradients,
    CNN: _cnn_gradients,
}
