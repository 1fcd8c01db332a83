from torch import nn


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.cnn = nn.Sequential(
            nn.LazyConv2d(16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.LazyConv2d(32, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.mlp = nn.Sequential(nn.Flatten(), nn.LazyLinear(128), nn.ReLU(), nn.LazyLinear(10))

    def forward(self, x):
        return self.mlp(self.cnn(x))
