import torch
import torch.nn.functional as F


def evaluate(model, loader, device="cpu"):
    model = model.to(device).eval()
    with torch.no_grad():
        sums = torch.zeros(3, dtype=torch.float64)
        for images, labels in loader:
            logits = model.forward(images.to(device)).cpu()
            labels = labels.cpu()
            loss = F.cross_entropy(logits, labels) * len(labels)
            hits = (logits.argsort(dim=1, descending=True)[:, 0] == labels).sum()
            sums += torch.stack([loss.double(), hits.double(), torch.tensor(float(len(labels)))])
    return (sums[0] / sums[2]).item(), (sums[1] / sums[2]).item()


def confusion_matrix(model, loader, device="cpu"):
    model = model.to(device).eval()
    with torch.no_grad():
        rows = torch.cat([labels for _, labels in loader]).cpu()
        columns = torch.cat([model.forward(images.to(device)) for images, _ in loader]).argmax(1)
    ones = torch.ones(len(rows), dtype=torch.long)
    sparse = torch.sparse_coo_tensor(torch.stack([rows, columns.cpu()]), ones, (10, 10))
    return sparse.to_dense()
