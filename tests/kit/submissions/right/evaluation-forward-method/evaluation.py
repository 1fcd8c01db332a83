import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader


def evaluate(
    model: nn.Module, loader: DataLoader, device: str | torch.device = "cpu"
) -> tuple[float, float]:
    """``(loss, accuracy)`` of ``model`` over all examples; eval mode, no gradients."""
    model.to(device)
    model.eval()
    loss_fn = nn.CrossEntropyLoss(reduction="sum")
    total_loss, correct, examples = 0.0, 0, 0
    with torch.no_grad():
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            scores = model.forward(images)
            total_loss += loss_fn(scores, labels).item()
            correct += (scores.argmax(dim=1) == labels).sum().item()
            examples += len(labels)
    return total_loss / examples, correct / examples


def confusion_matrix(
    model: nn.Module, loader: DataLoader, device: str | torch.device = "cpu"
) -> Tensor:
    """Counts (10, 10), row = true digit, column = digit read; eval mode, no gradients."""
    model.to(device)
    model.eval()
    matrix = torch.zeros(10, 10, dtype=torch.int64)
    with torch.no_grad():
        for images, labels in loader:
            predictions = model.forward(images.to(device)).argmax(dim=1)
            for true, predicted in zip(labels.tolist(), predictions.tolist(), strict=True):
                matrix[true, predicted] += 1
    return matrix
