"""The files of the example as `synapcc compile`, `personalise` and `sweep` take them.

    python -m synapcc.examples.har.files FOLDER

writes what wearers learn and are asked, for each wearer what calibrates the network that never saw them, and
the sweep of docs/HAR.md. The data stay on this computer: they are no part of the repository.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synapcc.gen.errors import SynapccError
from synapcc.host.terminal.arguments import Parser
from synapcc.host.terminal.files import packed, write_whole
from synapcc.host.terminal.screen import guarded

from . import data
from .features import split, windows

HERE = Path(__file__).resolve().parent
SWEEP = "sweep.toml"
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


def write(folder: Path) -> None:
    """All files. DataError where there are no recordings."""
    learn, test = split(data.load())
    files: dict[str, Mapping[str, NDArray[Any]]] = {"learn": learn.arrays(), "test": test.arrays()}
    files |= {f"cal_{w}": calibration(w) for w in data.WEARERS}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SynapccError(str(folder), f"is no folder ({error.strerror})", "name another") from None
    for name, arrays in files.items():
        write_whole(folder / f"{name}.npz", packed(arrays))
    for path in (*map(model_path, data.WEARERS), HERE / SWEEP):
        shutil.copyfile(path, folder / path.name)


@guarded()
def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = Parser(prog="har.files", description="Write the files of the example, for the commands.")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    options = parser.parse_args(arguments)
    try:
        write(options.folder)
    except SynapccError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{options.folder}: next, synapcc sweep {options.folder / SWEEP}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
