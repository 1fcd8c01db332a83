"""Batched augmentation: the lab's, Kornia's and torchvision's image by image, in turn.

    pip install kornia; python benchmarks/augmentation.py

Rotation within 10 degrees, perspective (0.2, every other image), normalisation; Kornia's batched
transforms draw and warp in its own way (both bilinear), so the results differ, not the work.
"""

import argparse
import json
import sys
from pathlib import Path

import measure
import torch
import usual
from torchvision import transforms

from mnist_lab.augment import augment, draw
from mnist_lab.contract import MEAN, STD
from mnist_lab.data import load

BATCH = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of MNIST, as for mnist-lab")
    parser.add_argument("--images", type=int, default=10_240, help="images a round (10,240)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (5)")
    parser.add_argument("--json", type=Path, help="write the measurements to this file")
    options = parser.parse_args()

    try:
        import kornia.augmentation as kornia
    except ImportError:
        sys.exit("The peer is missing: run `pip install kornia`.")
    images = load("auto", options.data).train.images[: options.images]
    batched = torch.nn.Sequential(
        kornia.RandomRotation(10.0, p=1.0),
        kornia.RandomPerspective(0.2, p=0.5),
        kornia.Normalize(torch.tensor([MEAN]), torch.tensor([STD])),
    )
    to_image = transforms.ToPILImage()

    def ours():
        draws = draw(0, 0, len(images))
        for chosen in torch.arange(len(images)).split(BATCH):
            augment(images[chosen], draws[chosen])

    def kornias():
        for part in images.split(BATCH):
            batched(part.unsqueeze(1).float().div_(255))

    def torchvisions():
        for image in images:
            usual.TRAIN(to_image(image))

    works = {"mnist-lab": ours, "Kornia": kornias, "torchvision": torchvisions}
    for work in (ours, kornias):
        work()
    taken = measure.interleaved(works, options.rounds)
    middle = measure.medians(taken)
    rows = [
        (name, f"{1e6 * time / len(images):.1f} us", f"{time / middle['mnist-lab']:.1f}")
        for name, time in middle.items()
    ]
    note = f"Medians of {options.rounds} interleaved rounds of {len(images)} digits."
    measure.show("Augmentation", ("an image", "ratio"), rows, note)
    if options.json:
        options.json.write_text(json.dumps({"seconds": taken, **vars(options)}, default=str) + "\n")


if __name__ == "__main__":
    main()
