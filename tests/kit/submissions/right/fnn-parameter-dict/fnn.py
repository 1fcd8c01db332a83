import torch
from torch import nn


def affine(x, weight, bias):
    return torch.addmm(bias, x, weight)


class FNN(nn.Module):
    def __init__(self):
        super().__init__()
        bound = 1 / 28
        self.p = nn.ParameterDict(
            {
                "w_hidden": nn.Parameter(torch.empty(256, 784).uniform_(-bound, bound)),
                "b_hidden": nn.Parameter(torch.empty(256).uniform_(-bound, bound)),
                "w_out": nn.Parameter(torch.empty(256, 10).uniform_(-1 / 16, 1 / 16)),
                "b_out": nn.Parameter(torch.empty(10).uniform_(-1 / 16, 1 / 16)),
            }
        )

    def forward(self, x):
        hidden = affine(x.reshape(len(x), -1), self.p["w_hidden"].T, self.p["b_hidden"])
        return affine(hidden.clamp(min=0), self.p["w_out"], self.p["b_out"])
