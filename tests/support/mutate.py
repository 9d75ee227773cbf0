"""Plans in canonical form of which one thing is another: what an editor, or damage, makes of a plan.json."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np

from synapcc.gen.ir.plan import Plan
from synapcc.gen.ops import kernels

Rng = np.random.Generator
FIXED = (
    0,
    1,
    -1,
    2,
    3,
    7,
    30,
    31,
    32,
    99,
    255,
    2**15 - 1,
    2**15,
    2**16,
    2**31 - 1,
    -(2**31),
    2**31,
    2**32,
    2**63,
)
TYPES = ("int8", "uint8", "int16", "int32", "uint32")


def mutated(plan: Plan, rng: Rng) -> bytes:
    """The canonical form of `plan` after one change, sometimes after several."""
    j = json.loads(plan.canonical)
    for _ in range(int(rng.choice([1, 1, 1, 2, 3]))):
        kinds = (
            _attribute,
            _attribute,
            _operand,
            _tensor,
            _tensor,
            _limits,
            _limits,
            _content,
            _kernel,
            _flow,
            _interface,
        )
        kinds[int(rng.integers(len(kinds)))](j, rng)
    return json.dumps(j, sort_keys=True, separators=(",", ":")).encode()


def _number(rng: Rng, now: Any) -> object:
    """Mostly near what is there, sometimes far away, or no number."""
    if not isinstance(now, int) or not rng.integers(4):
        return [*FIXED, None, 1.5, "1", True, []][int(rng.integers(len(FIXED) + 5))]
    near = (now + 1, now - 1, 2 * now, now // 2, -now, now + 4, FIXED[int(rng.integers(len(FIXED)))])
    return near[int(rng.integers(len(near)))]


def _step(j: Any, rng: Rng) -> Any:
    steps = [i for p in j["programs"] for i in p["items"] if "kernel" in i]
    return steps[int(rng.integers(len(steps)))]


def _any(j: Any, rng: Rng) -> Any:
    return j["tensors"][int(rng.integers(len(j["tensors"])))]


def _attribute(j: Any, rng: Rng) -> None:
    """A number, a missing one, one too many; of a kernel that has none, an operand."""
    step = _step(j, rng)
    if not step["attrs"]:
        return _operand(j, rng)
    name = sorted(step["attrs"])[int(rng.integers(len(step["attrs"])))]
    turn = int(rng.integers(12))
    if turn == 0:
        del step["attrs"][name]
    elif turn == 1:
        step["attrs"][str(rng.choice(["rows", "shift", "before", "s", "n3", "\n"]))] = int(rng.integers(9))
    else:
        step["attrs"][name] = _number(rng, step["attrs"][name])
    return None


def _operand(j: Any, rng: Rng) -> None:
    """Another tensor, most often one of the same type; a missing one; two in each other's place."""
    step, turn = _step(j, rng), int(rng.integers(10))
    roles = sorted(step["args"])
    role, other = (roles[int(rng.integers(len(roles)))] for _ in range(2))
    if turn == 0:
        del step["args"][role]
    elif turn == 1:
        step["args"][role], step["args"][other] = step["args"][other], step["args"][role]
    elif turn == 2:
        step["args"][str(rng.choice(["twin", "s", "m", "acc", "z"]))] = _any(j, rng)["name"]
    else:
        now = next((t for t in j["tensors"] if t["name"] == step["args"][role]), None)
        alike = [t for t in j["tensors"] if now and t["dtype"] == now["dtype"] and t["shape"] == now["shape"]]
        step["args"][role] = (
            alike[int(rng.integers(len(alike)))]["name"] if alike and turn > 4 else _any(j, rng)["name"]
        )


def _tensor(j: Any, rng: Rng) -> None:
    """Its type, shape, row, place, space, role."""
    t, turn = _any(j, rng), int(rng.integers(9))
    if turn == 0:
        t["dtype"] = str(rng.choice(TYPES))
    elif turn in (1, 2):
        at = int(rng.integers(len(t["shape"])))
        t["shape"][at] = _number(rng, t["shape"][at])
        if len(t["shape"]) == 1:
            t["row"] = t["shape"][0]
    elif turn == 3:
        t["shape"].reverse()
    elif turn == 4:
        t["row"] = _number(rng, t["row"])
    elif turn in (5, 6):
        others = [o["offset"] for o in j["tensors"] if o["space"] == t["space"] and o["offset"] is not None]
        t["offset"] = int(rng.choice(others)) if rng.integers(2) else _number(rng, t["offset"])
    else:
        key, values = [("space", ("const", "state", "arena")), ("role", ("label", "flag", "counter"))][
            turn - 7
        ]
        t[key] = str(rng.choice(values))


def _limits(j: Any, rng: Rng) -> None:
    """Those of a tensor; half of the time also those that steps hold it within, as an attacker would."""
    t = _any(j, rng)
    key = str(rng.choice(["lo", "hi"]))
    top = np.iinfo(t["dtype"]) if t["dtype"] in TYPES else np.iinfo("int8")
    extreme = int(top.min if key == "lo" else top.max)
    t[key] = extreme if rng.integers(2) else _number(rng, t[key])
    if rng.integers(2):
        for step in (i for p in j["programs"] for i in p["items"] if t["name"] in i.get("args", {}).values()):
            if key in step["attrs"]:
                step["attrs"][key] = t[key]


def _content(j: Any, rng: Rng) -> None:
    """Of a constant, or of what the state starts as: one byte, all bytes, or a few less."""
    kept = [t for t in j["tensors"] if t["data"]]
    if not kept:
        return
    t = kept[int(rng.integers(len(kept)))]
    data, turn = bytearray(base64.b64decode(t["data"])), int(rng.integers(4))
    if turn == 0:
        data = data[:-1]
    elif turn == 1:
        data = bytearray([int(rng.choice([0, 1, 127, 128, 255]))]) * len(data)
    else:
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    t["data"] = base64.b64encode(bytes(data)).decode()


def _kernel(j: Any, rng: Rng) -> None:
    """Another kernel: one of the same operands, if there is one."""
    step = _step(j, rng)
    alike = [n for n, k in kernels().items() if {*step["args"]} <= {*k.roles}]
    step["kernel"] = str(rng.choice(alike if alike and rng.integers(4) else sorted(kernels())))


def _flow(j: Any, rng: Rng) -> None:
    """An item that is left out, comes twice, or at another time; another flag, program or number of turns."""
    program = j["programs"][int(rng.integers(len(j["programs"])))]
    items, turn = program["items"], int(rng.integers(6))
    if not items:
        return
    at, to = (int(rng.integers(len(items))) for _ in range(2))
    if turn == 0:
        del items[at]
    elif turn == 1:
        items.insert(to, json.loads(json.dumps(items[at])))
    elif turn == 2:
        items[at], items[to] = items[to], items[at]
    elif turn == 3:
        items.insert(to, {"call": j["programs"][int(rng.integers(len(j["programs"])))]["name"]})
    elif turn == 4:
        items.insert(to, {"when": _any(j, rng)["name"], "call": program["name"]})
    else:
        j["entries"][int(rng.integers(len(j["entries"])))]["label"] ^= True


def _interface(j: Any, rng: Rng) -> None:
    """A size of the whole, as another number or type; signs that leave the product as it is."""
    turn = int(rng.integers(5))
    if turn < 3:
        key = ("classes", "arena_bytes", "state_bytes")[turn]
        j[key] = float(j[key]) if rng.integers(2) else _number(rng, j[key])
        return
    shape = j["input_shapes"][int(rng.integers(len(j["input_shapes"])))]
    at = int(rng.integers(len(shape)))
    if isinstance(shape[at], list):  # by an edit before this one
        return
    if turn == 3:
        shape[:] = [-shape[at] if i == at else n for i, n in enumerate(shape)] + [-1]
    else:
        shape[at] = [float(shape[at]), [shape[at]], True, 0][int(rng.integers(4))]
