from torch import nn


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.conv1 = nn.Conv2d(1, 16, 3, padding="same")
        self.conv2 = nn.Conv2d(16, 32, 3, padding="same")
        self.flatten = nn.Flatten()
        self.dense1 = nn.Linear(1568, 128)
        self.dense2 = nn.Linear(128, 10)

    def forward(self, x):
        x = self.relu(self.pool(self.conv1(x)))
        x = self.relu(self.pool(self.conv2(x)))
        return self.dense2(self.relu(self.dense1(self.flatten(x))))
