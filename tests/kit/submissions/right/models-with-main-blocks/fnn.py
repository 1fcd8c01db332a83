import torch
from torch import nn
from torch.nn.functional import relu

INPUT_SIZE = 28 * 28
HIDDEN_SIZE = 256
NUM_CLASSES = 10


class FNN(nn.Module):
    def __init__(self, input_size=INPUT_SIZE, hidden_size=HIDDEN_SIZE, num_classes=NUM_CLASSES):
        super().__init__()
        self.input_size = input_size
        self.l1 = nn.Linear(input_size, hidden_size)
        self.l2 = nn.Linear(hidden_size, num_classes)

    def forward(self, x):
        out = self.l1(x.reshape(-1, self.input_size))
        out = relu(out)
        out = self.l2(out)
        return out


if __name__ == "__main__":
    print(sum(p.numel() for p in FNN().parameters()))
    print(FNN()(torch.rand(2, 1, 28, 28)))
