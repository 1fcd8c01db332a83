import torch
from torch import nn


def evaluate(model, loader, device="cpu"):
    model.to(device)
    model.eval()
    loss_fn = nn.CrossEntropyLoss()
    total, correct, n = 0.0, 0, 0
    with torch.no_grad():
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            outputs = model(images)
            total += loss_fn(outputs, labels).item() * labels.size(0)
            correct += (outputs.argmax(1) == labels).sum().item()
            n += labels.size(0)
    return total / n, correct / n


def confusion_matrix(model, loader, device="cpu"):
    model.to(device)
    model.eval()
    matrix = torch.zeros(10, 10, dtype=torch.int64)
    with torch.no_grad():
        for images, labels in loader:
            predictions = model(images.to(device)).argmax(1)
            matrix[labels, predictions] += 1
    return matrix
