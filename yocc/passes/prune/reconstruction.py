"""Ranking channels by what the layers that read them cannot make up for.

Optimal brain surgeon (Hassibi and Stork, "Second Order Derivatives for Network Pruning", NIPS 1992) for whole channels:
with C the covariance of a layer's inputs, removing the inputs b and refitting the others leaves the squared error
trace(W_b' [(C^-1)_bb]^-1 W_b) in its outputs. Channels of a group go one by one, the cheapest first, and the inverse is
brought up to date after each, so that of two channels that can replace each other only one goes. With G what an error
in the outputs costs (see `effect`), the error is trace(W_b' [(C^-1)_bb]^-1 W_b G), the Kronecker-factored form of
EigenDamage (Wang et al., ICML 2019), and what different layers lose is in the same unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from yocc.analysis.coupling.channels import ChannelMap, Group
from yocc.analysis.covariance import input_covariances
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import Shapes
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.passes.prune.norms import l2
from yocc.passes.prune.ranking import Ranking, rank_by_score, substitute_missing
from yocc.passes.prune.readers import Reader, find_readers

Array = np.ndarray[Any, Any]


def rank_by_reconstruction(
    graph: Graph,
    shapes: Shapes,
    channels: ChannelMap,
    feeds: Feeds,
    ctx: PassContext,
    *,
    effects: Mapping[str, Array] | None = None,
) -> list[Ranking]:
    """Rankings from pictures.

    Args:
        graph: the graph, batch normalizations folded.
        shapes: its concrete shapes.
        channels: its channel map.
        feeds: pictures.
        ctx: runs the model, shows progress.
        effects: what an error in each layer's outputs costs, shape [outputs, outputs]; layers that are not there cost
            nothing. None counts errors as shares of the variance of a layer's outputs, so that all layers count alike.
    """
    nodes = {node.name: node for node in graph.nodes}
    covariances = input_covariances(graph, shapes, feeds, ctx)
    rankings: list[Ranking | None] = []
    for group in ctx.progress(channels.groups, "rank channels", len(channels.groups)):
        readers = find_readers(group, nodes, channels, covariances, effects)
        if not readers:
            ctx.note("Ranked by its weights: a layer that reads it cannot be measured.", node=group.producers[0])
        rankings.append(_rank(group, readers) if readers else None)
    return substitute_missing(rankings, rank_by_score(channels.groups, l2(graph, channels)))


def _rank(group: Group, readers: Sequence[Reader]) -> Ranking:
    left = np.arange(len(group.classes))
    gone: list[int] = []
    losses = [0.0]
    while len(left) > 1:
        each = np.zeros(len(left))
        for reader in readers:
            each += reader.losses(left)
        cheapest = int(np.argmin(each))
        losses.append(losses[-1] + max(0.0, float(each[cheapest])))
        for reader in readers:
            reader.remove(int(left[cheapest]))
        gone.append(int(left[cheapest]))
        left = np.delete(left, cheapest)
    order = np.array([*left, *gone[::-1]])
    lost = np.array([np.inf, *losses[::-1]])
    return Ranking(group.classes[order], lost, np.maximum(0.0, 1.0 - lost / max(lost[1], 1e-300)))
