import functools
import torch
from torch import nn


def with_meter(fn):
    """gives the decorated function a meter and returns the meter's means"""
    @functools.wraps(fn)
    def wrapper(model, loader, optimizer, loss_fn, device="cpu"):
        meter = [0.0, 0, 0]
        model.train()
        fn(meter, model, loader, optimizer, loss_fn, device)
        return meter[0] / meter[2], meter[1] / meter[2]
    return wrapper


@with_meter
def train_epoch(meter, model, loader, optimizer, loss_fn, device):
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        scores = model(images)
        loss = loss_fn(scores, labels)
        loss.backward()
        optimizer.step()
        meter[0] += loss.item() * len(labels)
        meter[1] += (scores.argmax(1) == labels).sum().item()
        meter[2] += len(labels)


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    opt = torch.optim.Adam(model.parameters(), lr=lr)
    return [train_epoch(model, loader, opt, nn.CrossEntropyLoss(), device) for _ in range(epochs)]
