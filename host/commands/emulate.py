"""synapcc emulate OUT --data DATA.npz [--learn] -o RESULT.npz"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from synapcc.gen.errors import SynapccError
from synapcc.host.files import check_target, packed, write_whole
from synapcc.host.progress import track

if TYPE_CHECKING:
    import numpy as np

    from synapcc.host.data import Samples
    from synapcc.host.emulator import Emulator

HELP = "run the Plan on the host, bit for bit as the chip: classes, scores and, with --learn, learned tensors"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("project", metavar="OUT", help="output folder of synapcc compile, or a plan.json")
    p.add_argument(
        "--data", required=True, metavar="DATA.npz", help="inputs by name, and `label` with --learn"
    )
    p.add_argument(
        "--learn", action="store_true", help="classify each sample, then learn it, in the file's order"
    )
    p.add_argument(
        "--passes",
        type=int,
        default=1,
        help="with --learn: further passes by the rehearse program (default: %(default)s)",
    )
    p.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="RESULT.npz",
        help="winner, margin, scores [n]; with --learn also state_<tensor>",
    )
    p.add_argument(
        "--state-out",
        metavar="FILE.npz",
        help="the state at the end, for synapcc push, as synapcc pull reads it",
    )
    p.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(args: argparse.Namespace) -> int:
    import numpy as np

    from synapcc.host.data import load_samples
    from synapcc.host.emulator import Emulator, read_plan
    from synapcc.host.state import save, split

    plan = read_plan(Path(args.project))
    if args.learn and "learn" not in plan.entries:
        raise SynapccError(plan.model, "was compiled for inference only", "compile it with a learning rule")
    if args.passes < 1 or (args.passes > 1 and "rehearse" not in plan.entries):
        raise SynapccError(
            "--passes",
            f"{args.passes} passes",
            "give 1 or more; more than one needs [store] in the rule file",
        )
    for target in filter(None, (args.output, args.state_out)):
        check_target(Path(target))
    samples = load_samples(plan, Path(args.data), labels=args.learn)
    machine = Emulator(plan)
    result = _run(machine, samples, args.learn)
    for _ in track(range(args.passes - 1), "rehearsing"):
        machine.run("rehearse")
    if args.learn:
        result |= {f"state_{t.name}": machine[t.name][0] for t in plan.space("state")}
    write_whole(Path(args.output), packed(result))
    if args.state_out:
        tensors = split(plan, machine.state[0].tobytes())
        write_whole(Path(args.state_out), save(plan, tensors, "emulator", "host"))
    told = {"samples": len(samples), "learned": args.learn, "output": args.output}
    if samples.labels is not None:
        told["accuracy"] = float(np.mean(result["winner"] == samples.labels))
    print(
        json.dumps(told)
        if args.json
        else ", ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in told.items())
    )
    return 0


def _run(machine: Emulator, samples: Samples, learn: bool) -> dict[str, np.ndarray]:
    import numpy as np

    n = len(samples)
    winner, margin = np.empty(n, np.int32), np.empty(n, np.int32)
    scores = np.empty((n, machine.plan.classes), np.int16)
    for i in track(range(n), "emulating"):
        winner[i : i + 1], margin[i : i + 1], scores[i : i + 1] = machine.infer(samples.one(i))
        if learn:
            assert samples.labels is not None
            machine.learn(samples.one(i), samples.labels[i : i + 1])
    return {"winner": winner, "margin": margin, "scores": scores}
