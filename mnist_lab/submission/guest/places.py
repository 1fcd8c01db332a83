"""A device that is not there. What is moved to it stays where it is, and is noted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from mnist_lab.submission.protocol import APART, RECORDED, TO_NUMPY

LOSSES = (F.cross_entropy, F.nll_loss)
"""Functions of outputs and labels."""

WITH_A_GPU = (
    (torch.cuda, "is_available", True),
    (torch.cuda, "device_count", 1),
    (torch.cuda, "is_current_stream_capturing", False),  # Which optimizers ask before a step.
    (torch.accelerator, "is_available", True),
    (torch.accelerator, "current_accelerator", torch.device("cuda")),
)
"""What PyTorch answers on a machine that has a GPU."""


@contextmanager
def with_a_gpu() -> Iterator[None]:
    """Inside, code that asks for a GPU hears that there is one, on every machine alike."""
    with ExitStack() as answers:
        for library, name, answer in WITH_A_GPU:
            answers.enter_context(patch.object(library, name, lambda *_, it=answer, **__: it))
        yield


OF_BOTH = (
    *(Tensor.copy_, Tensor.new_tensor, Tensor.__deepcopy__, torch.result_type),
    *(Tensor.expand_as, Tensor.view_as, Tensor.reshape_as, torch.broadcast_tensors),
    *(Tensor.grad.__set__, Tensor.data.__set__),  # type: ignore[attr-defined, union-attr]
)
"""What takes tensors of two devices."""


class Recorded(TorchFunctionMode):
    """Inside, all is computed on the CPU, and it is known which memory would be the device's, and
    which the CPU's: not of all, as of what gradients are in.
    """

    def __init__(self) -> None:
        super().__init__()
        self._there: dict[int, torch.UntypedStorage] = {}  # Kept, so that no other has its address.
        self._here: dict[int, torch.UntypedStorage] = {}

    def put_there(self, tensors: Iterable[Tensor]) -> None:
        """Note that their memory is the device's."""
        self._there |= _storages(tensors)

    def put_here(self, tensors: Iterable[Tensor]) -> None:
        """Note that their memory is the CPU's."""
        self._here |= _storages(tensors)

    def is_there(self, tensor: Tensor) -> bool:
        """Whether it was moved to the device, or computed from what was."""
        return _address(tensor) in self._there

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named, given = dict(kwargs or {}), _tensors((args, kwargs))
        there = any(map(self.is_there, given))
        if func == Tensor.device.__get__:  # type: ignore[attr-defined]
            return torch.device(RECORDED if there else "cpu")
        if func in (Tensor.to, Tensor.type_as):
            return self._moved(*args, *named.values())
        if func in (Tensor.cpu, Tensor.cuda):
            return self._moved(args[0], "cpu" if func == Tensor.cpu else RECORDED)
        if func in LOSSES and len(set(map(self.is_there, given[:2]))) > 1:
            raise RuntimeError(APART)
        if there and func in (Tensor.numpy, Tensor.__array__) and not named.get("force"):
            raise TypeError(TO_NUMPY)
        if there and self._refuses(func, args, given):
            raise RuntimeError(APART)
        if (device := named.pop("device", None)) is not None:
            return self._moved(func(*args, **named, device="cpu"), device)
        made = func(*args, **named)
        old = set(map(_address, given))
        new = [each for each in _tensors(made) if _address(each) not in old]
        here = any(_address(each) in self._here for each in _tensors(made))
        if there and here and func not in (*OF_BOTH, Tensor.__getitem__):
            raise RuntimeError(APART)  # It was changed in place.
        if there:
            self.put_there(new)
        elif old <= self._here.keys():
            self.put_here(new)
        return made

    def _refuses(
        self, func: Callable[..., Any], args: tuple[Any, ...], given: Iterable[Tensor]
    ) -> bool:
        """Whether PyTorch would not compute with tensors of both devices. From the CPU it takes
        single numbers, and positions of what is on the device.
        """
        if func in (Tensor.__getitem__, Tensor.__setitem__):
            indices = _tensors(args[1:2])
            there = any(each.dim() and self.is_there(each) for each in indices)
            return there and _address(args[0]) in self._here
        here = (each for each in given if _address(each) in self._here)
        return func not in OF_BOTH and any(each.dim() for each in here)

    def _moved(self, tensor: Tensor, *to: object) -> Tensor:
        """What ``tensor.to`` gives: the same tensor where that is its device and dtype already."""
        was, dtype = self.is_there(tensor), tensor.dtype
        there = was
        for each in to:
            if isinstance(each, Tensor):
                there, dtype = self.is_there(each), each.dtype
            elif isinstance(each, torch.dtype):
                dtype = each
            elif isinstance(each, str | torch.device):
                there = torch.device(each).type != "cpu"
        moved = tensor.to(dtype, copy=there != was)
        if there:
            self.put_there([moved])
        elif was:
            self.put_here([moved])
        return moved


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _storages(tensors: Iterable[Tensor]) -> dict[int, torch.UntypedStorage]:
    """The memory of those that have some, by its address."""
    return {_address(each): each.untyped_storage() for each in tensors if each.numel()}


def _tensors(of: object) -> list[Tensor]:
    """Those in arguments and results of PyTorch's functions: lists, tuples and dicts of them."""
    if isinstance(of, Tensor):
        return [of]
    if isinstance(of, dict):
        of = tuple(of.values())
    return [one for each in of for one in _tensors(each)] if isinstance(of, list | tuple) else []
