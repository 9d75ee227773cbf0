"""synapcc push OUT --device DEVICE FILE.npz"""

from __future__ import annotations

import argparse
from pathlib import Path

from synapcc.host.devices import device_kinds, open_device
from synapcc.host.terminal.results import Results

HELP = "put what was pulled onto another chip with the same firmware, and check that it holds it"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("project", metavar="OUT", help="output folder of synapcc compile")
    p.add_argument("file", metavar="FILE.npz", help="from synapcc pull --npz or emulate --state-out")
    p.add_argument(
        "--device",
        required=True,
        help=f"{', '.join(device_kinds())}; serial takes a port, serial:/dev/ttyACM0",
    )


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.host.firmware.build import project_board
    from synapcc.host.link import state
    from synapcc.host.link.client import connect
    from synapcc.host.run.plans import read_plan

    project = Path(args.project)
    plan = read_plan(project)
    tensors, about = state.load(plan, Path(args.file))
    with open_device(args.device, project, project_board(project)) as device:
        client = connect(device, plan)
        digest = state.push(plan, client, tensors)
        board = client.info.board
    told = {
        "model": plan.model,
        "digest": plan.digest.hex(),
        "from": f"{about.get('device')} ({about.get('board')})",
        "to": f"{device.name} ({board})",
        "tensors": len(tensors),
        "bytes": plan.state_bytes,
        "state_digest": digest.hex(),
    }
    out.give("push", told)
    out.say(
        f"{len(tensors)} tensors, {plan.state_bytes} bytes, of {told['from']} are now on {told['to']}: "
        f"state digest {digest.hex()[:12]}"
    )
    return 0
