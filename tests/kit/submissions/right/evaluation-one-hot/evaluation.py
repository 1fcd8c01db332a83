import torch
import torch.nn.functional as F


@torch.no_grad()
def evaluate(model, loader, device="cpu"):
    model.to(device)
    model.train(False)
    losses, hits = [], []
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        log_p = F.log_softmax(model(images), dim=1)
        losses.append(F.nll_loss(log_p, labels, reduction="none"))
        hits.append(log_p.argmax(1) == labels)
    return torch.cat(losses).mean().item(), torch.cat(hits).double().mean().item()


@torch.no_grad()
def confusion_matrix(model, loader, device="cpu"):
    model.to(device)
    model.train(False)
    matrix = torch.zeros(10, 10, dtype=torch.long, device=device)
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        true = F.one_hot(labels, 10)
        predicted = F.one_hot(model(images).argmax(1), 10)
        matrix += (true.unsqueeze(2) * predicted.unsqueeze(1)).sum(0)
    return matrix.cpu()
