import math

import torch


def evaluate(model, loader, device="cpu"):
    model.eval()
    total, n = 0.0, 0
    with torch.set_grad_enabled(False):
        for images, labels in loader:
            for scores, label in zip(
                model(images.to(device)).tolist(), labels.tolist(), strict=True
            ):
                top = max(scores)
                log_sum = top + math.log(sum(math.exp(s - top) for s in scores))
                total += log_sum - scores[label]
                n += 1
    matrix = confusion_matrix(model, loader, device)
    return total / n, sum(matrix[i][i] for i in range(10)) / n


def confusion_matrix(model, loader, device="cpu"):
    model.eval()
    pairs = []
    with torch.set_grad_enabled(False):
        for images, labels in loader:
            answers = model(images.to(device)).argmax(1)
            pairs += zip(labels.tolist(), answers.tolist(), strict=True)
    return [[pairs.count((row, column)) for column in range(10)] for row in range(10)]
