"""The three classifiers of the course, as the handouts ask for them."""

from torch import Tensor, nn
from torch.nn import functional as F

from mnist_lab.contract import DENSE, DIGITS, FILTERS, HIDDEN, SIDE


class LogisticRegression(nn.Module):
    """One linear layer and a sigmoid: ``(N, 1, 28, 28) -> (N, 10)`` in (0, 1); 7,850 parameters.

    Trained with cross-entropy on the sigmoid's output, as the course does on purpose: scores
    confined to (0, 1) keep the loss above ln(1 + 9/e) = 1.4612 however good the model is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(SIDE * SIDE, DIGITS)

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1)).sigmoid()


class FNN(nn.Module):
    """One hidden layer of 256 ReLUs: ``(N, 1, 28, 28) -> (N, 10)`` logits; 203,530 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(SIDE * SIDE, HIDDEN)
        self.output = nn.Linear(HIDDEN, DIGITS)

    def forward(self, images: Tensor) -> Tensor:
        return self.output(F.relu(self.hidden(images.flatten(1))))


class CNN(nn.Module):
    """Two 3x3 convolutions, each pooled, then two dense layers: ``(N, 1, 28, 28) -> (N, 10)``
    logits; 206,922 parameters.

    ReLU never decreases, so the maximum of ReLUs is the ReLU of the maximum: pooling first gives
    the same values and gradients from a quarter of the ReLUs.
    """

    def __init__(self) -> None:
        super().__init__()
        first, second = FILTERS
        self.conv1 = nn.Conv2d(1, first, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(first, second, kernel_size=3, padding=1)
        self.hidden = nn.Linear(second * 7 * 7, DENSE)
        self.output = nn.Linear(DENSE, DIGITS)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv1(images), 2))
        x = F.relu(F.max_pool2d(self.conv2(x), 2))
        return self.output(F.relu(self.hidden(x.flatten(1))))


MODELS: dict[str, type[nn.Module]] = {
    "logistic_regression": LogisticRegression,
    "fnn": FNN,
    "cnn": CNN,
}
"""The models by the name that the command line and ``results.json`` use, simplest first."""
