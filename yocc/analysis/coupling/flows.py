"""How each operator moves channel atoms from its inputs to its outputs.

A rule reads the atoms of the inputs and returns those of the outputs; on the way it ties atoms together, freezes those
it cannot let go and records which constants have to be cut with them. A rule that meets something it does not handle
freezes its inputs and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import onnx_graphsurgeon as gs

from yocc.analysis.coupling import computing, moving, weighted
from yocc.analysis.coupling.atoms import Array
from yocc.analysis.coupling.walk import Walk
from yocc.compiler.graph.operators import Flow

Rule = Callable[[Walk, gs.Node], list[Array]]

RULES: Mapping[Flow, Rule] = MappingProxyType(
    {
        Flow.CONV: weighted.conv,
        Flow.CONV_TRANSPOSE: weighted.conv_transpose,
        Flow.GEMM: weighted.gemm,
        Flow.MATMUL: weighted.matmul,
        Flow.PER_CHANNEL: computing.per_channel,
        Flow.UNARY: computing.unary,
        Flow.SPATIAL: computing.spatial,
        Flow.ELEMENTWISE: computing.elementwise,
        Flow.CONCAT: moving.concat,
        Flow.SPLIT: moving.split,
        Flow.SLICE: moving.slice_channels,
        Flow.GATHER: moving.gather,
        Flow.PAD: moving.pad,
        Flow.RESHAPE: moving.reshape,
        Flow.TRANSPOSE: moving.transpose,
        Flow.EXPAND: moving.expand,
        Flow.REDUCE: computing.reduce_axes,
        Flow.ALONG_AXIS: computing.along_axis,
        Flow.DEPTH_TO_SPACE: moving.depth_to_space,
        Flow.SPACE_TO_DEPTH: moving.space_to_depth,
        Flow.SHAPE: computing.shape_of,
    }
)
