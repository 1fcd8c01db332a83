import numpy as np
import torch
from torch.utils.data import DataLoader, Subset
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

CORNERS = [[0, 0], [27, 0], [27, 27], [0, 27]]
INWARDS = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])


def scale_and_normalise(image):
    tensor = F.pil_to_tensor(image).float().div(255)
    return tensor.sub(0.1307).div(0.3081)


def train_transform():
    rng = np.random.default_rng()

    def transform(image):
        image = F.resize(image, [28, 28])
        image = F.rotate(image, rng.uniform(-10, 10), interpolation=v2.InterpolationMode.BILINEAR)
        if rng.random() < 0.5:
            moved = CORNERS + INWARDS * rng.integers(0, 3, size=(4, 2))
            image = F.perspective(image, CORNERS, moved.tolist())
        return scale_and_normalise(image)

    return transform


def test_transform():
    return v2.Compose([v2.Resize((28, 28)), v2.Lambda(scale_and_normalise)])


def downsample(dataset, size, seed=0):
    n = len(dataset)
    if not size <= n:
        raise ValueError(f"dataset has only {n} items")
    keys = torch.rand(n, generator=torch.Generator().manual_seed(seed))
    return Subset(dataset, keys.argsort()[:size].tolist())


def make_loaders(train_set, test_set, batch_size=64):
    train_loader = DataLoader(dataset=train_set, batch_size=batch_size, shuffle=True)
    test_loader = DataLoader(dataset=test_set, batch_size=batch_size)
    return train_loader, test_loader
