from collections import Counter

import torch
from torch import nn


def forward_all(model, loader, device):
    model.to(device)
    model.eval()
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        with torch.no_grad():
            yield model(images), labels


def evaluate(model, loader, device="cpu"):
    loss_fn = nn.CrossEntropyLoss()
    loss, accuracy, n = 0.0, 0.0, 0
    for logits, labels in forward_all(model, loader, device):
        k = len(labels)
        # running means, so that no big sums are needed
        n += k
        loss += (loss_fn(logits, labels).item() - loss) * k / n
        accuracy += ((logits.argmax(1) == labels).double().mean().item() - accuracy) * k / n
    return loss, accuracy


def confusion_matrix(model, loader, device="cpu"):
    counts = Counter()
    for logits, labels in forward_all(model, loader, device):
        counts.update(zip(labels.tolist(), logits.argmax(1).tolist(), strict=True))
    return torch.tensor([[counts[true, guess] for guess in range(10)] for true in range(10)])
