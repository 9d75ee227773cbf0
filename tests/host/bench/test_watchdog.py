"""Between two slices a product may serve its watchdog: how long that takes at most is what bench says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from projects import compiled

from synapcc.host.bench.report import bench_project
from synapcc.host.devices import open_device
from synapcc.host.devices.unicorn import UnicornDevice
from synapcc.host.link.client import Client, connect
from synapcc.host.link.session import Refused
from synapcc.host.run.plans import read_plan

HOWTO = Path(__file__).resolve().parents[3] / "docs" / "HOWTO.md"
BOOKKEEPING = 150
"""Instructions of a slice beside its op, as docs/HOWTO.md states them."""


def _took(device: UnicornDevice, client: Client) -> tuple[int, bool]:
    """Instructions of a STEP, the link's among them, and whether another one follows."""
    before = device.counter.instructions
    try:
        more = client.step(proof=None)[0]
    except Refused:
        more = False
    return device.counter.instructions - before, more


@pytest.mark.long
def test_no_slice_is_longer_than_bench_says(tmp_path: Path) -> None:
    """Of samples that saturate, and of such as look like those of the calibration."""
    _, out = compiled(tmp_path, rule="dfa", more="[store]\nsamples = 4\n", sizes=(40, 30, 3))
    plan = read_plan(out)
    told = bench_project(out, "unicorn", None, 2, 1)["total"]["learn"]["slice"]["instructions"]
    rng, longest = np.random.default_rng(1), 0
    with open_device("unicorn:count", out) as device:
        assert isinstance(device, UnicornDevice)
        client = connect(device, plan)
        link, _ = _took(device, client)  # nothing was begun: what the link alone takes
        for i in range(12):
            top = (128, 40)[i % 2]
            x = rng.integers(-top, top, client.info.input_bytes).astype(np.int8)
            client.load(x.tobytes(), i % 3)
            client.begin(plan.entries.index("learn"))
            more = True
            while more:
                took, more = _took(device, client)
                longest = max(longest, took - link)
    assert f"and at most {BOOKKEEPING} instructions" in HOWTO.read_text(encoding="utf-8")
    assert told / 2 < longest <= told + BOOKKEEPING, (longest, told)
