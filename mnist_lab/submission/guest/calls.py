"""Questions about a learner's functions: import their file, find a name, call it, go through what
it returned.
"""

from __future__ import annotations

import importlib.util
import inspect
import random
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils._pytree import tree_map_only

from mnist_lab.submission.guest import given
from mnist_lab.submission.guest.learner import Learner, ReturnedError, seed_all
from mnist_lab.submission.guest.values import Described, a_tensor, no_exception, parts_of, type_of
from mnist_lab.submission.protocol import Message

__all__ = ["apply", "batches", "call", "items", "load", "random_states"]


def load(learner: Learner, question: Message) -> Message:
    """Import the learner's file under its plain name; helpers beside it can be imported too."""
    learner.path = _written(question)
    folder = str(learner.path.parent)
    if folder not in sys.path:
        sys.path.append(folder)  # Last, so that nothing of the learner's hides a library.
    spec = importlib.util.spec_from_file_location(learner.path.stem, learner.path)
    assert spec is not None
    assert spec.loader is not None
    learner.module = importlib.util.module_from_spec(spec)
    sys.modules[learner.path.stem] = learner.module
    spec.loader.exec_module(learner.module)
    return Message()


def call(learner: Learner, question: Message) -> Message:
    """Call a function of the learner's, ``again`` with the arguments that the call before had.

    Without an explicit ``seed`` the random numbers go on. What it returned is described, and
    ``kept`` is the number under which it is found again. ``accepts`` are arguments that it must
    take as well.
    """
    fields = question.fields
    function = learner.named(fields["name"])
    lent = learner.lent = learner.lent.again() if fields["again"] else given.Lent(question)
    options, refused = fields["options"], None
    try:
        inspect.signature(function).bind(*lent.arguments, **fields["accepts"], **options)
    except TypeError as error:  # A decorator may take it all the same: that is tried.
        options, refused = {**fields["accepts"], **options}, error
    except ValueError:  # It has no signature.
        pass
    if fields["seed"] is not None:
        seed_all(fields["seed"])
    with lent.watched():
        try:
            returned = no_exception(function(*lent.arguments, **options), fields["name"])
        except TypeError:
            if refused:
                raise refused from None
            raise
    left, told = lent.left_behind(), Described(returned)
    return Message(
        {
            **left.fields,
            "returned": told.tree,
            "callable": callable(returned),
            "kept": learner.keep(returned),
        },
        {**left.arrays, **told.arrays},
    )


def items(learner: Learner, question: Message) -> Message:
    """All items of something that has a length and is indexed by position, as two columns; or the
    first that is no pair, as ``odd``.
    """
    dataset = learner.objects[question.fields["id"]]
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise ReturnedError(
            f"{question.fields['name']} gave a {type_of(dataset)}, not a dataset with a length and "
            "items.",
            "no-dataset",
            type=type_of(dataset),
        )
    pairs = [dataset[index] for index in range(len(dataset))]
    columns: tuple[list[Any], list[Any]] = [], []
    for pair in pairs:
        parts = parts_of(pair)
        if parts is None or len(parts) != 2:
            odd = Described(pair)
            return Message({"odd": odd.tree}, odd.arrays)
        for column, part in zip(columns, parts, strict=True):
            column.append(part)
    told = Described(tuple(map(_packed, columns)))
    return Message({"columns": told.tree}, told.arrays)


def batches(learner: Learner, question: Message) -> Message:
    """The batches of some passes through each of several loaders, ``most`` of each pass if set.
    Nothing is asked of them afterwards, and with them end their processes.
    """
    kept, most = question.fields["id"], question.fields["most"]
    loaders, learner.objects[kept] = learner.objects[kept], None
    passes = range(question.fields["passes"])
    told = Described([[list(map(_copied, islice(each, most))) for each in loaders] for _ in passes])
    return Message({"passes": told.tree}, told.arrays)


def apply(learner: Learner, question: Message) -> Message:
    """Images, each put through a transform some times after seeding once."""
    transform, fields = learner.objects[question.fields["id"]], question.fields
    if fields["seed"] is not None:
        seed_all(fields["seed"])
    given = [question.arrays[f"images.{index}"].numpy() for index in range(fields["images"])]
    pictures = [Image.fromarray(pixels, mode="L").copy() for pixels in given]
    results = [transform(picture) for picture in pictures for _ in range(fields["repeats"])]
    for picture, pixels in zip(pictures, given, strict=True):
        if picture.tobytes() != pixels.tobytes():
            raise ReturnedError(
                f"{fields['name']}() changes the picture that it is given.", "picture-changed"
            )
    kind = next((type_of(each) for each in results if not isinstance(each, Tensor)), "")
    made = [_pixels(each) for each in results]
    shapes, dtypes = {tuple(one.shape) for one in made}, {one.dtype for one in made}
    if len(shapes) > 1 or len(dtypes) > 1:
        raise ReturnedError(
            f"The transform gave images of different shapes or dtypes: "
            f"{', '.join(map(str, [*shapes, *dtypes][:4]))}.",
            "uneven-images",
        )
    return Message({"kind": kind}, {"images": torch.stack(made)})


def random_states(learner: Learner, question: Message) -> Message:
    """The next numbers of the global generators, from which nothing is drawn."""
    numpy_state = np.random.get_state(legacy=False)
    states = {
        "torch": torch.default_generator.get_state().numpy().tobytes(),
        "numpy": repr(numpy_state["state"]["pos"]).encode() + numpy_state["state"]["key"].tobytes(),
        "random": repr(random.getstate()).encode(),
    }
    return Message(
        {}, {name: torch.frombuffer(bytearray(s), dtype=torch.uint8) for name, s in states.items()}
    )


def _copied(batch: Any) -> Any:
    """A batch as it is now: a loader may fill the same tensors again."""
    return tree_map_only(Tensor, torch.clone, batch)


def _packed(column: list[Any]) -> Any:
    """Whole numbers, or tensors of one shape and dtype, as one tensor; anything else as it is."""
    kinds = {type(each) for each in column}
    if kinds == {int}:
        return torch.tensor(column)
    alike = kinds == {Tensor} and len({(each.shape, each.dtype) for each in column}) == 1
    return torch.stack(column) if alike else column


def _pixels(result: Any) -> Tensor:
    """A picture, an array or a tensor as a tensor."""
    if isinstance(result, Image.Image):
        result = np.array(result)
    told = Described(result)
    if told.tree["is"] not in ("tensor", "array"):
        return a_tensor(result, "The transform")
    (pixels,) = told.arrays.values()
    return pixels


def _written(question: Message) -> Path:
    """The learner's file, after all that were sent are written."""
    folder = Path(question.fields["folder"])
    for name, content in question.arrays.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.numpy().tobytes())
    return folder / str(question.fields["file"])
