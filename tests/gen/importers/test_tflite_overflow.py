"""A file whose sums the chip cannot hold is refused with what a user can do about a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lite import Author, compiled

from synapcc.gen.errors import CompileError


def test_the_hint_is_one_for_files(tmp_path: Path) -> None:
    a = Author()
    x = a.tensor("x", (1, 4), scale=1.0)
    w = a.tensor("w", (2, 4), scale=1.0, data=np.full((2, 4), 100))
    b = a.tensor("b", (2,), "INT32", scale=1.0, data=[2**30, -(2**30)])
    y = a.tensor("y", (1, 2), scale=2.0**-6)
    a.op("FULLY_CONNECTED", [x, w, b], [y], "FullyConnectedOptions", 4)
    with pytest.raises(CompileError, match="could overflow") as caught:
        compiled(a.bytes([x], [y]), tmp_path)
    assert "quantise the model again" in caught.value.hint and "weights =" not in caught.value.hint
