from torch import nn


class CNN(nn.Module):
    """A network of convolutions only: 28 -> 14 -> 7 -> 1 -> 1."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 128, 7),
            nn.ReLU(),
            nn.Conv2d(128, 10, 1),
            nn.Flatten(),
        )

    def forward(self, x):
        return self.net(x)
