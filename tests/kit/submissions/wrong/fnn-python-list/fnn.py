import torch.nn as nn
import torch.nn.functional as F


class FNN(nn.Module):
    def __init__(self):
        super().__init__()
        sizes = [784, 256, 10]
        self.layers = [nn.Linear(sizes[i], sizes[i + 1]) for i in range(len(sizes) - 1)]

    def forward(self, x):
        x = x.view(-1, 784)
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i < len(self.layers) - 1:
                x = F.relu(x)
        return x
