"""Exercise 6: evaluation. ``pytest -k evaluation`` grades it.

Measure how good a trained model is. Both functions work for any model that turns a batch of images,
as the loader gives it, into scores (B, 10). A loader is anything that gives batches ``(images,
labels)``, the labels int64 (B,) from 0 to 9, each time that it is gone through, and has a length,
how many batches it gives: a list of batches is one, a ``DataLoader`` another. The digit that a
model reads is the one with the highest score.

``evaluate(model, loader, device="cpu")`` returns ``(loss, accuracy)``: the mean cross-entropy over
all examples, and the fraction of them that were read correctly, both as plain Python numbers.

``confusion_matrix(model, loader, device="cpu")`` returns 10x10 integers: row t, column p counts
the images of the digit t that were read as p. The diagonal holds what was read correctly, each row
adds up to how often its digit occurs. It is 10x10 even if a digit does not occur. A tensor, a NumPy
array or a list of lists will do, as long as its numbers are integers.

Measuring must not change what is measured
    - Eval mode, and the model is left in it: in train mode dropout would answer at random, and
      batch normalisation would both depend on the other images of the batch and change its
      averages with every batch that it sees.
    - No gradients: they are not needed here, and without them there is no graph to store
      (``torch.no_grad()``).
    - The weights and buffers of the model stay as they are.

``device`` is where to compute: move every batch there. A model that is to be trained or measured is
there already; to move it again does no harm.

Why a mean of the batches' means is wrong
    5,000 test digits in batches of 64 are 78 full batches and a last one of 8. The mean of the 79
    batches' means gives the last batch the same say as the others, so each of its 8 digits counts
    as much as 8 of the rest. The result depends on how the data happens to be cut. Sum over
    the examples and divide once by how many there were: then it does not.

Worked example
    Three images in batches of two and one. The model is sure of the first two, a 3 that it reads as
    3 and a 3 that it reads as 5, and right about the last, a 5. Two of three are right: 0.6667. The
    batches' accuracies are 0.5 and 1, whose mean would be 0.75.

    >>> scores = 4 * torch.eye(10)[[3, 5, 5]]
    >>> loader = [(scores[:2], torch.tensor([3, 3])), (scores[2:], torch.tensor([5]))]
    >>> says_what_it_sees = nn.Identity()
    >>> loss, accuracy = evaluate(says_what_it_sees, loader)
    >>> round(accuracy, 4)
    0.6667

    A right answer costs ln(1 + 9 / exp(4)) = 0.1526, the wrong one 4 more: 4.1526. The mean over
    the three is 1.4859.

    >>> round(loss, 4)
    1.4859
    >>> matrix = confusion_matrix(says_what_it_sees, loader)
    >>> int(matrix[3][3]), int(matrix[3][5]), int(matrix[5][3]), int(matrix[5][5])
    (1, 1, 0, 1)

What the checks ask
    What is said above, on models with known answers, batches of unequal sizes and a digit that does
    not occur, and on many batches, small and large ones; that the model is in eval mode while it
    works and afterwards, that no gradients are recorded, and that weights and buffers are what they
    were. The model gets the images as the loader gives them, and the loader has its batches and its
    length and nothing else. They are moved to ``device``, which shows without a GPU. Neither
    function sets seeds (of PyTorch, NumPy or ``random``) or default types, and afterwards PyTorch
    records gradients again and the model can still be trained. Every call computes anew: after the
    next epoch the same model has other weights.

Stuck? ``mnist-lab hint evaluation`` gives a nudge, and ``--more`` nearly the answer.
"""

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader


def evaluate(
    model: nn.Module, loader: DataLoader, device: str | torch.device = "cpu"
) -> tuple[float, float]:
    """``(loss, accuracy)`` of ``model`` over all examples; eval mode, no gradients."""
    # >>> Sum the losses and the right answers over all batches, then divide by the examples.
    model.to(device)
    model.eval()
    loss_fn = nn.CrossEntropyLoss(reduction="sum")
    total_loss, correct, examples = 0.0, 0, 0
    with torch.no_grad():
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            scores = model(images)
            total_loss += loss_fn(scores, labels).item()
            correct += (scores.argmax(dim=1) == labels).sum().item()
            examples += len(labels)
    return total_loss / examples, correct / examples
    # <<< evaluation.evaluate, evaluation.state


def confusion_matrix(
    model: nn.Module, loader: DataLoader, device: str | torch.device = "cpu"
) -> Tensor:
    """Counts (10, 10), row = true digit, column = digit read; eval mode, no gradients."""
    # >>> Count every pair of true and predicted digit.
    model.to(device)
    model.eval()
    matrix = torch.zeros(10, 10, dtype=torch.int64)
    with torch.no_grad():
        for images, labels in loader:
            predictions = model(images.to(device)).argmax(dim=1)
            for true, predicted in zip(labels.tolist(), predictions.tolist(), strict=True):
                matrix[true, predicted] += 1
    return matrix
    # <<< evaluation.confusion_matrix, evaluation.state
