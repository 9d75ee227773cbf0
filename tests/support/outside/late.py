"""A rule from outside with entry programs of its own: samples come in pieces, the label comes late."""

from synapcc.gen.rules import Rule, RuleTape
from synapcc.gen.spec.options import Integer


class Late(Rule):
    """Backpropagation on what was pushed last, when its label is known.

    push:  takes raw samples, int16, and the network's input that goes with them, and keeps both
    late:  takes the label of what was pushed last, and learns from that
    reset: forgets what was pushed; the weights stay
    """

    name = "late"
    doc = "labels come late"
    source = "none: it shows how a rule adds entry programs with inputs of their own"
    options = (
        Integer("raw", "raw samples that come at a time", 1, 64, 5),
        Integer("rows", "how many pieces are kept", 1, 16, 3),
    )

    def programs(self, tape: RuleTape) -> None:
        raw_size, rows = (int(self.option(tape.spec, o.name)) for o in self.options)
        names = tape.graph.inputs
        raw = tape.sample("raw", raw_size, meaning=8)
        seen = [tape.sample(f"pushed_{n}", tape.graph.tensors[n].size, like=n) for n in names]
        tables = [tape.memory("raw_ring", raw, rows)]
        tables += [tape.memory(f"kept_{n}", x, rows) for n, x in zip(names, seen, strict=True)]
        room = tape.counter("push_rows", "pieces that can be kept", rows, "const")
        following = tape.counter("push_next", "where the next piece is kept")
        last = tape.counter("push_last", "the piece that came last")
        with tape.entry("push", "keeps raw samples and the input made of them", (raw, *seen)):
            picked = {"count": room, "next": following, "index": last, "flag": tape.flag("push_valid")}
            tape.step("samples.pick", "push", picked, rows=rows)
            for x, table in zip((raw, *seen), tables, strict=True):
                tape.step("samples.write", "push", {"x": x, "index": last, "table": table})
        with tape.entry("late", "learns from what was pushed last, now that its label is known", label=True):
            for n, table in zip(names, tables[1:], strict=True):
                read = {"table": table, "index": last, "x": tape.value(n)}
                tape.step("samples.read", "late", read)
            tape.b.call("adapt")
        with tape.entry("reset", "forgets what was pushed; what was learned stays"):
            for counter in (following, last):
                tape.step("samples.rewind", "reset", {"next": counter})

    def correct(self, tape: RuleTape) -> None:
        tape.backward(lambda node: None)
