"""Samples that a device learns one by one, in the order of their file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..terminal.progress import track

if TYPE_CHECKING:
    from synapcc.gen.ir.plan import Plan

    from ..link.client import Client
    from .samples import Samples


def teach(plan: Plan, client: Client, samples: Samples) -> None:
    """Runs the Plan's learning program on each sample. Raises DeviceError."""
    for i in track(range(len(samples)), "learning"):
        if samples.labels is not None:
            client.learn(samples.packed(i), int(samples.labels[i]), proof=None)
            continue
        client.give(plan, plan.learning, samples.taught(i), None)
        client.run(plan.entries.index(plan.learning), proof=None)
