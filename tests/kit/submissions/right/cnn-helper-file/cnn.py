from layers import Classifier, conv_block
from torch import nn


class CNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.block1 = conv_block(1, 16)
        self.block2 = conv_block(16, 32)
        self.classifier = Classifier(32 * 7 * 7, 128, 10)

    def forward(self, x):
        return self.classifier(self.block2(self.block1(x)))
