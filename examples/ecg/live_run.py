"""What `synapcc demo ecg --live` does, from its options to its last line."""

from __future__ import annotations

import argparse
import time
import webbrowser
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.host.devices import open_device
from synapcc.host.firmware.build import build, project_board
from synapcc.host.link.client import connect
from synapcc.host.live.beside import Beside, Differs
from synapcc.host.live.page import page
from synapcc.host.live.server import Door, bound, serve
from synapcc.host.live.stream import Settings, Stream
from synapcc.host.run.engines import AUTO, NUMPY
from synapcc.host.run.plans import read_plan
from synapcc.host.terminal.results import Results

from . import live, live_model
from .choices import DEMO_ONLY, FAST, LIVE_DEVICE, MOST_SPEED, SPEED_MAX
from .demo import HOW_TO_GET_DATA
from .demo_run import check_device, check_options

MEGABYTE = 1e6


def run(args: argparse.Namespace, out: Results, started: float) -> int:
    """0: every byte was the same; 1: chip and emulator differ. started: of the command, by time.monotonic

    SynapccError: bad input, or the chip failed.
    """
    settings = Settings(_speed(args.speed), args.learn, _minutes(args.minutes))
    device = args.device or LIVE_DEVICE
    check_options(args, DEMO_ONLY, "is not of the live page", "leave it out, or leave out --live")
    check_device(device)
    taken = bound(args.http_port)
    try:
        who = live.shown(_patient(args.patient), _told(device))
        out.tell(f"synapcc demo ecg --live: {who.told}{'' if who.real else f'; {HOW_TO_GET_DATA}'}")
        folder = live_model.project(who.real, args.rule, args.board)
        if args.out:
            folder = live_model.copied(folder, Path(args.out))
        if device.partition(":")[0] not in ("process", "serial"):
            build(folder)
        with open_device(device, folder, project_board(folder)) as chip:
            plan = read_plan(folder)
            beside = Beside(plan, connect(chip, plan), _engine(args.engine, settings.speed))
            stream = Stream(beside, who.recording, settings)
            first: list[float] = []

            def drawn() -> None:
                if not first:
                    first.append(time.monotonic() - started)
                    took = f"{first[0]:.1f} s after the command, {time.process_time():.1f} s of its CPU"
                    out.tell(f"first beat on screen {took}")

            door = Door(stream, partial(page, who.words, who.recording), drawn)
            serve(door, taken, partial(_ready, out, args.open))
    finally:
        taken.close()
    return _end(stream, who, device, out)


def _end(stream: Stream, who: live.Shown, device: str, out: Results) -> int:
    if stream.failed and not isinstance(stream.failed, Differs):
        raise stream.failed
    b, facts = stream.beside, stream.picture.facts
    differing = stream.failed.difference.bytes if isinstance(stream.failed, Differs) else 0
    if stream.failed:
        out.tell(f"\n{stream.failed}")
    out.give(
        "demo.live",
        {
            "patient": who.name, "pushes": b.pushes, "labels": b.marks, "differing": differing,
            "seconds": facts.seconds, "learned": facts.learned, "judged": facts.judged,
        },
    )  # fmt: skip
    if stream.measured:
        out.say(_memory(stream))
    out.say(
        f"live: {b.pushes} pushes and {b.marks} labels on {device}, {facts.seconds / 60:.1f} minutes of "
        f"signal, {differing} differing bytes"
    )
    if not who.real:
        out.say(f"this was {who.told}; {HOW_TO_GET_DATA}")
    return 1 if stream.failed else 0


def _memory(stream: Stream) -> str:
    """How fast it went, and what of memory at the first and the last tenth of the minutes."""
    took = stream.took
    signal = stream.picture.facts.seconds
    pace = f"{signal / 60:.1f} minutes of signal in {took:.0f} s, {signal / took:.1f} times real time"
    (early, then), (late, now) = stream.measured[0], stream.measured[-1]
    if then is None or now is None:
        return f"{pace}; this system does not say how much memory that took"
    at = f"{then / MEGABYTE:.1f} MB at {early:.0%}, {now / MEGABYTE:.1f} MB at {late:.0%}"
    return f"{pace}; memory of the server {at}"


def _ready(out: Results, show: bool, address: str) -> None:
    out.tell(f"open {address}\nCtrl-C ends it")
    if show:
        webbrowser.open(address)


def _told(device: str) -> str:
    """What runs the firmware, as a sentence begins."""
    kind, _, argument = device.partition(":")
    if kind == "process":
        return "The chip's own C, as a process of this computer,"
    return f"A chip at {argument}" if kind == "serial" else f"A virtual chip ({kind})"


def _patient(names: Sequence[str] | None) -> str:
    if names and len(names) > 1:
        raise SynapccError("--patient", f"{len(names)} patients", "a live page shows one")
    return names[0] if names else ""


def _speed(text: str) -> float:
    """Times real time; 0 for as fast as it goes."""
    if text == SPEED_MAX:
        return 0.0
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.1 <= speed <= MOST_SPEED:
        raise SynapccError("--speed", f'"{text}"', f"give 0.1 to {MOST_SPEED:g}, or {SPEED_MAX}")
    return speed


def _engine(asked: str, speed: float) -> str:
    """Of the emulator: compiled code pays where it goes fast."""
    return NUMPY if asked == AUTO and 0 < speed <= FAST else asked


def _minutes(given: float | None) -> float:
    if given is not None and not 0 < given <= 24 * 60:
        raise SynapccError("--minutes", f"{given:g}", "give more than 0 and at most a day, 1440")
    return given or 0.0
