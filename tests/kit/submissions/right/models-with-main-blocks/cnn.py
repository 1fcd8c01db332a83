import torch
from torch import nn

torch.manual_seed(42)  # same start each time I run this file


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv_layers = nn.ModuleDict(
            {
                "first": nn.Conv2d(1, 16, 3, padding=1),
                "second": nn.Conv2d(16, 32, 3, padding=1),
            }
        )
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Linear(1568, 128)
        self.scores = nn.Linear(128, 10)

    def forward(self, x):
        for name in ("first", "second"):
            x = self.pool(torch.clamp_min(self.conv_layers[name](x), 0))
        x = x.flatten(1)
        x = torch.clamp_min(self.hidden(x), 0)
        return self.scores(x)


if __name__ == "__main__":
    net = CNN()
    print(net)
    print(net(torch.rand(2, 1, 28, 28)).shape)
