"""A step that is recorded and replayed keeps the mathematics of the plain loop.

Here a tape takes the GPU's part: like a CUDA graph it knows kernels and places in memory, and
nothing of Python.
"""

import copy
from contextlib import contextmanager

import pytest
import torch
from steps import in_batches, plain_steps, vector
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mnist_lab.cuda import WARM_UP, GraphSteps, cuda_graph
from mnist_lab.models import MODELS

NEEDS_A_GPU = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a GPU that PyTorch can use"
)
READS_A_NUMBER = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}


class Tape(TorchDispatchMode):
    """Every kernel and the memory that it reads and writes; ``replay`` runs them on it again."""

    def __init__(self):
        super().__init__()
        self.kernels = []
        self.made = {}
        self.before = {}

    def __torch_dispatch__(self, kernel, types, arguments=(), keywords=None):
        assert not READS_A_NUMBER & set(kernel.tags), f"{kernel} makes the CPU wait for the GPU"
        for memory in map(torch.Tensor.untyped_storage, tensors_of((arguments, keywords))):
            if memory.data_ptr() not in self.made:
                self.before.setdefault(memory.data_ptr(), (memory, memory.clone()))
        result = kernel(*arguments, **(keywords or {}))
        for memory in map(torch.Tensor.untyped_storage, tensors_of(result)):
            if memory.data_ptr() not in self.before:
                self.made[memory.data_ptr()] = memory
        self.kernels.append((kernel, arguments, keywords or {}, result))
        return result

    def undo(self):
        """Recording computes nothing: what was there before is as it was."""
        for memory, value in self.before.values():
            memory.copy_(value)

    @torch.no_grad()
    def replay(self):
        for kernel, arguments, keywords, result in self.kernels:
            again = kernel(*arguments, **keywords)
            for old, new in zip(tensors_of(result), tensors_of(again), strict=True):
                if old.data_ptr() != new.data_ptr():
                    old.detach().copy_(new)


def tensors_of(tree):
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def taped(step):
    tape = Tape()
    with tape:
        step()
    tape.undo()
    return tape.replay


def some_digits(size):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(size, 1, 28, 28, generator=generator, dtype=torch.float64)
    return images, torch.randint(0, 10, (size,), generator=generator)


def a_model(name):
    torch.manual_seed(0)
    return MODELS[name]().double()


def counted(record):
    """``record``, and a list with an entry for each recording and each replay."""
    done = []

    def recorded(step):
        done.append("recorded")
        replay = record(step)
        return lambda: (done.append("replayed"), replay())

    return recorded, done


@contextmanager
def a_stream():
    """No stream but a GPU's own can be recorded."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        yield
    stream.synchronize()


@pytest.fixture(params=["tape", pytest.param("cuda", marks=[pytest.mark.gpu, NEEDS_A_GPU])])
def recorder(request):
    """Where the steps are taken, what records them, and how far rounding may take them apart."""
    if request.param == "tape":
        yield "cpu", taped, {}
    else:
        with a_stream():
            yield "cuda", cuda_graph, {"rtol": 1e-5, "atol": 1e-6}


@pytest.mark.parametrize("name", MODELS)
def test_replayed_steps_are_the_plain_ones(name, recorder):
    device, record, apart = recorder
    model = a_model(name).to(device)
    exact = copy.deepcopy(model)
    images, labels = (tensor.to(device) for tensor in some_digits(47 + 30))
    first, second = (images[:47], labels[:47]), (images[47:], labels[47:])
    expected = plain_steps(exact, [*in_batches(*first, 5), *in_batches(*second, 5)])
    steps = GraphSteps(model, 1e-3, record)

    outputs = torch.cat([steps.learn(*first, 5), steps.learn(*second, 5)])

    torch.testing.assert_close(outputs, expected, **apart)
    torch.testing.assert_close(vector(model), vector(exact), **apart)


def test_a_step_is_recorded_once_and_replayed_for_each_whole_batch_after_the_warm_up(recorder):
    device, record, _ = recorder
    images, labels = (tensor.to(device) for tensor in some_digits(47))
    record, done = counted(record)
    steps = GraphSteps(a_model("fnn").to(device), 1e-3, record)

    steps.learn(images, labels, 5)
    steps.learn(images[:30], labels[:30], 5)

    assert done == ["recorded"] + ["replayed"] * (9 - WARM_UP + 6)


@pytest.mark.parametrize(
    ("sizes", "times"),
    [([(20, 5), (40, 5)], 2), ([(40, 5), (40, 8)], 2), ([(3, 5), (40, 5)], 1)],
)
def test_more_images_and_other_batches_are_recorded_anew(sizes, times):
    model = a_model("fnn")
    exact = copy.deepcopy(model)
    images, labels = some_digits(40)
    batches = [(images[:size], labels[:size], of) for size, of in sizes]
    expected = plain_steps(exact, [b for batch in batches for b in in_batches(*batch)])
    record, done = counted(taped)
    steps = GraphSteps(model, 1e-3, record)

    outputs = torch.cat([steps.learn(*batch) for batch in batches])

    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(vector(model), vector(exact))
    assert done.count("recorded") == times


def test_where_recording_fails_the_steps_are_taken_all_the_same():
    def refuses(step):
        raise RuntimeError("operation not permitted\nand a long explanation")

    model = a_model("fnn")
    exact = copy.deepcopy(model)
    images, labels = some_digits(40)
    expected = plain_steps(exact, in_batches(images, labels, 5))

    with pytest.warns(UserWarning, match="without a CUDA graph, slower: operation not permitted$"):
        outputs = GraphSteps(model, 1e-3, refuses).learn(images, labels, 5)

    torch.testing.assert_close(outputs, expected)


def test_the_tape_knows_nothing_of_python():
    total, given = torch.zeros(()), [1.0]
    replay = taped(lambda: total.add_(given[0]))
    given[0] = 100.0

    assert total == 0
    for _ in range(3):
        replay()
    assert total == 3

    with pytest.raises(AssertionError, match="makes the CPU wait"):
        taped(lambda: total.item())
