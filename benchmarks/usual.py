"""The usual pipeline, written plainly: what a course would run without mnist-lab.

A DataLoader, torchvision's transforms image by image, an eager loop. The digits, the models and
the settings are those of the lab.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from mnist_lab.contract import MEAN, STD
from mnist_lab.data import Digits, Split

TRAIN = transforms.Compose(
    [
        transforms.Resize((28, 28)),
        transforms.RandomRotation(10),
        transforms.RandomPerspective(distortion_scale=0.2, p=0.5),
        transforms.ToTensor(),
        transforms.Normalize((MEAN,), (STD,)),
    ]
)
TEST = transforms.Compose(
    [transforms.Resize((28, 28)), transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))]
)


class LogisticRegression(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(784, 10)

    def forward(self, x):
        return torch.sigmoid(self.linear(torch.flatten(x, 1)))


class FNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(784, 256)
        self.fc2 = nn.Linear(256, 10)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))


class CNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(1568, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.pool(torch.relu(self.conv2(x)))
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))


MODELS = {"logistic_regression": LogisticRegression, "fnn": FNN, "cnn": CNN}


class Images(Dataset):
    """Digits as PIL images through a transform, as ``torchvision.datasets.MNIST`` serves them."""

    def __init__(self, split: Split, transform) -> None:
        self.split, self.transform = split, transform
        self.to_image = transforms.ToPILImage()

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index):
        image = self.to_image(self.split.images[index])
        return self.transform(image), self.split.labels[index].item()


def train(name: str, digits: Digits, epochs: int, seed: int = 0) -> tuple[nn.Module, float]:
    """Train one model and return it with its accuracy on the test digits."""
    torch.manual_seed(seed)
    model = MODELS[name]()
    train_loader = DataLoader(Images(digits.train, TRAIN), batch_size=64, shuffle=True)
    test_loader = DataLoader(Images(digits.test, TEST), batch_size=64)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    accuracy = 0.0
    for _ in range(epochs):
        model.train()
        for images, labels in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
        model.eval()
        correct = 0
        with torch.no_grad():
            for images, labels in test_loader:
                correct += (model(images).argmax(1) == labels).sum().item()
        accuracy = correct / len(digits.test)
    return model, accuracy
