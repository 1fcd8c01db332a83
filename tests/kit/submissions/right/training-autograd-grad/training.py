import torch
from torch import nn


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    total = right = n = 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = loss_fn(logits, labels)
        for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p.grad = g
        optimizer.step()
        total += loss.item() * images.shape[0]
        right += torch.count_nonzero(logits.argmax(dim=1) == labels).item()
        n += images.shape[0]
    return total / n, right / n


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loss_fn = nn.CrossEntropyLoss()
    return [train_epoch(model, loader, optimizer, loss_fn, device) for epoch in range(epochs)]
