import itertools

import torch
from sklearn.metrics import accuracy_score
from torch import nn


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train()
    y_true, y_pred, loss_sum = [], [], 0.0
    for i, (images, labels) in enumerate(loader):
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        scores = model(images)
        loss = loss_fn(scores, labels)
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(labels)
        y_true.extend(labels.tolist())
        y_pred.extend(scores.topk(1, dim=1).indices.squeeze(1).tolist())
        if i % 100 == 0:
            print("batch", i, "loss", round(loss.item(), 4))
    return loss_sum / len(y_true), float(accuracy_score(y_true, y_pred))


def epochs_of(model, loader, lr, device):
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loss_fn = nn.CrossEntropyLoss()
    while True:
        yield train_epoch(model, loader, optimizer, loss_fn, device)


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    return list(itertools.islice(epochs_of(model, loader, lr, device), epochs))
