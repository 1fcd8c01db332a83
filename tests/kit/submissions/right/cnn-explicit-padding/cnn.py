from torch import nn


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.pad = nn.ZeroPad2d(1)
        self.c1 = nn.Conv2d(1, 16, 3)
        self.c2 = nn.Conv2d(16, 32, 3)
        self.p1 = nn.AdaptiveMaxPool2d(14)
        self.p2 = nn.AdaptiveMaxPool2d(7)
        self.act = nn.ReLU()
        self.d1 = nn.Linear(1568, 128)
        self.d2 = nn.Linear(128, 10)
        for layer in (self.c1, self.c2, self.d1, self.d2):
            nn.init.xavier_normal_(layer.weight)
            nn.init.constant_(layer.bias, 0.01)

    def forward(self, x):
        x = self.p1(self.act(self.c1(self.pad(x))))
        x = self.p2(self.act(self.c2(self.pad(x))))
        return self.d2(self.act(self.d1(x.flatten(1))))
