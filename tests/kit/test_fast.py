"""The compiled steps keep the mathematics of the plain ones."""

import copy
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch
from steps import in_batches, plain_steps, vector
from torch import nn
from torch.nn import functional as F

from mnist_lab import augment, fast, training
from mnist_lab.data import Digits, Split
from mnist_lab.fast import FastSteps, fast_forward, libraries, suits, views
from mnist_lab.models import CNN, FNN, MODELS

CPU = torch.device("cpu")

needs_a_compiler = pytest.mark.skipif(
    fast.compiled() is None, reason=f"no C compiler here: {libraries.ADVICE}"
)


def a_batch(size, background=0.0):
    """Noise, of which a share ``background`` is as dark everywhere as in a normalised digit."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(size, 1, 28, 28, generator=generator)
    dark = torch.rand(size, 1, 28, 28, generator=generator) < background
    dark[: size // 2, :, 0, 0] = background > 0  # The first pixel of the others may be any.
    return images.masked_fill(dark, -0.4242), torch.arange(size) * 7 % 10


mostly_background = pytest.mark.parametrize("background", [0.0, 0.75, 1.0])


def a_model(name):
    torch.manual_seed(0)
    return MODELS[name]()


@pytest.fixture(params=["1", "3 of PyTorch's", "2 of its own"])
def threads(request, monkeypatch):
    before = torch.get_num_threads()
    count, _, whose = request.param.partition(" of ")
    torch.set_num_threads(int(count))
    if whose == "its own":
        monkeypatch.setattr(fast, "pool", libraries.Pool)
    elif whose and not libraries.pool().in_parallel:
        pytest.skip("PyTorch's threads are not OpenMP's here")
    yield
    torch.set_num_threads(before)


@needs_a_compiler
@pytest.mark.parametrize("name", MODELS)
@mostly_background
def test_the_gradient_of_a_batch_is_that_of_autograd_in_float64(name, background, threads):
    model = a_model(name)
    images, labels = a_batch(23, background)
    exact = copy.deepcopy(model).double()
    F.cross_entropy(exact(images.double()), labels).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in exact.parameters()])

    steps = FastSteps(model, 1e-3)
    steps.learn(images, labels, 64)

    tenths = views(model, steps.mean)  # after the first step Adam's mean is one of the gradient
    gradient = torch.cat([10 * tenth.flatten() for tenth in tenths])
    assert torch.allclose(gradient.double(), expected, rtol=1e-4, atol=1e-6 * expected.abs().max())


@needs_a_compiler
@pytest.mark.parametrize("name", MODELS)
@mostly_background
def test_five_steps_are_five_steps_of_torch_optim_adam(name, background, threads):
    model = a_model(name)
    exact = copy.deepcopy(model).double()
    images, labels = a_batch(43, background)
    expected = plain_steps(exact, in_batches(images.double(), labels, 10))

    steps = FastSteps(model, 1e-3)
    outputs = torch.cat([steps.learn(images[:20], labels[:20], 10),
                         steps.learn(images[20:], labels[20:], 10)])  # fmt: skip

    assert torch.allclose(outputs.double(), expected, atol=1e-4)
    # Where a gradient is nearly nothing, Adam makes a whole step of its rounding.
    assert (vector(model).double() - vector(exact)).abs().max() < 1e-4
    assert (vector(model).double() - vector(exact)).abs().mean() < 1e-7


@needs_a_compiler
@pytest.mark.skipif(
    not libraries.pool().in_parallel, reason="PyTorch's threads are not OpenMP's here"
)
def test_fewer_threads_than_were_asked_for_do_the_same():
    learned = """
        import torch
        from mnist_lab.fast import FastSteps
        from mnist_lab.models import CNN
        torch.manual_seed(0)
        torch.set_num_threads(3)
        images, labels = torch.randn(20, 1, 28, 28), torch.arange(20) % 10
        print(FastSteps(CNN(), 1e-3).learn(images, labels, 8).double().sum().item())
    """
    command = [sys.executable, "-c", textwrap.dedent(learned)]
    several, one = (
        subprocess.run(
            command, env=os.environ | limit, capture_output=True, text=True, check=True, timeout=120
        ).stdout
        for limit in ({}, {"OMP_THREAD_LIMIT": "1"})
    )

    assert float(one) == pytest.approx(float(several), abs=1e-4)


@needs_a_compiler
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", [1, 16, 65])
@mostly_background
def test_the_compiled_answers_are_the_models(name, size, background, threads):
    model = a_model(name)
    images, _ = a_batch(size, background)

    with torch.inference_mode():
        assert torch.allclose(fast_forward(model, images), model(images), atol=1e-5)


@needs_a_compiler
def test_a_step_leaves_pytorch_its_tiny_numbers(threads):
    FastSteps(a_model("fnn"), 1e-3).learn(*a_batch(64), 64)

    tiny = torch.full((1_000_000,), 1e-40)  # Enough of them that all threads have some.
    assert (tiny * 1).count_nonzero() == len(tiny)


@needs_a_compiler
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("size", "batch"), [(1, 1), (3, 1), (2, 64), (9, 4)])
def test_a_batch_may_be_of_any_size(name, size, batch, threads):
    model = a_model(name)
    exact = copy.deepcopy(model).double()
    images, labels = a_batch(size, background=0.75)
    expected = plain_steps(exact, in_batches(images.double(), labels, batch))

    outputs = FastSteps(model, 1e-3).learn(images, labels, batch)

    assert torch.allclose(outputs.double(), expected, atol=1e-4)
    assert (vector(model).double() - vector(exact)).abs().mean() < 1e-6


@needs_a_compiler
def test_more_threads_than_have_work_learn_the_same(monkeypatch):
    images, labels = a_batch(20)
    expected = FastSteps(a_model("cnn"), 1e-3).learn(images, labels, 8)
    monkeypatch.setattr(fast, "_threads", lambda network: 40)

    assert torch.allclose(
        FastSteps(a_model("cnn"), 1e-3).learn(images, labels, 8), expected, atol=1e-5
    )


@needs_a_compiler
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("pixel", [0, 400])
def test_a_pixel_that_is_no_number_does_to_its_image_what_it_does_in_pytorch(name, value, pixel):
    model = a_model(name)
    images, _ = a_batch(4, background=0.75)
    images[1].view(-1)[pixel] = value

    with torch.inference_mode():
        expected = model(images)

    assert torch.allclose(fast_forward(model, images), expected, atol=1e-5, equal_nan=True)


@needs_a_compiler
def test_images_in_any_layout_are_read_as_they_are():
    model = a_model("cnn")
    images, labels = a_batch(8)
    turned = images.transpose(2, 3).contiguous().transpose(2, 3)

    assert torch.equal(fast_forward(model, turned), fast_forward(model, images))
    assert torch.equal(
        FastSteps(copy.deepcopy(model), 1e-3).learn(turned, labels, 4),
        FastSteps(copy.deepcopy(model), 1e-3).learn(images, labels, 4),
    )


@needs_a_compiler
@pytest.mark.parametrize(
    ("name", "parameter"),
    [(name, parameter) for name in MODELS for parameter, _ in MODELS[name]().named_parameters()],
)
def test_a_weight_that_is_no_number_shows_in_the_outputs(name, parameter):
    model = a_model(name)
    model.get_parameter(parameter).data.view(-1)[0] = torch.nan

    assert fast_forward(model, a_batch(3)[0]).isnan().any()


@needs_a_compiler
def test_the_compiled_steps_suit_only_the_reference_models_in_float32_on_a_cpu():
    class MyCNN(CNN):
        pass

    assert suits(CNN(), CPU)
    assert not suits(CNN().double(), CPU)
    assert not suits(CNN(), torch.device("cuda"))
    assert not suits(MyCNN(), CPU)
    narrow, frozen = FNN(), FNN()
    narrow.hidden, narrow.output = nn.Linear(784, 64), nn.Linear(64, 10)
    frozen.output.requires_grad_(False)
    assert not suits(narrow, CPU)
    assert not suits(frozen, CPU)


def some_digits():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, 28, 28), generator=generator).to(torch.uint8)
    split = Split(images, torch.arange(40) % 10)
    return Digits(split, split, "sample", 0)


@needs_a_compiler
def test_without_a_compiler_the_same_is_learned(monkeypatch):
    with_one, without = a_model("fnn"), a_model("fnn")
    settings = training.Settings(epochs=1, batch_size=16, device="cpu")
    training.train(with_one, some_digits(), settings)
    monkeypatch.setattr("mnist_lab.fast.compiled", lambda: None)
    monkeypatch.setattr("mnist_lab.augment.compiled", lambda: None)

    training.train(without, some_digits(), settings)

    assert not torch.equal(vector(with_one), vector(a_model("fnn")))
    assert (vector(with_one) - vector(without)).abs().mean() < 1e-7


@pytest.fixture
def anew(monkeypatch, tmp_path):
    """A machine on which nothing has been compiled yet."""
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / "cache" / name)
    libraries.library.cache_clear()
    yield tmp_path / "cache" / "mnist-lab"
    libraries.library.cache_clear()


@needs_a_compiler
def test_it_is_compiled_once_and_kept(anew, monkeypatch):
    assert fast.compiled() is not None
    (made,) = anew.iterdir()
    libraries.library.cache_clear()
    monkeypatch.setattr(subprocess, "run", None)

    assert fast.compiled() is not None
    assert list(anew.iterdir()) == [made]


@needs_a_compiler
@pytest.mark.parametrize("harm", ["cut off", "of another user"])
def test_what_is_kept_but_not_sound_is_made_anew(anew, monkeypatch, harm):
    assert fast.compiled() is not None
    (made,) = anew.iterdir()
    content, me = made.read_bytes(), os.getuid()
    made.unlink()  # This process has it loaded: it must not change below it.
    made.write_bytes(content[: len(content) // 2] if harm == "cut off" else content)
    if harm == "of another user" and me == 0:
        os.chown(made, 1, -1)
    elif harm == "of another user":
        monkeypatch.setattr(os, "getuid", lambda: me + 1)
    before = made.stat().st_ino
    libraries.library.cache_clear()

    assert fast.compiled() is not None
    assert made.stat().st_ino != before
    assert libraries._digest(made.read_bytes()) in made.name


@needs_a_compiler
def test_a_cache_that_cannot_be_written_is_done_without(anew):
    anew.parent.write_text("no folder")

    assert fast.compiled() is not None


@pytest.fixture
def broken(tmp_path):
    """A compiler that fails."""
    made = tmp_path / "cc"
    made.write_text("#!/bin/sh\nexit 1\n")
    made.chmod(0o755)
    return [str(made)]


@needs_a_compiler
def test_where_one_compiler_fails_the_next_is_asked(anew, broken, monkeypatch):
    others = list(libraries.compilers())
    monkeypatch.setattr(libraries, "compilers", lambda: [broken, *others])

    assert fast.compiled() is not None


@needs_a_compiler
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("fast.c", "convolve_first(padded, k->weight1, vector + at->bias1, trace);", ""),
        ("fast.c", "v[i] = 0.999f * v[i] + ", "v[i] = "),
        ("fast.c", "inputs[i].background * all[v]", "0 * all[v]"),
        ("augment.c", "job->scale + job->shift", "(0 / job->count)"),
        ("augment.c", "load(down + i) *", "0 *"),
    ],
)
def test_what_a_compiler_gets_wrong_is_not_used(name, right, wrong, anew, tmp_path, monkeypatch):
    for source in Path(libraries.__file__).parent.glob("*.[ch]"):
        text = source.read_text()
        assert source.name != name or right in text
        changed = text.replace(right, wrong) if source.name == name else text
        (tmp_path / source.name).write_text(changed)
    monkeypatch.setattr(libraries, "__file__", str(tmp_path / "libraries.py"))

    refused = {"fast.c": fast.compiled() is None, "augment.c": augment.compiled() is None}

    assert refused == {"fast.c": name == "fast.c", "augment.c": name == "augment.c"}
    assert len(list(anew.iterdir())) == 1


@needs_a_compiler
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_it_may_be_compiled_while_pytorch_is_told_something_else(mode, anew):
    before = torch.get_rng_state(), torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with mode(), torch.autocast("cpu", torch.bfloat16):
            assert fast.compiled() is not None
            assert augment.compiled() is not None
    finally:
        torch.set_default_dtype(before[1])
    assert torch.equal(torch.get_rng_state(), before[0])


def test_without_a_compiler_that_works_the_lab_goes_on(anew, broken, monkeypatch):
    monkeypatch.setattr(libraries, "compilers", lambda: [broken])

    assert fast.compiled() is None
    assert list(anew.iterdir()) == []
    assert not suits(FNN(), CPU)


@needs_a_compiler
@pytest.mark.parametrize(
    ("images", "labels"), [((4, 1, 27, 27), 4), ((4, 784), 4), ((4, 1, 28, 28), 3)]
)
def test_what_is_no_batch_of_digits_is_refused(images, labels):
    with pytest.raises(ValueError, match="as many labels"):
        FastSteps(FNN(), 1e-3).learn(torch.zeros(images), torch.zeros(labels).long(), 2)


@pytest.fixture
def wider(monkeypatch):
    """The lab's FNN with another width, as a learner may try it."""

    def with_300(self):
        nn.Module.__init__(self)
        self.hidden, self.output = nn.Linear(784, 300), nn.Linear(300, 10)

    monkeypatch.setattr(FNN, "__init__", with_300)


@needs_a_compiler
def test_another_width_of_one_model_leaves_the_others_fast(wider, anew):
    assert suits(CNN(), CPU)
    assert not suits(FNN(), CPU)
    assert fast.slow_because(CNN) == ""
    assert "trains FNN, more slowly: the C code is made for other sizes" in fast.slow_because(FNN)


def test_without_a_compiler_it_says_so(monkeypatch):
    monkeypatch.setattr("mnist_lab.fast.compiled", lambda: None)

    assert "no C compiler works here" in fast.slow_because(CNN)
    assert "ziglang" in fast.slow_because(CNN)
