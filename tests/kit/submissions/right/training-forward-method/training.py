import torch
from torch import nn


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train(True)
    losses, hits, seen = [], 0, 0
    for batch in loader:
        images, labels = (part.to(device) for part in batch)
        scores = model.forward(images)
        loss = loss_fn(scores, labels)
        model.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append((loss.detach() * len(labels)).item())
        hits += int((scores.detach().max(dim=1).indices == labels).sum())
        seen += len(labels)
    return sum(losses) / seen, hits / seen


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, foreach=True)
    return [
        train_epoch(model, loader, optimizer, nn.CrossEntropyLoss(), device) for _ in range(epochs)
    ]
