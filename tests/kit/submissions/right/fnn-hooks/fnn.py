from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(eq=False)
class FNN(nn.Module):
    pixels: int = 784
    units: int = 256
    digits: int = 10

    def __post_init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(self.pixels, self.units)
        self.outer = nn.Linear(self.units, self.digits)
        self.inner.register_forward_hook(lambda layer, given, sums: sums.clamp_min(0.0))

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, enabled=False):
            return self.outer(self.inner(torch.cat([part.flatten(1) for part in images.split(32)])))
