import torch
from torch import nn

eingänge, größe, ziffern = 784, 256, 10


class FNN(nn.Module):
    """Vorwärtsnetz mit einer verdeckten Schicht."""

    def __init__(self):
        super().__init__()
        self.schicht1 = nn.Linear(eingänge, größe)
        self.schicht2 = nn.Linear(größe, ziffern)

    def forward(self, bilder):
        verdeckt = torch.relu(self.schicht1(bilder.flatten(1)))
        return self.schicht2(verdeckt)
