import torch
from torch import nn
from torch.utils.data import DataLoader, Sampler, Subset
from torchvision import transforms


class Shuffled(Sampler):
    """The indices in a new order at each pass; never touches the global random state."""

    def __init__(self, length):
        self.length = length
        self.generator = torch.Generator()
        self.generator.seed()

    def __len__(self):
        return self.length

    def __iter__(self):
        yield from torch.randperm(self.length, generator=self.generator).tolist()


def train_transform():
    warps = nn.Sequential(
        transforms.Resize((28, 28)),
        transforms.RandomRotation(10, interpolation=transforms.InterpolationMode.BILINEAR),
        transforms.RandomPerspective(0.2, 0.5),
    )
    finish = nn.Sequential(
        transforms.ConvertImageDtype(torch.float32), transforms.Normalize(0.1307, 0.3081)
    )
    return lambda image: finish(transforms.functional.pil_to_tensor(warps(image)))


def test_transform():
    resize = transforms.Resize((28, 28), interpolation=transforms.InterpolationMode.BICUBIC)
    return transforms.Compose([resize, transforms.ToTensor(), transforms.Normalize(0.1307, 0.3081)])


def downsample(dataset, size, seed=0):
    assert seed is not None
    indices = list(range(len(dataset)))
    generator = torch.Generator().manual_seed(seed)
    for i in range(len(indices) - 1, 0, -1):  # Fisher-Yates
        j = torch.randint(0, i + 1, (1,), generator=generator).item()
        indices[i], indices[j] = indices[j], indices[i]
    if size > len(indices):
        raise ValueError(f"size {size} exceeds {len(indices)}")
    return Subset(dataset, indices[:size])


def make_loaders(train_set, test_set, batch_size=64):
    train_loader = DataLoader(train_set, batch_size=batch_size, sampler=Shuffled(len(train_set)))
    return train_loader, DataLoader(test_set, batch_size=batch_size)
