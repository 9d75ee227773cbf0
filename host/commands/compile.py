"""synapcc compile MODEL --rule RULE.toml --board BOARD [--calibrate CAL.npz] -o OUT"""

from __future__ import annotations

import argparse
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from synapcc.gen.errors import CompileError, shown
from synapcc.gen.sets import AUTO, CHOICES
from synapcc.gen.spec import FAST, LEARN, LIBRARIES, MODES, Keep
from synapcc.gen.target.board import GENERIC, Board
from synapcc.gen.target.boards import generic_board, load_board
from synapcc.host.terminal.files import check_distinct
from synapcc.host.terminal.progress import Progress
from synapcc.host.terminal.results import Results, document
from synapcc.host.terminal.screen import neutral

if TYPE_CHECKING:
    from synapcc.gen.compile import Compiled

STAGES = 100  # of the bar

HELP = "turn a network and a rule file into a C library, a firmware project, a Plan and a report"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("model", metavar="MODEL", help="trained network, .onnx or .tflite")
    p.add_argument("--rule", required=True, metavar="RULE.toml", help="rule file: synapcc docs RULES")
    p.add_argument(
        "--calibrate",
        metavar="CAL.npz",
        help="inputs by name, float32 [n, ...]; `label` [n] for replay and prototypes, or `target` [n, ...]. "
        "Not needed where a file brings all integers and nothing learns",
    )
    p.add_argument(
        "--board",
        default="mps2_an386",
        metavar="BOARD",
        help="name (synapcc boards), a .toml of your own, or generic (default: %(default)s)",
    )
    p.add_argument("--core", help="with --board generic: the core, e.g. cortex-m4; portable: any of 32 bits")
    p.add_argument("--flash", metavar="SIZE", help="with --board generic: its flash, e.g. 512K")
    p.add_argument("--ram", metavar="SIZE", help="with --board generic: its RAM, e.g. 128K")
    p.add_argument("-o", "--output", required=True, metavar="OUT", help="folder to make; must not exist")
    p.add_argument("--name", help="prefix of the C names (default: the model file's name)")
    p.add_argument(
        "--scores", metavar="NAME", help="of a model with several outputs, the one with the scores"
    )
    p.add_argument(
        "--kernels",
        choices=CHOICES,
        default=AUTO,
        help="how fast, never what: ref is plain C99, dsp uses SMLAD and its like, mve vectors "
        "(default: what the board's core has)",
    )
    p.add_argument(
        "--quantise",
        choices=MODES,
        default=FAST,
        help="how integers are chosen: fast, or best, which takes up to some minutes and keeps more answers "
        "of the float network (default: %(default)s)",
    )
    p.add_argument(
        "--keep",
        action="store_true",
        help="also emit <model>_keep.{h,c}, which keep in flash what was learned, as [keep] in the rule file",
    )
    p.add_argument("--quantiser", action="store_true", help="also emit <model>_quantise.h for float inputs")
    p.add_argument(
        "--package",
        metavar="KIND",
        action="append",
        default=[],
        help="make the library a package, too, with an example: platformio, arduino, cmake, zephyr, esp-idf, "
        "cmsis-pack; several with commas, or again: synapcc docs PACKAGES",
    )
    p.add_argument(
        "--role",
        choices=LIBRARIES,
        default=LEARN,
        help="learn: all of the Plan; infer: a library of inference alone, for a smaller chip that takes "
        "what another one has learned: synapcc docs PACKAGES (default: %(default)s)",
    )


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.gen import emit
    from synapcc.gen.compile import compile_model
    from synapcc.gen.emit.packages import check_name, wanted
    from synapcc.gen.exporters.onnx import export
    from synapcc.gen.importers import model_identifier
    from synapcc.host.pages.bytecode import Kept
    from synapcc.host.pages.compile import compile_html
    from synapcc.host.pages.facts import measure, summary
    from synapcc.host.run.examples import example_of

    folder = Path(args.output)
    if os.path.lexists(folder):
        raise CompileError(str(folder), "exists already", "choose another folder, or remove it")
    check_distinct(args.output, args.json)
    packages = wanted(args.package)
    if args.name is not None:
        check_name(model_identifier(args.name), packages)
    board, sizes = _board(args)
    emit.keep_bytecode(Kept(emit.templates.__file__))
    with Progress("quantising", STAGES) as bar:
        compiled = compile_model(
            args.model,
            args.rule,
            args.calibrate,
            board,
            args.name,
            args.kernels,
            args.scores,
            args.quantise,
            lambda done, what: bar.step(round(done * STAGES) - bar.done, what),
            args.role,
        )
    compiled = _kept(compiled, args.keep)
    report = measure(compiled)
    # The line names files, not folders: the same inputs give the same bytes wherever they lie.
    words = [
        "synapcc",
        "compile",
        Path(args.model).name,
        "--rule",
        Path(args.rule).name,
    ]
    words += ["--calibrate", Path(args.calibrate).name] if args.calibrate is not None else []
    words += ["--board", Path(args.board).name, *sizes]
    words += ["--name", args.name] if args.name else []
    words += ["--scores", args.scores] if args.scores is not None else []
    words += ["--kernels", args.kernels] if args.kernels != AUTO else []
    words += ["--quantise", args.quantise] if args.quantise != FAST else []
    words += ["--keep"] if args.keep else []
    words += ["--quantiser"] if args.quantiser else []
    words += ["--role", args.role] if args.role != LEARN else []
    words += ["--package", ",".join(packages)] if packages else []
    sources = {n.name: n.source for n in compiled.graph.nodes if n.source}
    title = (
        f"{compiled.spec.rule} on {len(compiled.learned)} of {len(compiled.graph.nodes)} layers"
        if compiled.learned
        else "inference only"
    )
    reports = {
        "report.json": document("compile", report),
        "report.txt": neutral(summary(report)) + "\n",
        "report.html": compile_html(report),
    }
    files = emit.render(
        compiled.plan,
        compiled.board,
        shown(shlex.join(words), 400),
        title,
        sources,
        reports,
        args.quantiser,
        compiled.kernel_set,
        packages,
        example_of(compiled) if packages else None,
        args.role,
        compiled.spec.keep,
        compiled.heard,
    )
    files["network.onnx"] = export(compiled.graph, compiled.plan.digest.hex())
    emit.write(files, folder)
    out.give("compile", report)
    out.say(f"{summary(report)}\n\nwrote {folder}: {_next(folder, board, args.role)}")
    out.say(f"pictures: {folder / 'report.html'}")
    if why := _without_store(compiled):
        out.say(f"the firmware has no store, the library has one: {why}")
    return 0


def _kept(compiled: Compiled, asked: bool) -> Compiled:
    """The compilation with [keep], where the option asks for it; a store that cannot be is refused."""
    from synapcc.gen.emit.fits import least_flash
    from synapcc.gen.emit.keep import check_store

    spec, board = compiled.spec, compiled.board
    if compiled.role != LEARN:
        if asked:
            what = f"keeps what was learned, and --role {compiled.role} makes a library that learns nothing"
            raise CompileError("--keep", what, "leave one of them out")
        return compiled
    if asked and not spec.keep:
        compiled = replace(compiled, spec=replace(spec, keep=Keep()))
    if keep := compiled.spec.keep:
        needed = least_flash(compiled.plan, board, compiled.kernel_set) if board else 0
        check_store(compiled.plan, keep, board, needed, compiled.heard)
    return compiled


def _without_store(compiled: Compiled) -> str:
    """Why firmware that is emitted has no store although [keep] asks for one; "" where it has."""
    from synapcc.gen.emit.project import store_place

    board, keep = compiled.board, compiled.spec.keep
    if board is None or board.link is None or compiled.role != LEARN:
        return ""
    return store_place(compiled.plan, keep, board, compiled.heard)[1]


def _board(args: argparse.Namespace) -> tuple[Board, list[str]]:
    """The board that the options name, and those of them that describe a generic one."""
    described = {"--core": args.core, "--flash": args.flash, "--ram": args.ram}
    given = [name for name, value in described.items() if value is not None]
    if args.board != GENERIC:
        if given:
            hint = f"--board {GENERIC}, or leave it out"
            raise CompileError(given[0], f"the board {args.board} says that itself", hint)
        return load_board(args.board), []
    if len(given) < len(described):
        return load_board(GENERIC), []  # says what is missing
    board = generic_board(args.core, _size("--flash", args.flash), _size("--ram", args.ram))
    return board, [word for option in described.items() for word in option]


def _size(option: str, text: str) -> int:
    """Bytes, from 65536, 64K or 1M."""
    found = re.fullmatch(r"([0-9]{1,10})([kKmM]?)", text)
    if found is None:
        raise CompileError(option, f"{text!r} is no size", "write 512K, 1M, or bytes")
    return int(found[1]) * {"": 1, "k": 1024, "m": 1024**2}[found[2].lower()]


def _next(out: Path, board: Board, role: str) -> str:
    if role != LEARN:
        return f"the library lies in {out / 'lib'}; without learning there is no firmware to verify"
    if board.link is None:
        return f"the library lies in {out / 'lib'}; {board.name} has no link, so there is no firmware"
    flash = f"synapcc flash {out}, or without the board " if board.upload else ""
    return f"next, {flash}synapcc verify {out} --data DATA.npz"
