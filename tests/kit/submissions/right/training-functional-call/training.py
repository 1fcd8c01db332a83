import torch
from torch import nn
from torch.func import functional_call


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train()
    total, correct, count = 0.0, 0, 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        weights = dict(model.named_parameters())
        scores = functional_call(model, weights, (images,))
        loss = loss_fn(scores, labels)
        gradients = torch.autograd.grad(loss, list(weights.values()))
        for parameter, gradient in zip(weights.values(), gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        total += loss.item() * len(labels)
        correct += (scores.argmax(1) == labels).sum().item()
        count += len(labels)
    return total / count, correct / count


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model = model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    loss_fn = nn.CrossEntropyLoss()
    return [train_epoch(model, loader, optimizer, loss_fn, device) for _ in range(epochs)]
