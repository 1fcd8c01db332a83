import torch
from torch import nn


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2, 2))
        self.block2 = nn.Sequential(nn.Conv2d(16, 32, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2, 2))
        self.fc = nn.Linear(7 * 7 * 32, 128)
        self.out = nn.Linear(128, 10)

    def forward(self, x):
        x = self.block2(self.block1(x))
        x = x.permute(0, 2, 3, 1)  # N, H, W, C
        x = x.reshape(x.shape[0], -1)
        return self.out(torch.relu(self.fc(x)))
