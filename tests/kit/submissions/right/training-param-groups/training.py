import torch
from torch import nn


def zero(optimizer):
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                p.grad.zero_()


def count_correct(logits, labels):
    return sum(int(row.argmax()) == int(label) for row, label in zip(logits, labels, strict=True))


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train(True)
    total, correct, n = 0.0, 0, 0
    for images, labels in loader:
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        zero(optimizer)
        logits = model(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
        correct += count_correct(logits, labels)
        n += len(labels)
    return total / n, correct / n


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model.to(device)
    weights = [p for p in model.parameters() if p.dim() > 1]
    biases = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.Adam([{"params": weights}, {"params": biases}], lr=lr)
    loss_fn = nn.CrossEntropyLoss()
    history = []
    for _ in range(epochs):
        history.append(train_epoch(model, loader, optimizer, loss_fn, device))
    return history
