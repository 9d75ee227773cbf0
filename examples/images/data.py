"""MNIST and Fashion-MNIST: where their four files lie, and what is in them.

MNIST:          LeCun Y, Bottou L, Bengio Y, Haffner P, Proc. IEEE 86(11), 1998; Creative Commons BY-SA 3.0.
Fashion-MNIST:  Xiao H, Rasul K, Vollgraf R, arXiv:1708.07747, 2017; MIT, (c) 2017 Zalando SE.

The format is IDX: a magic number (0, 0, 8 for uint8, dimensions), each dimension as 32-bit big-endian number,
then the values; here in gzip. The repository never holds the data.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from synapcc.examples.ecg.records import DataError
from synapcc.gen.files.userfile import read_file
from synapcc.host import cache

SETS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
"""Folder of each set -> class of torchvision.datasets that downloads it."""

SIDE, CLASSES = 28, 10
"""Pixels along an edge; labels are 0..9."""

VALIDATION = 5_000
"""The last training images, which settings may be chosen by and which no network is trained on."""

_MOST = 1 << 26  # bytes of a file, packed or not
_UINT8 = 8


def names(part: str) -> tuple[str, str]:
    """Files of images and labels of a part, "train" or "t10k"."""
    return f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"


def candidates(name: str) -> list[Path]:
    """Folders in which a set is looked for, in this order."""
    named = os.environ.get("SYNAPCC_DATA")
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    return [*([Path(named) / name] if named else []), beside / name, cache.folder() / name]


def find(name: str) -> Path:
    """The folder of a set of `SETS`: the first that is there.

    Raises DataError, with how to get it, if none is, and if `$SYNAPCC_DATA` is set but names no folder.
    """
    if name not in SETS:
        raise DataError(name, "is no set of images", f"there are {', '.join(SETS)}")
    named = os.environ.get("SYNAPCC_DATA")
    if named and not Path(named).is_dir():
        what = "SYNAPCC_DATA names it, and there is no such folder"
        raise DataError(named, what, f"give the folder that holds {name}, or unset SYNAPCC_DATA")
    folders = candidates(name)
    found = next((f for f in folders if f.is_dir()), None)
    if found is None:
        hint = (
            f"download it with `python -c \"import torchvision; torchvision.datasets.{SETS[name]}('DIR', "
            f'download=True)"`, put the four .gz files in DIR/{name} and set SYNAPCC_DATA=DIR'
        )
        raise DataError(name, f"not found in {', '.join(map(str, folders))}", hint)
    return found


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The values of a gzipped IDX file of uint8. DataError if it is none, or not whole."""
    hint = "download it again"
    packed = read_file(path, _MOST, DataError, hint)
    try:
        unpack = zlib.decompressobj(16 + zlib.MAX_WBITS)
        raw = unpack.decompress(packed, _MOST)
        whole = unpack.eof and not unpack.unused_data
    except zlib.error as error:
        raise DataError(str(path), f"is no gzip file ({error})", hint) from None
    head = 4 + 4 * dimensions
    if not whole or len(raw) < head:
        raise DataError(str(path), "is cut short, or more than one such file", hint)
    if raw[:4] != bytes([0, 0, _UINT8, dimensions]):
        what = f"begins with {raw[:4].hex(' ')}, which is no IDX file of uint8 in {dimensions} dimensions"
        raise DataError(str(path), what, hint)
    shape = tuple(int(n) for n in np.frombuffer(raw[4:head], ">u4"))
    size = int(np.prod(shape, dtype=object))
    if len(raw) - head != size:
        raise DataError(str(path), f"holds {len(raw) - head} values, and {shape} needs {size}", hint)
    return np.frombuffer(raw, np.uint8, offset=head).reshape(shape)


def read(folder: Path, part: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Images float32 [n, 1, 28, 28] in 0..1, and labels uint8 [n], of "train" or "t10k".

    Raises DataError for files that are absent, broken, or do not belong together.
    """
    first, second = (folder / name for name in names(part))
    pixels, labels = read_idx(first, 3), read_idx(second, 1)
    if pixels.shape[1:] != (SIDE, SIDE):
        raise DataError(str(first), f"holds images of {pixels.shape[1:]}", f"expected {SIDE} x {SIDE}")
    if len(pixels) != len(labels):
        what = f"has {len(labels)} labels, and there are {len(pixels)} images"
        raise DataError(str(second), what, "take both files from one place")
    if labels.size and labels.max() >= CLASSES:
        raise DataError(str(second), f"has the label {labels.max()}", f"labels are 0..{CLASSES - 1}")
    return pixels.astype(np.float32)[:, None] / np.float32(255), labels
