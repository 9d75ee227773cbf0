"""What docs/RPEAK.md says beside its tables."""

from __future__ import annotations

from .choose import DECIBEL
from .hard import BEGIN
from .plot import PLOT

HEAD = """\
# R peaks in integers

The block `r_peak` of a front end ([FRONTENDS.md](FRONTENDS.md)) sees a sample at a time and no later one, in
int32, with additions, shifts, small products and comparisons. This page is what it finds on MIT-BIH: what a
chip needs before it can learn of beats ([ECG.md](ECG.md)). The text of it is `gen/frontends/r_peak.py` and
`gen/ops/qrs.py`; the emulator says what the emitted C says, bit for bit.

    python -m synapcc.examples.ecg.rpeak FILE.md

prints this page from `examples/ecg/rpeak/measured.json`, and measures what is missing there.
"""

SECTIONS = {
    "MIT-BIH": """\
Lead MLII (V5 of 102 and 104, which have none), minutes 5 to 30, from the first sample on; 150 ms, one to one,
as EC57's bxb counts; the ventricular flutter of 207 is left out. The last sample of a record is held for two
seconds, so that its last beats are decided. Settings were chosen on DS1 alone, and written down before any
other record was read; *paced* are 102, 104, 107 and 217. *Inverted*: each record upside down.

Most of what is false in 232 and 222 are T waves, much lower than a beat: where the heart pauses, as it does
for seconds in 232, they are the largest of what there is, and half of them were refused at first and taken
when a beat was long due. Records of DS1 have few pauses of that length.
""",
    "Latency": """\
From the R peak to the sample with which it is certain. What takes longer was refused at first and taken when
a beat was long due.
""",
    "Every record": "",
    "Noise": f"""\
Synthesised (`examples/ecg/rpeak/noise.py` says how), one seed; two minutes with noise take turns with two
without, beats of the former count. The ratio is that of the noise stress test. The drawing is of a synthetic
patient.

![R peaks in noise]({PLOT})
""",
    "Signal quality": """\
A share of time, running over some four seconds, in which the detector's activity is loud: above a part of a
beat's. It is held against windows of ten seconds, with noise and without, all kinds and ratios together: bad
ones are those in which the detector's F1 is below .9. Part and limit were chosen on DS1, with noise of
another seed.
""",
    "Other rates": """\
Records resampled by a polyphase filter; the front end is compiled for the rate.
""",
    "Bad input": f"""\
Twelve synthetic patients at second {BEGIN:g}: seconds from the end of what happens until the same beats are
found as without it, median / most.
""",
    "Memory": """\
What the block keeps in the state, at 200 units a mV, and the largest limit of its signals and sums: what
int16 samples can make of them at worst, proven when the model is compiled.
""",
    "Settings": f"""\
`nice python -m synapcc.examples.ecg.rpeak.choose` finds them again: one after the other takes the best of its
values on DS1, until nothing changes; by missed and false beats, and those in {DECIBEL:g} dB of noise.
`latest` and what is no option were set by hand, for the time in which the detector must recover: the least
activity, two seconds to begin with, two until smaller beats are believed.
""",
}
