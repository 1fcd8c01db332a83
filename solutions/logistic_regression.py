"""Exercise 2: logistic regression. ``pytest -k logistic_regression`` grades it.

Build ``LogisticRegression``, the simplest classifier of the three:

    images (N, 1, 28, 28)  ->  flatten  ->  linear  ->  sigmoid  ->  outputs (N, 10)
                               (N, 784)     (N, 10)

Each of the ten outputs answers one question: "does it look like a 0?", "like a 1?", and so on.
It adds up the 784 pixels, each with its own weight, adds a bias, and squeezes the sum into (0, 1)
with the sigmoid, 1 / (1 + exp(-x)). Ten digits take 10 * 784 weights and 10 biases: 7,850
parameters.

The sigmoid, and a loss that cannot reach 0
    The course trains this model with ``CrossEntropyLoss`` on the sigmoid's outputs. That is
    deliberate. Cross-entropy takes scores s, turns them into probabilities with a softmax,
    p_k = exp(s_k) / sum_j exp(s_j), and charges -ln(p) for the true digit. Scores between 0 and 1
    are close together, so the softmax can never be sure. The best that can be said is 1 for the
    true digit and 0 for the other nine:

        p = e / (e + 9) = 0.2320        loss = -ln(p) = ln(1 + 9 / e) = 1.4612

    No training gets below that floor. You will see it in the learning curve: this model's loss
    levels off above 1.46 although most digits are read correctly. The other two models give raw
    scores and have no such floor.

Worked example
    One weight and one pixel instead of 784: weight 2, bias -1, pixel 0.8. The sum is
    2 * 0.8 - 1 = 0.6 and the output 1 / (1 + exp(-0.6)) = 0.6457. And the whole model:

    >>> import torch
    >>> model = LogisticRegression()
    >>> outputs = model(torch.zeros(5, 1, 28, 28))
    >>> outputs.shape
    torch.Size([5, 10])
    >>> bool((outputs > 0).all() and (outputs < 1).all())
    True
    >>> sum(parameter.numel() for parameter in model.parameters())
    7850

What the checks ask
    - ``LogisticRegression()`` takes no arguments and has the 7,850 trainable parameters above and
      no others: the weights of the layer in one parameter, its biases in another.
    - Images (N, 1, 28, 28) become outputs (N, 10) of the same dtype, float32 or float64, for any N
      from 1 up.
    - The outputs are those of flatten, linear, sigmoid, and nothing else, whatever the weights are.
    - The same image always gets the same outputs, whichever images are beside it and in train mode
      too: the same digits are given 60 times in each mode. The images are not changed, and
      nothing is seeded. The model keeps weights of its own, on whatever device it was moved to.
    - Any first weights will do, zeros too: guessing costs ln(10) = 2.30, and the untrained model's
      loss lies between 1.5 and 10. The loss reaches every parameter, and 100 steps of Adam
      (learning rate 0.001) on one batch of 64 digits bring it below 1.6.
    - With ``--full``: trained by the lab for ten epochs, it reads at least 86 % of the test digits
      correctly (80 % where MNIST is not at hand and the sample takes its place).

Stuck? ``mnist-lab hint logistic_regression`` gives a nudge, and ``--more`` nearly the answer.
"""

from torch import Tensor, nn


class LogisticRegression(nn.Module):
    """One linear layer and a sigmoid."""

    def __init__(self) -> None:
        super().__init__()
        # >>> Create the linear layer and keep it in self.
        self.linear = nn.Linear(784, 10)
        # <<< logistic_regression.parameters

    def forward(self, images: Tensor) -> Tensor:
        """The outputs (N, 10), each between 0 and 1, for ``images`` (N, 1, 28, 28)."""
        # >>> Flatten each image, apply the linear layer, then the sigmoid.
        return self.linear(images.flatten(start_dim=1)).sigmoid()
        # <<< logistic_regression.shapes, logistic_regression.network
