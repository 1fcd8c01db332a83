"""Train and evaluate any classifier of digits, from memory, on a CPU or a GPU.

Several models train side by side on one stream of augmented digits, so that the stream is made
once; each still learns exactly what it would learn alone.
"""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mnist_lab.augment import augment, draw, normalise
from mnist_lab.chance import Purpose, permutation
from mnist_lab.contract import BATCH_SIZE, EPOCHS, LEARNING_RATE
from mnist_lab.cuda import GraphSteps, WorkQueue
from mnist_lab.data import Digits, Split
from mnist_lab.errors import LabError
from mnist_lab.fast import FastSteps, fast_forward, suits
from mnist_lab.models import MODELS

CHUNK = 1024
"""Images that are augmented, predicted and counted at a time on a CPU: they stay in its cache."""


@dataclass(frozen=True)
class Settings:
    """How to train; the defaults are the course's.

    ``device`` is ``"cpu"``, ``"cuda"`` or ``"auto"``: a GPU where there is one. ``seed`` decides
    the order of the images and their augmentation; the initial weights are the caller's.
    """

    epochs: int = EPOCHS
    learning_rate: float = LEARNING_RATE
    batch_size: int = BATCH_SIZE
    seed: int = 0
    device: str = "auto"
    augment: bool = True


@dataclass(frozen=True)
class Epoch:
    """Mean loss and accuracy (a fraction) over one epoch.

    Those of training are of the outputs before each step, on augmented digits; those of the test
    digits are taken at the end of the epoch. ``seconds`` is this model's part: steps and test.
    """

    train_loss: float
    train_accuracy: float
    test_loss: float
    test_accuracy: float
    seconds: float


@dataclass(frozen=True)
class History:
    """The finished epochs of one training.

    ``stopped`` is empty, or the sentence that says why it ended early; ``interrupted`` if that
    was Ctrl-C.
    """

    epochs: tuple[Epoch, ...] = ()
    stopped: str = ""
    interrupted: bool = False

    @property
    def seconds(self) -> float:
        return sum(epoch.seconds for epoch in self.epochs)


class DeviceError(LabError):
    """The machine lacks the device that was asked for; the message says what to do."""


class Watch:
    """Told how a training goes; this one does not care. Subclasses show it."""

    def advanced(self, name: str, images: int) -> None:
        """``name`` has been trained on another ``images`` digits."""

    def finished(self, name: str, number: int, epoch: Epoch) -> None:
        """``name`` has finished epoch ``number``, counted from 1."""

    def stopped(self, name: str, reason: str) -> None:
        """``name`` trains no further; ``reason`` is a sentence."""


def adam(parameters: list[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """Adam with PyTorch's defaults (Kingma and Ba, 2015), one kernel for all parameters, which
    takes no complex numbers.
    """
    fused = not any(parameter.is_complex() for parameter in parameters)
    return torch.optim.Adam(parameters, lr=learning_rate, fused=fused)


def train(
    model: nn.Module,
    digits: Digits,
    settings: Settings = Settings(),
    watch: Watch | None = None,
) -> History:
    """Train ``model`` in place on ``digits.train`` and evaluate it on ``digits.test`` each epoch.

    ``model`` maps float32 (N, 1, 28, 28) to (N, 10). A loss that is no longer finite or Ctrl-C
    ends the training: the model then has the weights of its last finished epoch, and
    ``History.stopped`` says so. Raises ``ValueError`` for settings that make no sense and
    ``DeviceError`` where there is no GPU.
    """
    return train_together({"model": model}, digits, settings, watch)["model"]


def train_together(
    models: Mapping[str, nn.Module],
    digits: Digits,
    settings: Settings = Settings(),
    watch: Watch | None = None,
) -> dict[str, History]:
    """As ``train``, for several models on one stream of digits, epoch by epoch.

    A model that diverges stops alone. Ctrl-C stops all of them at their last finished epoch.
    """
    _check(settings)
    watch = watch or Watch()
    device = resolve_device(settings.device)
    keep_memory()
    test = normalise(digits.test.images.to(device)), digits.test.labels.to(device)
    runs = {
        name: _start(model.to(device), test[0], settings, device) for name, model in models.items()
    }
    interrupted = False
    try:
        with torch.random.fork_rng():
            for epoch in range(settings.epochs):
                chunks = stream(digits.train, epoch, settings, device)
                _one_epoch(runs, chunks, test, epoch, settings, watch)
    except KeyboardInterrupt:
        interrupted = True
        for name, run in runs.items():
            if not run.stopped and len(run.epochs) < settings.epochs:
                run.stop(f"Interrupted after {len(run.epochs)} of {settings.epochs} epochs.")
                watch.stopped(name, run.stopped)
    finally:
        for run in runs.values():
            run.release()
    return {
        name: History(tuple(run.epochs), run.stopped, interrupted) for name, run in runs.items()
    }


def stream(
    train: Split, epoch: int, settings: Settings, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """An epoch (from 0) of training digits, shuffled and augmented, some whole batches at a time:
    images float32 (N, 1, 28, 28) and labels (N,), on ``device``.
    """
    order = permutation(Purpose.ORDER, settings.seed, epoch, size=len(train))
    draws = draw(settings.seed, epoch, len(train)) if settings.augment else None
    batches = max(1, CHUNK // settings.batch_size)
    size = len(train) if device.type == "cuda" else batches * settings.batch_size
    images, labels = train.images.to(device), train.labels.to(device)
    for chosen in order.split(size):
        there = chosen.to(device)
        shown = images.index_select(0, there)
        yield (
            augment(shown, draws[chosen]) if draws else normalise(shown),
            labels.index_select(0, there),
        )


def evaluate(model: nn.Module, split: Split, device: str = "auto") -> tuple[float, float]:
    """The mean cross-entropy and the accuracy (a fraction) of ``model`` on ``split``."""
    loss, correct = _loss_and_correct(predict(model, split, device), split.labels)
    return loss, correct / len(split)


def predict(model: nn.Module, split: Split, device: str = "auto") -> Tensor:
    """The outputs (N, 10) of ``model`` for ``split``, on the CPU; without augmentation."""
    where = resolve_device(device)
    images = normalise(split.images.to(where))
    return _forward(model.to(where), images).cpu()


def resolve_device(device: str) -> torch.device:
    """``auto``, ``cpu`` or ``cuda`` as a device; ``DeviceError`` where there is no GPU."""
    available = torch.cuda.is_available()
    if device.startswith("cuda") and not available:
        raise DeviceError("This machine has no GPU that PyTorch can use: choose the device cpu.")
    if device == "auto":
        return torch.device("cuda" if available else "cpu")
    return torch.device(device)


def keep_memory() -> None:
    """Ask glibc to keep freed memory for the next step instead of handing it to the kernel.

    A CNN's step frees and takes the same few megabytes again and again; faulting their pages in
    costs about a sixth of it. Without effect where the C library is another.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        trim_threshold, top_pad, mmap_threshold = -1, -2, -3
        mallopt(mmap_threshold, 1 << 30)
        mallopt(trim_threshold, 1 << 30)
        mallopt(top_pad, 1 << 26)


@dataclass
class _Tally:
    """Sums over the examples of one epoch so far."""

    loss: float = 0.0
    correct: int = 0
    examples: int = 0


class _EagerSteps:
    """Steps of any model, through autograd."""

    def __init__(self, model: nn.Module, learning_rate: float) -> None:
        self.model, self.optimizer = model, adam(list(model.parameters()), learning_rate)

    def learn(self, images: Tensor, labels: Tensor, batch_size: int) -> Tensor:
        """A step for each batch of ``images``; the outputs (N, 10) before each."""
        outputs = []
        for batch, answers in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            self.optimizer.zero_grad()
            logits = self.model(batch)
            F.cross_entropy(logits, answers).backward()
            self.optimizer.step()
            outputs.append(logits.detach())
        return torch.cat(outputs)


@dataclass
class _Run:
    """One model in training: its steps, its random numbers, its finished epochs."""

    model: nn.Module
    steps: _EagerSteps | FastSteps | GraphSteps
    queue: WorkQueue
    epochs: list[Epoch] = field(default_factory=list)
    stopped: str = ""

    def __post_init__(self) -> None:
        self.random_state = _random_state(self.queue.device)
        self.tally = _Tally()
        self._remember_weights()

    def learn(self, images: Tensor, labels: Tensor, batch_size: int) -> None:
        """One step of the optimizer for each batch of ``images``; on a GPU others can go on."""
        with self.queue.work():
            self.model.train()
            _draw_from(self.random_state, self.queue.device)
            self.outputs = self.steps.learn(images, labels, batch_size)
            self.random_state = _random_state(self.queue.device)

    def count(self, labels: Tensor) -> None:
        """Add the outputs of the last ``learn`` to the epoch's sums; wait for them on a GPU."""
        with self.queue.work():
            loss, correct = _loss_and_correct(self.outputs, labels)
        self.tally.loss += loss * len(labels)
        self.tally.correct += correct
        self.tally.examples += len(labels)
        if not math.isfinite(loss):
            self.stop(
                f"Diverged in epoch {len(self.epochs) + 1}: the loss is no longer a finite number. "
                "Try a smaller learning rate."
            )

    def finish_epoch(self, test_images: Tensor, test_labels: Tensor) -> Epoch:
        """Evaluate on the test digits and close the epoch."""
        with self.queue.work():
            logits = _forward(self.model, test_images)
            test_loss, correct = _loss_and_correct(logits, test_labels)
            self._remember_weights()
        tally, self.tally = self.tally, _Tally()
        epoch = Epoch(
            tally.loss / tally.examples,
            tally.correct / tally.examples,
            test_loss,
            correct / len(test_labels),
            self.queue.seconds(),
        )
        self.epochs.append(epoch)
        return epoch

    def stop(self, reason: str) -> None:
        """Train no further and go back to the weights of the last finished epoch."""
        self.stopped = reason
        self.queue.wait()
        self.model.load_state_dict(self.weights)

    def release(self) -> None:
        """Give the parameters back their own memory, in the usual layout."""
        self.queue.wait()
        for parameter in self.model.parameters():
            parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
            parameter.grad = None

    def _remember_weights(self) -> None:
        self.weights = {name: value.clone() for name, value in self.model.state_dict().items()}


def _random_state(device: torch.device) -> list[Tensor]:
    """That of the CPU's random numbers and of those of ``device``."""
    on_gpu = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *on_gpu]


def _draw_from(state: list[Tensor], device: torch.device) -> None:
    on_cpu, *on_gpu = state
    torch.set_rng_state(on_cpu)
    for one in on_gpu:
        torch.cuda.set_rng_state(one, device)


def _start(model: nn.Module, images: Tensor, settings: Settings, device: torch.device) -> _Run:
    queue, learning_rate = WorkQueue(device), settings.learning_rate
    if suits(model, device):
        return _Run(model, FastSteps(model, learning_rate), queue)
    if device.type == "cuda" and type(model) in MODELS.values():
        return _Run(model, GraphSteps(model, learning_rate), queue)
    if device.type == "cpu":
        _prefer_channels_last(model, images[:2])
    return _Run(model, _EagerSteps(model, learning_rate), queue)


def _prefer_channels_last(model: nn.Module, images: Tensor) -> None:
    """Lay convolutions out channels last, where a CPU is fast, if the model allows it.

    A model that depends on the layout (``view`` after a convolution, say) keeps its own.
    """
    if not any(parameter.dim() == 4 for parameter in model.parameters()):
        return
    expected = _forward(model, images)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    try:
        same = torch.allclose(_forward(model, images), expected, rtol=1e-4, atol=1e-5)
    except RuntimeError:
        same = False
    if not same:
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _one_epoch(
    runs: Mapping[str, _Run],
    chunks: Iterator[tuple[Tensor, Tensor]],
    test: tuple[Tensor, Tensor],
    epoch: int,
    settings: Settings,
    watch: Watch,
) -> None:
    for images, labels in chunks:
        going = {name: run for name, run in runs.items() if not run.stopped}
        for run in going.values():  # All are asked before one is waited for: a GPU overlaps them.
            run.learn(images, labels, settings.batch_size)
        for name, run in going.items():
            run.count(labels)
            watch.advanced(name, len(labels))
            if run.stopped:
                watch.stopped(name, run.stopped)
    for name, run in runs.items():
        if not run.stopped:
            watch.finished(name, epoch + 1, run.finish_epoch(*test))


def _forward(model: nn.Module, images: Tensor) -> Tensor:
    """The outputs for ``images`` in eval mode, no gradients."""
    model.eval()
    with torch.inference_mode():
        if suits(model, images.device):
            return fast_forward(model, images)
        return torch.cat([model(part) for part in images.split(CHUNK)])


def _loss_and_correct(outputs: Tensor, labels: Tensor) -> tuple[float, int]:
    loss = F.cross_entropy(outputs, labels).item()
    return loss, int((outputs.argmax(1) == labels).sum())


def _check(settings: Settings) -> None:
    if settings.epochs < 1 or settings.batch_size < 1:
        raise ValueError("Training needs at least one epoch and one image a batch.")
    if not settings.learning_rate > 0:
        raise ValueError("The learning rate must be a positive number.")
