"""Sees to it that the plugin that grades is there."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

import pytest

if find_spec("mnist_lab") is None:
    sys.exit(
        f"ERROR: mnist-lab is not installed in {sys.prefix}, whose pytest this is. Activate the "
        "environment that has it, or install it there."
    )

collect_ignore_glob: list[str] = []


def pytest_configure(config: pytest.Config) -> None:
    """Collect nothing where pytest found this file too late for the plugin to be loaded."""
    if not config.pluginmanager.has_plugin("mnist_lab.grading.plugin"):
        collect_ignore_glob.append("*")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say then where to go, or what keeps the plugin away."""
    if collect_ignore_glob:
        said = f"The grading tests run in their own folder: cd {quote(str(Path(__file__).parent))}"
        if os.environ.get("PYTEST_DISABLE_PLUGIN_AUTOLOAD"):
            said = "No test is graded while PYTEST_DISABLE_PLUGIN_AUTOLOAD is set: unset it."
        terminalreporter.write_line(said)
