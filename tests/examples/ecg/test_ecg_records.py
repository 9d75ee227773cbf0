"""Where the records come from, and what happens when they do not."""

import io
import urllib.error
from pathlib import Path

import numpy as np
import pytest

from synapcc.examples.ecg import beats, protocol, records
from synapcc.examples.ecg.records import DataError, Record


@pytest.fixture
def mitdb() -> Path:
    """Folder of the real records; the test is skipped where there is none."""
    try:
        return records.find(download=False)
    except DataError as absent:
        pytest.skip(str(absent))


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without data: the only candidate is an empty cache."""
    target = tmp_path / "cache" / "mitdb"
    monkeypatch.delenv("SYNAPCC_DATA", raising=False)
    monkeypatch.setattr(records, "candidates", lambda: [target])
    return target


def fill(folder: Path) -> None:
    """Files of plausible size for every record."""
    folder.mkdir(parents=True)
    for name in records.RECORDS:
        for ext, size in {"dat": 1_950_000, "hea": 200, "atr": 4_000}.items():
            with (folder / f"{name}.{ext}").open("wb") as file:
                file.truncate(size)


def unplugged(*_: object, **__: object) -> None:
    raise urllib.error.URLError("no route to host")


def test_offline_is_one_clear_line(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", unplugged)
    with pytest.raises(DataError) as caught:
        records.find()
    assert "no route to host" in caught.value.what
    assert "SYNAPCC_DATA" in caught.value.hint
    assert str(caught.value) == f"mitdb: {caught.value.what}; {caught.value.hint}"
    assert not list(nowhere.parent.glob("*")) if nowhere.parent.exists() else True


def test_half_a_download_is_not_kept(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: str, folder: str, **__: object) -> None:
        (Path(folder) / "100.hea").write_text("100 2 360 650000\n")
        raise ConnectionResetError("reset by peer")

    pytest.importorskip("wfdb")
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: io.BytesIO())
    monkeypatch.setattr("wfdb.dl_database", broken)
    with pytest.raises(DataError, match="reset by peer"):
        records.find()
    assert list(nowhere.parent.iterdir()) == []


def test_whole_download_is_renamed(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wfdb")
    monkeypatch.setattr("urllib.request.urlopen", lambda *_, **__: io.BytesIO())

    def download(_: str, folder: str, **__: object) -> None:
        Path(folder).rmdir()
        fill(Path(folder))

    monkeypatch.setattr("wfdb.dl_database", download)
    assert records.find() == nowhere
    assert [path.name for path in nowhere.parent.iterdir()] == ["mitdb"]


def test_truncated_file_is_missing(tmp_path: Path) -> None:
    folder = tmp_path / "mitdb"
    fill(folder)
    assert records.missing(folder) == []
    with (folder / "232.dat").open("wb") as file:
        file.truncate(1_000_000)
    (folder / "100.atr").unlink()
    assert sorted(records.missing(folder)) == ["100.atr", "232.dat"]


def test_named_folder_that_is_incomplete_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mitdb").mkdir()
    monkeypatch.setenv("SYNAPCC_DATA", str(tmp_path))
    with pytest.raises(DataError, match=r"absent or cut short, first 100\.dat"):
        records.find(download=False)


def test_junctional_beats_move_on_request() -> None:
    record = Record("x", np.zeros(1, np.float32), np.arange(5), np.array(list("NejA/")))
    assert record.label().tolist() == [0, 0, 0, 1, 4]
    assert record.label("S").tolist() == [0, 1, 1, 1, 4]
    with pytest.raises(ValueError, match="junctional"):
        record.label("V")


def test_lead_is_taken_by_name(mitdb: Path) -> None:
    # In 114 MLII is the second lead; in 102 there is none.
    record = records.read("114", mitdb)
    assert record.signal.shape == (650_000,)
    assert len(record.rpeak) == len(record.symbol) == 1879
    with pytest.raises(DataError, match="no lead MLII"):
        records.read("102", mitdb)


def test_ds2_has_the_published_counts(mitdb: Path) -> None:
    loaded = beats.load(protocol.DS2, folder=mitdb)
    test = beats.join(protocol.split(patient)[1] for patient in loaded.values())
    assert np.bincount(test.label).tolist() == [36918, 1608, 2686, 288]
    assert test.beat.shape == (41500, 151) and test.rr.shape == (41500, 4)
    assert np.isfinite(test.beat).all() and np.abs(test.beat).max() <= beats.LIMIT


def test_folds_are_as_dealt(mitdb: Path) -> None:
    counts = {
        name: np.bincount(patient.label, minlength=4)
        for name, patient in beats.load(protocol.DS1, folder=mitdb).items()
    }
    assert protocol.deal(counts) == protocol.DS1_FOLDS


def test_calibration_is_balanced(mitdb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "find", lambda: mitdb)
    chosen = protocol.A.calibration(protocol.DS1_FOLDS[0])
    n = len(chosen["label"])
    assert n and np.bincount(chosen["label"]).tolist() == [n // 4] * 4
    assert chosen["beat"].shape == (n, 151) and chosen["rr"].shape == (n, 4)


def test_a_folder_that_is_named_and_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNAPCC_DATA", str(tmp_path / "typo"))
    with pytest.raises(records.DataError, match="there is no such folder; give the folder that holds mitdb"):
        records.find(download=False)
