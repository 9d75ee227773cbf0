"""synapcc restore OUT --device DEVICE [--flash FILE] [--erase]"""

from __future__ import annotations

import argparse
from pathlib import Path

from synapcc.host.devices import device_kinds, open_device
from synapcc.host.terminal.results import Results

HELP = "load what a device keeps in its flash, or forget it"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("project", metavar="OUT", help="output folder of synapcc compile, with [keep] or --keep")
    p.add_argument(
        "--device",
        "--on",
        required=True,
        help=f"{', '.join(device_kinds())}; serial takes a port, serial:/dev/ttyACM0",
    )
    p.add_argument("--flash", metavar="FILE", help="the flash of a virtual device, which synapcc save wrote")
    p.add_argument(
        "--erase",
        action="store_true",
        help="forget what is kept; what the device has learned since stays until it is reset",
    )


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.gen.target.messages import Kept
    from synapcc.host.firmware.build import project_board
    from synapcc.host.link import store
    from synapcc.host.link.client import connect
    from synapcc.host.run.plans import read_plan

    project = Path(args.project)
    plan = read_plan(project)
    with open_device(args.device, project, project_board(project)) as device:
        client = connect(device, plan)
        store.demand(client)
        flash = store.FlashFile(client, Path(args.flash) if args.flash else None)
        if args.erase:
            answer, proof = store.kept(client, flash, lambda: (client.erase(), client.digest()))
        else:
            answer, proof = store.kept(client, flash, client.restore)
        worn = answer == Kept.WORN and not args.erase  # it was loaded all the same
        migrated = answer == Kept.MIGRATED and not args.erase
        if answer != Kept.OK and not worn and not migrated:
            raise store.refusal(client, "ERASE" if args.erase else "RESTORE", answer)
        info = client.info
    told = {
        "model": plan.model,
        "digest": plan.digest.hex(),
        "device": device.name,
        "board": info.board,
        "erased": args.erase,
        "worn": worn,
        "migrated": migrated,
        "bytes": 0 if args.erase or migrated else info.keep_bytes,
        "state_digest": proof.hex(),
    }
    out.give("restore", told)
    place = f"{device.name} ({info.board})"
    if args.erase:
        out.say(
            f"nothing is kept on {place} any more; its state, digest {proof.hex()[:12]}, lasts until a reset"
        )
    elif migrated:
        out.say(
            f"what another compilation had kept was taken over on {place}, as far as it fits: state digest "
            f"{proof.hex()[:12]}; save it to keep it"
        )
    else:
        out.say(f"{info.keep_bytes} bytes were restored on {place}: state digest {proof.hex()[:12]}")
    if worn:
        out.say(f"warning: {store.ANSWERS[Kept.WORN][0]}")
    return 0
