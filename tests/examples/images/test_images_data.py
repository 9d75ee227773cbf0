"""IDX files: what is whole is read, whatever is broken is one line."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synapcc.examples.ecg.records import DataError
from synapcc.examples.images import data


def idx(values: np.ndarray) -> bytes:
    """A uint8 array as an IDX file."""
    return struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def write(folder: Path, pixels: np.ndarray, labels: np.ndarray, part: str = "t10k") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in zip(data.names(part), (pixels, labels), strict=True):
        (folder / name).write_bytes(gzip.compress(idx(values), mtime=0))
    return folder


def some(n: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 28, 28), np.uint8), rng.integers(0, 10, n).astype(np.uint8)


def refused(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        data.read(folder, "t10k")
    assert "\n" not in str(caught.value) and caught.value.hint
    return str(caught.value)


def test_pixels_and_labels_are_read(tmp_path: Path) -> None:
    pixels, labels = some()
    images, found = data.read(write(tmp_path, pixels, labels), "t10k")
    assert images.dtype == np.float32 and images.shape == (5, 1, 28, 28)
    assert np.array_equal(np.rint(images[:, 0] * 255), pixels) and np.array_equal(found, labels)
    assert images.min() >= 0 and images.max() <= 1


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_broken_file_is_one_line(tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject) -> None:
    """Cut, added to, overwritten, in the archive or below it: refused, or the very same values."""
    folder = tmp_path_factory.mktemp("idx")
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    inside = draw.draw(st.booleans())
    raw = bytearray(idx(values) if inside else gzip.compress(idx(values), mtime=0))
    at = draw.draw(st.integers(0, len(raw) - 1))
    how = draw.draw(st.sampled_from(["cut", "add", "replace"]))
    if how == "cut":
        del raw[at:]
    elif how == "add":
        raw += draw.draw(st.binary(min_size=1, max_size=9))
    else:
        raw[at] ^= draw.draw(st.integers(1, 255))
    path = folder / "x.gz"
    path.write_bytes(gzip.compress(bytes(raw), mtime=0) if inside else bytes(raw))
    try:
        found = data.read_idx(path, 3)
    except DataError as error:
        assert str(error).startswith(str(path)) and "\n" not in str(error)
        return
    if inside:
        assert how == "replace" and found.size == values.size
    else:  # a flipped bit that says nothing: of the archive's header, or behind the last symbol
        assert how == "replace" and np.array_equal(found, values)


def test_files_that_do_not_belong_together(tmp_path: Path) -> None:
    pixels, labels = some()
    assert "has 4 labels, and there are 5 images" in refused(write(tmp_path, pixels, labels[:4]))
    assert "has the label 10" in refused(write(tmp_path, pixels, np.full(5, 10, np.uint8)))
    assert "holds images of (28, 27)" in refused(write(tmp_path, pixels[:, :, :27], labels))
    (write(tmp_path, pixels, labels) / data.names("t10k")[1]).unlink()
    assert "there is no such file" in refused(tmp_path)


def test_a_size_that_overflows_is_no_size(tmp_path: Path) -> None:
    path = tmp_path / "x.gz"
    path.write_bytes(gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, 2**31, 2**31, 4)))
    with pytest.raises(DataError, match="holds 0 values, and"):
        data.read_idx(path, 3)


def test_where_there_are_none_a_line_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SYNAPCC_DATA", raising=False)
    monkeypatch.setattr(data, "candidates", lambda name: [tmp_path / name])
    with pytest.raises(DataError, match=r"torchvision\.datasets\.FashionMNIST") as caught:
        data.find("fashion-mnist")
    assert "\n" not in str(caught.value) and "SYNAPCC_DATA=DIR" in caught.value.hint
    held = write(tmp_path / "mnist", *some())
    assert data.find("mnist") == held
    with pytest.raises(DataError, match="is no set of images"):
        data.find("cifar")


def test_a_folder_that_is_named_comes_first_and_must_be_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = write(tmp_path / "mnist", *some())
    monkeypatch.setenv("SYNAPCC_DATA", str(tmp_path))
    assert data.find("mnist") == held
    monkeypatch.setenv("SYNAPCC_DATA", str(tmp_path / "typo"))
    with pytest.raises(DataError, match="there is no such folder; give the folder that holds mnist"):
        data.find("mnist")
