import torch
import torch.nn.functional as F


def cross_entropy(scores, labels):
    return F.nll_loss(F.log_softmax(scores, dim=1), labels)


def train_epoch(model, loader, optimizer, loss_fn, device="cpu"):
    model.train()
    loss_sum, correct, count = 0.0, 0, 0
    batches = iter(loader)
    while True:
        try:
            images, labels = next(batches)
        except StopIteration:
            break
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        scores = model(images)
        loss = loss_fn(scores, labels)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            batch = labels.numel()
            loss_sum += loss.item() * batch
            correct += scores.argmax(-1).eq(labels).sum().item()
            count += batch
    return loss_sum / count, correct / count


def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
    model.to(device)
    adam = torch.optim.Adam(model.parameters(), lr)
    return [train_epoch(model, loader, adam, cross_entropy, device) for _ in range(epochs)]
