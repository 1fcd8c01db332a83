"""Exercise 3: a feed-forward network. ``pytest -k fnn`` grades it.

Build ``FNN``, a network with one hidden layer:

    images (N, 1, 28, 28)  ->  flatten  ->  linear  ->  ReLU  ->  linear  ->  scores (N, 10)
                               (N, 784)    (N, 256)    (N, 256)   (N, 10)

The first layer computes 256 weighted sums of the pixels, ReLU(x) = max(x, 0) keeps those that are
positive, and the second layer makes ten scores of them. The layers have 784 * 256 + 256 and
256 * 10 + 10 parameters, 203,530 in all.

Why the ReLU
    Without it the second layer's weights would be applied directly to the first layer's sums:
    W2 (W1 x + b1) + b2 = (W2 W1) x + (W2 b1 + b2). That is one linear layer again, however many
    hidden units it has. The ReLU between them is what lets the network bend.

Why raw scores
    ``CrossEntropyLoss`` begins with a softmax. A softmax of your own before it would squeeze the
    scores into (0, 1), and the loss could not fall below 1.46: the floor that exercise 2 explains.
    So nothing follows the last layer. The digit read is the one with the highest score.

Worked example
    Two pixels, two hidden units, one output. The pixels are (1, 2).

        hidden sums:  1 * 1 - 1 * 2 + 0 = -1  and  0.5 * 1 + 1 * 2 - 1 = 1.5
        after ReLU:   0  and  1.5
        output:       3 * 0 + 2 * 1.5 + 0.5 = 3.5

    And the whole network:

    >>> import torch
    >>> model = FNN()
    >>> model(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 10])
    >>> sum(parameter.numel() for parameter in model.parameters())
    203530

What the checks ask
    - ``FNN()`` takes no arguments and has the 203,530 trainable parameters above and no others: the
      weights of a layer in one parameter, its biases in another.
    - Images (N, 1, 28, 28) become scores (N, 10) of the same dtype, float32 or float64, for any N
      from 1 up.
    - The scores are those of flatten, linear, ReLU, linear, and nothing else (no dropout, no batch
      normalisation, no softmax), whatever the weights are.
    - The same image always gets the same scores, whichever images are beside it and in train mode
      too: the same digits are given 60 times in each mode. The images are not changed, and
      nothing is seeded. The model keeps weights of its own, on whatever device it was moved to.
    - Any first weights will do that differ from unit to unit; hidden units that start equal stay
      equal. Guessing costs ln(10) = 2.30, and the untrained network's loss lies between 1.5 and 10.
      The loss reaches every parameter, and 30 steps of Adam (learning rate 0.001) on one batch of
      64 digits bring it below 0.1.
    - With ``--full``: trained by the lab for ten epochs, it reads at least 95 % of the test digits
      correctly (88 % where MNIST is not at hand and the sample takes its place).

Stuck? ``mnist-lab hint fnn`` gives a nudge, and ``--more`` nearly the answer.
"""

from torch import Tensor, nn


class FNN(nn.Module):
    """Two linear layers with a ReLU between them."""

    def __init__(self) -> None:
        super().__init__()
        # >>> Create the two linear layers and keep them in self.
        self.hidden = nn.Linear(784, 256)
        self.output = nn.Linear(256, 10)
        # <<< fnn.parameters

    def forward(self, images: Tensor) -> Tensor:
        """The scores (N, 10), raw, for ``images`` (N, 1, 28, 28)."""
        # >>> Flatten each image, then apply the first layer, the ReLU and the second layer.
        hidden = self.hidden(images.flatten(start_dim=1)).relu()
        return self.output(hidden)
        # <<< fnn.shapes, fnn.network
