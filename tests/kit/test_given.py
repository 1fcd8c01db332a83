"""A given model and loader are as good as real ones, number by number.

What a loop finds is returned as numbers, and compared with the same loop on a real model here.
"""

import runpy
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from mnist_lab.submission.answers import Batches, Recipe
from mnist_lab.submission.caller import SubmissionFailure
from mnist_lab.submission.client import Submission
from mnist_lab.submission.protocol import APART, RECORDED

GENERATOR = torch.Generator().manual_seed(3)
IMAGES = torch.randn(12, 1, 28, 28, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.arange(12) % 10
BATCHES = Batches(IMAGES, LABELS, 5)
UNITS = 6
ROOT = Path(__file__).parents[2]


def losses(trained) -> torch.Tensor:
    return torch.tensor([score.loss for score in trained.history], dtype=torch.float64)


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


WEIGHTS = {
    "hidden.weight": drawn(UNITS, 784) / 28,
    "hidden.bias": drawn(UNITS),
    "norm.weight": 1 + drawn(UNITS).abs(),
    "norm.bias": drawn(UNITS),
    "norm.running_mean": drawn(UNITS),
    "norm.running_var": 1 + drawn(UNITS).abs(),
    "output.weight": drawn(10, UNITS),
    "output.bias": drawn(10),
}


class Real(nn.Module):
    """What the given model is, as a module of this process."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.norm = nn.Linear(784, UNITS), nn.BatchNorm1d(UNITS)
        self.dropout, self.output = nn.Dropout(0.0), nn.Linear(UNITS, 10)
        self.double().load_state_dict(WEIGHTS, strict=False)

    def forward(self, images):
        return self.output(self.dropout(self.norm(self.hidden(images.flatten(1))).relu()))


@pytest.fixture(params=["fork", "none"])
def on_both(request, server, tmp_path):
    """Runs ``train(model, loader)`` as a learner's and here; the numbers and weights of each."""
    opened = []

    def run(body: str):
        source = "\n".join(
            [
                "import copy, torch",
                "from torch import nn",
                "from torch.nn import functional as F",
                "from torch.utils.data import DataLoader",
                "def work(model, loader):",
                textwrap.indent(textwrap.dedent(body).strip(), "    "),
                "def train(model, loader, epochs=10, lr=1e-3, device='cpu'):",
                "    numbers = torch.as_tensor(work(model, loader)).double().flatten()",
                "    some = numbers[:: max(1, len(numbers) // 300)].tolist()",
                "    return [(number, 0.0) for number in some]",
            ]
        )
        (tmp_path / "training.py").write_text(source)
        submission = Submission(tmp_path, isolation=request.param, server=server)
        opened.append(submission)
        given = submission.exercise("training").train(Recipe("normed", WEIGHTS), BATCHES)
        here: dict = {}
        exec(source, here)
        real = Real().train()
        expected = here["train"](real, DataLoader(TensorDataset(IMAGES, LABELS), batch_size=5))
        here_numbers = torch.tensor([loss for loss, _ in expected], dtype=torch.float64)
        return losses(given), here_numbers, given.weights, real

    yield run
    for submission in opened:
        submission.close()


STEP = """
for images, labels in loader:
    optimizer.zero_grad()
    F.cross_entropy(model(images), labels).backward()
    optimizer.step()
return 0.0
"""

WORK = {
    "calls": "return torch.cat([model(images) for images, _ in loader]).detach()",
    "forward": "return torch.cat([model.forward(images) for images, _ in loader]).detach()",
    "eval": "return torch.cat([model.eval()(images) for images, _ in loader]).detach()",
    "no gradients": """
        with torch.no_grad():
            return torch.cat([model(images) for images, _ in loader])
    """,
    "a part in eval mode": """
        model.norm.eval()
        return torch.cat([model(images) for images, _ in loader]).detach()
    """,
    "a copy": """
        twin = copy.deepcopy(model).eval()
        with torch.no_grad():
            twin.output.bias += 1
            return torch.cat([twin(images) - model(images) for images, _ in loader])
    """,
    "hooks": """
        seen = []
        handles = [
            model.register_forward_hook(lambda m, given, out: seen.append(out.detach().sum())),
            model.register_forward_pre_hook(lambda m, given: (2 * given[0],)),
        ]
        [model(images) for images, _ in loader]
        [handle.remove() for handle in handles]
        return torch.stack(seen)
    """,
    "functional_call": """
        weights = {name: 2 * value for name, value in model.named_parameters()}
        scores = [torch.func.functional_call(model, weights, (images,)) for images, _ in loader]
        return torch.cat(scores).detach()
    """,
    "torch.func.grad": """
        weights = {name: value.detach() for name, value in model.eval().named_parameters()}
        def loss(weights, images, labels):
            return F.cross_entropy(torch.func.functional_call(model, weights, (images,)), labels)
        images, labels = next(iter(loader))
        found = torch.func.grad(loss)(weights, images, labels)
        return torch.cat([gradient.flatten() for gradient in found.values()])
    """,
    "torch.autograd.grad": """
        images, labels = next(iter(loader))
        loss = F.cross_entropy(model(images), labels)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
    """,
    "gradients of images": """
        images, _ = next(iter(loader))
        images.requires_grad_()
        model(images)[:, 3].sum().backward()
        return images.grad
    """,
    "a state that comes back": """
        kept = copy.deepcopy(model.state_dict())
        with torch.no_grad():
            [p.zero_() for p in model.parameters()]
        model.load_state_dict(kept)
        return torch.cat([model(images) for images, _ in loader]).detach()
    """,
    "gradients that add up": """
        for images, labels in loader:
            F.cross_entropy(model(images), labels).backward()
        sums = torch.cat([p.grad.flatten().clone() for p in model.parameters()])
        model.zero_grad(set_to_none=False)
        assert all(not p.grad.any() for p in model.parameters())
        model.zero_grad()
        assert all(p.grad is None for p in model.parameters())
        return sums
    """,
    "a graph that is kept": """
        images, labels = next(iter(loader))
        loss = F.cross_entropy(model(images), labels)
        loss.backward(retain_graph=True)
        loss.backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])
    """,
    "SGD": f"optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)\n{STEP}",
    "Adam, foreach": f"optimizer = torch.optim.Adam(model.parameters(), foreach=True)\n{STEP}",
    "Adam, fused": f"optimizer = torch.optim.Adam(model.parameters(), fused=True)\n{STEP}",
    "Adam by hand": """
        means = [torch.zeros_like(p) for p in model.parameters()]
        squares = [torch.zeros_like(p) for p in model.parameters()]
        for t, (images, labels) in enumerate(loader, start=1):
            model.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            with torch.no_grad():
                for p, m, v in zip(model.parameters(), means, squares):
                    m.mul_(0.9).add_(0.1 * p.grad)
                    v.mul_(0.999).add_(0.001 * p.grad**2)
                    p -= 1e-3 * (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
        return 0.0
    """,
    "what a loader is": """
        again = [labels for _ in range(2) for _, labels in loader]
        sums = [images.sum() for images, _ in loader]
        return torch.cat([torch.tensor([len(loader)]), *again, torch.stack(sums)])
    """,
    "batches in another order": """
        batches = list(loader)
        return torch.cat([model(images) for images, _ in reversed(batches)]).detach()
    """,
    "types": """
        kinds = [isinstance(model, nn.Module), len([*model.children()])]
        leaves = [p.is_leaf and p.requires_grad for p in model.parameters()]
        return torch.tensor([float(each) for each in [*kinds, *leaves, model.training]])
    """,
}


@pytest.mark.parametrize("name", WORK)
def test_a_given_model_is_as_good_as_a_real_one(on_both, name):
    numbers, expected, weights, real = on_both(WORK[name])
    torch.testing.assert_close(numbers, expected, atol=1e-9, rtol=1e-9)
    for key, value in real.state_dict().items():
        torch.testing.assert_close(weights[key], value, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "images, labels = next(iter(loader))\nloss = model(images).sum()\n"
            "loss.backward()\nloss.backward()",
            "backward through the graph a second time",
        ),
        (
            "images, labels = next(iter(loader))\nloss = model(images).sum()\n"
            "with torch.no_grad():\n    [p.add_(1) for p in model.parameters()]\nloss.backward()",
            "modified by an inplace operation",
        ),
        ("model(next(iter(loader))[0][:, :, :10])", "mat1 and mat2"),
        ("model(next(iter(loader))[0].float())", "same dtype"),
        (
            "with torch.no_grad():\n    loss = model(next(iter(loader))[0]).sum()\nloss.backward()",
            "does not require grad",
        ),
    ],
)
def test_what_goes_wrong_with_a_real_model_goes_wrong_with_a_given_one(on_both, body, said):
    with pytest.raises(SubmissionFailure) as caught:
        on_both(body)
    assert said in caught.value.cause.message


@pytest.mark.parametrize("asks", ["loader.dataset", "loader.batch_size", "loader[0]"])
def test_a_given_loader_has_its_batches_and_its_length_and_nothing_else(server, tmp_path, asks):
    text = f"def train(model, loader, epochs=10, lr=1e-3, device='cpu'):\n    return {asks}\n"
    (tmp_path / "training.py").write_text(text)
    with (
        Submission(tmp_path, server=server) as submission,
        pytest.raises(SubmissionFailure, match="Loader"),
    ):
        submission.exercise("training").train(Recipe("normed", WEIGHTS), BATCHES)


def test_the_solutions_take_a_loader_and_a_list_of_batches_alike():
    files = (ROOT / "solutions" / f"{name}.py" for name in ("evaluation", "training"))
    evaluation, training = map(runpy.run_path, map(str, files))
    loader = DataLoader(TensorDataset(IMAGES, LABELS), batch_size=5)
    results = []
    for batches in (loader, list(loader)):
        model = Real()
        results.append(
            (
                training["train"](model, batches, epochs=2),
                evaluation["evaluate"](model, batches),
                evaluation["confusion_matrix"](model, batches).tolist(),
            )
        )
    assert results[0] == results[1]


def test_who_says_eval_mode_gets_its_numbers(server, tmp_path):
    claims = """
        import torch
        from mnist_lab.submission.guest import given
        ask = given._ask
        def claim(what, fields, arrays={}):
            if what == "forward":
                fields = {**fields, "modes": dict.fromkeys(fields["modes"], False)}
            return ask(what, fields, arrays)
        given._ask = claim
        def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
            model.train()
            scores = torch.cat([model(images) for images, _ in loader]).detach()
            return [(score, 0.0) for score in scores.flatten().tolist()]
    """
    (tmp_path / "training.py").write_text(textwrap.dedent(claims))
    with Submission(tmp_path, server=server) as submission:
        given = submission.exercise("training").train(Recipe("normed", WEIGHTS), BATCHES)
    seen = losses(given)
    in_eval_mode = Real().eval()(IMAGES).detach().flatten()
    torch.testing.assert_close(seen, in_eval_mode, atol=1e-9, rtol=1e-9)
    assert not any(given.facts.modes)


def test_what_a_gradient_is_wished_of_gives_other_scores(server, tmp_path):
    asks = """
        import torch
        def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
            images, _ = next(iter(loader))
            with torch.no_grad():
                without = model.eval()(images)
            return [(n, 0.0) for n in (model(images).detach() - without)[0].tolist()]
    """
    (tmp_path / "training.py").write_text(textwrap.dedent(asks))
    more = torch.arange(10.0, dtype=torch.float64)
    with Submission(tmp_path, server=server) as submission:
        recipe = Recipe("normed", WEIGHTS, with_gradient=more)
        given = submission.exercise("training").train(recipe, BATCHES)
    seen = losses(given)
    torch.testing.assert_close(seen, more, atol=1e-9, rtol=1e-9)
    assert F.one_hot(torch.tensor(given.facts.grad_enabled).long()).tolist() == [[1, 0], [0, 1]]


def test_what_is_moved_to_a_device_that_is_not_there_is_known(server, tmp_path):
    moves = """
        import copy
        import torch
        from torch.autograd import Variable
        def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
            images, labels = next(iter(loader))
            moved = images.to(device, torch.float32)
            there = [
                next(model.parameters()), moved, moved[0], moved.flatten(1) * 2,
                Variable(moved), moved.detach(), [*moved][1], torch.stack(list(moved)),
                torch.zeros(2, device=device), torch.as_tensor(labels, device=device),
                images.cuda(), labels.to(moved), torch.zeros_like(moved), moved.double(),
                torch.empty(images.shape, device=device).copy_(images), moved.to(device),
                model(images.to(next(model.parameters()).device)),
            ]
            here = [images, labels, moved.cpu(), images.float(), torch.zeros(2), images.to("cpu"),
                    moved.to(images), copy.deepcopy(images), torch.zeros(2, device="cpu")]
            with torch.device(device):
                there.append(torch.ones(3))
            pairs = [(1.0, each) for each in there] + [(0.0, each) for each in here]
            return [(where, float(each.device == torch.device(device))) for where, each in pairs]
    """
    (tmp_path / "training.py").write_text(textwrap.dedent(moves))
    with Submission(tmp_path, server=server) as submission:
        given = submission.exercise("training").train(
            Recipe("normed", WEIGHTS), BATCHES, device=RECORDED
        )
    assert len(given.history) == 27
    assert [score.accuracy for score in given.history] == losses(given).tolist()


def test_a_model_on_a_device_that_is_not_there_takes_nothing_else(server, tmp_path):
    stays = """
        def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
            return [(model.to({place})(images).sum().item(), 0.0) for images, _ in loader]
    """
    for place in ("device", "'cpu'"):
        (tmp_path / "training.py").write_text(textwrap.dedent(stays).format(place=place))
        with Submission(tmp_path, server=server) as submission:
            train = submission.exercise("training").train
            assert len(train(Recipe("normed", WEIGHTS), BATCHES).history) == 3
            with pytest.raises(SubmissionFailure, match=APART):
                train(Recipe("normed", WEIGHTS), BATCHES, device=RECORDED)


@pytest.mark.parametrize("isolation", ["fork", "none"])
def test_a_model_for_many_batches_computes_as_a_real_one(isolation, server, tmp_path):
    code = """
    import torch
    from torch.nn import functional as F

    def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        assert [len(labels) for _, labels in loader] == [1, 4, 2] and len(loader) == 3
        for images, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        return [(float(images.view(-1, 1, 28, 28).sum()), 0.0)]
    """
    (tmp_path / "training.py").write_text(textwrap.dedent(code))
    greys, labels = drawn(7, 1, 1, 1), torch.arange(7)
    weights = {"output.weight": drawn(10, 1), "output.bias": drawn(10)}
    layer = nn.Linear(1, 10).double()
    layer.load_state_dict({name.removeprefix("output."): each for name, each in weights.items()})
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
    for x, y in zip(greys.flatten(1).split([1, 4, 2]), labels.split([1, 4, 2]), strict=True):
        optimizer.zero_grad()
        F.cross_entropy(layer(x), y).backward()
        optimizer.step()

    with Submission(tmp_path, isolation=isolation, server=server) as submission:
        batches = Batches(greys.expand(-1, 1, 28, 28), labels, (1, 4, 2))
        given = submission.exercise("training").train(Recipe("linear", weights), batches)

    assert losses(given).item() == pytest.approx(784 * greys[-2:].sum().item())
    torch.testing.assert_close(given.weights["output.weight"], layer.weight.detach())
    torch.testing.assert_close(given.weights["output.bias"], layer.bias.detach())


def test_a_thread_may_read_the_loader_while_the_model_is_called(server, tmp_path):
    code = """
    import queue, threading

    def train(model, loader, epochs=10, lr=1e-3, device="cpu"):
        waiting, sums = queue.Queue(2), []
        def read():
            for _ in range(20):
                for batch in loader:
                    waiting.put(batch)
            waiting.put(None)
        threading.Thread(target=read, daemon=True).start()
        while (batch := waiting.get()) is not None:
            sums.append(model(batch[0]).sum().item())
        return [(sum(sums), 0.0)]
    """
    (tmp_path / "training.py").write_text(textwrap.dedent(code))

    with Submission(tmp_path, server=server) as submission:
        given = submission.exercise("training").train(Recipe("normed", WEIGHTS), BATCHES)

    real = Real().train()
    expected = sum(real(images).sum().item() for images in IMAGES.split(5))
    assert losses(given).item() == pytest.approx(20 * expected)
