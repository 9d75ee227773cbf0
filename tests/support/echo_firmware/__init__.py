"""A small firmware that knows nothing of models, in the layout of an output folder: builds and devices need
no more."""

from __future__ import annotations

import shutil
from pathlib import Path

import jinja2

from synapcc.gen.target.boards import Board, load_board, platformio_board

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]


def add_platform(out: Path, board: Board, model: str) -> None:
    """What PlatformIO needs in an output folder whose sources are there already."""
    platform = out / "platforms" / "synapcc"
    shutil.copytree(ROOT / "firmware" / "platform", platform, ignore=shutil.ignore_patterns("__pycache__"))
    (platform / "boards").mkdir()
    (platform / "boards" / f"{board.name}.json").write_text(platformio_board(board))
    context = {
        "board": board,
        "model": model,
        "tool_version": "0",
        "store": None,
        "kernel_set": "ref",
        "description": 'Says "echo"',
    }
    (out / "platformio.ini").write_text(render("platformio.ini.j2", **context))
    (out / "lib" / model / "library.json").write_text(render("library.json.j2", **context))


def render(template: str, **context: object) -> str:
    """A template of the compiler, rendered as the compiler does."""
    loader = jinja2.FileSystemLoader(ROOT / "templates")
    env = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return env.get_template(template).render(context)


def echo_project(out: Path, board: str | Board = "mps2_an386", extra: str = "") -> Path:
    """Writes the echo firmware for `board` into `out`; `extra` is C for one more source file, src/extra.c."""
    (out / "src" / "hal").mkdir(parents=True)
    library = out / "lib" / "echo" / "src"
    library.mkdir(parents=True)
    for name in ("startup.c", "main.c", "uart.h"):
        shutil.copy(HERE / name, out / "src")
    shutil.copy(HERE / "cmsdk.c", out / "src" / "hal")
    for name in ("echo.c", "echo.h"):
        shutil.copy(HERE / name, library)
    if extra:
        (out / "src" / "extra.c").write_text(extra)
    add_platform(out, board if isinstance(board, Board) else load_board(board), "echo")
    return out
