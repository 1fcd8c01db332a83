"""Loads the plugin that grades."""

import sys
from importlib.util import find_spec

if find_spec("mnist_lab") is None:
    sys.exit(
        f"ERROR: mnist-lab is not installed in {sys.prefix}, whose pytest this is. Activate the "
        "environment that has it, or install it there."
    )

pytest_plugins = ["mnist_lab.grading.plugin"]
