"""Fixing open shapes, for targets that compile for one size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, refresh
from yocc.compiler.graph.shapes import concrete_shapes, is_open
from yocc.compiler.pipeline.passes import Pass, PassContext


@dataclass(frozen=True, kw_only=True)
class FixShapes(Pass):
    """Replace dynamic shapes of inputs and outputs by the given ones."""

    name: ClassVar[str] = "fix_shapes"
    summary: ClassVar[str] = "fix the shapes of open inputs to those of --input-shape"
    quick: ClassVar[bool] = True

    def run(self, graph: Graph, ctx: PassContext) -> int:
        """How many shapes were fixed; outputs whose shape depends on data stay open, with a note."""
        shapes = concrete_shapes(graph, ctx.input_shapes)
        fixed = 0
        for tensor in [*graph.inputs, *graph.outputs]:
            if not isinstance(tensor, gs.Variable) or not is_open(tensor):
                continue
            shape = shapes.of(tensor)
            if shape is None:
                ctx.note(f"The shape of {tensor.name!r} depends on data and stays open.")
                continue
            tensor.shape = list(shape)
            fixed += 1
        if fixed:
            refresh(graph)
        return fixed
