import math

import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision.transforms import v2

SIGNS = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]])


class TooFewItems(ValueError):
    pass


def sample(pixels, matrix):
    places = F.affine_grid(torch.eye(2, 3)[None], (1, 1, 28, 28), align_corners=False).view(-1, 2)
    places = torch.cat([places, torch.ones(784, 1)], 1) @ matrix.T
    grid = (places[:, :2] / places[:, 2:]).view(1, 28, 28, 2)
    return F.grid_sample(pixels[None], grid, mode="bicubic", align_corners=False)[0]


def rotation():
    turn = math.radians(20 * torch.rand(()).item() - 10)
    cos, sin = math.cos(turn), math.sin(turn)
    return torch.tensor([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def perspective():
    corners = SIGNS * (1 - 0.2 * torch.rand(4, 2))
    rows = []
    for (a, b), (u, v) in zip(corners.tolist(), SIGNS.tolist()):
        rows += [[a, b, 1, 0, 0, 0, -u * a, -u * b], [0, 0, 0, a, b, 1, -v * a, -v * b]]
    solved = torch.linalg.solve(torch.tensor(rows), SIGNS.flatten())
    return torch.cat([solved, torch.ones(1)]).view(3, 3)


def warp(pixels):
    pixels = sample(pixels, rotation())
    return sample(pixels, perspective()) if torch.rand(1) < 0.5 else pixels


def scaled():
    steps = [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True)]
    return [v2.Resize((28, 28)), *steps]


def test_transform():
    return v2.Compose([*scaled(), v2.Normalize([0.1307], [0.3081])])


def train_transform():
    return v2.Compose([*scaled(), v2.Lambda(warp), v2.Normalize([0.1307], [0.3081])])


def downsample(dataset, size, seed=0):
    if size > len(dataset):
        raise TooFewItems(f"{size} of {len(dataset)}")
    generator = torch.Generator().manual_seed(seed)
    return Subset(dataset, torch.randperm(len(dataset), generator=generator)[:size].tolist())


def make_loaders(train_set, test_set, batch_size=64):
    workers = {"num_workers": 3, "persistent_workers": True}
    train = DataLoader(train_set, batch_size=batch_size, shuffle=True, **workers)
    return train, DataLoader(test_set, batch_size=batch_size, **workers)
