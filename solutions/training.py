"""Exercise 5: training. ``pytest -k training`` grades it.

Write the loop that every neural network learns by. ``train_epoch`` goes through the data once;
``train`` does so for several epochs. They work for any model that turns a batch of images, as the
loader gives it, into scores (B, 10). A loader is anything that gives batches ``(images, labels)``,
the labels int64 (B,), each time that it is gone through, and has a length, how many batches it
gives: a list of batches is one, a ``DataLoader`` another.

``train_epoch(model, loader, optimizer, loss_fn, device="cpu")`` puts the model in train mode and
for each batch, the short last one too,

    1. clears the gradients of the batch before: ``backward`` adds to what is there,
    2. computes the scores,
    3. computes the loss, ``loss_fn(scores, labels)``: the mean over this batch,
    4. computes the gradients of the loss, ``backward``,
    5. lets the optimizer take one step.

    Train mode, because layers such as dropout and batch normalisation behave differently in
    training, and the model may come from an evaluation.

    It returns ``(loss, accuracy)`` of the epoch: the mean loss over the examples and the fraction
    of them whose highest score was the right digit, both from the scores of step 2, before the step
    that learns from them. Both are plain Python numbers. A loss that is still a tensor keeps the
    whole graph of its batch in memory; ``.item()`` gives its number.

``train(model, loader, epochs=10, lr=1e-3, device="cpu")`` trains the given model, in place, from
the weights that it has, and returns a list with one ``(loss, accuracy)`` an epoch. It uses
``nn.CrossEntropyLoss()`` and one ``torch.optim.Adam`` over all parameters with the learning rate
``lr`` and otherwise PyTorch's defaults. No schedule, no clipping of gradients, no early stop.

    Every epoch goes through the loader itself: one that shuffles gives other batches each time.
    One Adam for all epochs: it scales each parameter's step by averages of its past gradients. A
    new one each epoch would begin without them.

``device`` is where to compute: move every batch there. A model that is to be trained or measured is
there already; to move it again does no harm.

Worked example
    Mean over examples, not over batches. A batch of 3 with mean loss 0.2 and a last batch of 1 with
    loss 1.0: the examples' losses add up to 3 * 0.2 + 1 * 1.0 = 1.6, over 4 examples that is 0.4.
    The mean of the two batches' means, 0.6, would count the last example three times as much.
    30,000 digits in batches of 64 end with a batch of 48.

    One step, by hand. The model is one weight w = 0 per digit, the image one pixel of 1, the label
    0. All scores are 0, so each digit has the probability 0.1 and the loss is ln(10) = 2.3026. The
    gradient of the score of digit 0 is 0.1 - 1 = -0.9, that of the others 0.1. A step of plain
    gradient descent with learning rate 1 moves the weights to 0.9 and -0.1.

    >>> model = nn.Linear(1, 10, bias=False)
    >>> with torch.no_grad():
    ...     weights = model.weight.zero_()
    >>> loader = [(torch.ones(1, 1), torch.tensor([0]))]
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    >>> loss, accuracy = train_epoch(model, loader, optimizer, nn.CrossEntropyLoss())
    >>> round(loss, 4), accuracy
    (2.3026, 1.0)
    >>> [round(weight, 4) for weight in model.weight[:3, 0].tolist()]
    [0.9, -0.1, -0.1]
    >>> len(train(model, loader, epochs=3))
    3

What the checks ask
    What is said above, by comparing with the weights, losses and accuracies of the same few steps
    done from the same weights on the same batches: for ``train_epoch`` with several models,
    optimizers and losses, a model with batch normalisation that arrives in eval mode among them;
    for ``train`` over several epochs, also where the loss rises again or there is nothing left to
    learn; for both on many batches, small and large ones, and for ``train`` over many epochs. The
    model gets the images as the loader gives them, neither flattened nor changed. The loader in the
    checks has its batches and its length and nothing else, and one of them shuffles. Images and
    labels are moved to ``device``, which shows without a GPU. Neither function sets seeds (of
    PyTorch, NumPy or ``random``), default types or PyTorch's gradient mode for the rest of the
    program, or leaves parameters that cannot be trained.

Stuck? ``mnist-lab hint training`` gives a nudge, and ``--more`` nearly the answer.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader


def train_epoch(
    model: nn.Module,
    loader: DataLoader,
    optimizer: torch.optim.Optimizer,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    device: str | torch.device = "cpu",
) -> tuple[float, float]:
    """Train ``model`` on every batch of ``loader`` once.

    ``loss_fn`` takes scores (B, 10) and labels (B,) and gives their mean loss. Returns
    ``(loss, accuracy)``, means over the examples.
    """
    # >>> Take the five steps for each batch; sum up losses and right answers on the way.
    model.to(device)
    model.train()
    total_loss, correct, examples = 0.0, 0, 0
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        optimizer.zero_grad()
        scores = model(images)
        loss = loss_fn(scores, labels)
        loss.backward()
        optimizer.step()
        total_loss += loss.item() * len(labels)
        correct += (scores.argmax(dim=1) == labels).sum().item()
        examples += len(labels)
    return total_loss / examples, correct / examples
    # <<< training.steps, training.results, training.state


def train(
    model: nn.Module,
    loader: DataLoader,
    epochs: int = 10,
    lr: float = 1e-3,
    device: str | torch.device = "cpu",
) -> list[tuple[float, float]]:
    """Train ``model`` in place for ``epochs`` epochs with Adam and cross-entropy.

    Returns one ``(loss, accuracy)`` an epoch, as ``train_epoch`` gives it.
    """
    # >>> Make one optimizer and one loss, then run the epochs and collect what they return.
    model.to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loss_fn = nn.CrossEntropyLoss()
    return [train_epoch(model, loader, optimizer, loss_fn, device) for _ in range(epochs)]
    # <<< training.train, training.state
