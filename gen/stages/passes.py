"""Rewrites of a Graph that keep what it computes: affine nodes and padding go into the layers beside them,
those that read an input into its quantiser.

Each pass is a function that looks for one place where it applies and returns the rewritten graph, or None.
What cannot be folded stays as it is. Every rewrite makes the graph smaller or moves an affine node nearer to
the output, so they end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..ir.graph import Graph, Node, Tensor
from ..ir.rewrite import Wires, called, fresh, pruned, rewritten, with_values, without
from ..ops import layer, layers
from ..ops._folding import Pair, per_channel
from .last import picked_alone
from .lift import lift_affine, scalings

Pass = Callable[[Wires], Graph | None]


def simplify(graph: Graph) -> Graph:
    """Applies all passes until none applies, then drops what nothing reads."""
    graph = pruned(graph)
    while (new := _next(Wires(graph))) is not None:
        graph = pruned(new)
    return graph


def _next(wires: Wires) -> Graph | None:
    given = any(t.format for t in wires.graph.tensors.values())
    return next((g for p in (KEEPING if given else PASSES) if (g := p(wires)) is not None), None)


def drop_idle(wires: Wires) -> Graph | None:
    """What only hands its input on is left out; a network keeps one layer with constants."""
    known, output = layers(), wires.graph.output
    for node in wires.graph.nodes:
        found = known[node.op]
        shape, to = wires.shape(node.inputs[0]), wires.shape(node.output)
        last = node.inputs[len(node.inputs) - found.constants :]
        constants = [v for i in last if (v := wires.graph.tensors[i].value) is not None]
        only = found.constants and node.output == output and wires.maker(node.inputs[0]) is None
        if found.idle(node, shape, to, constants) and not only:
            return without(wires.graph, node)
    return None


def merge_alike(wires: Wires) -> Graph | None:
    """clip(clip(x)) is one clip, reshape(reshape(x)) one reshape."""
    for node in wires.graph.nodes:
        before = wires.maker(node.inputs[0])
        if before is None or before.op != node.op:
            continue
        attrs = layer(node.op).merged(node, before)
        if attrs is not None:
            merged = replace(node, inputs=before.inputs, attrs=attrs)
            note = "" if layer(node.op).rearranges else f"{node.name}: merged with {called(before)}"
            return rewritten(wires.graph, {node.name: (merged,)}, {}, note)
    return None


def merge_affines(wires: Wires) -> Graph | None:
    """s2 * (s1 * x + t1) + t2 is one affine; so is a whole chain, whose last node stays."""
    for node in reversed(scalings(wires)):
        chain = [node]
        while (before := wires.maker(chain[-1].inputs[0])) is not None and layer(before.op).scales:
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
    known = layers()
    for view in wires.graph.nodes:
        node = wires.maker(view.inputs[0]) if known[view.op].rearranges else None
        if node is None or not layer(node.op).scales or wires.only_reader(node.output) is None:
            continue
        shape, to = wires.shape(node.output), wires.shape(view.output)
        moved = [layer(view.op).moved(view, [v.reshape(shape)], to, 0) for v in wires.constants(node)]
        scale, shift = (v.reshape(-1) for v in moved if v is not None)
        return _swapped(wires, node, view, (scale, shift), "")
    return None


def fold_affine_behind(wires: Wires) -> Graph | None:
    """s * (W x + b) + t = (s W) x + (s b + t), if nothing else reads the layer.

    Pools may stand between: means commute with every affine, maxima with those of positive scale.
    """
    for node in scalings(wires):
        pair = wires.constants(node)
        weighted = _weighted_before(wires, node, pair)
        if weighted is None:
            continue
        taken = layer(weighted.op).behind(weighted, wires.constants(weighted), pair)
        if taken is None:
            continue
        note = f"{weighted.name}: took in {called(node)}, which stood behind it"
        return without(rewritten(wires.graph, {}, with_values(weighted, *taken), note), node)
    return None


def _weighted_before(wires: Wires, node: Node, pair: Pair) -> Node | None:
    """The node with weights into which the affine `node` can go."""
    tensor = node.inputs[0]
    while (before := wires.maker(tensor)) is not None and wires.only_reader(tensor) is not None:
        if layer(before.op).weighted:
            return before
        if not layer(before.op).commutes(before, pair):
            return None
        tensor = before.inputs[0]
    return None


def fold_affine_before(wires: Wires) -> Graph | None:
    """W (s * x + t) + b = (W s) x + (W t + b); in convolutions only where no padding would have become t."""
    known = layers()
    for weighted in wires.graph.nodes:
        node = wires.maker(weighted.inputs[0]) if known[weighted.op].weighted else None
        if node is None or not layer(node.op).scales:
            continue
        shape = wires.shape(node.output)
        taken = layer(weighted.op).before(weighted, wires.constants(weighted), wires.constants(node), shape)
        if taken is None:
            continue
        folded = replace(weighted, inputs=(node.inputs[0], *weighted.inputs[1:]))
        note = f"{weighted.name}: took in {called(node)}, which stood in front of it"
        return rewritten(wires.graph, {weighted.name: (folded,)}, with_values(weighted, *taken), note)
    return None


def _through(wires: Wires, node: Node, pool: Node, to: str) -> Pair | None:
    """Scale and shift of the affine `node` for the tensor `to`, on the other side of a pool; None: none."""
    pair = wires.constants(node)
    if not layer(pool.op).commutes(pool, pair):
        return None
    each = per_channel(pair, wires.shape(node.output)[-1])
    if each is None:
        return None
    places = math.prod(wires.shape(to)[:-1])
    return np.tile(each[0], places), np.tile(each[1], places)


def affine_behind_pool(wires: Wires) -> Graph | None:
    """pool(s * x + t) = s * pool(x) + t, per channel: fewer values, and nearer to a layer behind."""
    known = layers()
    for pool in wires.graph.nodes:
        node = wires.maker(pool.inputs[0])
        if node is None or not known[node.op].scales or wires.only_reader(node.output) is None:
            continue
        tiled = _through(wires, node, pool, pool.output)
        if tiled is not None:
            return _swapped(wires, node, pool, tiled, f"{pool.name}: {called(node)} moved behind it")
    return None


def lift_behind_pool(wires: Wires) -> Graph | None:
    """s * pool(x) + t of an input x is pool(s * x + t), per channel, and the input's quantiser takes that."""
    for node in scalings(wires):
        pool = wires.maker(node.inputs[0])
        if pool is None or wires.only_reader(pool.output) is None:
            continue
        tiled = _through(wires, node, pool, pool.inputs[0])
        if tiled is None:
            continue
        before = fresh(wires.graph, f"{node.name}_input")
        first = replace(node, inputs=(pool.inputs[0], *node.inputs[1:]), output=before)
        second = replace(pool, inputs=(before,), output=node.output)
        tensors = {before: Tensor(before, wires.shape(pool.inputs[0])), **with_values(node, *tiled)}
        moved = rewritten(wires.graph, {pool.name: (first, second), node.name: ()}, tensors, "")
        if (lifted := lift_affine(Wires(moved), (first,))) is not None:
            return lifted
    return None


def fold_factor(wires: Wires) -> Graph | None:
    """One factor for all values goes into a product of activations in front of it or behind."""
    known = layers()
    for node in scalings(wires):
        scale, shift = wires.constants(node)
        reader = wires.only_reader(node.output)
        if np.any(scale != scale[0]) or np.any(shift) or not scale[0]:
            continue
        for beside in (wires.maker(node.inputs[0]), reader):
            if beside is None or (beside is not reader and wires.only_reader(beside.output) is None):
                continue
            once = beside is not reader or beside.inputs.count(node.output) == 1
            attrs = known[beside.op].scaled(beside, float(scale[0])) if once else None
            if attrs is not None:
                taken = replace(beside, attrs={**beside.attrs, **attrs})
                note = f"{beside.name}: took in {called(node)}, one factor"
                return without(rewritten(wires.graph, {beside.name: (taken,)}, {}, note), node)
    return None


def affine_behind_concat(wires: Wires) -> Graph | None:
    """concat(affine(x), y) is affine(concat(x, y)), where the layers behind it can take the affine in."""
    known = layers()
    for concat in wires.graph.nodes:
        if not known[concat.op].joins:
            continue
        branches = [wires.maker(i) for i in concat.inputs]
        affines = [b for b in branches if b is not None and layer(b.op).scales]
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
        names = {key: fresh(graph, f"{concat.name}_{key}") for key in ("joined", "scale", "shift")}
        name = fresh(graph, f"{concat.name}_{affines[0].op}")
        joined = replace(concat, inputs=inputs, output=names["joined"])
        operands = (names["joined"], names["scale"], names["shift"])
        moved = replace(affines[0], name=name, inputs=operands, output=concat.output)
        tensors = {names["joined"]: Tensor(names["joined"], wires.shape(concat.output))}
        for k, key in enumerate(("scale", "shift")):
            value = np.concatenate([p[k] for p in pairs], axis=-1).reshape(-1)
            tensors[names[key]] = Tensor(names[key], value.shape, value)
        note = f"{concat.name}: {', '.join(called(a) for a in affines)} moved behind it"
        return rewritten(graph, {concat.name: (joined, moved)}, tensors, note)
    return None


def _all_take_in(wires: Wires, tensor: str) -> bool:
    readers = wires.readers(tensor)
    fit = all(layer(r.op).weighted and layer(r.op).takes_in(r, True) for r in readers)
    return bool(readers) and tensor != wires.graph.output and fit


def merge_pads(wires: Wires) -> Graph | None:
    """Padding goes into the convolution or pool behind it, where that means the same."""
    known = layers()
    for node in wires.graph.nodes:
        pad = wires.maker(node.inputs[0])
        border = known[pad.op].border(pad) if pad is not None else None
        if pad is None or border is None:
            continue
        source = wires.maker(pad.inputs[0])
        least = layer(source.op).least(source) if source is not None else -math.inf
        attrs = layer(node.op).padded(node, border, least)
        if attrs is not None:
            merged = replace(node, inputs=(pad.inputs[0], *node.inputs[1:]), attrs={**node.attrs, **attrs})
            note = f"{node.name}: took in {called(pad)}, which stood in front of it"
            return rewritten(wires.graph, {node.name: (merged,)}, {}, note)
    return None


PASSES: tuple[Pass, ...] = (
    drop_idle,
    merge_alike,
    merge_affines,
    lift_affine,
    lift_behind_pool,
    merge_pads,
    fold_affine_behind,
    fold_affine_before,
    fold_factor,
    affine_behind_view,
    affine_behind_pool,
    affine_behind_concat,
    picked_alone,
)


KEEPING: tuple[Pass, ...] = (drop_idle, merge_alike, merge_pads)
"""Those that change no rounding: all that a network is given whose integers are the file's."""


def _swapped(wires: Wires, affine: Node, behind: Node, pair: Pair, note: str) -> Graph:
    """`behind`, which alone reads `affine`, in front of it; `pair` are the affine's constants then."""
    graph = wires.graph
    between = fresh(graph, f"{affine.name}_input")
    first = replace(behind, inputs=(affine.inputs[0], *behind.inputs[1:]), output=between)
    second = replace(affine, inputs=(between, *affine.inputs[1:]), output=behind.output)
    tensors = {between: Tensor(between, wires.shape(behind.output)), **with_values(affine, *pair)}
    return rewritten(graph, {affine.name: (), behind.name: (first, second)}, tensors, note)
