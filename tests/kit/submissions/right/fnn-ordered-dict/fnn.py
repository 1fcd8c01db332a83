from collections import OrderedDict

from torch import nn


class FNN(nn.Module):
    def __init__(self):
        super().__init__()
        layers = OrderedDict()
        layers["flatten"] = nn.Flatten(start_dim=1)
        layers["hidden"] = nn.Linear(in_features=784, out_features=256, bias=True)
        layers["relu"] = nn.ReLU(inplace=True)
        layers["output"] = nn.Linear(in_features=256, out_features=10, bias=True)
        self.layers = nn.Sequential(layers)

    def forward(self, x):
        return self.layers(x)
