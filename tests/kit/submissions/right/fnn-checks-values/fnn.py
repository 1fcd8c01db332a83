import torch
from torch import nn


class FNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))

    def forward(self, images):
        if not torch.isfinite(images).all():
            raise ValueError("an image has a pixel that is no number")
        assert images.abs().max().item() >= 0
        return self.layers(images.flatten(1))
