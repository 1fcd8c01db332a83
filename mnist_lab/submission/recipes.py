"""What a learner's functions are tried on: small models, losses, datasets and loaders that the
learner's side makes from plain data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

__all__ = ["LOSSES", "MODELS", "CountedLoader", "Items", "Pairs", "make_model"]


class Linear(nn.Module):
    """Flatten and one linear layer."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.linear = _linear(weights["linear.weight"])

    def forward(self, images: Tensor) -> Tensor:
        return self.linear(images.flatten(1))


class MLP(nn.Module):
    """Flatten, a linear layer, ReLU, a linear layer."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.hidden = _linear(weights["hidden.weight"])
        self.output = _linear(weights["output.weight"])

    def forward(self, images: Tensor) -> Tensor:
        return self.output(self.hidden(images.flatten(1)).relu())


class Normed(nn.Module):
    """As ``MLP`` with batch normalisation before the ReLU: train and eval mode differ."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.hidden = _linear(weights["hidden.weight"])
        self.norm = nn.BatchNorm1d(len(weights["hidden.weight"]))
        self.output = _linear(weights["output.weight"])

    def forward(self, images: Tensor) -> Tensor:
        return self.output(self.norm(self.hidden(images.flatten(1))).relu())


class Scripted(nn.Module):
    """Answers image i, whose first pixel is i, with row i of a table, plus an offset."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.table: Tensor
        self.register_buffer("table", torch.empty_like(weights["table"]))
        self.offset = nn.Parameter(torch.zeros(weights["table"].shape[1]))

    def forward(self, images: Tensor) -> Tensor:
        return self.table[images[:, 0, 0, 0].round().long()] + self.offset


MODELS: dict[str, Callable[[Mapping[str, Tensor]], nn.Module]] = {
    "linear": Linear,
    "mlp": MLP,
    "normed": Normed,
    "scripted": Scripted,
}

LOSSES: dict[str, Callable[[], nn.Module]] = {
    "cross_entropy": nn.CrossEntropyLoss,
    "smoothed": lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
}


def make_model(kind: str, weights: Mapping[str, Tensor]) -> nn.Module:
    """The model of ``kind`` with these weights, of their sizes and dtype."""
    model = MODELS[kind](weights)
    dtype = next(value.dtype for value in weights.values() if value.is_floating_point())
    missing, unexpected = model.to(dtype).load_state_dict(dict(weights), strict=False)
    if unexpected or set(missing) - {"norm.num_batches_tracked", "offset"}:
        raise ValueError(f"a {kind} model has no {unexpected}, and needs {missing}")
    return model


class Items(Dataset[tuple[Tensor, int]]):
    """``count`` different items: image i is filled with i, its label is i modulo 10."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        if not -self.count <= index < self.count:
            raise IndexError(f"there is no item {index} of {self.count}")
        index %= self.count
        return torch.full((1, 28, 28), float(index)), index % 10


class Pairs(Dataset[tuple[Tensor, int]]):
    """Images with their labels as plain integers, as torchvision's MNIST has them."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.labels[index]


class CountedLoader(DataLoader[tuple[Tensor, ...]]):
    """A loader of images and labels in order that counts how often it was gone through."""

    passes = 0

    def __init__(self, images: Tensor, labels: Tensor, batch_size: int) -> None:
        super().__init__(TensorDataset(images, labels), batch_size=batch_size)

    def __iter__(self) -> Iterator[list[Tensor]]:  # type: ignore[override]
        self.passes += 1
        return super().__iter__()


def _linear(weight: Tensor) -> nn.Linear:
    return nn.Linear(weight.shape[1], weight.shape[0])
