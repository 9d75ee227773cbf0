"""The output folder: the library, the Plan, and the PlatformIO project around them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ..errors import CompileError
from ..ir.plan import Plan
from ..sets import AUTO, select
from ..spec import LEARN
from ..spec.keep import Keep
from ..stages.heard import Heard
from ..target import messages
from ..target.boards import Board, platformio_board
from ..target.stores import Place, place
from ..version import VERSION
from .adapters import render_adapters
from .example import Example
from .interface import label_type
from .keep import keep_blocks, render_keep
from .library import render_library
from .packages import render_example, render_packages
from .role import of_role
from .templates import ROOT, environment
from .views import InputView, formulas


def render(
    plan: Plan,
    board: Board | None,
    command: str,
    title: str = "",
    sources: Mapping[str, str] | None = None,
    reports: Mapping[str, str] | None = None,
    quantiser: bool = False,
    kernel_set: str = AUTO,
    packages: Sequence[str] = (),
    example: Example | None = None,
    role: str = LEARN,
    keep: Keep | None = None,
    heard: Mapping[str, Heard] | None = None,
) -> dict[str, bytes]:
    """Every file of an output folder by its path. Without a board, or a link to it: the library and the
    Plan, no firmware.

    kernel_set: the kernel set, or "auto" for the fastest that the board's core can run
    quantiser: also <model>_quantise.h, which takes float inputs; the only file that knows float. It is there
               anyway where the network normalises an input, or brings a scale and a zero point for it.
    packages:  of what kinds the library's folder is a package, names of PACKAGES; `example`: their samples
    role:      "learn": all that the Plan has; "infer": the library alone, and of it what inference needs
    keep:      what of the state is kept in flash: also <model>_keep.{h,c}, and adapters
    heard:     what each layer that learns hears, for `keep.migrate`
    """
    part = of_role(plan, role)
    title = title if part is plan else f"{title}, inference alone"
    link = board if board and board.link and part is plan else None
    chosen = select(kernel_set, board)
    context = {"model": plan.model, "tool_version": VERSION, "description": title}
    portable, kept = bool(board and board.core.portable), keep if part is plan else None
    texts = render_library(part, command, title, sources or {}, chosen, portable, kept is not None)
    if kept:
        texts |= render_keep(plan, kept, command, heard)
        texts |= render_adapters(plan, kept, command, packages)
    library = _library(part, texts, chosen, context, quantiser)
    quantised = f"src/{plan.model}_quantise.h" in library
    library |= render_packages(part, packages, board, chosen, example, quantised, kept is not None)
    files = {f"lib/{plan.model}/{name}": text for name, text in library.items()}
    files |= dict(reports or {})
    if link:
        files |= _project(plan, link, context, kept, store_place(plan, kept, link, heard)[0])
    if link and "platformio" in packages:
        own = render_example(plan, board, chosen, example, kept is not None)
        files |= {f"src/learn/{name}": text for name, text in own.items()}
        files["platformio.ini"] += (
            environment().get_template("package/platformio_env.ini.j2").render(board=link)
        )
    out = {name: text.encode() for name, text in files.items()}
    out["plan.json"] = plan.canonical
    return out | _firmware(link) if link else out


def store_place(
    plan: Plan, keep: Keep | None, board: Board, heard: Mapping[str, Heard] | None = None
) -> tuple[Place | None, str]:
    """Where the firmware's store lies; none, and why, where it has none: the library alone can keep then."""
    if keep is None:
        return None, ""
    try:
        return place(board, keep_blocks(plan, keep, board, heard)), ""
    except ValueError as why:
        return None, str(why)


def _library(
    plan: Plan, texts: Mapping[str, str], kernel_set: str, context: Mapping[str, str], quantiser: bool
) -> dict[str, str]:
    """The library's own files, by path below its folder; `texts`: its C."""
    env = environment()
    files = {f"src/{name}": text for name, text in texts.items()}
    files["library.json"] = env.get_template("library.json.j2").render({**context, "kernel_set": kernel_set})
    inputs = [InputView(plan, n) for n in plan.inputs]
    if quantiser or any(i.own or i.affine for i in inputs):  # nobody makes such integers by hand
        text = env.get_template("quantise.h.j2").render({**context, "inputs": inputs, **formulas(inputs)})
        files[f"src/{plan.model}_quantise.h"] = text
    return files


def _project(
    plan: Plan, board: Board, context: Mapping[str, str], keep: Keep | None, store: Place | None
) -> dict[str, str]:
    """The PlatformIO project for a board that has a link, without what is copied. store: of the firmware."""
    env = environment()
    counted = {
        "counters": [t.name for t in plan.space("state") if t.role == "counter"],
        "saturated": sorted({s.args["saturated"] for _, _, s in plan.ops() if "saturated" in s.args}),
    }
    more = {"label_type": label_type(plan), "keep": keep is not None}
    kept = {**context, "board": board, "store": store}
    shape = {"include/flash_shape.h": env.get_template("flash_shape.h.j2").render(kept)} if store else {}
    return shape | {
        "platformio.ini": env.get_template("platformio.ini.j2").render(kept),
        "include/model_binding.h": env.get_template("model_binding.h.j2").render(
            {**context, **counted, **more}
        ),
        "include/protocol.h": env.get_template("protocol.h.j2").render(messages=messages),
    }


def _firmware(board: Board) -> dict[str, bytes]:
    """Copies of firmware/ and of the local PlatformIO platform, and the board as PlatformIO wants it."""
    out = {f"platforms/synapcc/boards/{board.name}.json": platformio_board(board).encode()}
    for path in sorted((ROOT / "firmware").rglob("*")):
        if (
            not path.is_file() or "__pycache__" in path.parts or path.stem in ("keep", "migrate")
        ):  # that is the library's
            continue
        room, *rest = path.relative_to(ROOT / "firmware").parts
        place = Path("platforms/synapcc", *rest) if room == "platform" else Path("src", room, *rest)
        out[place.as_posix()] = path.read_bytes()
    if board.port.code:
        out[f"src/hal/{board.port.hal}"] = board.port.code.encode()
    return out


def write(files: Mapping[str, bytes], out: Path) -> None:
    """Writes `files` into the new folder `out`; CompileError if it exists or cannot be made.

    Nothing is left half-written.
    """
    if os.path.lexists(out):
        raise CompileError(str(out), "exists already", "choose another folder, or remove it")
    temporary = None
    made = [p for p in out.parents if not os.path.lexists(p)]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        for name, content in sorted(files.items()):
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        temporary.chmod(0o755)
        os.rename(temporary, out)
    except OSError as e:
        raise CompileError(
            str(out), f"cannot be written ({e.strerror or e})", "check the path, its permissions and the disk"
        ) from None
    finally:
        if temporary and temporary.exists():
            shutil.rmtree(temporary, ignore_errors=True)
        if not os.path.lexists(out):
            with suppress(OSError):  # not empty: somebody else's by now
                for folder in made:
                    folder.rmdir()
