import torch.nn as nn


class FNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(784, 256)
        self.fc2 = nn.Linear(256, 10)
        self.layers = nn.ModuleList([self.fc1, self.fc2])
        self.net = nn.Sequential(nn.Flatten(), self.fc1, nn.ReLU(), self.fc2)

    def forward(self, images):
        return self.net.forward(images)
