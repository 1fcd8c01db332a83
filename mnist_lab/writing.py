"""What is said where a file cannot be written."""

from __future__ import annotations

import errno
from pathlib import Path

__all__ = ["cannot_write"]


def cannot_write(place: Path, error: OSError) -> str:
    """The sentence for a folder that cannot be written: full, forbidden or not a folder."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: free some space for {place} and run the command again."
    return f"{place} cannot be written ({error.strerror or error}): name another folder."
