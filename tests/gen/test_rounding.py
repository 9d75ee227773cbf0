"""Which products can change a weight at all: the bound by which compile refuses a rate."""

import numpy as np
import pytest

from synapcc.gen.numeric import Rounding, round_dither, round_stochastic, shift_round

pytestmark = pytest.mark.anywhere

SMALLEST = {
    Rounding.NEAREST: lambda p, s: shift_round(p, s),
    Rounding.STOCHASTIC: lambda p, s: round_stochastic(p, s, np.full(p.shape, 65535, np.int32)),
    Rounding.DITHER: lambda p, s: round_dither(p, s),
}


@pytest.mark.parametrize("mode", SMALLEST)
@pytest.mark.parametrize("shift", range(21))
def test_least_product_is_the_first_that_rounds_up(mode: int, shift: int) -> None:
    products = np.arange(1, (1 << shift) + 1, dtype=np.int32)
    assert products[SMALLEST[mode](products, shift) > 0][0] == Rounding.least(mode, shift)
