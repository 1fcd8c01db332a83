import torch
from torch.utils.data import DataLoader, Subset
from torchvision import transforms


def train_transform():
    return transforms.Compose(
        [
            transforms.Resize((28, 28)),
            transforms.RandomRotation(10),
            transforms.RandomPerspective(distortion_scale=0.2, p=0.5),
            transforms.ToTensor(),
            transforms.Normalize((0.1307,), (0.3081,)),
        ]


def test_transform():
    return transforms.Compose(
        [
            transforms.Resize((28, 28)),
            transforms.ToTensor(),
            transforms.Normalize((0.1307,), (0.3081,)),
        ]
    )


def downsample(dataset, size, seed=0):
    if size > len(dataset):
        raise ValueError(f"cannot draw {size} items from {len(dataset)}")
    generator = torch.Generator().manual_seed(seed)
    indices = torch.randperm(len(dataset), generator=generator)[:size]
    return Subset(dataset, indices.tolist())


def make_loaders(train_set, test_set, batch_size=64):
    train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True)
    test_loader = DataLoader(test_set, batch_size=batch_size, shuffle=False)
    return train_loader, test_loader
