"""Beats that the chip finds itself: matched to what was annotated, labelled, counted with what was missed."""

from __future__ import annotations

import numpy as np
import pytest

from synapcc.examples.ecg import beats, protocol, records, streamed, synthetic
from synapcc.examples.ecg.front import FRONTS
from synapcc.gen.errors import SynapccError
from synapcc.host.run.scores import scores

SECONDS = 60
STREAM = FRONTS["stream"]


@pytest.fixture(scope="module")
def record() -> records.Record:
    return synthetic.record(3, SECONDS / 60)


def test_the_chip_finds_nearly_all_beats_and_sees_what_the_usual_front_end_sees(
    record: records.Record,
) -> None:
    told, usual = beats.extract(record, front=STREAM), beats.extract(record)
    inside = usual.take((usual.sample > 3 * records.FS) & (usual.sample < (SECONDS - 1) * records.FS))
    apart = np.abs(told.sample[:, None] - inside.sample).min(axis=0)
    assert np.mean(apart <= 0.05 * records.FS) > 0.97
    nearest = np.abs(told.sample[:, None] - inside.sample).argmin(axis=0)
    near = apart <= 3
    assert near.mean() > 0.8
    error = np.abs(told.beat[nearest[near]] - inside.beat[near]).mean() / np.abs(inside.beat[near]).mean()
    assert error < 0.25


def test_each_answer_comes_soon_behind_its_window(record: records.Record) -> None:
    late = streamed.heard(record).late / records.FS
    assert np.median(late) <= STREAM.latency + 0.1 and late.max() <= 2.5


def test_what_was_missed_and_what_is_no_beat_is_counted(record: records.Record) -> None:
    it = streamed.heard(record)
    told = beats.extract(record, front=STREAM)
    wrong = np.where(told.label == streamed.NO_BEAT, 2, told.label).astype(np.int64)
    n = len(protocol.LABELS)
    matrix = streamed.counted(record, told.label, wrong, 0.0, n)
    assert matrix[:n, n].sum() == np.isin(record.label()[it.missed], range(n)).sum()
    assert matrix[n].sum() == (told.label == streamed.NO_BEAT).sum() and matrix[n, n] == 0
    found = scores(matrix, n)
    assert found.accuracy == pytest.approx(np.trace(matrix[:n, :n]) / matrix[:n].sum())
    assert len(found.f1) == n


def test_nobody_labels_what_is_no_beat(record: records.Record) -> None:
    told = beats.extract(record, front=STREAM)
    told.label[:3] = streamed.NO_BEAT
    learn, test = protocol.split(told)
    assert streamed.NO_BEAT not in learn.label and len(learn) == (told.label != streamed.NO_BEAT).sum()
    assert len(test) == 0


def test_a_base_that_no_stream_trained_is_one_line() -> None:
    from synapcc.examples.ecg.evaluate import model_path

    assert model_path("cnn", front=STREAM).name == "ecg_cnn_stream.onnx"
    with pytest.raises(SynapccError, match="trained on what a chip finds"):
        model_path("mlp", front=STREAM)
