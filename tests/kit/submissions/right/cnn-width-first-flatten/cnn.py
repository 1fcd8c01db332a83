import torch
from torch import nn


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.convolutions = nn.ModuleList([nn.Conv2d(1, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)])
        self.w1 = nn.Parameter(0.03 * torch.randn(1568, 128))
        self.b1 = nn.Parameter(torch.zeros(128))
        self.w2 = nn.Parameter(0.1 * torch.randn(128, 10))
        self.b2 = nn.Parameter(torch.zeros(10))

    def forward(self, x):
        for conv in self.convolutions:
            x = torch.nn.functional.max_pool2d(conv(x).relu(), kernel_size=2)
        x = x.transpose(2, 3).flatten(1)
        x = torch.einsum("ni,ij->nj", x, self.w1) + self.b1
        return torch.einsum("ni,ij->nj", x.relu(), self.w2) + self.b2
