from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Meter:
    total: float = 0.0
    count: int = 0

    def add(self, value, n):
        self.total += value
        self.count += n

    @property
    def mean(self):
        return self.total / self.count


class Trainer:
    def __init__(self, model, optimizer, loss_fn, device):
        self.model = model.to(device)
        self.optimizer = optimizer
        self.loss_fn = loss_fn
        self.device = device

    def step(self, images, labels):
        self.optimizer.zero_grad()
        logits = self.model(images)
        loss = self.loss_fn(logits, labels)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), logits.detach()

    def epoch(self, loader):
        self.model.train()
        loss_meter, accuracy_meter = Meter(), Meter()
        with torch.enable_grad():
            for images, labels in loader:
                images, labels = images.to(self.device), labels.to(self.device)
                loss, logits = self.step(images, labels)
                loss_meter.add(loss.item() * len(labels), len(labels))
                accuracy_meter.add((logits.argmax(1) == labels).sum().item(), len(labels))
        return loss_meter.mean, accuracy_meter.mean


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    return Trainer(model, optimizer, loss_fn, device).epoch(loader)


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model.to(device)
    trainer = Trainer(
        model, torch.optim.Adam(model.parameters(), lr=lr), nn.CrossEntropyLoss(), device
    )
    return [trainer.epoch(loader) for _ in range(epochs)]
