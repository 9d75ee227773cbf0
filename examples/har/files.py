"""The files of the example as `synapcc compile`, `personalise` and `sweep` take them.

    python -m synapcc.examples.har.files FOLDER [--stream]

writes what wearers learn and are asked, for each wearer what calibrates the network that never saw them, and
the sweep of docs/HAR.md; with --stream, of windows as the chip makes them of raw samples. The data stay on
this computer: they are no part of the repository.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.host.terminal.arguments import Parser
from synapcc.host.terminal.files import packed, write_whole
from synapcc.host.terminal.screen import guarded

from . import data, streamed
from .features import split, windows

HERE = Path(__file__).resolve().parent
SWEEP, STREAM_SWEEP = "sweep.toml", "sweep_stream.toml"
CALIBRATION = 512
"""Windows of the others that set a network's number formats, evenly spread."""


def model_path(wearer: str, stream: bool = False) -> Path:
    """The base network that never saw a wearer; if `stream`, the one behind the chip's front end."""
    return HERE / "models" / f"har_{'stream_' if stream else ''}without_{wearer}.onnx"


def calibration(wearer: str) -> dict[str, NDArray[Any]]:
    """Windows of the others, as the compiler takes them."""
    pool = windows([r for r in data.load() if r.wearer != wearer])
    some = np.linspace(0, len(pool) - 1, CALIBRATION).round().astype(np.int64)
    return {name: x[some] for name, x in pool.arrays().items() if name != "wearer"}


def stream_calibration(recordings: Sequence[data.Recording], wearer: str) -> dict[str, NDArray[Any]]:
    """What the chip makes of the others' samples, as the compiler takes it."""
    pool = streamed.heard([r for r in recordings if r.wearer != wearer])
    return pool.take(np.linspace(0, len(pool) - 1, CALIBRATION).round().astype(np.int64)).arrays()


def _of_windows() -> dict[str, Mapping[str, NDArray[Any]]]:
    learn, test = split(data.load())
    return {
        "learn": learn.arrays(),
        "test": test.arrays(),
        **{f"cal_{w}": calibration(w) for w in data.WEARERS},
    }


def _of_streams() -> dict[str, Mapping[str, NDArray[Any]]]:
    recordings = data.load()
    pool = streamed.heard(recordings)
    wearer = np.concatenate([np.full(len(streamed.ends(r)), r.wearer) for r in recordings])
    sides = [np.concatenate([streamed.parts(r)[side] for r in recordings]) for side in (0, 1)]
    learn, test = ({**pool.take(side).arrays(), "wearer": wearer[side]} for side in sides)
    others = {f"cal_{w}": stream_calibration(recordings, w) for w in data.WEARERS}
    return {"learn": learn, "test": test, **others}


def write(folder: Path, stream: bool = False) -> Path:
    """All files; that of the sweep. DataError where there are no recordings."""
    files = _of_streams() if stream else _of_windows()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SynapccError(str(folder), f"is no folder ({error.strerror})", "name another") from None
    for name, arrays in files.items():
        write_whole(folder / f"{name}.npz", packed(arrays))
    sweep = HERE / (STREAM_SWEEP if stream else SWEEP)
    for path in (*(model_path(w, stream) for w in data.WEARERS), sweep):
        shutil.copyfile(path, folder / path.name)
    return folder / sweep.name


@guarded()
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = Parser(prog="har.files", description="Write the files of the example, for the commands.")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--stream", action="store_true", help="windows as the chip makes them of raw samples")
    options = parser.parse_args(arguments)
    try:
        sweep = write(options.folder, options.stream)
    except SynapccError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.folder}: next, synapcc sweep {sweep}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
