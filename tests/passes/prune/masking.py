"""The oracle of pruning: removing channels is the same as zeroing every weight that reads them."""

from __future__ import annotations

import numpy as np
import onnx

from tests.oracles import assert_same_function, random_feeds
from yocc.analysis.coupling.channels import ChannelMap, map_channels
from yocc.compiler.graph import Graph, clone, convert_opset, load, refresh, to_proto, verify
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.passes.prune.remove import own_constant, remove_channels

TOLERANCE = 1e-4


def pruned_equals_masked(model: onnx.ModelProto, *, share: float, seed: int) -> int:
    """Drop a random share of each group's classes and compare with masking; returns how many classes went."""
    graph = convert_opset(load(model), 13)
    channels = map_channels(graph, concrete_shapes(graph))
    kept = random_choice(channels, share, seed)
    check_removal(graph, channels, kept)
    return int((~kept).sum())


def check_removal(graph: Graph, channels: ChannelMap, kept: np.ndarray) -> None:
    masked = clone(graph)
    mask_channels(masked, channels, kept)
    pruned = clone(graph)
    remove_channels(pruned, concrete_shapes(graph), channels, kept)
    refresh(pruned)
    assert verify.problems(pruned) == []
    reference = to_proto(masked)
    feeds = random_feeds(reference, seed=1)
    assert_same_function(reference, to_proto(pruned), tolerance=TOLERANCE, feeds=feeds)


def random_choice(channels: ChannelMap, share: float, seed: int) -> np.ndarray:
    """Which classes stay: a random choice that leaves every group at least one."""
    random = np.random.default_rng(seed)
    kept = np.ones(channels.classes, dtype=bool)
    for group in channels.groups:
        count = min(round(share * len(group.classes)), len(group.classes) - 1)
        kept[random.choice(group.classes, count, replace=False)] = False
    return kept


def mask_channels(graph: Graph, channels: ChannelMap, kept: np.ndarray) -> None:
    """Zero the weights by which layers read dropped channels."""
    nodes = {node.name: node for node in graph.nodes}
    for cut in channels.cuts:
        if cut.role != "in":
            continue
        constant = own_constant(nodes[cut.node], cut.slot)
        weight = np.array(constant.values)
        weight[(slice(None),) * cut.axis + (~kept[cut.atoms],)] = 0
        constant.values = weight
