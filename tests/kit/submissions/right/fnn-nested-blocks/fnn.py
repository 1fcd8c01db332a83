from torch import nn


class Block(nn.Module):
    """Linear layer, then the activation if there is one."""

    def __init__(self, n_in: int, n_out: int, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        self.activation = activation or nn.Identity()

    def forward(self, x):
        return self.activation(self.linear(x))


class FNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = Block(784, 256, nn.ReLU())
        self.head = Block(256, 10)

    def forward(self, x):
        return self.head(self.encoder(x.view(x.shape[0], -1)))
