"""Fewer candidates as the output of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.outputs import DetectorOutputs
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import InternalError, OptionError
from yocc.rewrites.candidates import Candidates, require_rankable
from yocc.rewrites.emitting import Emitter
from yocc.rewrites.raw_candidates import from_heads, grids

CANDIDATES = "candidates"
"""Of the output of a detector that had none that was decoded."""


@dataclass(frozen=True, kw_only=True)
class TopCandidates(Pass):
    """Decode and put out the best candidates only.

    The output keeps its name, its layout and the values of these candidates. A detector whose outputs were not decoded
    gets one of rows, or of columns where there is no objectness, named `candidates`.

    Attributes:
        most: how many, by objectness, or by their best class where there is none.
    """

    name: ClassVar[str] = "top_candidates"
    summary: ClassVar[str] = "decode and put out a detector's best candidates only"
    quick: ClassVar[bool] = True

    most: int = 300

    def __post_init__(self) -> None:
        if self.most < 1:
            raise OptionError(f"{self.most} candidates are no output.", "Use 1 or more.")

    def min_opset(self, ctx: PassContext) -> int:  # noqa: ARG002 # the same for all targets
        """Axes of Slice are inputs, and Softmax has one axis, from opset 13 on."""
        return 13

    def requires(self, graph: Graph, ctx: PassContext) -> None:  # noqa: ARG002 # the context says it
        """Refuse what cannot be decoded.

        Raises:
            OptionError: it is no detector of a known family, or its decoding is not that of its family.
        """
        outputs = ctx.outputs
        if outputs is None:
            raise OptionError(
                "Candidates are those of a detector of a known family.",
                "Leave --max-candidates out; `yocc families` lists them.",
            )
        if outputs.heads is None:
            raise OptionError(
                f"Candidates cannot be chosen before they are decoded, because {outputs.obstacle}.",
                "Leave --max-candidates out.",
            )
        require_rankable(ctx.target, self.most)

    def require_fixed(self, shape: Sequence[int | str], outputs: DetectorOutputs) -> None:  # noqa: ARG002 # as in nms
        """Refuse an input whose shape is open.

        Args:
            shape: of the input when the pass runs.
            outputs: of the detector.

        Raises:
            OptionError: a dimension is open.
        """
        if not all(isinstance(size, int) for size in shape):
            raise OptionError(
                "Candidates are chosen in a graph of one size, and that of this one is open.",
                "Give --side or --input-size, and --batch 1.",
            )

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Replace the output.

        Raises:
            OptionError: the size or the batch of the input is open.
        """
        self.requires(graph, ctx)
        outputs = ctx.outputs
        assert outputs is not None  # as required
        self.require_fixed(graph.inputs[0].shape, outputs)
        sizes = grids(graph, outputs)
        if sizes is None:
            raise InternalError("The raw heads of a graph of one size have open sizes.")
        count = sum(size.cells * size.anchors for size in sizes)
        if count <= self.most and outputs.layout != "other":
            ctx.note(f"The detector has no more than {count} candidates; all of them are put out.")
            return PassResult(0, {"candidates": count})
        batch = graph.inputs[0].shape[0]
        emit = Emitter(graph, "top")
        name = outputs.output or CANDIDATES
        for tensor in graph.outputs:
            if tensor.name == name:
                tensor.name = f"{name}_all"
        pictures = [
            _joined(emit, from_heads(emit, graph, outputs, sizes, self.most, picture, rows=ctx.target.rows_of_cells))
            for picture in range(batch)
        ]
        joined = pictures[0] if batch == 1 else emit("Concat", *pictures, axis=0)
        assert outputs.heads is not None
        columns = outputs.heads.decoding == "distances"
        kept, wide = min(self.most, count), outputs.classes + (4 if columns else 5)
        shape = (batch, wide, kept) if columns else (batch, kept, wide)
        output = emit.reshape(joined, *shape, name=name)
        output.shape = list(shape)
        graph.outputs = [output]
        return PassResult(1, {"candidates": kept, "before": count})


def _joined(emit: Emitter, found: Candidates) -> gs.Variable:
    """The candidates of one picture: rows, or columns where there is no objectness."""
    parts = [found.boxes, found.scores] if found.objectness is None else [found.boxes, found.objectness, found.scores]
    rows = emit("Concat", *parts, axis=1)
    return emit("Transpose", rows, perm=[1, 0]) if found.objectness is None else rows
