"""Where this program keeps what can be made again."""

from __future__ import annotations

import os
from pathlib import Path


def folder() -> Path:
    """$XDG_CACHE_HOME/synapcc or ~/.cache/synapcc. A relative path in the variable counts for nothing, as the
    XDG Base Directory Specification says. Raises OSError where there is no home."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    try:
        return (base if base.is_absolute() else Path.home() / ".cache") / "synapcc"
    except RuntimeError as error:
        raise OSError(f"no folder to keep things in: {error}") from None
