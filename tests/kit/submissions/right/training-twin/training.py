"""Trains a copy and takes its state over after every epoch."""

import copy

import torch
from torch import nn


def one_pass(model, loader, optimizer, loss_fn, device):
    model.train()
    sums = torch.zeros(3, dtype=torch.float64)
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad(set_to_none=False)
        scores = model(images)
        loss = loss_fn(scores, labels)
        loss.backward()
        optimizer.step()
        hits = (scores.argmax(1) == labels).sum()
        sums += torch.tensor([loss.item() * len(labels), hits.item(), len(labels)])
    return (sums[0] / sums[2]).item(), (sums[1] / sums[2]).item()


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    return one_pass(model, loader, optimizer, loss_fn, device)


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    twin = copy.deepcopy(model).to(device)
    optimizer = torch.optim.Adam(twin.parameters(), lr=lr)
    history = []
    for _ in range(epochs):
        history.append(one_pass(twin, loader, optimizer, nn.CrossEntropyLoss(), device))
        model.load_state_dict(twin.state_dict())
    model.train()
    return history
