import torch
from sklearn import metrics

DIGITS = list(range(10))


def predictions(model, loader, device):
    """Probabilities (n, 10) and true labels (n,) as NumPy arrays."""
    model.to(device).eval()
    outputs, labels = [], []
    with torch.no_grad():
        for images, targets in loader:
            outputs.append(model(images.to(device)).double().softmax(dim=1).cpu())
            labels.append(targets)
    return torch.cat(outputs).numpy(), torch.cat(labels).numpy()


def evaluate(model, loader, device="cpu"):
    probabilities, labels = predictions(model, loader, device)
    loss = metrics.log_loss(labels, probabilities, labels=DIGITS)
    accuracy = metrics.accuracy_score(labels, probabilities.argmax(axis=1))
    return float(loss), float(accuracy)


def confusion_matrix(model, loader, device="cpu"):
    probabilities, labels = predictions(model, loader, device)
    return metrics.confusion_matrix(labels, probabilities.argmax(axis=1), labels=DIGITS)
