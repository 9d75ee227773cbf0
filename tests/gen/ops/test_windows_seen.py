"""What windows see of maps: as its table of places says, whatever way it is copied."""

from __future__ import annotations

import numpy as np

from synapcc.gen.ops._window import RUN, Window, see, taps
from synapcc.gen.ops.conv2d import sample_window


def test_windows_see_what_the_table_of_their_places_says() -> None:
    rng, ways = np.random.default_rng(5), set()
    for _ in range(600):
        shape = tuple(int(n) for n in rng.integers(1, 12, 3))
        g = Window.of(sample_window(rng, shape), shape)
        dtype = (np.int8, np.int64, np.float64)[int(rng.integers(3))]
        x = rng.integers(-100, 100, (int(rng.integers(0, 4)), g.input_size)).astype(dtype)
        padded = np.concatenate([x, np.zeros((len(x), 1), dtype)], axis=1)
        got = see(g, x)
        assert got.dtype == dtype and got.flags.c_contiguous
        assert np.array_equal(got, padded[:, taps(g)])
        long = g.groups == 1 and g.kernel_w * g.channels * x.itemsize >= RUN
        ways.add("itself" if np.shares_memory(got, x) else "runs" if long else "places")
    assert ways == {"itself", "runs", "places"}
