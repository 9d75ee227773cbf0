"""`deny`: somebody says late which class a window was not, and it learns as the likeliest other one."""

from __future__ import annotations

import numpy as np
import pytest
from fronts import spec_of
from head_nets import perceptron, samples

from synapcc.gen.compile import Compiled, compile_model
from synapcc.gen.errors import CompileError, SynapccError
from synapcc.host.run.emulator import Emulator

FRONT = """
[frontend]
rate = 100
push = 4
[[frontend.block]]
name = "x"
kind = "window"
length = {length}
hop = 80
scale = 0.01
"""


def compiled(classes: int, more: str = "deny = true", rule: str = 'rule = "dfa"\nrate = "2^-5"') -> Compiled:
    """A perceptron of so many outputs behind windows, 8 frames apart."""
    graph = perceptron(classes)
    length = graph.tensors[graph.inputs[0]].shape[0]
    text = f"{rule}\n[mark]\nwithin = 40\n{more}\n" + FRONT.format(length=10 * length)
    data = samples(40, max(classes, 2), 1)
    return compile_model(graph, spec_of(text), data)


@pytest.mark.parametrize("outputs", [5, 2, 1])
def test_what_is_denied_learns_as_the_likeliest_other_class(outputs: int) -> None:
    c = compiled(outputs)
    machine, rng, changed = Emulator(c.plan), np.random.default_rng(2), set()
    for _ in range(60):
        said = machine.push(rng.integers(-200, 200, (1, 4)).astype(np.int16))
        if not said.made[0]:
            continue
        z, denied = machine[c.plan.logits][0].astype(int), int(rng.integers(c.plan.classes))
        likely = next(k for k in np.argsort(-z, kind="stable") if k != denied) if outputs > 1 else 1 - denied
        told, before = Emulator(c.plan), machine.state.copy()
        told.state[...] = before
        back = int(said.ago[0]) + c.plan[c.plan.inputs[0]].count // 2
        assert machine.deny([denied], [back])[0] and told.mark([likely], [back])[0]
        assert machine.state.tobytes() == told.state.tobytes() != before.tobytes()
        assert not machine.deny([denied], [back])[0]  # it waits no more
        changed.add(likely)
    assert len(changed) > 1


def test_what_is_denied_is_not_kept_nor_held_back() -> None:
    """Nobody has said what it is."""
    guarded = "[guard]\nevery = 2\nsamples = 4\nperiod = 5\n"
    c = compiled(5, "deny = true\n[store]\nsamples = 6\n[replay]\nsamples = 8\n" + guarded)
    machine = Emulator(c.plan)
    kept = [t.name for t in c.plan.space("state") if t.name.endswith("_count")]
    while not (said := machine.push(np.ones((1, 4), np.int16))).made[0]:
        pass
    learned = int(machine["guard_learned"][0, 0])
    assert machine.deny([0], [int(said.ago[0]) + c.plan[c.plan.inputs[0]].count // 2])[0]
    assert kept and all(machine[n][0, 0] == 0 for n in kept)
    assert machine["guard_learned"][0, 0] == learned + 1 and machine["step"][0, 0] > 0


def test_who_may_not_deny_is_told() -> None:
    machine = Emulator(compiled(5, "").plan)
    with pytest.raises(SynapccError, match="takes no denials"):
        machine.deny([0], [0])
    with pytest.raises(CompileError, match=r"mark\.deny: is of classes"):
        compiled(5, 'deny = true\n[loss]\nkind = "mse"')
