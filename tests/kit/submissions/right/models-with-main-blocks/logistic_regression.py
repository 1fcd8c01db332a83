import torch
from torch import nn


class LogisticRegression(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(784, 10)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x):
        assert x.ndim == 4, f"expected (N, 1, 28, 28), got {tuple(x.shape)}"
        return self.sigmoid(self.linear(x.flatten(1)))


if __name__ == "__main__":
    print(LogisticRegression()(torch.rand(2, 1, 28, 28)))
