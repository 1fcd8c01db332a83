"""The trainer does what the plain loop does, and keeps what is finished when it is stopped."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mnist_lab import training
from mnist_lab.augment import augment, draw, normalise
from mnist_lab.data import load
from mnist_lab.models import CNN, FNN, MODELS
from mnist_lab.training import History, Settings, Watch, train, train_together

DIGITS = load("sample", train_size=300, test_size=100)
SHORT = Settings(epochs=2, device="cpu")
NEEDS_A_GPU = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use"
)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, NEEDS_A_GPU])])
def device(request):
    return request.param


def new(model, seed=0):
    torch.manual_seed(seed)
    return model()


def weights(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def same(weights, others):
    """On a CPU to the last bit; on a GPU, where sums have no order, but for rounding."""
    if weights.is_cuda:
        return (weights - others).abs().mean() < 1e-5
    return torch.equal(weights, others)


class Dropout(nn.Module):
    """A model with chance in its steps."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(784, 10))

    def forward(self, images):
        return self.layers(images)


class Viewed(nn.Module):
    """A convolution whose output is viewed, which only the usual layout allows."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.linear = nn.Linear(4 * 26 * 26, 10)

    def forward(self, images):
        return self.linear(self.conv(images).view(len(images), -1))


class Interrupting(Watch):
    """Presses Ctrl-C when a model has been trained on so many digits."""

    def __init__(self, name, images):
        self.name, self.images = name, images

    def advanced(self, name, images):
        if name == self.name:
            self.images -= images
            if self.images <= 0:
                raise KeyboardInterrupt


@pytest.mark.parametrize("model", [*MODELS.values(), Viewed])
def test_training_is_the_plain_loop_over_the_same_stream(model):
    """Shuffled, augmented batches, the short last one too; Adam, cross-entropy, in float32."""
    ours, plain = new(model), new(model)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-3)
    plain_epochs = []
    for number in (0, 1):
        [(images, labels)] = training.stream(DIGITS.train, number, SHORT, torch.device("cpu"))
        losses, correct = 0.0, 0
        for batch, answers in zip(images.split(64), labels.split(64), strict=True):
            optimizer.zero_grad()
            logits = plain(batch)
            loss = F.cross_entropy(logits, answers)
            loss.backward()
            optimizer.step()
            losses += loss.item() * len(batch)
            correct += (logits.argmax(1) == answers).sum().item()
        plain_epochs.append((losses / 300, correct / 300))

    history = train(ours, DIGITS, SHORT)

    # Rounding differs between the two ways, and Adam's first steps magnify it.
    assert (weights(ours) - weights(plain)).abs().max() < 2e-4
    for epoch, (loss, accuracy) in zip(history.epochs, plain_epochs, strict=True):
        assert epoch.train_loss == pytest.approx(loss, abs=1e-3)
        assert epoch.train_accuracy == pytest.approx(accuracy, abs=0.011)


def test_the_stream_is_every_digit_once_shuffled_and_augmented():
    [(images, labels)] = training.stream(DIGITS.train, 0, SHORT, torch.device("cpu"))

    augmented = augment(DIGITS.train.images, draw(0, 0, 300))
    same = (images.flatten(1)[:, None] - augmented.flatten(1)[None]).abs().amax(2) < 1e-5
    order = same.int().argmax(1)

    assert sorted(order.tolist()) == list(range(300))
    assert order.tolist() != list(range(300))
    assert torch.equal(DIGITS.train.labels[order], labels)


def test_the_size_of_the_chunks_does_not_matter(monkeypatch):
    [(images, labels)] = training.stream(DIGITS.train, 0, SHORT, torch.device("cpu"))
    monkeypatch.setattr(training, "CHUNK", 128)

    chunks = list(training.stream(DIGITS.train, 0, SHORT, torch.device("cpu")))

    assert [len(part) for part, _ in chunks] == [128, 128, 44]
    assert torch.allclose(torch.cat([part for part, _ in chunks]), images, atol=1e-5)
    assert torch.equal(torch.cat([part for _, part in chunks]), labels)


def test_without_augmentation_the_stream_is_the_digits_as_they_are():
    settings = Settings(augment=False, device="cpu")
    [(images, _)] = training.stream(DIGITS.train, 0, settings, torch.device("cpu"))

    plain = normalise(DIGITS.train.images)

    assert sorted(images.sum((1, 2, 3)).tolist()) == pytest.approx(
        sorted(plain.sum((1, 2, 3)).tolist())
    )


def test_a_seed_reproduces_a_run_to_the_last_bit():
    first, second = new(CNN), new(CNN)

    histories = [train(model, DIGITS, SHORT) for model in (first, second)]

    assert torch.equal(weights(first), weights(second))
    assert [e.train_loss for e in histories[0].epochs] == [
        e.train_loss for e in histories[1].epochs
    ]


def test_another_seed_is_another_run():
    first, second = new(FNN), new(FNN)

    train(first, DIGITS, SHORT)
    train(second, DIGITS, Settings(epochs=2, device="cpu", seed=1))

    assert not torch.equal(weights(first), weights(second))


def test_a_model_learns_the_same_alone_and_in_company(device):
    alone, together = new(Dropout), new(Dropout)
    settings = replace(SHORT, device=device)

    torch.manual_seed(3)
    train(alone, DIGITS, settings)
    torch.manual_seed(3)
    train_together({"other": new_like(Dropout), "it": together}, DIGITS, settings)

    assert same(weights(alone), weights(together))


def new_like(model):
    """Another model made without drawing from the global random state."""
    with torch.random.fork_rng():
        return new(model, seed=7)


def test_training_leaves_the_global_random_state_alone():
    model = new(Dropout)
    before = torch.get_rng_state()

    train(model, DIGITS, SHORT)

    assert torch.equal(torch.get_rng_state(), before)


def test_the_test_digits_are_evaluated_in_eval_mode_and_change_nothing():
    model = new(Dropout)
    history = train(model, DIGITS, Settings(epochs=1, device="cpu"))
    before = weights(model)

    loss, accuracy = training.evaluate(model, DIGITS.test, "cpu")

    assert history.epochs[-1].test_loss == pytest.approx(loss, abs=1e-6)
    assert history.epochs[-1].test_accuracy == accuracy
    assert torch.equal(weights(model), before)
    assert not model.training


def test_evaluation_is_the_mean_over_the_digits():
    model = new(FNN)
    logits = model(normalise(DIGITS.test.images))

    loss, accuracy = training.evaluate(model, DIGITS.test, "cpu")

    assert loss == pytest.approx(F.cross_entropy(logits, DIGITS.test.labels).item(), abs=1e-6)
    assert accuracy == (logits.argmax(1) == DIGITS.test.labels).sum().item() / 100


@pytest.mark.parametrize("model", [*MODELS.values(), Viewed])
def test_the_trained_model_owns_its_weights_in_the_usual_layout(model):
    trained = new(model)

    train(trained, DIGITS, SHORT)

    parameters = list(trained.parameters())
    assert all(parameter.is_contiguous() for parameter in parameters)
    assert all(parameter.untyped_storage().nbytes() == parameter.nbytes for parameter in parameters)


def test_a_model_that_diverges_stops_with_a_sentence_and_its_last_good_weights():
    model = new(FNN)
    fine = copy.deepcopy(model)
    train(fine, DIGITS, Settings(epochs=1, device="cpu"))

    class Poison(Watch):
        def finished(self, name, number, epoch):
            model.output.weight.data.fill_(float("nan"))

    history = train(model, DIGITS, Settings(epochs=3, device="cpu"), watch=Poison())

    assert len(history.epochs) == 1
    assert history.stopped.startswith("Diverged in epoch 2")
    assert not history.interrupted
    assert torch.equal(weights(model), weights(fine))


def test_a_model_that_diverges_does_not_stop_the_others(device):
    broken = new(FNN)
    broken.output.weight.data.fill_(float("nan"))
    settings = replace(SHORT, device=device)

    histories = train_together({"broken": broken, "fine": new(CNN)}, DIGITS, settings)

    assert histories["broken"] == History((), histories["broken"].stopped)
    assert "Diverged in epoch 1" in histories["broken"].stopped
    assert len(histories["fine"].epochs) == 2


def test_ctrl_c_keeps_the_finished_epochs_and_their_weights(device):
    models = {"fnn": new(FNN), "cnn": new(CNN)}
    finished = {"fnn": new(FNN), "cnn": new(CNN)}
    train_together(finished, DIGITS, Settings(epochs=2, device=device))

    histories = train_together(
        models, DIGITS, Settings(epochs=5, device=device), watch=Interrupting("cnn", 2 * 300 + 1)
    )

    for name, history in histories.items():
        assert len(history.epochs) == 2
        assert history.interrupted
        assert history.stopped == "Interrupted after 2 of 5 epochs."
        assert same(weights(models[name]), weights(finished[name]))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (Settings(epochs=0), "at least one epoch"),
        (Settings(batch_size=0), "one image a batch"),
        (Settings(learning_rate=0.0), "learning rate"),
        (Settings(learning_rate=float("nan")), "learning rate"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        train(new(FNN), DIGITS, settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_said():
    with pytest.raises(training.DeviceError, match="no GPU"):
        train(new(FNN), DIGITS, Settings(device="cuda"))


@pytest.mark.gpu
@NEEDS_A_GPU
@pytest.mark.parametrize("model", MODELS.values())
def test_a_gpu_learns_what_the_cpu_learns(model):
    on_cpu, on_gpu = new(model), new(model)

    cpu = train(on_cpu, DIGITS, SHORT)
    gpu = train(on_gpu, DIGITS, Settings(epochs=2, device="cuda"))

    assert gpu.epochs[-1].test_loss == pytest.approx(cpu.epochs[-1].test_loss, abs=0.02)


def test_adam_takes_complex_weights_too():
    weights = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3, dtype=torch.complex64))]
    optimizer = training.adam(weights, 0.01)
    sum((weight * weight).real.sum() for weight in weights).backward()
    optimizer.step()
    for weight in weights:
        torch.testing.assert_close(weight.detach(), torch.full_like(weight, 0.99))
