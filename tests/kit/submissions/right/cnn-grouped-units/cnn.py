import torch
from torch import nn
from torch.nn import functional as F


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.groups = nn.Parameter(torch.randn(2, 64, 32, 7, 7) / 40)
        self.group_biases = nn.Parameter(torch.zeros(2, 64))
        self.output = nn.Linear(128, 10)

    def forward(self, x):
        x = F.max_pool2d(self.conv1(x).relu(), 2)
        x = F.max_pool2d(self.conv2(x).relu(), 2)
        hidden = torch.einsum("nchw,guchw->ngu", x, self.groups) + self.group_biases
        return self.output(hidden.relu().flatten(1))
