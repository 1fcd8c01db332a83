"""The shape and the type of what a transform makes of a picture."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mnist_lab.diagnosis.faults import tables
from mnist_lab.diagnosis.pictures.findings import Findings

EXACT = 1e-5
"""Part of the largest value: float32 and the order of its operations cost 1e-6, scaling by 256
instead of 255 costs 4e-3."""

IN_16_BITS = 1e-2
"""The same for 16-bit numbers."""


@dataclass(frozen=True)
class Look:
    """What a transform made of pictures: ``planes`` (N, H, W), float64, whatever its form was;
    none if that could not be told. ``tolerance`` is what its dtype can tell, in parts; ``dtype`` is
    empty for what is no tensor.
    """

    planes: Tensor | None
    tolerance: float
    dtype: str


def look(results: Tensor, kind: str, found: Findings) -> Look:
    """The pixels of results of 28x28 pictures; what is wrong with their form goes to ``found``."""
    shape = tuple(results.shape[1:])
    tolerance = IN_16_BITS if results.dtype in (torch.float16, torch.bfloat16) else EXACT
    what = kind or "a tensor"
    seen = f"{found.name} makes {what} {shape} of a picture of 28x28 pixels."
    if kind:
        found.add("not-a-tensor", f"It is of the type {kind}.")
    planes: Tensor | None = None
    wrongs = tables("pictures")["forms"].get("x".join(map(str, shape)))
    if wrongs is not None:
        for wrong in wrongs if kind != "Image" else ():
            found.add(wrong, f"{seen} (1, 28, 28) is asked for.")
        if 3 in shape:
            results = results.select(1 + shape.index(3), 0)
        planes = results.reshape(len(results), 28, 28).double()
    elif len(shape) in (2, 3) and shape[-2] == shape[-1] and shape[:-2] in ((), (1,)):
        found.add("other-size", f"{seen} (1, 28, 28) is asked for.")
        planes = results.reshape(len(results), *shape[-2:]).double()
    else:
        details = {"expected": [1, 28, 28], "actual": list(shape)}
        asked = "(1, 28, 28) is asked for."
        found.observe("other-form", asked, details=details, what=what, shape=shape)
    return Look(planes, tolerance, "" if kind else str(results.dtype).removeprefix("torch."))


def expect_float32(seen: Look, found: Findings) -> None:
    """Whole numbers are no news of pixels that were left as they are."""
    known = {"float64": "float64", "float16": "float16", "bfloat16": "float16"}
    name = known.get(seen.dtype, "integers")
    if seen.dtype in ("", "float32") or (name == "integers" and found.does("untouched")):
        return
    found.add(name, f"It is {seen.dtype}; float32 is asked for.")
