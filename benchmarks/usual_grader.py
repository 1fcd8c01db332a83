"""A usual course grader, written plainly: what a course would run without mnist-lab.

It imports a submission's module and asks what such graders ask: are the shapes right, does the
model learn one batch by heart, is the accuracy above a threshold. An ``AssertionError``, or
whatever the submission raises, is a rejection.
"""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from mnist_lab.augment import normalise
from mnist_lab.data import Digits

CLASSES = {"logistic_regression": "LogisticRegression", "fnn": "FNN", "cnn": "CNN"}
OVERFIT = {"logistic_regression": 1.60, "fnn": 0.1, "cnn": 0.3}
ACCURACY = {"logistic_regression": 0.75, "fnn": 0.85, "cnn": 0.88}
EPOCHS = 3


def accepts(file: Path, digits: Digits) -> None:
    """Return if the file of one exercise gets full marks; raise something if it does not."""
    torch.manual_seed(0)
    module = load(file)
    exercise = file.stem
    train = TensorDataset(normalise(digits.train.images), digits.train.labels)
    test = TensorDataset(normalise(digits.test.images), digits.test.labels)
    if exercise in CLASSES:
        grade_model(exercise, getattr(module, CLASSES[exercise]), train, test)
    elif exercise == "preprocessing":
        grade_preprocessing(module, digits)
    elif exercise == "training":
        grade_training(module, train, test)
    else:
        grade_evaluation(module, train, test)


def load(file: Path):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def grade_model(exercise, make, train, test):
    assert make()(torch.rand(32, 1, 28, 28)).shape == (32, 10)

    model = make()
    images, labels = next(iter(DataLoader(train, batch_size=64, shuffle=True)))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(100):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
    assert loss.item() < OVERFIT[exercise]

    model = make()
    fit(model, train, EPOCHS)
    assert accuracy(model, test) > ACCURACY[exercise]


def grade_preprocessing(module, digits):
    image = Image.fromarray(digits.train.images[0].numpy())
    for transform in (module.train_transform(), module.test_transform()):
        result = transform(image)
        assert result.shape == (1, 28, 28)
        assert result.dtype == torch.float32
    assert len(module.downsample(list(range(100)), 30)) == 30

    def items(split, transform):
        pairs = zip(split.images.numpy(), split.labels.tolist(), strict=True)
        return [(transform(Image.fromarray(image)), label) for image, label in pairs]

    train = items(digits.train, module.train_transform())
    test = items(digits.test, module.test_transform())
    train_loader, test_loader = module.make_loaders(train, test, batch_size=32)
    assert next(iter(train_loader))[0].shape == (32, 1, 28, 28)
    model = a_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        for images, labels in train_loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
    correct, seen = 0, 0
    for images, labels in test_loader:
        correct += (model(images).argmax(1) == labels).sum().item()
        seen += len(labels)
    assert correct / seen > ACCURACY["fnn"]


def grade_training(module, train, test):
    model = a_model()
    loader = DataLoader(train, batch_size=64, shuffle=True)
    history = module.train(model, loader, epochs=EPOCHS)
    assert len(history) == EPOCHS
    assert history[-1][0] < history[0][0]
    assert accuracy(model, test) > ACCURACY["fnn"]

    model = a_model()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    loss, right = module.train_epoch(model, loader, optimizer, nn.CrossEntropyLoss())
    assert loss > 0
    assert 0 <= right <= 1


def grade_evaluation(module, train, test):
    model = a_model()
    fit(model, train, EPOCHS)
    loader = DataLoader(test, batch_size=64)
    loss, right = module.evaluate(model, loader)
    assert loss > 0
    assert ACCURACY["fnn"] < right <= 1
    matrix = np.asarray(module.confusion_matrix(model, loader))
    assert matrix.shape == (10, 10)
    assert matrix.sum() == len(test)


def a_model():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))


def fit(model, train, epochs):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        for images, labels in DataLoader(train, batch_size=64, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()


def accuracy(model, test):
    images, labels = test.tensors
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(1) == labels).float().mean().item()
