from torch import nn


class FNN(nn.Module):
    def __init__(self):
        super().__init__()
        hidden = int(input("hidden units? "))
        self.net = nn.Sequential(
            nn.Flatten(),
            nn.Linear(784, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 10),
        )

    def forward(self, x):
        return self.net(x)
