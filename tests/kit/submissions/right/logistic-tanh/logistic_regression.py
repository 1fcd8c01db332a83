import torch
import torch.nn.functional as F
from torch import nn


class LogisticRegression(nn.Module):
    def __init__(self):
        super().__init__()
        w = torch.empty(10, 784)
        nn.init.xavier_uniform_(w)
        self.w = nn.Parameter(w)
        self.b = nn.Parameter(torch.zeros(10))

    def forward(self, x):
        n = x.shape[0]
        z = F.linear(x.reshape(n, 784), self.w, self.b)
        # sigmoid(z) = (1 + tanh(z / 2)) / 2
        return (torch.tanh(z / 2) + 1) / 2
