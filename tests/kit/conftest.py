import pytest

from mnist_lab import compare, data, training


@pytest.fixture(scope="session")
def comparison():
    """The three models after two short epochs on real digits. Read it, do not change it."""
    digits = data.load("sample", train_size=500, test_size=200)
    return compare.compare(digits, training.Settings(epochs=2, device="cpu"))
