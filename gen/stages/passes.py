"""Rewrites of a Graph that keep what it computes: affine nodes and padding go into the layers beside them,
those that read an input into its quantiser.

Each pass is a function that looks for one place where it applies and returns the rewritten graph, or None.
What cannot be folded stays as it is. Every rewrite makes the graph smaller or moves an affine node nearer to
the output, so they end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..ir.graph import Attr, Graph, Node, Tensor
from ..ir.rewrite import Wires, called, fresh, pruned, rewritten, with_values, without
from ..ops.clip import limits
from .lift import lift_affine

Pass = Callable[[Wires], Graph | None]
Pair = tuple[np.ndarray, np.ndarray]
POOLS = ("maxpool2d", "avgpool2d")


def simplify(graph: Graph) -> Graph:
    """Applies all passes until none applies, then drops what nothing reads."""
    graph = pruned(graph)
    while (new := _step(Wires(graph))) is not None:
        graph = pruned(new)
    return graph


def _step(wires: Wires) -> Graph | None:
    return next((g for p in PASSES if (g := p(wires)) is not None), None)


def merge_clips(wires: Wires) -> Graph | None:
    """clip(clip(x)) is one clip, and a clip without limits is none."""
    for node in wires.nodes("clip"):
        lo, hi = limits(node)
        if np.isinf(lo) and np.isinf(hi):
            return without(wires.graph, node)
        before = wires.maker(node.inputs[0])
        if before is not None and before.op == "clip":
            inner = limits(before)
            new = {"lo": min(max(inner[0], lo), hi), "hi": max(min(inner[1], hi), lo)}
            if new["lo"] < new["hi"]:
                merged = replace(node, inputs=before.inputs, attrs=new)
                return rewritten(
                    wires.graph, {node.name: (merged,)}, {}, f"{node.name}: merged with {called(before)}"
                )
    return None


def merge_reshapes(wires: Wires) -> Graph | None:
    """reshape(reshape(x)) is one reshape, and a reshape to the same shape is none."""
    for node in wires.nodes("reshape"):
        before = wires.maker(node.inputs[0])
        if wires.shape(node.output) == wires.shape(node.inputs[0]):
            return without(wires.graph, node)
        if before is not None and before.op == "reshape":
            return rewritten(wires.graph, {node.name: (replace(node, inputs=before.inputs),)}, {}, "")
    return None


def drop_affine(wires: Wires) -> Graph | None:
    """1 * x + 0 is x; so is what a file's float32 rounding leaves of 6 * (x / 6)."""
    for node in wires.nodes("affine"):
        scale, shift = wires.constants(node)
        only = node.output == wires.graph.output and wires.maker(node.inputs[0]) is None
        if np.all(np.abs(scale - 1.0) <= np.finfo(np.float32).eps) and np.all(shift == 0.0) and not only:
            return without(wires.graph, node)
    return None


def merge_affines(wires: Wires) -> Graph | None:
    """s2 * (s1 * x + t1) + t2 is one affine; so is a whole chain, whose last node stays."""
    for node in reversed(wires.nodes("affine")):
        chain = [node]
        while (before := wires.maker(chain[-1].inputs[0])) is not None and before.op == "affine":
            chain.append(before)
        if len(chain) > 1:
            scale, shift = wires.constants(chain[-1])
            for behind in chain[-2::-1]:
                s, t = wires.constants(behind)
                scale, shift = s * scale, s * shift + t
            merged = replace(node, inputs=(chain[-1].inputs[0], *node.inputs[1:]))
            note = f"{node.name}: merged with {', '.join(called(n) for n in chain[1:])}"
            return rewritten(wires.graph, {node.name: (merged,)}, with_values(node, scale, shift), note)
    return None


def affine_behind_view(wires: Wires) -> Graph | None:
    """A reshape or transpose of an affine is an affine of it, nearer to the layer that may take it in."""
    for view in wires.nodes("reshape", "transpose"):
        node = wires.maker(view.inputs[0])
        if node is None or node.op != "affine" or wires.only_reader(node.output) is None:
            continue
        pair, shape = wires.constants(node), wires.shape(node.output)
        if view.op == "transpose":
            order = view.attrs["order"]
            pair = tuple(v.reshape(shape).transpose(order).reshape(-1) for v in pair)  # type: ignore[arg-type,assignment]
        return _swapped(wires, node, view, pair, "")
    return None


def fold_affine_behind(wires: Wires) -> Graph | None:
    """s * (W x + b) + t = (s W) x + (s b + t), if nothing else reads the layer.

    Pools may stand between: means commute with every affine, maxima with those of positive scale.
    """
    for node in wires.nodes("affine"):
        pair = wires.constants(node)
        layer = _weighted_before(wires, node, pair)
        if layer is None:
            continue
        if layer.op == "conv2d":
            each = _per_channel(wires, node, pair)
            if each is None:
                continue
            pair = each
        (weight, bias), (scale, shift) = wires.constants(layer), pair
        changed = with_values(layer, weight * scale[:, None], bias * scale + shift)
        graph = rewritten(
            wires.graph, {}, changed, f"{layer.name}: took in {called(node)}, which stood behind it"
        )
        return without(graph, node)
    return None


def _weighted_before(wires: Wires, node: Node, pair: Pair) -> Node | None:
    """The dense or conv2d node into which the affine `node` can go."""
    tensor = node.inputs[0]
    while (before := wires.maker(tensor)) is not None and wires.only_reader(tensor) is not None:
        if before.op in ("dense", "conv2d"):
            return before
        if not (before.op in POOLS and _commutes(before, pair)):
            return None
        tensor = before.inputs[0]
    return None


def _commutes(pool: Node, pair: Pair) -> bool:
    """Whether pool(s * x + t) = s * pool(x) + t."""
    scale, shift = pair
    if pool.op == "maxpool2d":
        return bool(np.all(scale > 0))
    return not (pool.attrs["count_padding"] and any(_padding(pool))) or not np.any(shift)


def fold_affine_before(wires: Wires) -> Graph | None:
    """W (s * x + t) + b = (W s) x + (W t + b); in convolutions only where no padding would have become t."""
    for layer in wires.nodes("dense", "conv2d"):
        node = wires.maker(layer.inputs[0])
        if node is None or node.op != "affine":
            continue
        pair = wires.constants(node)
        if layer.op == "conv2d":
            spread = _per_column(wires, layer, node)
            if spread is None:
                continue
            pair = spread
        weight, bias = wires.constants(layer)
        scale, shift = pair
        changed = with_values(layer, weight * scale, bias + (weight * shift).sum(axis=1))
        folded = replace(layer, inputs=(node.inputs[0], *layer.inputs[1:]))
        note = f"{layer.name}: took in {called(node)}, which stood in front of it"
        return rewritten(wires.graph, {layer.name: (folded,)}, changed, note)
    return None


def _per_channel(wires: Wires, node: Node, pair: Pair) -> Pair | None:
    """Scale and shift [C] of an affine of a map, if all places of a channel have the same."""
    channels = wires.shape(node.output)[-1]
    rows = [v.reshape(-1, channels) for v in pair]
    if any(np.any(r != r[0]) for r in rows):
        return None
    return rows[0][0], rows[1][0]


def _per_column(wires: Wires, conv: Node, node: Node) -> Pair | None:
    """Scale and shift [O, kh*kw*C/groups] of what the weights of `conv` see, if the affine can go in."""
    each = _per_channel(wires, node, wires.constants(node))
    if each is None or (any(_padding(conv)) and np.any(each[1])):
        return None
    outputs, columns = wires.shape(conv.inputs[1])
    groups, kernel = conv.attrs["groups"], conv.attrs["kernel"]
    assert isinstance(groups, int) and isinstance(kernel, tuple)
    taps = int(kernel[0] * kernel[1])
    rows = [np.tile(v.reshape(groups, -1), (1, taps)).repeat(outputs // groups, axis=0) for v in each]
    assert all(r.shape == (outputs, columns) for r in rows)
    return rows[0], rows[1]


def affine_behind_pool(wires: Wires) -> Graph | None:
    """pool(s * x + t) = s * pool(x) + t, per channel: fewer values, and nearer to a layer behind."""
    for pool in wires.nodes(*POOLS):
        node = wires.maker(pool.inputs[0])
        if node is None or node.op != "affine" or wires.only_reader(node.output) is None:
            continue
        pair = wires.constants(node)
        each = _per_channel(wires, node, pair)
        if each is None or not _commutes(pool, pair):
            continue
        height, width, _ = wires.shape(pool.output)
        tiled = np.tile(each[0], height * width), np.tile(each[1], height * width)
        return _swapped(wires, node, pool, tiled, f"{pool.name}: {called(node)} moved behind it")
    return None


def lift_behind_pool(wires: Wires) -> Graph | None:
    """s * pool(x) + t of an input x is pool(s * x + t), per channel, and the input's quantiser takes that."""
    for node in wires.nodes("affine"):
        pool = wires.maker(node.inputs[0])
        if pool is None or pool.op not in POOLS or wires.only_reader(pool.output) is None:
            continue
        pair = wires.constants(node)
        each = _per_channel(wires, node, pair)
        if each is None or not _commutes(pool, pair):
            continue
        height, width, _ = wires.shape(pool.inputs[0])
        tiled = np.tile(each[0], height * width), np.tile(each[1], height * width)
        before = fresh(wires.graph, f"{node.name}_input")
        first = replace(node, inputs=(pool.inputs[0], *node.inputs[1:]), output=before)
        second = replace(pool, inputs=(before,), output=node.output)
        tensors = {before: Tensor(before, wires.shape(pool.inputs[0])), **with_values(node, *tiled)}
        moved = rewritten(wires.graph, {pool.name: (first, second), node.name: ()}, tensors, "")
        if (lifted := lift_affine(Wires(moved), (first,))) is not None:
            return lifted
    return None


def affine_behind_concat(wires: Wires) -> Graph | None:
    """concat(affine(x), y) is affine(concat(x, y)), where the layers behind it can take the affine in."""
    for concat in wires.nodes("concat"):
        branches = [wires.maker(i) for i in concat.inputs]
        affines = [b for b in branches if b is not None and b.op == "affine"]
        if not affines or not _all_take_in(wires, concat.output):
            continue
        pairs = []
        for source, branch in zip(concat.inputs, branches, strict=True):
            shape = wires.shape(source)
            pair = wires.constants(branch) if branch in affines else (np.ones(shape), np.zeros(shape))
            pairs.append([v.reshape(shape) for v in pair])
        inputs = tuple(
            b.inputs[0] if b in affines else i for b, i in zip(branches, concat.inputs, strict=True)
        )
        graph = wires.graph
        names = {key: fresh(graph, f"{concat.name}_{key}") for key in ("joined", "affine", "scale", "shift")}
        joined = replace(concat, inputs=inputs, output=names["joined"])
        operands = (names["joined"], names["scale"], names["shift"])
        moved = Node("affine", names["affine"], operands, concat.output, {}, affines[0].source)
        tensors = {names["joined"]: Tensor(names["joined"], wires.shape(concat.output))}
        for k, key in enumerate(("scale", "shift")):
            value = np.concatenate([p[k] for p in pairs], axis=-1).reshape(-1)
            tensors[names[key]] = Tensor(names[key], value.shape, value)
        note = f"{concat.name}: {', '.join(called(a) for a in affines)} moved behind it"
        return rewritten(graph, {concat.name: (joined, moved)}, tensors, note)
    return None


def _all_take_in(wires: Wires, tensor: str) -> bool:
    readers = wires.readers(tensor)
    fit = all(r.op == "dense" or (r.op == "conv2d" and not any(_padding(r))) for r in readers)
    return bool(readers) and tensor != wires.graph.output and fit


def merge_pads(wires: Wires) -> Graph | None:
    """Padding goes into the convolution or pool behind it, where that means the same."""
    for layer in wires.nodes("conv2d", *POOLS):
        pad = wires.maker(layer.inputs[0])
        if pad is None or pad.op != "pad":
            continue
        attrs = _padded(wires, layer, pad)
        if attrs is not None:
            merged = replace(layer, inputs=(pad.inputs[0], *layer.inputs[1:]), attrs={**layer.attrs, **attrs})
            note = f"{layer.name}: took in {called(pad)}, which stood in front of it"
            return rewritten(wires.graph, {layer.name: (merged,)}, {}, note)
    return None


def _padded(wires: Wires, layer: Node, pad: Node) -> dict[str, Attr] | None:
    """The attributes of `layer` with the padding of `pad`; None where that would be another function."""
    padding = tuple(a + b for a, b in zip(_padding(layer), _padding(pad), strict=True))
    kernel, dilation = layer.attrs["kernel"], layer.attrs.get("dilation", (1, 1))
    assert isinstance(kernel, tuple) and isinstance(dilation, tuple)
    reach = [int((k - 1) * d) for k, d in zip(kernel, dilation, strict=True)]
    if any(p > r for p, r in zip(padding, (*reach, *reach), strict=True)):  # windows of nothing but padding
        return None
    value = pad.attrs["value"]
    if layer.op == "conv2d":
        return {"padding": padding} if value == 0 else None
    if layer.op == "avgpool2d":
        counts = layer.attrs["count_padding"] or not any(_padding(layer))
        return {"padding": padding, "count_padding": 1} if value == 0 and counts else None
    source = wires.maker(pad.inputs[0])
    least = limits(source)[0] if source is not None and source.op == "clip" else -np.inf
    return {"padding": padding} if least >= value else None  # type: ignore[operator]


PASSES: tuple[Pass, ...] = (
    merge_clips,
    merge_reshapes,
    drop_affine,
    merge_affines,
    lift_affine,
    lift_behind_pool,
    merge_pads,
    fold_affine_behind,
    fold_affine_before,
    affine_behind_view,
    affine_behind_pool,
    affine_behind_concat,
)


def _padding(node: Node) -> tuple[int, ...]:
    padding = node.attrs["padding"]
    assert isinstance(padding, tuple)
    return tuple(int(p) for p in padding)


def _swapped(wires: Wires, affine: Node, behind: Node, pair: Pair, note: str) -> Graph:
    """`behind`, which alone reads `affine`, in front of it; `pair` are the affine's constants then."""
    graph = wires.graph
    between = fresh(graph, f"{affine.name}_input")
    first = replace(behind, inputs=(affine.inputs[0], *behind.inputs[1:]), output=between)
    second = replace(affine, inputs=(between, *affine.inputs[1:]), output=behind.output)
    tensors = {between: Tensor(between, wires.shape(behind.output)), **with_values(affine, *pair)}
    return rewritten(graph, {affine.name: (), behind.name: (first, second)}, tensors, note)
