"""What every pytest of an environment loads of the kit: in a workspace the plugin that grades,
elsewhere nothing, so that other projects have their own options, marks and hooks.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from mnist_lab import workspace

PLUGIN = "mnist_lab.grading.plugin"


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Load the plugin if pytest was started in a workspace."""
    if workspace.above(Path.cwd()):
        pluginmanager.import_plugin(PLUGIN)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Load it if pytest was started elsewhere and was given a workspace."""
    if workspace.above(early_config.rootpath) == early_config.rootpath:
        early_config.pluginmanager.import_plugin(PLUGIN)
