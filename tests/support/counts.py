"""How many random cases a property test draws: few in `make test`, many in `make test-long`."""

from __future__ import annotations

import pytest


def counted(few: int, many: int) -> pytest.MarkDecorator:
    """Gives a test its `count`."""
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.long)])
