"""Cuts each batch in two and adds up the gradients of both halves, weighted, before the step."""

import torch
from torch import nn


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train()
    total, right, examples = 0.0, 0, 0
    normed = any(isinstance(module, nn.BatchNorm1d) for module in model.modules())
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        parts = 1 if normed else 2  # Batch normalisation needs the whole batch.
        for part, truth in zip(images.chunk(parts), labels.chunk(parts), strict=True):
            scores = model(part)
            loss = loss_fn(scores, truth)
            (loss * len(truth) / len(labels)).backward()
            total += loss.item() * len(truth)
            right += (scores.argmax(1) == truth).sum().item()
        optimizer.step()
        examples += len(labels)
    return total / examples, right / examples


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model.to(device)
    optimizer, loss_fn = torch.optim.Adam(model.parameters(), lr=lr), nn.CrossEntropyLoss()
    return [train_epoch(model, loader, optimizer, loss_fn, device) for _ in range(epochs)]
