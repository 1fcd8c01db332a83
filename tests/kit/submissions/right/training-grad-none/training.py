import torch
from torch import nn


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model = model.train().to(device)
    losses, sizes, right = [], [], 0
    for batch in loader:
        x, y = (t.to(device) for t in batch)
        for p in model.parameters():
            p.grad = None
        logits = model(x)
        loss = loss_fn(logits, y)
        loss.backward()
        optimizer.step()
        _, predicted = torch.max(logits, 1)
        right += int((predicted == y).sum())
        losses.append(float(loss))
        sizes.append(len(y))
    n = sum(sizes)
    mean = sum(loss * size for loss, size in zip(losses, sizes, strict=True)) / n
    return mean, right / n


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    criterion = nn.CrossEntropyLoss()
    history = []
    for _epoch in range(epochs):
        loss, accuracy = train_epoch(model, loader, optimizer, criterion, device)
        history.append((loss, accuracy))
    return history
