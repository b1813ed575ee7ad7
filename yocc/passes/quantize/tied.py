"""Embeddings that share their table with a quantized layer, as language models tie the last layer to the first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.quant_params import QuantParams
from yocc.compiler.graph import Graph
from yocc.compiler.graph.writing import Writer
from yocc.compiler.pipeline.target import Target
from yocc.rewrites.weight_only import decode

Lookups = Mapping[tuple[str, int], list[gs.Node]]
"""The Gather nodes that read the weight of a layer, by the layer's name and input slot."""


def shared_lookups(graph: Graph, weights: Mapping[tuple[str, int], QuantParams], target: Target) -> Lookups:
    """Lookups in weights that are going to be quantized; none where the target takes tables in float only."""
    if "Gather" not in target.decoded_weights or not (target.weights.signed and target.weights.symmetric):
        return {}
    nodes = {node.name: node for node in graph.nodes}
    found: dict[tuple[str, int], list[gs.Node]] = {}
    seen: set[str] = set()
    for name, slot in weights:
        constant = nodes[name].inputs[slot]
        lookups = [reader for reader in constant.outputs if reader.op == "Gather" and reader.inputs[0] is constant]
        if lookups and constant.name not in seen:
            seen.add(constant.name)
            found[name, slot] = lookups
    return found


def read_codes(graph: Graph, lookups: Lookups, target: Target) -> None:
    """Let lookups read the integers of the quantized layer, so that the table is stored once."""
    nodes = {node.name: node for node in graph.nodes}
    writer = Writer(graph)
    for number, ((name, slot), readers) in enumerate(lookups.items()):
        decoded = nodes[name].inputs[slot]
        if target.decoder == "cast":
            maker = decoded.inputs[0]
            codes, scale = maker.inputs[:2]
            shape = np.ones(len(codes.shape), int)
            if scale.values.size > 1:
                shape[maker.attrs["axis"]] = scale.values.size
            decoded = decode(writer, f"yocc/tied_{number}", codes, scale.values.reshape(shape), "cast")
        for reader in readers:
            reader.inputs[0] = decoded
