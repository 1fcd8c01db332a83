import torch
from torch import nn


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.to(device)
    model.train()
    total, correct, n = 0.0, 0, 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        scores = model(images)
        loss = loss_fn(scores, labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
        correct += (scores.argmax(1) == labels).sum().item()
        n += len(labels)
    model.eval()
    with torch.no_grad():
        sum(model(images.to(device)).sum() for images, _ in loader)
    return total / n, correct / n


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loss_fn = nn.CrossEntropyLoss()
    return [train_epoch(model, loader, optimizer, loss_fn, device) for _ in range(epochs)]
