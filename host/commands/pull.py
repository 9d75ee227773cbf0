"""synapcc pull OUT --device DEVICE [--npz FILE] [--onnx FILE] [--quantised FILE]"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from synapcc.gen.errors import SynapccError
from synapcc.host.devices import device_kinds, open_device
from synapcc.host.terminal.arguments import result_option
from synapcc.host.terminal.files import write_whole
from synapcc.host.terminal.results import Results
from synapcc.host.terminal.screen import REFUSED, complain, one_line

if TYPE_CHECKING:
    from synapcc.gen.ir.plan import Plan
    from synapcc.host.link.state import Tensors
    from synapcc.host.run.samples import Samples

HELP = "read what a chip has learned: integers for another chip, and the adapted network, float and quantised"
WRITTEN = ("npz", "onnx", "quantised")


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("project", metavar="OUT", help="output folder of synapcc compile")
    source = p.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--device", help=f"{', '.join(device_kinds())}; serial takes a port, serial:/dev/ttyACM0"
    )
    source.add_argument("--state", metavar="FILE.npz", help="what was pulled before, in place of a chip")
    p.add_argument(
        "--learn",
        metavar="DATA.npz",
        help="first learn these samples on the device: virtual ones start as compiled",
    )
    result_option(p, "--npz", metavar="FILE", help="write the persistent state, for synapcc push")
    p.add_argument(
        "--samples",
        action="store_true",
        help="with the samples that the chip keeps, which are data about its wearer (default: without)",
    )
    result_option(p, "--onnx", metavar="FILE", help="write the adapted network in float")
    result_option(p, "--quantised", metavar="FILE", help="write a network that computes the chip's integers")


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.gen.exporters import onnx, quantised_onnx
    from synapcc.host.link import state
    from synapcc.host.run.network import adapted, read_network
    from synapcc.host.run.plans import read_plan
    from synapcc.host.run.samples import load_samples

    project = Path(args.project)
    plan = read_plan(project)
    targets = {kind: Path(path) for kind in WRITTEN if (path := getattr(args, kind))}
    if not targets:
        raise SynapccError("--npz", "there is nothing to write", "give --npz, --onnx or --quantised")
    if args.learn and not args.device:
        raise SynapccError("--learn", "only a device can learn", "give --device")
    if args.learn and not plan.learning:
        raise SynapccError(plan.model, "was compiled for inference only", "compile it with a learning rule")
    if "npz" in targets and not args.samples:
        state.check_leaving_out(plan)  # before anything is learned, not after it
    samples = None
    if args.device:
        samples = load_samples(plan, Path(args.learn), labels=True) if args.learn else None
        tensors, device, board = _from_device(project, plan, args.device, samples)
    else:
        tensors, about = state.load(plan, Path(args.state))
        device, board = str(about.get("device")), str(about.get("board"))
    kept = state.kept_samples(plan, tensors)

    def carried() -> Tensors:
        whole = args.samples or not (kept or plan.streams)
        return tensors if whole else state.without_samples(plan, tensors)

    makers: dict[str, Callable[[], bytes]] = {
        "npz": lambda: state.save(plan, carried(), device, board),
        "onnx": lambda: onnx.export(adapted(read_network(project, plan), plan, tensors), plan.digest.hex()),
        "quantised": lambda: quantised_onnx.export(plan, tensors),
    }
    refused = _write(targets, makers)
    written = {kind: path for kind, path in targets.items() if kind not in refused}
    told = {
        "model": plan.model,
        "digest": plan.digest.hex(),
        "device": device,
        "board": board,
        "tensors": len(tensors),
        "bytes": plan.state_bytes,
        "samples": {"kept": kept, "written": kept if args.samples and "npz" in written else 0},
        "written": {kind: path.name for kind, path in written.items()},
        "refused": {kind: _reason(error) for kind, error in refused.items()},
    }
    if samples is not None:
        told["clipped"] = dict(samples.clipped)
        out.say(f"learned {samples}")
    out.give("pull", told)
    if kept and "npz" in written:
        out.say(_of_the_wearer(kept, args.samples, targets["npz"]))
    files = ", ".join(map(str, written.values())) or "nothing"
    out.say(f"{len(tensors)} tensors, {plan.state_bytes} bytes, from {device} ({board}): wrote {files}")
    for error in refused.values():
        complain("pull", error)
    return REFUSED if refused else 0


def _of_the_wearer(kept: int, written: bool, path: Path) -> str:
    """What became of samples, which are data about a person."""
    if written:
        return f"{path} holds {kept} samples of the wearer: treat it as data about a person"
    return f"left out {kept} samples of the wearer that the chip keeps: --samples writes them, too"


def _reason(error: SynapccError) -> str:
    """What the document says of a refusal: names of files, without their folders."""
    return one_line(SynapccError(Path(error.where).name, error.what, error.hint))


def _write(targets: Mapping[str, Path], makers: Mapping[str, Callable[[], bytes]]) -> dict[str, SynapccError]:
    """Writes each file that can be made, and says why of each that cannot: what was read from a chip is not
    lost over it."""
    refused: dict[str, SynapccError] = {}
    for kind, path in targets.items():
        try:
            write_whole(path, makers[kind]())
        except SynapccError as error:
            refused[kind] = error
    return refused


def _from_device(project: Path, plan: Plan, spec: str, samples: Samples | None) -> tuple[Tensors, str, str]:
    """The state of a chip, after it has learned the samples, and the chip's names."""
    from synapcc.host.firmware.build import project_board
    from synapcc.host.link import state
    from synapcc.host.link.client import connect
    from synapcc.host.run.teach import teach

    with open_device(spec, project, project_board(project)) as device:
        client = connect(device, plan)
        if samples is not None:
            teach(plan, client, samples)
        return state.pull(plan, client), device.name, client.info.board
