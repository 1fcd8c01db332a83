import torch
from torch import nn


class FNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.stack = nn.Sequential(
            nn.Flatten(), nn.LazyLinear(256), nn.ReLU(), nn.LazyLinear(10)
        )
        with torch.no_grad():
            self.stack(torch.zeros(1, 1, 28, 28))

    def forward(self, x):
        return self.stack(x)
