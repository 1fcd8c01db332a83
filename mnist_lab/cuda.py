"""What training on a GPU takes: a stream a model, and steps that are recorded and replayed.

The lab's models are so small that launching their kernels is the work. So several train side by
side, and a single call (a CUDA graph) launches a step of one of them. On a CPU a model's queue is
only a clock.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Record = Callable[[Callable[[], None]], Callable[[], object]]
"""Given a step, what repeats its kernels on the same memory; making it runs none of them."""

WARM_UP = 3
"""Steps before the one that is recorded: libraries choose their kernels and take their memory."""


class WorkQueue:
    """Where one model's work is done, and the clock of it.

    On a CPU the work is done at once. On a GPU it is only asked for, in a CUDA stream of its own,
    and is done by the time that a number of it is read.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._seconds = 0.0
        self._spans: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def work(self) -> Iterator[None]:
        """Work asked for inside goes to this queue, after all that was asked for before."""
        if self.stream is None:
            started = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - started
            return
        self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self.stream):
            began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            began.record()
            yield
            ended.record()
        self._spans.append((began, ended))

    def seconds(self) -> float:
        """Those of the work since the last call; waits for its end."""
        self.wait()
        taken = self._seconds + sum(began.elapsed_time(ended) for began, ended in self._spans) / 1e3
        self._seconds = 0.0
        self._spans.clear()
        return taken

    def wait(self) -> None:
        """Until all the work is done."""
        if self.stream is not None:
            self.stream.synchronize()


def cuda_graph(step: Callable[[], None]) -> Callable[[], object]:
    """The kernels that ``step`` would launch in this stream, to be launched again by one call."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=torch.cuda.current_stream()):
        step()
    return graph.replay


class GraphSteps:
    """Adam with PyTorch's defaults and the mean cross-entropy, for a model whose step draws
    nothing, reads no number and is the same kernels each time, as those of the lab's models.

    The recorded step finds its batch by itself: ``rows`` says which images are next, and the last
    thing that a step does is to move it on. Where recording fails, each step is launched anew.
    """

    def __init__(self, model: nn.Module, learning_rate: float, record: Record = cuda_graph) -> None:
        self.model, self.record = model, record
        self.optimizer = torch.optim.Adam(
            model.parameters(), lr=learning_rate, fused=True, capturable=True
        )
        self.room, self.batch_size = 0, 0
        self.replay: Callable[[], object] | None = None

    def learn(self, images: Tensor, labels: Tensor, batch_size: int) -> Tensor:
        """A step for each batch of ``images`` (N, 1, 28, 28); the outputs (N, 10) before each."""
        size = len(images)
        if size > self.room or batch_size != self.batch_size:
            self._make_room(images, labels, batch_size)
        self.images[:size], self.labels[:size] = images, labels
        self.rows.copy_(self.first_rows)
        for _ in range(size // batch_size):
            self._next()
        if rest := size % batch_size:
            self._step(self.rows[:rest])
        return self.outputs[:size].clone()

    def _make_room(self, images: Tensor, labels: Tensor, batch_size: int) -> None:
        """Memory that stays where it is, which a recording needs."""
        self.room, self.batch_size = len(images), batch_size
        self.images, self.labels = torch.empty_like(images), torch.empty_like(labels)
        self.outputs = images.new_empty(self.room, 10)
        self.first_rows = torch.arange(batch_size, device=images.device)
        self.rows = self.first_rows.clone()
        self.replay, self.warmed_up = None, 0

    def _next(self) -> None:
        if self.warmed_up < WARM_UP:
            self.warmed_up += 1
            self._step(self.rows)
            return
        if self.replay is None:
            self.replay = self._recorded()
        self.replay()

    def _recorded(self) -> Callable[[], object]:
        step = partial(self._step, self.rows)
        try:
            return self.record(step)
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            warnings.warn(f"Training goes on without a CUDA graph, slower: {reason}", stacklevel=2)
            return step

    def _step(self, rows: Tensor) -> None:
        self.optimizer.zero_grad()
        logits = self.model(self.images.index_select(0, rows))
        F.cross_entropy(logits, self.labels.index_select(0, rows)).backward()
        self.optimizer.step()
        self.outputs.index_copy_(0, rows, logits.detach())
        rows += self.batch_size
