"""synapcc verify OUT --data DATA.npz --steps 1000 --device process|unicorn|qemu|serial:PORT"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.host import client
from synapcc.host.build import project_board
from synapcc.host.data import load_samples
from synapcc.host.devices import device_kinds, open_device
from synapcc.host.emulator import read_plan
from synapcc.host.progress import Progress
from synapcc.host.verify import verify

HELP = "learn on a device and in the emulator, and compare every persistent byte after every step"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("project", metavar="OUT", help="output folder of synapcc compile")
    p.add_argument("--data", required=True, metavar="DATA.npz", help="inputs by name and `label`")
    p.add_argument(
        "--steps", type=int, default=1000, help="learning steps; samples repeat (default: %(default)s)"
    )
    p.add_argument(
        "--device",
        default="unicorn",
        help=f"{', '.join(device_kinds())}; serial takes a port, serial:/dev/ttyACM0 (default: %(default)s)",
    )
    p.add_argument("--json", action="store_true", help="as JSON")


def run(args: argparse.Namespace) -> int:
    if args.steps < 0:
        raise SynapccError("--steps", f"{args.steps} steps", "give 0 or more")
    project = Path(args.project)
    plan = read_plan(project)
    samples = load_samples(plan, Path(args.data), labels="learn" in plan.entries)
    if not args.json:
        short = plan.digest.hex()[:12]
        print(
            f"{plan.model}: {plan.state_bytes} persistent bytes, plan {short}, on {args.device}", flush=True
        )
    with (
        open_device(args.device, project, project_board(project)) as device,
        Progress("learning on both sides", args.steps) as bar,
    ):
        verdict = verify(plan, client.connect(device, plan.digest), samples, args.steps, bar.step)
    if args.json:
        print(json.dumps(verdict.to_dict(), sort_keys=True))
    else:
        print(verdict.difference or verdict.agreement)
        print(verdict.line)
    return 1 if verdict.difference else 0
