"""A plugin for pytest: from here on it is on Windows."""

import sys

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_configure():
    sys.platform = "win32"
