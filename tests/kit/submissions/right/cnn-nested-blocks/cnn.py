from torch import nn


class ConvBlock(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=1, padding=1),
            nn.ReLU(),
        )
        self.pool = nn.MaxPool2d(kernel_size=2)

    def forward(self, x):
        return self.pool(self.body(x))


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        channels = (1, 16, 32)
        blocks = [ConvBlock(a, b) for a, b in zip(channels[:-1], channels[1:], strict=True)]
        head = nn.Sequential(nn.Flatten(), nn.Linear(1568, 128), nn.ReLU(), nn.Linear(128, 10))
        self.model = nn.Sequential(nn.Sequential(*blocks), head)

    def forward(self, x):
        return self.model(x)
