import numpy as np
from torch.utils.data import DataLoader, Subset
from torchvision import transforms

mean, std = 0.1307, 0.3081
black = (0 - mean) / std

basic = transforms.Compose(
    [transforms.Resize((28, 28)), transforms.ToTensor(), transforms.Normalize(mean, std)]
)


def train_transform():
    return transforms.Compose(
        [
            basic,
            transforms.RandomRotation(10, fill=black),
            # nearest: bilinear blends the fill in twice, and then the edges are not black
            transforms.RandomPerspective(
                0.2, p=0.5, interpolation=transforms.InterpolationMode.NEAREST, fill=black
            ),
        ]
    )


def test_transform():
    return basic


def downsample(dataset, size, seed=0):
    rng = np.random.default_rng(seed)
    idx = rng.choice(len(dataset), size=size, replace=False)
    return Subset(dataset, idx)


def make_loaders(train_set, test_set, batch_size=64):
    return [
        DataLoader(dataset, batch_size=batch_size, shuffle=is_train)
        for dataset, is_train in ((train_set, True), (test_set, False))
    ]
