"""What a live page is made of: recordings without an end, rings, curves, matches, what may be asked for."""

from __future__ import annotations

import json

import numpy as np
import pytest
from live_nets import recording

from synapcc.host.live.beside import Answer
from synapcc.host.live.history import POINTS, Curve, Trace
from synapcc.host.live.judge import KEPT, LAST, Judge
from synapcc.host.live.orders import MOST_BYTES, Order, Unknown, read_order
from synapcc.host.live.recording import UNKNOWN, Recording


def judge(at: list[int], label: list[int], length: int = 10_000) -> Judge:
    samples = np.zeros(length, np.int16)
    given = Recording(samples, 100, 1.0, "mV", np.array(at), np.array(label), ("N", "S"))
    return Judge(given, within=15, patience=400)


def answer(at: int, said: int = 0, before: int = 1) -> Answer:
    return Answer(0, at, said, 0.0, before)


def test_a_recording_begins_again() -> None:
    it = recording(2)
    assert (it.piece(195, 10) == np.concatenate([it.samples[195:], it.samples[:5]])).all()
    rounds = [event for event, _ in zip(it.annotated(), range(2 * len(it.at)), strict=False)]
    assert [a for a, _ in rounds[len(it.at) :]] == [int(a) + 200 for a in it.at]
    assert not list(recording(2, annotated=False).annotated())


def test_a_label_of_no_class_is_unknown() -> None:
    it = Recording(np.zeros(9, np.int16), 1.0, 1.0, "", np.array([1, 3]), np.array([1, 4]), ("N", "S"))
    assert [label for _, label in zip(range(2), it.annotated(), strict=False)] == [(1, 1), (3, UNKNOWN)]


def test_a_trace_keeps_the_last_samples() -> None:
    trace, whole = Trace(50), np.arange(173, dtype=np.int16)
    for at in range(0, 173, 12):
        trace.add(whole[at : at + 12])
        assert (trace.last() == whole[: at + 12][-50:]).all()


def test_a_curve_grows_coarser_and_not_longer() -> None:
    curve = Curve()
    for i in range(20 * POINTS):
        curve.add(i, [i / 2])
        assert len(curve.points) <= POINTS
    apart = {b[0] - a[0] for a, b in zip(curve.points, curve.points[1:], strict=False)}
    assert curve.points[0] == (0, 0.0) and len(apart) == 1 and curve.points[-1][0] >= 19 * POINTS


def test_each_annotation_is_taken_once_and_the_nearest_one() -> None:
    it = judge([100, 120, 1000], [0, 1, 1])
    assert it.add(answer(118)).truth == 1
    assert it.add(answer(112)).truth == 0  # told late, its own is still there
    assert it.add(answer(104)).truth == UNKNOWN and it.extra == 1
    assert it.judged == 2 and it.learned.tolist() == [[1, 0], [1, 0]] and it.recent() == (0.5, 0.5)


def test_what_nothing_came_for_was_missed() -> None:
    it = judge([50, 500, 900, 2000], [0, 0, 0, 0])
    it.add(answer(500))  # nothing told before the first event counts
    assert it.missed == 0
    it.add(answer(2000))
    assert it.missed == 1 and it.judged == 2


def test_a_judge_keeps_no_more_than_it_must() -> None:
    it = judge(list(range(0, 10_000, 10)), [0] * 1000)
    for at in range(0, 10_000, 10):
        it.add(answer(at, said=int(at < 5000)))
    assert len(it.events) == KEPT and it.judged == 1000 and it.recent() == (1.0, 0.0)
    assert it.f1()[0] == [pytest.approx(2 / 3), 0.0] and LAST < 500
    assert it.find(999) is it.events[-1] and it.find(1) is None


def test_orders_that_are_some() -> None:
    assert read_order('{"do": "label", "event": 7, "label": 2}', 3) == Order("label", event=7, label=2)
    assert read_order('{"do": "deny", "event": 7, "label": 0}', 3) == Order("deny", event=7, label=0)
    assert read_order('{"do": "learn", "on": true}', 3) == Order("learn", on=True)
    assert read_order('{"do": "speed", "times": 20}', 3) == Order("speed", times=20.0)
    assert read_order('{"do": "stop"}', 3) == Order("stop")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "a JSON object"),
        ("[" * 120, "a JSON object"),
        ("[1]", "do is one of"),
        ('{"do": 3}', "do is one of"),
        ('{"do": "format"}', "do is one of"),
        ('{"do": "label", "event": 7}', "label takes event, label"),
        ('{"do": "stop", "now": 1}', "stop takes nothing"),
        ('{"do": "label", "event": 7, "label": 3}', "classes 0 to 2"),
        ('{"do": "deny", "event": 7, "label": 3}', "deny: there are classes 0 to 2"),
        ('{"do": "label", "event": 7, "label": -1}', "classes 0 to 2"),
        ('{"do": "label", "event": true, "label": 1}', "event is a whole number"),
        ('{"do": "label", "event": 7.5, "label": 1}', "event is a whole number"),
        ('{"do": "learn", "on": 1}', "on is true or false"),
        ('{"do": "speed", "times": 3}', "times is one of"),
        ('{"do": "speed", "times": NaN}', "times is one of"),
        ('{"do": "speed", "times": 1e999}', "times is one of"),
        (json.dumps({"do": "speed", "times": 10**200}), "times is one of"),
        (json.dumps({"do": "x" * MOST_BYTES}), "at most 256 bytes"),
    ],
)
def test_orders_that_are_none(text: str, says: str) -> None:
    with pytest.raises(Unknown, match=says):
        read_order(text, 3)
