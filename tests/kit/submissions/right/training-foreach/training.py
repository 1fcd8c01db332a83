import torch
from torch import nn, optim


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train()
    outputs, targets = [], []
    for images, labels in loader:
        images = images.to(device)
        labels = labels.to(device)
        optimizer.zero_grad(set_to_none=True)
        scores = model(images)
        loss_fn(scores, labels).backward()
        optimizer.step()
        outputs.append(scores.detach())
        targets.append(labels)
    outputs, targets = torch.cat(outputs), torch.cat(targets)
    loss = loss_fn(outputs, targets).item()
    accuracy = (outputs.argmax(1) == targets).double().mean().item()
    return loss, accuracy


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model.to(device)
    optimizer = optim.Adam(model.parameters(), lr=lr, foreach=True)
    loss_fn = nn.CrossEntropyLoss(reduction="mean")
    history = []
    while len(history) < epochs:
        history.append(train_epoch(model, loader, optimizer, loss_fn, device))
    return history
