"""What the runs of a class share, and what they keep beside the grade: two plugins for pytest."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from mnist_lab.data import Digits

__all__ = ["Accuracies", "SharedDigits"]


class SharedDigits:
    """Gives the checks digits that were loaded before, in place of the plugin's own fixture."""

    def __init__(self, digits: Digits) -> None:
        self.digits = digits

    @pytest.fixture(scope="session")
    def mnist(self) -> Digits:
        """The digits on which models are trained and tried."""
        return self.digits


class Accuracies:
    """Keeps, by exercise, the accuracy on the test digits that each trained model reached."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None]:
        yield
        given = getattr(item, "funcargs", {})
        if given.keys() >= {"learned", "mnist"}:
            digits: Digits = given["mnist"]
            self.found = {
                "digits": digits.source,
                "accuracy": {
                    name: model.accuracy(digits.test.labels)
                    for name, model in given["learned"].items()
                },
            }
