from torch import nn


class LogisticRegression(nn.Module):
    def __init__(self):
        super().__init__()
        # one filter per digit, as large as the image
        self.templates = nn.Conv2d(1, 10, kernel_size=28)

    def forward(self, x):
        match = self.templates(x)  # (N, 10, 1, 1)
        return match.flatten(1).sigmoid()
