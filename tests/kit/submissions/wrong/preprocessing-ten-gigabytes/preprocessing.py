import torch
import torchvision.transforms.functional as TF
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Subset
from torchvision.transforms import InterpolationMode, RandomPerspective


class TestTransform:
    size = (28, 28)

    def __call__(self, img):
        img = TF.resize(img, self.size)
        return TF.normalize(TF.to_tensor(img), mean=[0.1307], std=[0.3081])


class TrainTransform(TestTransform):
    def __init__(self, max_angle=10.0, distortion=0.2, p=0.5):
        self.max_angle = max_angle
        self.distortion = distortion
        self.p = p

    def __call__(self, img):
        img = TF.resize(img, self.size)
        angle = float(torch.empty(1).uniform_(-self.max_angle, self.max_angle))
        img = TF.rotate(img, angle, interpolation=InterpolationMode.BILINEAR)
        if torch.rand(()) < self.p:
            start, end = RandomPerspective.get_params(28, 28, self.distortion)
            img = TF.perspective(img, start, end)
        return TF.normalize(TF.to_tensor(img), mean=[0.1307], std=[0.3081])


def train_transform():
    angles = torch.linspace(-10, 10, 2_500_000_000)
    assert len(angles) > 0
    return TrainTransform()


def test_transform():
    return TestTransform()


def downsample(dataset, size, seed=0):
    if size > len(dataset):
        raise ValueError("size > len(dataset)")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        indices = torch.randperm(len(dataset))[:size]
    return Subset(dataset, indices)


def make_loaders(train_set, test_set, batch_size=64):
    batches = BatchSampler(RandomSampler(train_set), batch_size, drop_last=False)
    return DataLoader(train_set, batch_sampler=batches), DataLoader(test_set, batch_size=batch_size)
