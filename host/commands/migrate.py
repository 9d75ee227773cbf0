"""synapcc migrate OLD NEW FILE.npz -o FILE"""

from __future__ import annotations

import argparse
from pathlib import Path

from synapcc.host.terminal.arguments import result_option
from synapcc.host.terminal.results import Results

HELP = (
    "turn what a chip has learned into a state of another compilation, as firmware does with migrate = true"
)


def arguments(p: argparse.ArgumentParser) -> None:
    p.add_argument("old", metavar="OLD", help="output folder that the state belongs to")
    p.add_argument("new", metavar="NEW", help="output folder of the compilation that comes behind it")
    p.add_argument("file", metavar="FILE.npz", help="from synapcc pull --npz or emulate --state-out")
    result_option(
        p, "-o", "--output", required=True, metavar="FILE", help="the state of NEW, for synapcc push"
    )


def run(args: argparse.Namespace, out: Results) -> int:
    from synapcc.gen.errors import SynapccError
    from synapcc.host.link import state
    from synapcc.host.run.migrate import manifest_of, migrated
    from synapcc.host.run.plans import read_plan
    from synapcc.host.terminal.files import write_whole

    old, new = Path(args.old), Path(args.new)
    before, plan = read_plan(old), read_plan(new)
    said = manifest_of(old, before), manifest_of(new, plan)
    tensors, about = state.load(before, Path(args.file))
    moved, taken = migrated(said[0], tensors, plan, said[1])
    if not taken:
        hint = "a layer is taken over where its name, its shape and all in front of it are the same"
        raise SynapccError(str(new), f"knows nothing of what {args.file} holds", hint)
    state.check(plan, moved, args.output, "report these two models: this is a fault of synapcc")
    write_whole(Path(args.output), state.save(plan, moved, str(about.get("device")), str(about.get("board"))))
    left = [t.name for t in plan.space("state") if t.name not in taken]
    told = {
        "from": before.digest.hex(),
        "to": plan.digest.hex(),
        "model": plan.model,
        "taken": list(taken),
        "as_compiled": left,
        "written": Path(args.output).name,
    }
    out.give("migrate", told)
    out.say(f"taken over: {', '.join(taken)}")
    out.say(f"as compiled: {', '.join(left) or 'nothing'}")
    out.say(f"wrote {args.output}: synapcc push {new} --device DEVICE {args.output}")
    return 0
