"""The mistakes in the steps of a training, as ``mistakes/training.toml`` has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mnist_lab.diagnosis.faults import Fault, entries

BANK = tuple(fault for fault in entries("training").values() if "of" not in fault.more)


def entry(kebab: str) -> Fault:
    """The mistake with the id ``training.<kebab>``."""
    return entries("training")[f"training.{kebab}"]


def sentence(fault: Fault, found: Mapping[str, Any]) -> str | None:
    """With the numbers that were found; None if a number is missing."""
    if "told" not in fault.more:
        return fault.says
    for told in fault.more["told"]:
        try:
            return told.format_map(found)
        except KeyError:
            continue
    return None
