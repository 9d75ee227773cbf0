"""What `synapcc bench` can be asked for, and what it does unasked."""

from __future__ import annotations

KINDS = ("qemu", "unicorn", "serial")
"""Devices on which something counts."""

SAMPLES, SEED = 8, 1
"""Samples that are run, and the seed of the noise they are made of where no data are given."""
