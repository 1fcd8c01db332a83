import torch.nn.functional as F
from torch import nn


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.add_module("logits", nn.Linear(128, 10))
        self.add_module("dense", nn.Linear(32 * 7 * 7, 128))
        self.add_module("conv_b", nn.Conv2d(16, 32, (3, 3), padding=(1, 1)))
        self.add_module("conv_a", nn.Conv2d(1, 16, (3, 3), padding=(1, 1)))

    def forward(self, x):
        x = F.relu(self.conv_a(x))
        x = F.max_pool2d(x, kernel_size=2, stride=2)
        x = F.relu(self.conv_b(x))
        x = F.max_pool2d(x, kernel_size=2, stride=2)
        x = x.reshape(x.shape[0], -1)
        x = F.relu(self.dense(x))
        return self.logits(x)
