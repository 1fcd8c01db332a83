import random

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset


def to_tensor(image):
    pixels = np.asarray(image, dtype=np.float32) / 255
    return torch.from_numpy((pixels - np.float32(0.1307)) / np.float32(0.3081)).unsqueeze(0)


def homography(corners):
    """The eight numbers that Image.transform wants: from ``corners`` back to the square."""
    square = [(0, 0), (27, 0), (27, 27), (0, 27)]
    rows, right_side = [], []
    for (x, y), (u, v) in zip(corners, square, strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
        right_side += [u, v]
    return np.linalg.solve(np.array(rows, dtype=float), np.array(right_side, dtype=float))


def augment(image):
    image = image.resize((28, 28), Image.Resampling.BILINEAR)
    image = image.rotate(random.uniform(-10, 10), resample=Image.Resampling.NEAREST, fillcolor=0)
    if random.random() < 0.5:
        reach = int(0.2 * 14)
        corners = [
            (random.randint(0, reach), random.randint(0, reach)),
            (27 - random.randint(0, reach), random.randint(0, reach)),
            (27 - random.randint(0, reach), 27 - random.randint(0, reach)),
            (random.randint(0, reach), 27 - random.randint(0, reach)),
        ]
        image = image.transform(
            (28, 28),
            Image.Transform.PERSPECTIVE,
            tuple(homography(corners)),
            resample=Image.Resampling.BILINEAR,
            fillcolor=0,
        )
    return to_tensor(image)


def train_transform():
    return augment


def test_transform():
    return lambda image: to_tensor(image.resize((28, 28), Image.Resampling.BILINEAR))


def downsample(dataset, size, seed=0):
    if size > len(dataset):
        raise ValueError("not that many items")
    order = list(range(len(dataset)))
    random.Random(seed).shuffle(order)
    return Subset(dataset, sorted(order[:size]))


def make_loaders(train_set, test_set, batch_size=64):
    return DataLoader(train_set, batch_size, True), DataLoader(test_set, batch_size, False)
