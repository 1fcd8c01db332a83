"""The bank of known mistakes: one entry a mistake, in the module of what it is made in.

The docs' table, the messages and the hints derive from the entries.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from mnist_lab.diagnosis.match import Fault

__all__ = ["MODULES", "bank"]

MODULES = (
    "faults.preprocessing",
    "faults.networks",
    "faults.training",
    "faults.measured",
    "measures.bank",
    "faults.interface",
)


def bank() -> dict[str, Fault[Any]]:
    """Every known mistake by its id, in the order of the exercises."""
    return {
        fault.id: fault
        for module in MODULES
        for fault in import_module(f"mnist_lab.diagnosis.{module}").BANK
    }
