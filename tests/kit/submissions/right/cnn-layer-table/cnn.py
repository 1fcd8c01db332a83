from torch import nn

CONFIG = [16, "pool", 32, "pool"]


def make_layers(config):
    layers = []
    channels = 1
    for entry in config:
        if entry == "pool":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(channels, entry, 3, padding=1), nn.ReLU()]
            channels = entry
    return nn.Sequential(*layers)


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.flatten = nn.Flatten()
        self.unflatten = nn.Unflatten(1, (1, 28, 28))
        self.features = make_layers(CONFIG)
        self.fc = nn.Sequential(nn.Linear(1568, 128), nn.ReLU(), nn.Linear(128, 10))
        for m in self.modules():
            if isinstance(m, nn.Conv2d | nn.Linear):
                nn.init.kaiming_uniform_(m.weight, nonlinearity="relu")
                nn.init.zeros_(m.bias)

    def forward(self, x):
        x = self.unflatten(self.flatten(x))
        return self.fc(self.flatten(self.features(x)))
