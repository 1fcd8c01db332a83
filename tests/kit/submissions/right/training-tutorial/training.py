import torch
import torch.nn.functional as F


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train()
    epoch_loss, hits, n = 0, 0, 0
    for X, y in loader:
        X = X.to(device)
        y = y.to(device)
        pred = model(X)
        loss = loss_fn(pred, y)

        model.zero_grad(set_to_none=False)
        loss.backward()
        optimizer.step()

        n += len(X)
        epoch_loss += loss.item() * len(X)
        hits += (pred.argmax(1) == y).type(torch.float).sum().item()
    return epoch_loss / n, hits / n


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model = model.to(device)
    opt = torch.optim.Adam(params=model.parameters(), lr=lr)
    return [train_epoch(model, loader, opt, F.cross_entropy, device) for _ in range(epochs)]
