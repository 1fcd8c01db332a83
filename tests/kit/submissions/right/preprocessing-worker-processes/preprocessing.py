import numpy as np
from torch.utils.data import DataLoader, Subset
from torchvision import transforms

NORMALIZE = transforms.Normalize(mean=(0.1307,), std=(0.3081,))


def train_transform():
    steps = [
        transforms.Resize(size=(28, 28)),
        transforms.RandomRotation(degrees=10),
        transforms.RandomPerspective(distortion_scale=0.2, p=0.5),
        transforms.ToTensor(),
        NORMALIZE,
    ]
    return transforms.Compose(steps)


def test_transform():
    return transforms.Compose([transforms.Resize(size=(28, 28)), transforms.ToTensor(), NORMALIZE])


def downsample(dataset, size, seed=0):
    if size > len(dataset):
        raise ValueError("size")
    order = np.random.RandomState(seed).permutation(len(dataset))
    return Subset(dataset, order[:size].tolist())


def make_loaders(train_set, test_set, batch_size=64):
    train_loader = DataLoader(train_set, batch_size=batch_size, shuffle=True, num_workers=1)
    test_loader = DataLoader(test_set, batch_size=batch_size, num_workers=1)
    return train_loader, test_loader
