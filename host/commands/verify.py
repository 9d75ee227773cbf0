"""synapcc verify OUT --data DATA.npz --steps 1000 --device process|unicorn|qemu|serial:PORT"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.host.devices import device_kinds, open_device
from synapcc.host.terminal.arguments import result_option
from synapcc.host.terminal.files import write_whole
from synapcc.host.terminal.progress import Progress
from synapcc.host.terminal.results import Results
from synapcc.host.terminal.screen import one_line

HELP = "learn on a device and in the emulator, and compare every persistent byte after every step"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("project", metavar="OUT", help="output folder of synapcc compile")
    p.add_argument("--data", required=True, metavar="DATA.npz", help="inputs by name and `label`")
    p.add_argument(
        "--stream",
        metavar="SAMPLES.npz",
        help="raw samples for a front end as `samples`, int16 [n] or [n, channels] (default: drawn ones)",
    )
    p.add_argument(
        "--steps", type=int, default=1000, help="learning steps; samples repeat (default: %(default)s)"
    )
    p.add_argument(
        "--device",
        default="unicorn",
        help=f"{', '.join(device_kinds())}; serial takes a port, serial:/dev/ttyACM0 (default: %(default)s)",
    )
    p.add_argument(
        "--slices",
        action="store_true",
        help="learn in slices, as a product does that must not wait, and compare after each slice",
    )
    p.add_argument(
        "--batch",
        type=int,
        default=0,
        metavar="K",
        help="learning steps in one exchange, where the device takes as many and answers soon (default: all)",
    )
    p.add_argument(
        "--resume",
        metavar="RUN.npz",
        help="how far the run came: written as it goes, and where the same command goes on from",
    )
    result_option(p, "--html", metavar="FILE", help="write a report there")
    result_option(
        p, "--junit", metavar="FILE", help="write JUnit XML there, a test case for each thing compared"
    )
    p.add_argument(
        "--timing",
        action="store_true",
        help="also how long each step took, in what is written: never the same",
    )


def _pace(took: Sequence[tuple[float, int]]) -> str:
    """How long a learning step took on both sides and the link, of (seconds of one, steps) an exchange.

    The first step is left out: it is alone, and the emulator's engine is loaded for it, or compiled.
    """
    later = took[1:]
    if not later:
        return ""
    mean = sum(each * n for each, n in later) / sum(n for _, n in later)
    return f"; {1000 * mean:.3g} ms a step, {1000 * min(each for each, _ in later):.3g} at best"


def run(args: argparse.Namespace, out: Results) -> int:
    try:
        return _run(args, out)
    except (SynapccError, OSError) as error:
        if args.junit:
            _refused(Path(args.junit), error)
        raise


def _refused(junit: Path, error: SynapccError | OSError) -> None:
    """A CI that reads nothing but the report learns there why there is nothing else in it."""
    from synapcc.host.pages.junit import refused_xml

    try:
        write_whole(junit, refused_xml(one_line(error.line if isinstance(error, SynapccError) else error)))
    except SynapccError as too:
        error.add_note(too.line)


def _run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.host.firmware.build import project_board
    from synapcc.host.link import client
    from synapcc.host.pages import html
    from synapcc.host.pages.junit import verify_xml
    from synapcc.host.pages.verify import evidence, verify_html
    from synapcc.host.run.plans import read_plan
    from synapcc.host.run.samples import load_samples
    from synapcc.host.run.streaming import load_stream
    from synapcc.host.run.verify import verify

    if args.steps < 0:
        raise SynapccError("--steps", f"{args.steps} steps", "give 0 or more")
    if args.batch < 0:
        raise SynapccError(
            "--batch", f"{args.batch} steps", "give 1 or more, or 0 for all that the device takes"
        )
    project = Path(args.project)
    plan = read_plan(project)
    if args.stream and not plan.streams:
        raise SynapccError("--stream", f"{plan.model} has no front end", "compile it with [frontend]")
    if args.stream and args.slices:
        raise SynapccError("--stream", "is not run in slices", "leave --slices out, or --stream")
    samples = load_samples(plan, Path(args.data), labels=bool(plan.learning))
    stream = load_stream(plan, Path(args.stream)) if args.stream else None
    short = plan.digest.hex()[:12]
    out.say(f"{plan.model}: {plan.state_bytes} persistent bytes, plan {short}, on {args.device}\n{samples}")
    board = project_board(project)
    with (
        open_device(args.device, project, board) as device,
        Progress("learning on both sides", args.steps) as bar,
    ):
        moments: list[tuple[float, int]] = []

        def tick(count: int) -> None:
            bar.step(count)
            moments.append((time.monotonic(), count))

        chip = client.connect(device, plan)
        kept = Path(args.resume) if args.resume else None
        verdict = verify(plan, chip, samples, args.steps, tick, args.slices, args.batch, kept, stream)
        took = [((b - a) / n, n) for (a, _), (b, n) in pairwise(moments)]
        seconds = [each for each, n in took for _ in range(n)] if args.timing else None
        result = evidence(plan, board, args.device, verdict, seconds)
        result["clipped"] = dict(samples.clipped)
    if args.html:
        html.write(Path(args.html), verify_html(result))
    if args.junit:
        write_whole(Path(args.junit), verify_xml(result))
    out.give("verify", result)
    if verdict.resumed:
        out.say(f"{verdict.resumed} of the steps were compared before: {args.resume}")
    told = f" ({verdict.instead})" if verdict.instead else ""
    out.say(f"emulator: {verdict.engine}{told}{_pace(took)}")
    out.say(str(verdict.difference or verdict.agreement))
    if result["warning"]:
        out.say(f"warning: {result['warning']}")
    out.say(verdict.line)
    return 1 if verdict.difference else 0
