import torch
from torch import nn


def evaluate(model, loader, device="cpu"):
    model.eval()
    criterion = nn.CrossEntropyLoss(reduction="sum")
    size, test_loss, correct = 0, 0, 0
    with torch.no_grad():
        for X, y in loader:
            X, y = X.to(device), y.to(device)
            pred = model(X)
            size += len(y)
            test_loss += criterion(pred, y).item()
            correct += (pred.argmax(1) == y).type(torch.float).sum().item()
    return test_loss / size, correct / size


def confusion_matrix(model, loader, device="cpu"):
    model.eval()
    matrix = [[0] * 10 for _ in range(10)]
    with torch.no_grad():
        for X, y in loader:
            for scores, true in zip(model(X.to(device)).tolist(), y.tolist(), strict=True):
                predicted = scores.index(max(scores))
                matrix[true][predicted] += 1
    return matrix
