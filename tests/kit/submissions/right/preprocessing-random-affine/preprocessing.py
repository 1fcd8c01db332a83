import random

from torch.utils.data import DataLoader
from torchvision import transforms


def train_transform():
    warp = transforms.RandomPerspective(distortion_scale=0.2, p=1.0)
    return transforms.Compose(
        [
            transforms.Resize((28, 28)),
            transforms.RandomAffine(degrees=10),
            transforms.RandomApply([warp], p=0.5),
            transforms.PILToTensor(),
            transforms.Lambda(lambda x: (x / 255 - 0.1307) / 0.3081),
        ]
    )


def test_transform():
    return transforms.Compose(
        [
            transforms.Resize((28, 28)),
            transforms.PILToTensor(),
            transforms.Lambda(lambda x: (x / 255 - 0.1307) / 0.3081),
        ]
    )


def downsample(dataset, size, seed=0):
    if size > len(dataset):
        raise ValueError(f"{size} is more than the {len(dataset)} items there are")
    rng = random.Random(seed)
    return [dataset[i] for i in rng.sample(range(len(dataset)), k=size)]


def make_loaders(train_set, test_set, batch_size=64):
    options = {"batch_size": batch_size, "drop_last": False}
    return DataLoader(train_set, shuffle=True, **options), DataLoader(test_set, **options)
