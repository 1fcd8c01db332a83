"""What is asked of a learner's preprocessing: transforms, ``downsample``, ``make_loaders``."""

from __future__ import annotations

import random

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from mnist_lab.submission.protocol import Message
from mnist_lab.submission.recipes import Items, Pairs
from mnist_lab.submission.workbench import (
    ReturnedError,
    Workbench,
    a_pair,
    a_tensor,
    seed_all,
    type_of,
)

__all__ = [
    "downsample",
    "make_loaders",
    "make_transform",
    "reseeds",
    "reseeds_when_made",
    "transform",
]


def make_transform(bench: Workbench, request: Message) -> Message:
    """What ``test_transform`` or ``train_transform`` returns."""
    name = request.fields["name"]
    made = bench.named(name)()
    if not callable(made):
        raise ReturnedError(f"{name}() is a {type_of(made)}, which can't be called with an image.")
    return Message({"id": bench.keep(made)})


def transform(bench: Workbench, request: Message) -> Message:
    """Images, each transformed some times, stacked; ``kind`` names their type if they are no
    tensors but pictures or arrays.
    """
    apply, fields = bench.objects[request.fields["id"]], request.fields
    seed_all(fields["seed"])
    made: list[Tensor] = []
    kind = ""
    for index in range(fields["images"]):
        image = request.arrays[f"images.{index}"]
        for _ in range(fields["repeats"]):
            result = apply(_picture(image))
            kind = kind or ("" if isinstance(result, Tensor) else type_of(result))
            made.append(a_tensor(_pixels(result), "The transform"))
    shapes = {tuple(one.shape) for one in made}
    kinds = {one.dtype for one in made}
    if len(shapes) > 1 or len(kinds) > 1:
        raise ReturnedError(
            f"The transform gave images of different shapes or dtypes: "
            f"{', '.join(map(str, [*shapes, *kinds][:4]))}."
        )
    return Message({"kind": kind}, {"images": torch.stack(made)})


def reseeds(bench: Workbench, request: Message) -> Message:
    """The global generators that end in the same state though they began in different ones."""
    apply = bench.objects[request.fields["id"]]
    image = _picture(request.arrays["image"])
    after = []
    for seed in (1, 2):
        seed_all(seed)
        apply(image)
        after.append(_random_states())
    same = [name for name, state in after[0].items() if state == after[1][name]]
    return Message({"reseeds": same})


def reseeds_when_made(bench: Workbench, request: Message) -> Message:
    """As ``reseeds``, of the call that makes the transform."""
    make = bench.named(request.fields["name"])
    after = []
    for seed in (1, 2):
        seed_all(seed)
        make()
        after.append(_random_states())
    same = [name for name, state in after[0].items() if state == after[1][name]]
    return Message({"reseeds": same})


def downsample(bench: Workbench, request: Message) -> Message:
    """The items that were drawn, and whether each still has its label."""
    function = bench.named("downsample")
    drawn = function(Items(request.fields["items"]), **request.fields["given"])
    if not (hasattr(drawn, "__len__") and hasattr(drawn, "__getitem__")):
        raise ReturnedError(
            f"downsample gave a {type_of(drawn)}, not a dataset with a length and items."
        )
    length = len(drawn)
    pairs = [a_pair(drawn[index], "An item of the drawn dataset") for index in range(length)]
    indices = [int(torch.as_tensor(image).flatten()[0]) for image, _ in pairs]
    kept = all(int(label) == i % 10 for i, (_, label) in zip(indices, pairs, strict=True))
    return Message(
        {"length": length, "labels_kept": kept},
        {"indices": torch.tensor(indices, dtype=torch.int64)},
    )


def make_loaders(bench: Workbench, request: Message) -> Message:
    """All batches of some passes through both loaders."""
    fields, arrays = request.fields, request.arrays
    function = bench.named("make_loaders")
    sets = [Pairs(arrays[f"{name}.images"], arrays[f"{name}.labels"]) for name in ("train", "test")]
    seed_all(fields["seed"])
    made = a_pair(function(*sets, **fields["given"]), "make_loaders")
    sizes: dict[str, list[int]] = {"train.batches": [], "test.batches": []}
    found = {}
    for epoch in range(fields["epochs"]):
        for name, loader in zip(("train", "test"), made, strict=True):
            count = 0
            for count, batch in enumerate(loader, start=1):
                images, labels = a_pair(batch, f"The {name} loader")
                where = f"{name}.{epoch}.{count - 1}"
                found[f"{where}.images"] = torch.as_tensor(images)
                found[f"{where}.labels"] = torch.as_tensor(labels)
            sizes[f"{name}.batches"].append(count)
    return Message(sizes, found)


def _picture(image: Tensor) -> Image.Image:
    return Image.fromarray(image.numpy(), mode="L")


def _pixels(result: object) -> object:
    """A picture or an array as a tensor, anything else as it is."""
    if isinstance(result, Image.Image):
        result = np.array(result)
    return torch.as_tensor(result) if isinstance(result, np.ndarray) else result


def _random_states() -> dict[str, bytes]:
    numpy_state = np.random.get_state(legacy=False)
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": repr(numpy_state["state"]["pos"]).encode() + numpy_state["state"]["key"].tobytes(),
        "random": repr(random.getstate()).encode(),
    }
