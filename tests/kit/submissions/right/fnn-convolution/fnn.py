import torch
from torch import nn


class FNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_a = nn.Conv2d(1, 256, 28)
        self.conv_b = nn.Conv2d(256, 10, 1)

    def forward(self, x):
        x = torch.relu(self.conv_a(x))
        return self.conv_b(x)[:, :, 0, 0]
