"""R peaks by the block of a front end: synthetic beats are found at every rate, what disturbs is forgotten,
the flag says where not to believe; the page is what was measured, the defaults what DS1 chose."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from synapcc.examples.ecg import records
from synapcc.examples.ecg.rpeak import __main__ as command
from synapcc.examples.ecg.rpeak import choose, hard, measure, page, plot
from synapcc.examples.ecg.rpeak.detect import NAME, detect, front_end, quality
from synapcc.examples.ecg.rpeak.hard import EVENTS, GAIN, patient
from synapcc.examples.ecg.rpeak.match import Count, counted
from synapcc.gen.errors import CompileError
from synapcc.gen.frontends.r_peak import RPeakBlock
from synapcc.host.run.frontend import behind_each_push
from synapcc.host.run.kept import Results

SETTLED = 5.0
DOCS = Path(__file__).parents[3] / "docs"


def of_patient(seed: int, rate: float, seconds: float = 60.0) -> Count:
    of = patient(seed, rate, seconds)
    return counted(of.rpeak, detect(of.x, front_end(rate, GAIN)).at, rate, SETTLED)


@pytest.mark.parametrize("rate", [100, 128, 250, 360, 500, 1000])
def test_every_beat_is_found_at_every_rate(rate: float) -> None:
    for seed in range(2):
        count = of_patient(seed, rate)
        assert count.found > 50 and count.missed == count.false == 0, (seed, count)


@pytest.mark.parametrize("gain", [20.0, 5000.0])
def test_any_gain_and_any_place_of_zero(gain: float) -> None:
    of = patient(2, 250, 30)
    for turn in (1, -1):
        x = np.clip(turn * of.x * (gain / GAIN) + 9000, -32768, 32767).astype(np.int16)
        count = counted(of.rpeak, detect(x, front_end(250, gain)).at, 250, SETTLED)
        assert count.found > 20 and count.missed == count.false == 0


def test_no_later_sample_is_seen() -> None:
    """What is certain behind a sample is so whatever comes."""
    of = patient(4, 250, 20)
    whole, part = (detect(x, front_end(250, GAIN)) for x in (of.x, of.x[:3000]))
    early = whole.at + whole.age < 3000
    assert early.sum() > 8 and np.array_equal(whole.at[early], part.at[part.at + part.age < 3000])
    assert (whole.age > 0).all() and np.median(whole.age) < 0.428 * 250


@pytest.mark.parametrize("name", EVENTS)
def test_what_disturbs_is_forgotten_within_three_seconds(name: str) -> None:
    for rate in (100, 360):
        assert hard.recovery(patient(1, rate), EVENTS[name]) <= 3, rate


def test_recovery_sees_what_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A beat missed long after the event counts until there, and so does a false one; none before it."""
    of, usual = patient(0, 100, 60), np.array([500, 3500, 3700, 4100, 5000])
    assert hard.recovery(of, hard.Event("nothing", lambda x, rate: x)) == 0
    for found, seconds in (([3500, 3700, 4100, 5000], 0), ([500, 3700, 5000], 5), ([*usual, 5900], 23)):
        monkeypatch.setattr(hard, "played", lambda of, e, f=found: np.array(f) if e else usual)
        assert hard.recovery(of, EVENTS["flat"]) == seconds


def test_the_flag_is_up_in_noise_and_on_a_dead_lead_and_down_else() -> None:
    of = patient(5, 250)
    noise = np.random.default_rng(1).normal(0, 400, len(of.x))
    for x, up in ((of.x, False), (of.x + noise, True), (np.zeros_like(of.x), True)):
        loud, doubtful = quality(x.astype(np.int16), front_end(250, GAIN))
        assert len(loud) == len(doubtful) == len(of.x)
        assert doubtful[2500:].mean() == pytest.approx(float(up), abs=0.1)
        assert loud.min() >= 0 and loud.max() <= 1


def test_both_engines_hold_the_same_behind_each_push() -> None:
    """Of arena and state; the last push is filled."""
    pytest.importorskip("numba")
    front, names = front_end(100, GAIN), [f"front_{NAME}_{part}" for part in ("loud", "clock", "doubtful")]
    x = patient(3, 100, 10).x[:995]
    both = [behind_each_push(front, x, names, engine) for engine in ("numpy", "compiled")]
    assert all(np.array_equal(v, both[1][n]) for n, v in both[0].items()) and {*names} <= {*both[0]}
    assert len(both[0][names[0]]) == 100 and (both[0][names[1]][:, 0] == 10 * np.arange(1, 101)).all()


@pytest.mark.parametrize(
    ("rate", "gain", "said"), [(99, 200, "99 samples"), (1001, 200, "1001 samples"), (250, 0, "gain")]
)
def test_what_cannot_work_is_refused(rate: float, gain: float, said: str) -> None:
    with pytest.raises(CompileError, match=said):
        detect(np.zeros(3000, np.int16), front_end(rate, gain))


def nobody(of: Any, names: Iterable[str]) -> Iterable[Any]:
    """Instead of `map`: whatever is not kept would be measured by it."""
    raise AssertionError("the file of results lacks something")


def test_the_defaults_are_what_was_chosen_on_ds1() -> None:
    found = choose.chosen(Results(choose.RESULTS, choose.is_result), lambda line: None, nobody)
    default = {o.name: o.default for o in RPeakBlock.options}
    assert {name: default[name] for name in found} == found
    assert {*default} - {*found} == {"gain", "latest"}


def test_no_setting_is_at_the_end_of_its_values() -> None:
    chosen = {o.name: o.default for o in RPeakBlock.options}
    ends = {n for n, values in choose.VALUES.items() if chosen[n] in (values[0], values[-1])}
    assert not ends


def test_the_page_is_what_the_file_says() -> None:
    kept = {r["of"]: r["found"] for r in json.loads(command.RESULTS.read_text(encoding="utf-8")).values()}
    assert {*kept} == {case.name for case in measure.cases()}
    found = command.known(Results(command.RESULTS, measure.is_result), only=True)
    assert found == kept, "all of it was measured of this detector"
    assert (DOCS / "RPEAK.md").read_text(encoding="utf-8") == page.text(found)
    assert (DOCS / plot.PLOT).read_text(encoding="utf-8") == plot.plot()


def test_the_page_says_what_falls_short_and_what_was_not_measured() -> None:
    one = {"found": 900, "missed": 100, "faint": 40, "false": 0, "ages": [[100, 1000]], "apart": [[0, 900]]}
    text = page.text({f"{of} | plain": {f"{i}": one} for i, of in enumerate(measure.SETS)})
    assert "48 records: Se is 90.000, and 99.90 was aimed at." in text and "PPV is" not in text
    assert "120 of 300 are *faint*" in text and "Without them Se is 93.750." in text
    assert "* DS2, noise" in text


def test_a_faint_beat_is_one_that_the_lead_hardly_shows() -> None:
    of = patient(0, 250, 30)
    gone = int(of.rpeak[10])
    of.x[gone - 30 : gone + 31] = of.x[gone - 30]
    assert measure.faint(of, of.rpeak[8:13]).tolist() == [False, False, True, False, False]


@pytest.mark.long
def test_ds1_is_measured_again() -> None:
    try:
        records.find(download=False)
    except records.DataError as error:
        pytest.skip(f"no MIT-BIH data: {error}")
    kept = {r["of"]: r["found"] for r in json.loads(command.RESULTS.read_text(encoding="utf-8")).values()}
    again = measure.result(measure.Case("plain", "DS1"))["found"]
    assert json.loads(json.dumps(again)) == kept["DS1 | plain"]
