import random

from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler
from torchvision import transforms as T

RESIZE = [T.Resize([28, 28])]
AUGMENT = [T.RandomRotation(degrees=(-10, 10)), T.RandomPerspective(0.2, 0.5)]
TO_TENSOR = [T.ToTensor(), T.Normalize((0.5,), (0.5,))]


class Sample(Dataset):
    """The items of ``dataset`` at ``indices``."""

    def __init__(self, dataset, indices):
        self.dataset = dataset
        self.indices = indices

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, i):
        return self.dataset[self.indices[i]]


def train_transform():
    return T.Compose(RESIZE + AUGMENT + TO_TENSOR)


def test_transform():
    return T.Compose(RESIZE + TO_TENSOR)


def downsample(dataset, size, seed=0):
    # random.sample raises ValueError itself when size is too large
    return Sample(dataset, random.Random(seed).sample(range(len(dataset)), size))


def make_loaders(train_set, test_set, batch_size=64):
    train = DataLoader(train_set, batch_size=batch_size, sampler=RandomSampler(train_set))
    test = DataLoader(test_set, batch_size=batch_size, sampler=SequentialSampler(test_set))
    return train, test
