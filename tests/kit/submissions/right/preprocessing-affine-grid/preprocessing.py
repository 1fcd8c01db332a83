import math

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2


def pixels(image):
    image = image.resize((28, 28))
    data = torch.tensor(list(image.tobytes()), dtype=torch.float32)
    return data.view(1, 28, 28) / 255


def normalise(x):
    return (x - 0.1307) / 0.3081


def rotate(x, degrees):
    a = math.radians(degrees)
    matrix = torch.tensor([[math.cos(a), -math.sin(a), 0.0], [math.sin(a), math.cos(a), 0.0]])
    grid = F.affine_grid(matrix.unsqueeze(0), [1, 1, 28, 28], align_corners=False)
    return F.grid_sample(x.unsqueeze(0), grid, align_corners=False).squeeze(0)


def train_transform():
    perspective = v2.RandomPerspective(0.2, 0.5)

    def transform(image):
        x = rotate(pixels(image), 20 * torch.rand(1).item() - 10)
        return normalise(perspective(x))

    return transform


def test_transform():
    return lambda image: normalise(pixels(image))


class Picked(Dataset):
    def __init__(self, parent, n, seed):
        self.parent = parent
        rng = torch.Generator()
        rng.manual_seed(seed)
        self.which = torch.randperm(len(parent), generator=rng).tolist()[:n]

    def __len__(self):
        return len(self.which)

    def __getitem__(self, k):
        if k >= len(self.which):
            raise IndexError(k)
        return self.parent[self.which[k]]


def downsample(dataset, size, seed=0):
    if len(dataset) < size:
        raise ValueError("the dataset is too small")
    return Picked(dataset, size, seed)


def make_loaders(train_set, test_set, batch_size=64):
    return DataLoader(train_set, batch_size, shuffle=True), DataLoader(test_set, batch_size)
