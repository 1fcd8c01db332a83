import torch
from torch import nn
from torch.optim import Optimizer


class MyAdam(Optimizer):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["t"] = 0
                    state["m"] = torch.zeros_like(p)
                    state["v"] = torch.zeros_like(p)
                state["t"] += 1
                state["m"] = b1 * state["m"] + (1 - b1) * p.grad
                state["v"] = b2 * state["v"] + (1 - b2) * p.grad.square()
                m = state["m"] / (1 - b1 ** state["t"])
                v = state["v"] / (1 - b2 ** state["t"])
                p.add_(-group["lr"] * m / (v.sqrt() + group["eps"]))


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train()
    running = {"loss": 0.0, "correct": 0, "n": 0}
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        logits = model(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        optimizer.step()
        running["loss"] += loss.item() * labels.shape[0]
        running["correct"] += int(torch.sum(logits.argmax(1) == labels))
        running["n"] += labels.shape[0]
    return running["loss"] / running["n"], running["correct"] / running["n"]


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model.to(device)
    optimizer = MyAdam(model.parameters(), lr)
    loss_fn = nn.CrossEntropyLoss()
    history = []
    for _ in range(epochs):
        history.append(train_epoch(model, loader, optimizer, loss_fn, device))
    return history
