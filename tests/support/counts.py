"""How many random cases a property test draws: few in `make test`, many in `make test-long`."""

from __future__ import annotations

import shutil

import pytest

ONE_TOOLCHAIN = (
    ("gcc", pytest.param("zig", marks=pytest.mark.long))
    if shutil.which("arm-none-eabi-gcc")
    else (pytest.param("gcc", marks=pytest.mark.long), "zig")
)
"""Toolchains for a Cortex-M: the first one that is there in `make test`, both in `make test-long`."""


def counted(few: int, many: int) -> pytest.MarkDecorator:
    """Gives a test its `count`."""
    return pytest.mark.parametrize("count", [few, pytest.param(many, marks=pytest.mark.long)])
