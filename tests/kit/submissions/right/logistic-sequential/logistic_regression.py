from torch import nn


class LogisticRegression(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(28 * 28, 10), nn.Sigmoid())
