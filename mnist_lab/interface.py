"""Mistakes in how a learner's code is called and in what it hands back, with a hint each.

They show before anything is computed, on either side of the wall, so neither side owns them.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OF_CLASSES", "OF_FUNCTIONS", "Misfit"]


@dataclass(frozen=True)
class Misfit:
    """``says`` is one sentence about {name}, the class or function, or about its {file}; it is said
    ``instead`` of what was raised where that would mislead.
    """

    says: str
    hint: str
    instead: bool = False


_BY_NAME = "The checks look for it by its name: mind the spelling, capitals included."

_NEEDS_GPU = Misfit(
    "{file} wants a GPU, also where none is asked for.",
    "Leave .cuda() and fixed devices out: everything goes where the model and the images are.",
    instead=True,
)

OF_CLASSES = {
    "missing": Misfit(
        "{file} does not define {name}.",
        _BY_NAME,
    ),
    "no-module": Misfit(
        "{name} is not a torch.nn.Module.",
        "Derive the class from nn.Module, so that PyTorch finds its layers.",
    ),
    "no-super-init": Misfit(
        "{name} sets up its layers without super().__init__().",
        "super().__init__(), with both pairs of parentheses, is the first line of __init__.",
    ),
    "needs-arguments": Misfit(
        "{name} cannot be made without arguments.",
        "The handout fixes all sizes: write them into __init__, which takes self alone.",
    ),
    "no-forward": Misfit(
        "{name} has no method forward.",
        "Calling a model calls its forward(self, images); mind spelling and indentation.",
    ),
    "forward-arguments": Misfit(
        "The forward of {name} wants other arguments than the images.",
        "It is def forward(self, images), and what else it needs is in self.",
    ),
    "returns-tuple": Misfit(
        "{name} returns a tuple.",
        "Return the tensor of outputs (N, 10) alone; a comma after it makes a tuple.",
    ),
    "returns-list": Misfit(
        "{name} returns a list.",
        "Return one tensor (N, 10): torch.stack and torch.cat put tensors together.",
    ),
    "returns-dict": Misfit(
        "{name} returns a dict.",
        "Return the tensor of outputs (N, 10) alone.",
    ),
    "returns-array": Misfit(
        "{name} returns a NumPy array.",
        "Return the tensor itself: .numpy() cuts it off from its gradients.",
    ),
    "returns-nothing": Misfit("{name} returns nothing.", "forward needs a return."),
    "needs-gpu": _NEEDS_GPU,
}

OF_FUNCTIONS = {
    "missing": Misfit(
        "{file} does not define a function that is asked for.",
        _BY_NAME,
    ),
    "other-arguments": Misfit(
        "A function in {file} wants other arguments than the handout names.",
        "Keep the names, the order and the defaults of the arguments as they are in the handout.",
    ),
    "needs-gpu": _NEEDS_GPU,
}
