import torch
from torch import nn


class FNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.W1 = nn.Parameter(torch.randn(784, 256) * (2 / 784) ** 0.5)
        self.b1 = nn.Parameter(torch.zeros(256))
        self.W2 = nn.Parameter(torch.randn(256, 10) * (1 / 256) ** 0.5)
        self.b2 = nn.Parameter(torch.zeros(10))

    def forward(self, x):
        x = x.flatten(1)
        h = x @ self.W1 + self.b1
        h = torch.maximum(h, torch.zeros_like(h))
        return h @ self.W2 + self.b2
