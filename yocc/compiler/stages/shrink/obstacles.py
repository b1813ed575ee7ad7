"""Networks that have no channels to remove, so that only ranks can be lowered."""

from __future__ import annotations

from yocc.analysis.coupling.channels import map_channels
from yocc.analysis.ranks.layers import find_layers
from yocc.compiler.graph import Graph, clone
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import PassContext
from yocc.errors import PassError
from yocc.passes.prune.plan import nothing_to_remove
from yocc.passes.prune.remove import split_shared


def no_channels(graph: Graph, ctx: PassContext) -> str:
    """Why no channel of a graph can be removed while ranks of some layer can be lowered; empty where channels can.

    Raises:
        PassError: neither is possible.
    """
    full = clone(graph)
    split_shared(full)
    channels = map_channels(full, concrete_shapes(full, ctx.input_shapes), ctx.protected)
    if channels.groups:
        return ""
    error = nothing_to_remove(channels)
    layers, _ = find_layers(graph, concrete_shapes(graph, ctx.input_shapes))
    if layers:
        return error.message[0].lower() + error.message[1:].rstrip(".")
    why = f"{error.message.rstrip('.')}, and no layer can become two thinner ones."
    hint = "Leave --prune out; `yocc inspect` says why for each layer." if "--moves" in error.hint else error.hint
    raise PassError(why, hint, node=error.node)
