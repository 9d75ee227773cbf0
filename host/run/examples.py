"""Samples for the example of a package, from the data that a model was calibrated with."""

from __future__ import annotations

import warnings

from synapcc.gen.compile import Compiled
from synapcc.gen.emit.example import Example, chosen
from synapcc.gen.errors import DataWarning

from .samples import from_arrays


def example_of(compiled: Compiled) -> Example | None:
    """Some of the calibration samples as the chip takes them; None where there are no such data."""
    # A file that brings all integers is calibrated with arrays of no sample where none are given.
    if not any(len(values) for values in compiled.calibration.values()):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)  # the report tells what was clipped
        samples = from_arrays(compiled.plan, compiled.calibration, compiled.plan.model, labels=False)
    return chosen(compiled.plan, samples.inputs, samples.labels, samples.targets)
