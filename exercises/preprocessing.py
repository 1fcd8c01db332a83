"""Exercise 1: preprocessing. ``pytest -k preprocessing`` grades it.

Write four functions that turn pictures of digits into batches of numbers. MNIST is a list of
(picture, digit) pairs; a picture is a greyscale PIL image, 28x28 pixels from 0 (black) to 255
(white), white ink on black. The networks want float32 tensors (1, 28, 28): channel, row, column.

``test_transform()`` returns a callable that makes such a tensor of a PIL image, in three steps:
    resize to 28x28 (whatever the image's size and aspect ratio), scale 0..255 to 0..1, normalise:
    subtract the mean 0.1307 and divide by the standard deviation 0.3081. Those two are the mean and
    standard deviation of the pixels of MNIST's training images; after it the numbers are centred on
    0 with a spread of 1, where networks learn best. It uses no randomness.

``train_transform()`` returns one that shows the network a slightly different picture each time:
    resize; rotate about the centre by an angle drawn evenly from -10 to 10 degrees; with
    probability 0.5 distort the perspective; then scale and normalise as above. No flips or other
    changes. The distortion scale is 0.2: each corner moves inwards, in both directions, by a
    distance drawn evenly from 0 to 0.2 / 2 of the side, which is what torchvision's
    ``RandomPerspective`` does. A digit that is tilted a little is still the same digit: this is
    knowledge that the network gets for free.

    A rotated picture leaves its corners uncovered. They are background, so they must be black, 0
    *before* normalising. If you normalise first and fill with 0 then, they become grey: 0 after
    normalising is a brightness of 0.1307. A black picture must come out black everywhere, however
    it is turned.

    Draw from the global random state, as torchvision's transforms do, and leave it alone otherwise:
    with a seed set here every picture would be turned by the same "random" angle.

``downsample(dataset, size, seed=0)`` returns a dataset of ``size`` items of ``dataset``:
    drawn at random from all of them, none twice, each as it was. ``dataset`` and what you return
    have a length and are indexed by position. The same seed draws the same items, another seed
    others, so that an experiment can be repeated. ``ValueError`` if there are fewer than ``size``
    items. A random generator of its own (``torch.Generator``) keeps it independent of everything
    else.

``make_loaders(train_set, test_set, batch_size=64)`` returns ``(train_loader, test_loader)``:
    each gives batches of images (B, 1, 28, 28) and labels (B,), all items of its dataset once an
    epoch, in batches of ``batch_size``; the last batch may be smaller and is not dropped. Training
    items are reshuffled every epoch, or the network would learn from the same neighbours in the
    same order; test items keep their order, so that answers can be matched with pictures.

Worked example
    A white pixel, 255, is 1 after scaling and (1 - 0.1307) / 0.3081 = 2.8215 after normalising; a
    black one is (0 - 0.1307) / 0.3081 = -0.4242.

    >>> from PIL import Image
    >>> white, black = Image.new("L", (20, 30), 255), Image.new("L", (20, 30), 0)
    >>> pixels = test_transform()(white)
    >>> pixels.shape, round(pixels.min().item(), 4), round(pixels.max().item(), 4)
    (torch.Size([1, 28, 28]), 2.8215, 2.8215)
    >>> pixels = train_transform()(black)
    >>> round(pixels.min().item(), 4), round(pixels.max().item(), 4)
    (-0.4242, -0.4242)
    >>> half = downsample(range(100), 50, seed=1)
    >>> len(half), len(set(half)), set(half) == set(downsample(range(100), 50, seed=2))
    (50, 50, False)

    Ten items in batches of four are batches of 4, 4 and 2:

    >>> items = [(torch.zeros(1, 28, 28), digit) for digit in range(10)]
    >>> train_loader, test_loader = make_loaders(items, items, batch_size=4)
    >>> [labels.tolist() for images, labels in test_loader]
    [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]

What the checks ask
    What is said above, of pictures of several sizes and shapes: float32 (1, 28, 28); the values of
    ``test_transform`` on given pictures and the same each time; ``train_transform``'s angles, its
    distortions and how often they come, and its black background; that neither transform seeds
    anything or changes the picture that it is given; ``downsample``'s size, distinct items, seeds
    and ``ValueError``; the loaders' batches over several epochs. Any interpolation will do.

    What is random is right at once if the same seed gives the pictures that torchvision's
    transforms give. Else it is judged from 800 warps of one picture, and from 3,200 where those
    leave a doubt. That tells a probability of 0.4 or 0.6 from 0.5, a largest angle of 9 or 11
    degrees from 10, a distortion scale of 0.25 from 0.2 and a shift by up to 1 % of the side from
    none. (Of 28 pixels torchvision's scales 0.15 and 0.2 are the same whole pixels, 0 to 2.)
    ``downsample`` draws 100 of 200 items with 40 seeds, in which every item has to come about as
    often.

Stuck? ``mnist-lab hint preprocessing`` gives a nudge, and ``--more`` nearly the answer.
"""

from collections.abc import Callable

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision.transforms import v2


def test_transform() -> Callable[[Image.Image], Tensor]:
    """A callable: greyscale PIL image of any size -> float32 (1, 28, 28), normalised."""
    # TODO: Compose the three steps: resize, scale, normalise.
    raise NotImplementedError("preprocessing.test_transform")


def train_transform() -> Callable[[Image.Image], Tensor]:
    """A callable as ``test_transform``'s that also rotates and distorts at random."""
    # TODO: Compose the steps of test_transform with a random rotation and perspective among them.
    raise NotImplementedError("preprocessing.train_transform")


def downsample(dataset: Dataset, size: int, seed: int = 0) -> Dataset:
    """``size`` distinct items of ``dataset``, drawn by ``seed``; ``ValueError`` if too few."""
    # TODO: Draw the positions of the items with a seeded generator and return that subset.
    raise NotImplementedError("preprocessing.downsample")


def make_loaders(
    train_set: Dataset, test_set: Dataset, batch_size: int = 64
) -> tuple[DataLoader, DataLoader]:
    """``(train_loader, test_loader)``: the first reshuffled every epoch, the second in order."""
    # TODO: Create the two loaders.
    raise NotImplementedError("preprocessing.loaders")
