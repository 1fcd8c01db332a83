"""Threads for what takes seconds when it is first used, and which nobody needs to wait for.

A GPU gets ready, the driver's context and the first kernels of PyTorch's libraries, while this
process imports PyTorch and reads the digits. Nothing here imports PyTorch before the thread does.
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
from importlib import import_module
from pathlib import Path


def begin(device: str) -> threading.Thread | None:
    """The thread, to be joined before a GPU is used for anything else; ``None`` where ``device``
    (``auto``, ``cpu`` or ``cuda``) or the machine makes none worth while.
    """
    if device == "cpu" or not any(Path("/dev").glob("nvidia[0-9]*")):
        return None
    thread = threading.Thread(target=_get_ready, daemon=True)
    thread.start()
    return thread


def import_meanwhile(module: str) -> None:
    """Import ``module`` in a thread. If it fails, so does whoever imports it next, and says why."""

    def quietly() -> None:
        with contextlib.suppress(Exception):
            import_module(module)

    threading.Thread(target=quietly).start()


def _get_ready() -> None:
    # Whoever uses the GPU next meets the same error, and says so.
    with contextlib.suppress(Exception):
        _make_context()
        _compute()


def _make_context() -> None:
    """The first GPU's primary context, which PyTorch then uses as well."""
    driver, gpu, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_int(), ctypes.c_void_p()
    driver.cuInit(0)
    driver.cuDeviceGet(ctypes.byref(gpu), 0)
    driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), gpu)


def _compute() -> None:
    """What the lab's models do, on next to nothing, so that libraries load and choose kernels."""
    import torch
    from torch.nn import functional as F

    kernel = torch.zeros(2, 1, 3, 3, device="cuda", requires_grad=True)
    weight = torch.zeros(10, 2 * 14 * 14, device="cuda", requires_grad=True)
    maps = F.max_pool2d(F.conv2d(torch.zeros(8, 1, 28, 28, device="cuda"), kernel, padding=1), 2)
    scores = F.linear(maps.relu().flatten(1), weight)
    F.cross_entropy(scores, torch.zeros(8, dtype=torch.int64, device="cuda")).backward()
    torch.optim.Adam([kernel, weight], fused=True, capturable=True).step()
    torch.cuda.synchronize()
