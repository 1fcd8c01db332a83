"""What PyTorch does only once in a process, done before it is forked, so that no worker has to.

The first convolution, backward pass, step of an optimizer, fake tensor and picture each take some
time; six workers a submission would take it six times.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision import transforms

from mnist_lab.submission.models import on_fake_device
from mnist_lab.submission.protocol import Message
from mnist_lab.submission.workbench import Workbench

__all__ = ["rehearse"]

SIDE = 28


def rehearse(*, backwards: bool) -> None:
    """Do what submissions do, on next to nothing.

    ``backwards`` only where there is no GPU: the threads of its backward pass do not outlive a
    fork. Needs PyTorch to have one thread, for the same reason.
    """
    images, labels = torch.zeros(4, 1, SIDE, SIDE), torch.arange(4)
    for dtype in (torch.float32, torch.float64):
        for make_optimizer in (torch.optim.Adam, torch.optim.SGD):
            model = _some_model().to(dtype)
            optimizer = make_optimizer(model.parameters(), lr=1e-3)
            batches = TensorDataset(images.to(dtype), labels)
            for batch, answers in DataLoader(batches, batch_size=2, shuffle=True):
                optimizer.zero_grad()
                loss = F.cross_entropy(model(batch), answers)
                if backwards:
                    loss.backward()
                    optimizer.step()
    bench = Workbench()
    on_fake_device(bench, Message({"id": bench.keep(_some_model()), "size": 2}))
    changes = [
        transforms.Resize((SIDE, SIDE)),
        transforms.RandomRotation(10),
        transforms.RandomPerspective(0.2, 1.0),
        transforms.ToTensor(),
        transforms.Normalize((0.5,), (0.5,)),
    ]
    transforms.Compose(changes)(Image.new("L", (SIDE, SIDE)))


def _some_model() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(338, 10)
    )
