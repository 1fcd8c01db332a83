import torch
from torch import nn


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train()
    optimizer.zero_grad()
    n = 0
    sum_loss = torch.zeros((), device=device)
    sum_correct = torch.zeros((), dtype=torch.long, device=device)
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        sum_loss += loss.detach() * len(labels)
        sum_correct += (logits.argmax(1) == labels).sum()
        n += len(labels)
    return (sum_loss / n).item(), (sum_correct / n).item()


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model.to(device)
    optimizer = torch.optim.Adam([{"params": list(model.parameters()), "lr": lr}])
    loss_fn = nn.CrossEntropyLoss()
    history = []
    for epoch in range(epochs):
        model.train()
        total, correct, n = 0.0, 0, 0
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            logits = model(images)
            loss = loss_fn(logits, labels)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(labels)
            correct += (logits.argmax(1) == labels).sum().item()
            n += len(labels)
        history.append((total / n, correct / n))
        print(f"epoch {epoch + 1}: loss {total / n:.4f}, accuracy {correct / n:.2%}")
    return history
