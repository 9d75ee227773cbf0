"""What `synapcc demo ecg` does, from its options to the report."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from synapcc.gen import emit
from synapcc.gen.compile import Compiled
from synapcc.gen.errors import SynapccError
from synapcc.gen.rules import rules
from synapcc.gen.target.boards import load_board
from synapcc.host.devices import device_kinds, open_device
from synapcc.host.firmware.build import BuildResult, build, project_board
from synapcc.host.link.client import connect
from synapcc.host.pages import html
from synapcc.host.run.plans import read_plan
from synapcc.host.terminal.results import Results

from . import demo, demo_report
from .choices import DEVICE, LEARN_MINUTES, LIVE_ONLY, MINUTES


def run(args: argparse.Namespace, out: Results) -> int:
    """0: every byte was the same; 1: chip and emulator differ. Raises SynapccError: bad input."""
    started = time.monotonic()
    check_options(args, LIVE_ONLY, "is of the live page", "add --live")
    say = out.tell
    args.device, args.minutes = args.device or DEVICE, MINUTES if args.minutes is None else args.minutes
    _check(args)
    who = demo.cast(args.patient or [], args.minutes)
    say(opening(who))
    compiled = demo.compile_for(who, args.model, args.rule, args.passes, args.board)
    plan = compiled.plan
    say(
        f"compiled {plan.model}, rule {compiled.spec.rule}: {', '.join(compiled.learned)} learn in "
        f"{compiled.spec.weights}; {plan.state_bytes} bytes of state, plan {plan.digest.hex()[:12]}"
    )
    with _project(compiled, args.out) as project:
        chip, built = _chip(args.device, project)
        if built:
            deep = built.stack.bytes if built.stack.bytes is not None else "?"
            say(
                f"built with {built.toolchain} by PlatformIO: "
                f"flash {built.flash} bytes, RAM {built.ram}, stack {deep} at worst"
            )
        with open_device(args.device, project, project_board(project)) as device:
            school = demo.School(plan, connect(device, plan))
            say(f"{chip} answers on the link; no beat of minutes 5-{args.minutes:g} is ever learned")
            try:
                lessons = _teach(school, who, args.passes, say)
            except demo.Differs as stop:
                say(f"\n{stop.difference}")
                say(_line(stop.steps, args.device, stop.difference.bytes))
                out.give("demo", {"steps": stop.steps, "differing": stop.difference.bytes})
                return 1
    line = _line(school.steps, args.device, 0)
    done = demo_report.Run(
        who, args.model, compiled, built, chip, args.passes, school, lessons, time.monotonic() - started, line
    )
    html.write(Path(args.html), demo_report.html(done))
    out.give("demo", demo_report.to_dict(done, args.timing))
    say(
        f"\ncompared: the SHA-256 of {plan.state_bytes} persistent bytes after each beat and each of "
        f"{school.rehearsals} rehearsals; class, margin and scores of {school.inferences} inferences"
    )
    say(f"report: {args.html}")
    say(line)
    if not who.real:
        say(f"these were {who.told}; {demo.HOW_TO_GET_DATA}")
    return 0


def _line(steps: int, device: str, differing: int) -> str:
    return f"demo: {steps} learning steps on {device}, {differing} differing bytes"


def _teach(school: demo.School, who: demo.Cast, passes: int, say: Callable[[str], None]) -> list[demo.Lesson]:
    lessons = []
    for name, (learn, test) in who.people.items():
        lesson = school.teach(name, learn, test, passes)
        lessons.append(lesson)
        say(f"\n{demo_report.text(lesson, school.plan.state_bytes)}")
    return lessons


def opening(who: demo.Cast) -> str:
    """What this is, on which data; then who the patients are."""
    what = "synapcc demo ecg: a chip meets patients it has never seen, and learns each from five minutes"
    if not who.real:
        return f"{what}; {who.told}; {demo.HOW_TO_GET_DATA}"
    names = ", ".join(who.people)
    chosen = all(who.why(n) for n in who.people)
    why = "chosen to show the effect" if chosen else "as asked for"
    return f"{what}; data: {who.told}\npatients {names}, {why}; all 22 in one table: synapcc eval ecg"


def _check(args: argparse.Namespace) -> None:
    """What can be wrong is told before the work, not after it."""
    if args.passes < 1:
        raise SynapccError("--passes", f"{args.passes} passes", "give 1 or more")
    if not LEARN_MINUTES < args.minutes <= MINUTES:
        what = f"{args.minutes:g}"
        raise SynapccError("--minutes", what, f"give more than {LEARN_MINUTES} and at most {MINUTES:g}")
    if args.rule not in rules() and not Path(args.rule).is_file():
        what = f'"{args.rule}" is neither a rule nor a file'
        raise SynapccError("--rule", what, f"rules: {', '.join(rules())}")
    _ = load_board(args.board).port  # says what there is where a board has no firmware
    check_device(args.device)


def check_options(args: argparse.Namespace, others: Mapping[str, object], what: str, hint: str) -> None:
    """SynapccError where an option was given that would say nothing here. others: their defaults"""
    for name, default in others.items():
        if getattr(args, name) != default:
            raise SynapccError(f"--{name.replace('_', '-')}", what, hint)


def check_device(device: str) -> None:
    """SynapccError unless there is such a kind of device."""
    kind = device.partition(":")[0]
    if kind not in device_kinds():
        raise SynapccError("--device", f'there is no kind "{kind}"', f"kinds: {', '.join(device_kinds())}")


@contextmanager
def _project(compiled: Compiled, kept: str | None) -> Iterator[Path]:
    """The output folder: temporary, or `kept`, where a project of the same Plan may already be."""
    title = f"{compiled.spec.rule} on {len(compiled.learned)} of {len(compiled.graph.nodes)} layers"
    sources = {n.name: n.source for n in compiled.graph.nodes if n.source}
    files = emit.render(compiled.plan, compiled.board, "synapcc demo ecg", title, sources)
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="synapcc-demo-") as folder:
            emit.write(files, Path(folder) / compiled.plan.model)
            yield Path(folder) / compiled.plan.model
        return
    out = Path(kept)
    same = (out / "plan.json").is_file() and read_plan(out).digest == compiled.plan.digest
    if not same:  # a board on a port is flashed from a first run's project, and met by the next
        emit.write(files, out)
    yield out


def _chip(device: str, project: Path) -> tuple[str, BuildResult | None]:
    """What runs the firmware, in words, and the firmware's build for the board; a process needs none."""
    kind, _, argument = device.partition(":")
    if kind == "process":
        return "the same C as a process of this computer", None
    core = project_board(project).core.cpu.replace("cortex-m", "Cortex-M")
    chip = f"a {core} at {argument}" if kind == "serial" else f"a virtual {core} ({kind})"
    return chip, build(project)
