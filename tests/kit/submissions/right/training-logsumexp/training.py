import numpy as np
import torch


def loss_function(logits, targets):
    """-log softmax(logits)[target], averaged."""
    log_z = torch.logsumexp(logits, dim=1)
    score = logits.gather(1, targets.unsqueeze(1)).squeeze(1)
    return (log_z - score).mean()


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train()
    losses, accuracies, weights = [], [], []
    for inputs, targets in loader:
        inputs, targets = inputs.to(device), targets.to(device)
        optimizer.zero_grad()
        logits = model(inputs)
        loss = loss_fn(logits, targets)
        loss.backward()
        optimizer.step()
        predictions = logits.detach().cpu().numpy().argmax(axis=1)
        losses.append(loss.item())
        accuracies.append(np.mean(predictions == targets.cpu().numpy()))
        weights.append(len(targets))
    return (
        float(np.average(losses, weights=weights)),
        float(np.average(accuracies, weights=weights)),
    )


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model.to(device)
    optimizer = torch.optim.Adam(
        list(model.parameters()), lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, amsgrad=False
    )
    history = []
    for _ in range(epochs):
        history += [train_epoch(model, loader, optimizer, loss_function, device)]
    return history
