import torch
from torch import nn


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train()
    loss_sum = 0.0
    correct = 0
    examples = 0

    for x, y in loader:
        x, y = x.to(device), y.to(device)
        seen = {}

        def closure(x=x, y=y, seen=seen):
            optimizer.zero_grad()
            seen["logits"] = model(x)
            loss = loss_fn(seen["logits"], y)
            loss.backward()
            return loss

        loss = optimizer.step(closure)
        loss_sum += loss.item() * len(y)
        correct += (seen["logits"].argmax(1) == y).sum().item()
        examples += len(y)

    return loss_sum / examples, correct / examples


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model.to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.0)
    loss_fn = nn.CrossEntropyLoss()
    history = []
    for _ in range(epochs):
        history.append(train_epoch(model, loader, optimizer, loss_fn, device))
    return history
