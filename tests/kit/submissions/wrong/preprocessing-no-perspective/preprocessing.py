import torch
from torch.utils.data import DataLoader, random_split
from torchvision.transforms import v2

MEAN, STD = [0.1307], [0.3081]


def train_transform():
    return v2.Compose(
        [
            v2.ToImage(),
            v2.Resize(size=(28, 28), antialias=True),
            v2.RandomRotation(degrees=10),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=MEAN, std=STD),
        ]
    )


def test_transform():
    return v2.Compose(
        [
            v2.ToImage(),
            v2.Resize(size=(28, 28), antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean=MEAN, std=STD),
        ]
    )


def downsample(dataset, size, seed=0):
    rest = len(dataset) - size
    if rest < 0:
        raise ValueError("size is larger than the dataset")
    chosen, _ = random_split(
        dataset, [size, rest], generator=torch.Generator().manual_seed(seed)
    )
    return chosen


def make_loaders(train_set, test_set, batch_size=64):
    g = torch.Generator()
    g.manual_seed(0)
    return (
        DataLoader(train_set, batch_size, shuffle=True, generator=g),
        DataLoader(test_set, batch_size),
    )
