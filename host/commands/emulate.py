"""synapcc emulate OUT --data DATA.npz [--state FILE.npz] [--learn] -o RESULT.npz [--state-out FILE.npz]"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from synapcc.gen.errors import SynapccError
from synapcc.host.terminal.arguments import result_option
from synapcc.host.terminal.files import packed, write_whole
from synapcc.host.terminal.progress import Progress, track
from synapcc.host.terminal.results import Results

if TYPE_CHECKING:
    import numpy as np

    from synapcc.host.run.emulator import Emulator, Inference
    from synapcc.host.run.samples import Samples

BLOCK = 256  # samples that are learned from before the bar moves
HELP = "run the Plan on the host, bit for bit as the chip: classes, scores and, with --learn, learned tensors"


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("project", metavar="OUT", help="output folder of synapcc compile, or a plan.json")
    p.add_argument(
        "--data",
        required=True,
        metavar="DATA.npz",
        help="inputs by name, and with --learn `label`, or `target`",
    )
    p.add_argument(
        "--learn",
        action="store_true",
        help="classify each sample, then learn it, in the file's order; where there is a guard, settle then",
    )
    p.add_argument(
        "--passes",
        type=int,
        default=1,
        help="with --learn: further passes by the rehearse program (default: %(default)s)",
    )
    p.add_argument(
        "--state",
        metavar="FILE.npz",
        help="start from this state, of synapcc pull or --state-out (default: as compiled)",
    )
    result_option(
        p,
        "-o",
        "--output",
        required=True,
        metavar="RESULT.npz",
        help="winner, margin, scores [n]; with --learn also state_<tensor>",
    )
    p.add_argument(
        "--samples",
        action="store_true",
        help="with --learn: in RESULT.npz also the samples that the model keeps, data about a person",
    )
    result_option(
        p,
        "--state-out",
        metavar="FILE.npz",
        help="the state at the end, for synapcc push, as synapcc pull reads it; may be the file of --state",
    )


def run(args: argparse.Namespace, out: Results) -> int:
    import numpy as np

    from synapcc.gen.ir.plan import SETTLE
    from synapcc.gen.ir.roles import STORED, STREAM
    from synapcc.host.link.saturation import saturation, warning
    from synapcc.host.link.state import joined, load, save, split
    from synapcc.host.run.emulator import Emulator
    from synapcc.host.run.evaluation import squared_error
    from synapcc.host.run.inputs import clipped_text
    from synapcc.host.run.plans import read_plan
    from synapcc.host.run.samples import load_samples

    plan = read_plan(Path(args.project))
    if args.learn and not plan.learning:
        raise SynapccError(plan.model, "was compiled for inference only", "compile it with a learning rule")
    if args.passes < 1 or (args.passes > 1 and "rehearse" not in plan.entries):
        raise SynapccError(
            "--passes",
            f"{args.passes} passes",
            "give 1 or more; more than one needs [store] in the rule file",
        )
    start = load(plan, Path(args.state))[0] if args.state else None
    samples = load_samples(plan, Path(args.data), labels=args.learn)
    machine = Emulator(plan)
    if start is not None:
        machine.state[0] = np.frombuffer(joined(plan, start), np.uint8)
    result = _run(machine, samples, args.learn)
    for _ in track(range(args.passes - 1), "rehearsing"):
        machine.run("rehearse")
    if args.learn and SETTLE in plan.entries:
        machine.run(SETTLE)
    if args.learn:
        shown = [t.name for t in plan.space("state") if args.samples or t.use not in (STORED, STREAM)]
        result |= {f"state_{name}": machine[name][0] for name in shown}
    write_whole(Path(args.output), packed(result))
    if args.state_out:
        tensors = split(plan, machine.state[0].tobytes())
        write_whole(Path(args.state_out), save(plan, tensors, "emulator", "host"))
    told = {"samples": len(samples), "learned": args.learn, "output": Path(args.output).name}
    told["clipped"] = dict(samples.clipped)
    if samples.labels is not None:
        told["accuracy"] = float(np.mean(result["winner"] == samples.labels))
    if (error := squared_error(plan, samples, result["scores"])) is not None:
        told["mse"] = error
    found = saturation(plan, machine.state[0]) if args.learn else ()
    learning = {"saturation": [x.to_dict() for x in found], "warning": warning(found)} if args.learn else {}
    out.give("emulate", {"model": plan.model, "digest": plan.digest.hex(), **told, **learning})
    told |= {"output": args.output, "clipped": clipped_text(samples.clipped)}
    out.say(", ".join(f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in told.items()))
    if warning(found):
        out.say(f"warning: {warning(found)}")
    return 0


def _run(machine: Emulator, samples: Samples, learn: bool) -> dict[str, np.ndarray]:
    """What the network says of each sample, before it learns it if it does."""
    from synapcc.host.run.emulator import Inference

    if not learn:
        return machine.infer_many(samples.inputs)._asdict()
    said = []
    machine.expects(2 * len(samples))
    if samples.labels is not None and machine.plan.shared:
        with Progress("emulating", len(samples)) as bar:
            for at in range(0, len(samples), BLOCK):
                part = slice(at, at + BLOCK)
                given = {name: x[part, None] for name, x in samples.inputs.items()}
                winner, margin, scores = machine.judge_many(given, samples.labels[part])
                said.append(Inference(winner[:, 0], margin[:, 0], scores[:, 0]))
                bar.step(len(winner))
        return _joined(said)
    for i in track(range(len(samples)), "emulating"):
        said.append(machine.infer(samples.one(i)))
        if samples.labels is None:
            machine.run(machine.plan.learning, inputs=samples.taught(i))
        else:
            machine.learn(samples.one(i), samples.labels[i : i + 1])
    return _joined(said)


def _joined(said: Sequence[Inference]) -> dict[str, np.ndarray]:
    import numpy as np

    return {name: np.concatenate(found) for name, *found in zip(said[0]._fields, *said, strict=True)}
