import torch
from torch import nn


class Recorder:
    """Keeps the scores of every forward pass, through a hook."""

    def __init__(self, model):
        self.scores = []
        self.handle = model.register_forward_hook(self)

    def __call__(self, module, inputs, output):
        self.scores.append(output.detach())


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train()
    recorder, truth, losses = Recorder(model), [], []
    try:
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            for parameter in model.parameters():
                parameter.grad = None
            loss = loss_fn(model(images), labels)
            torch.autograd.backward(loss)
            optimizer.step()
            losses.append(loss.item() * len(labels))
            truth.append(labels)
    finally:
        recorder.handle.remove()
    labels, scores = torch.cat(truth), torch.cat(recorder.scores)
    accuracy = (scores.argmax(dim=1) == labels).double().mean().item()
    return sum(losses) / len(labels), accuracy


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model.to(device)
    counted = sum(1 for _ in loader)
    first, _ = next(iter(loader))
    print(f"{counted} batches of {len(first)}")
    optimizer = torch.optim.Adam([{"params": [p]} for p in model.parameters()], lr=lr)
    return [
        train_epoch(model, loader, optimizer, nn.CrossEntropyLoss(), device)
        for _ in range(epochs)
    ]
