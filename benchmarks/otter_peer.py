"""otter-grader over the same submissions, with the quick questions of a usual course grader.

Each exercise is a test in otter's format: shapes, one batch learned by heart, loaders, a short
training, a confusion matrix. That is less than what `mnist-lab` asks; it names nothing. Each
submission is a script of its six files and a process of `otter run`, as otter is used without
Docker.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from mnist_lab import kit

BEGIN = "import torch\nfrom torch.nn import functional as F\ntorch.set_num_threads(1)\n"
MODEL = """
out = {name}()(torch.rand(32, 1, 28, 28))
assert out.shape == (32, 10)
model, images = {name}(), torch.rand(64, 1, 28, 28)
labels = torch.arange(64) % 10
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
first = F.cross_entropy(model(images), labels).item()
for _ in range(30):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
assert loss.item() < first
"""
QUESTIONS = {
    "preprocessing": """
from PIL import Image
picture = Image.new("L", (28, 28))
assert train_transform()(picture).shape == (1, 28, 28)
assert test_transform()(picture).shape == (1, 28, 28)
assert len(downsample(list(range(100)), 30)) == 30
items = [(torch.rand(1, 28, 28), i % 10) for i in range(100)]
assert next(iter(make_loaders(items, items, batch_size=32)[0]))[0].shape == (32, 1, 28, 28)
""",
    "logistic_regression": MODEL.format(name="LogisticRegression"),
    "fnn": MODEL.format(name="FNN"),
    "cnn": MODEL.format(name="CNN"),
    "training": """
items = torch.utils.data.TensorDataset(torch.rand(256, 1, 28, 28), torch.arange(256) % 10)
loader = torch.utils.data.DataLoader(items, batch_size=64)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
history = train(model, loader, epochs=2)
assert len(history) == 2 and history[1][0] < history[0][0]
""",
    "evaluation": """
items = torch.utils.data.TensorDataset(torch.rand(256, 1, 28, 28), torch.arange(256) % 10)
loader = torch.utils.data.DataLoader(items, batch_size=64)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
loss, right = evaluate(model, loader)
assert loss > 0 and 0 <= right <= 1
assert int(confusion_matrix(model, loader).sum()) == 256
""",
}


def autograder(folder: Path) -> Path:
    """Otter's archive with these questions."""
    tests = folder / "tests"
    tests.mkdir(parents=True)
    for exercise in kit.load().exercises:
        points = sum(check.points for check in exercise.checks)
        case = {"code": _doctest(BEGIN + QUESTIONS[exercise.id]), "hidden": False}
        suite = {"cases": [case], "scored": True, "setup": "", "teardown": "", "type": "doctest"}
        test = {"name": exercise.id, "points": points, "suites": [suite]}
        (tests / f"{exercise.id}.py").write_text(f"OK_FORMAT = True\ntest = {test!r}\n")
    archive = folder / "autograder.zip"
    _otter("generate", "-t", tests, "-o", archive, "--no-requirements", "--no-environment")
    return archive


def seconds(submissions: Path, names: list[str], folder: Path) -> float:
    """What otter takes for them, one after the other."""
    archive = autograder(folder)
    scripts = {name: _script(submissions / name, folder / f"{name}.py") for name in names}
    started = time.perf_counter()
    for name, script in scripts.items():
        (folder / name).mkdir()
        _otter("run", "-a", archive, "-o", folder / name, "--no-logo", script)
    return time.perf_counter() - started


def _script(submission: Path, to: Path) -> Path:
    files = [submission / exercise.file for exercise in kit.load().exercises]
    texts = [file.read_text(errors="replace") for file in files if file.exists()]
    lines = [line for text in texts for line in text.splitlines() if "__future__" not in line]
    to.write_text("\n".join(lines) + "\n")
    return to


def _doctest(code: str) -> str:
    lines = code.strip().splitlines()
    return "\n".join(f"{'...' if line.startswith(' ') else '>>>'} {line}" for line in lines)


def _otter(*arguments: object) -> None:
    command = [sys.executable, "-m", "otter", *map(str, arguments)]
    folder = Path(str(arguments[-1])).parent if arguments[0] == "run" else None
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode and arguments[0] == "generate":
        raise RuntimeError(done.stdout + done.stderr)
