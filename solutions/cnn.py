"""Exercise 4: a convolutional network. ``pytest -k cnn`` grades it.

Build ``CNN``, a network that looks at neighbourhoods before it looks at the whole:

    layer                                          shape of one image      parameters
    (the image)                                     1 x 28 x 28
    convolution 3x3, 16 filters, zero padding 1    16 x 28 x 28       16 * (1 * 9) + 16 =     160
    ReLU                                           16 x 28 x 28
    max-pool 2                                     16 x 14 x 14
    convolution 3x3, 32 filters, zero padding 1    32 x 14 x 14      32 * (16 * 9) + 32 =   4,640
    ReLU                                           32 x 14 x 14
    max-pool 2                                     32 x  7 x  7
    flatten                                        1568
    linear                                          128              1568 * 128 + 128 = 200,832
    ReLU                                            128
    linear                                           10                 128 * 10 + 10 =   1,290
                                                                                         206,922

Why convolutions
    A linear layer has a weight for every pixel and must learn a stroke anew wherever it occurs. A
    filter is one 3x3 patch of weights that visits every position: what it has learnt in one corner
    holds in the others, for 9 weights instead of 784.

Where 1,568 comes from
    A filter of size 3 that slides over 28 pixels with one pixel of padding on either side has
    28 + 2 * 1 - 3 + 1 = 28 places to stand, so padding keeps the size. A max-pool of 2 keeps the
    largest of every 2x2 pixels and halves it: 28 -> 14 -> 7. After the second pool an image is
    32 maps of 7x7, and 32 * 7 * 7 = 1568. A wrong padding shows up right there, as a size that the
    first linear layer refuses.

Why three ReLUs and no softmax
    A convolution is linear, so without a ReLU it merges with the layer that follows, as in
    exercise 3. The last layer gives raw scores, because ``CrossEntropyLoss`` has the softmax.

Worked example
    One filter, one place. The 3x3 pixels under it and its weights (it looks for a vertical edge):

        0 0 1      -1 0 1
        0 0 1      -1 0 1      products add up to 1 + 1 + 1 = 3; with bias -0.5 the map has 2.5 here
        0 0 1      -1 0 1

    If the 2x2 places are 2.5, -1, 0.5 and -3, then ReLU makes them 2.5, 0, 0.5 and 0, and the
    max-pool keeps 2.5. And the whole network:

    >>> import torch
    >>> model = CNN()
    >>> model(torch.zeros(5, 1, 28, 28)).shape
    torch.Size([5, 10])
    >>> sum(parameter.numel() for parameter in model.parameters())
    206922

What the checks ask
    - ``CNN()`` takes no arguments and has the 206,922 trainable parameters above and no others: the
      weights of a layer in one parameter, its biases in another.
    - Images (N, 1, 28, 28) become scores (N, 10) of the same dtype, float32 or float64, for any N
      from 1 up.
    - The scores are those of the layers above, in that order, and nothing else (no dropout, no
      batch normalisation, no softmax), whatever the weights are.
    - The same image always gets the same scores, whichever images are beside it and in train mode
      too: the same digits are given 60 times in each mode. The images are not changed, and
      nothing is seeded. The model keeps weights of its own, on whatever device it was moved to.
    - Any first weights will do that differ from filter to filter; filters that start equal stay
      equal. Guessing costs ln(10) = 2.30, and the untrained network's loss lies between 1.5 and 10.
      The loss reaches every parameter, and 40 steps of Adam (learning rate 0.001) on one batch of
      8 digits bring it below 0.3.
    - With ``--full``: trained by the lab for ten epochs, it reads at least 97.5 % of the test
      digits correctly (92 % where MNIST is not at hand and the sample takes its place).

Stuck? ``mnist-lab hint cnn`` gives a nudge, and ``--more`` nearly the answer.
"""

from torch import Tensor, nn


class CNN(nn.Module):
    """Two convolutions, each with ReLU and max-pool, then two linear layers with a ReLU between."""

    def __init__(self) -> None:
        super().__init__()
        # >>> Create the two convolutions and the two linear layers and keep them in self.
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(32 * 7 * 7, 128)
        self.output = nn.Linear(128, 10)
        # <<< cnn.parameters

    def forward(self, images: Tensor) -> Tensor:
        """The scores (N, 10), raw, for ``images`` (N, 1, 28, 28)."""
        # >>> Pass the images through the layers in the order of the table.
        x = self.pool(self.conv1(images).relu())
        x = self.pool(self.conv2(x).relu())
        x = self.hidden(x.flatten(start_dim=1)).relu()
        return self.output(x)
        # <<< cnn.shapes, cnn.network
