"""synapcc save OUT --device DEVICE [--learn DATA.npz] [--flash FILE]"""

from __future__ import annotations

import argparse
from pathlib import Path

from synapcc.gen.errors import SynapccError
from synapcc.host.devices import DeviceError, device_kinds, open_device
from synapcc.host.terminal.results import Results

HELP = "keep what a device has learned in its flash, where a loss of power does no harm"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("project", metavar="OUT", help="output folder of synapcc compile, with [keep] or --keep")
    p.add_argument(
        "--device",
        "--on",
        required=True,
        help=f"{', '.join(device_kinds())}; serial takes a port, serial:/dev/ttyACM0",
    )
    p.add_argument(
        "--learn",
        metavar="DATA.npz",
        help="first learn these samples on the device: virtual ones start with what --flash holds",
    )
    p.add_argument(
        "--flash", metavar="FILE", help="the flash of a virtual device: read if there, and written"
    )


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.gen.target.messages import Kept
    from synapcc.host.firmware.build import project_board
    from synapcc.host.link import store
    from synapcc.host.link.client import connect
    from synapcc.host.run.plans import read_plan
    from synapcc.host.run.samples import load_samples
    from synapcc.host.run.teach import teach

    project = Path(args.project)
    plan = read_plan(project)
    if args.learn and not plan.learning:
        raise SynapccError(plan.model, "was compiled for inference only", "compile it with a learning rule")
    samples = load_samples(plan, Path(args.learn), labels=True) if args.learn else None
    with open_device(args.device, project, project_board(project)) as device:
        client = connect(device, plan)
        store.demand(client)
        flash = store.FlashFile(client, Path(args.flash) if args.flash else None)
        if flash.found == Kept.IO:
            what = "its flash could not be read when it started, and a save takes the place of what it holds"
            raise DeviceError(device.name, what, "reset it, or synapcc restore")
        if samples is not None:
            teach(plan, client, samples)
        answer, proof = store.kept(client, flash, client.save)
        if answer != Kept.OK:
            raise store.refusal(client, "SAVE", answer)
        stats, info = client.stats(), client.info
    told = {
        "model": plan.model,
        "digest": plan.digest.hex(),
        "device": device.name,
        "board": info.board,
        "found": flash.found.name.lower(),
        "bytes": info.keep_bytes,
        "erases": stats.erases,
        "blocks": stats.blocks,
        "cycles": stats.cycles,
        "state_digest": proof.hex(),
    }
    out.give("save", told)
    if flash.found in store.BEGAN:
        out.say(f"warning: {device.name} began {store.BEGAN[flash.found]}")
    if samples is not None:
        out.say(f"learned {samples}")
    worn = stats.erases / (stats.blocks * stats.cycles) if stats.blocks and stats.cycles else 0.0
    out.say(
        f"{info.keep_bytes} bytes are kept on {device.name} ({info.board}): state digest {proof.hex()[:12]}; "
        f"{stats.erases} erases so far, {100 * worn:.2g} % of what {stats.blocks} blocks last"
    )
    if flash.lost():
        out.say("a virtual device takes its flash with it: give --flash FILE to keep that, too")
    return 0
