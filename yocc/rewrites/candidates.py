"""The best rows of a detector's decoded output, without the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.outputs import DetectorOutputs
from yocc.compiler.pipeline.target import Target
from yocc.errors import OptionError
from yocc.rewrites.emitting import Emitter, integers

_BOX = 4


@dataclass(frozen=True)
class Candidates:
    """Candidates of one picture.

    Attributes:
        boxes: [K, 4] cx, cy, w, h in pixels of the network's input.
        scores: [K, C] of each class; where there is objectness, without it.
        objectness: [K, 1], None where there is none.
    """

    boxes: gs.Variable
    scores: gs.Variable
    objectness: gs.Variable | None

    def confidences(self, emit: Emitter) -> gs.Variable:
        """Scores [K, C] times objectness, where there is one."""
        return self.scores if self.objectness is None else emit("Mul", self.scores, self.objectness)


def require_rankable(target: Target, most: int) -> None:
    """Refuse what a target cannot choose.

    Raises:
        OptionError: it has no TopK, or none of so many.
    """
    if target.most_ranked == 0:
        raise OptionError(
            f"The target {target.name!r} cannot choose the best candidates.",
            "Leave --max-candidates out, or compile for another target.",
        )
    if target.most_ranked is not None and most > target.most_ranked:
        raise OptionError(
            f"The target {target.name!r} chooses {target.most_ranked} candidates at most, not {most}.",
            f"Use --max-candidates {target.most_ranked} or less.",
        )


def from_decoded(emit: Emitter, graph: Graph, outputs: DetectorOutputs, most: int, picture: int | None) -> Candidates:
    """The best candidates of the decoded output, by objectness, or by their best class where there is none.

    Args:
        emit: appends to the graph.
        graph: has the decoded output.
        outputs: where that is, of layout `rows` or `columns`.
        most: how many candidates; all where there are fewer.
        picture: its number in a batch, None where there is one only.
    """
    found = graph.tensors()[outputs.output]
    along = 1 if outputs.layout == "rows" else 2
    count = found.shape[along] if found.shape is not None else None
    found = emit.as_float(found)
    if picture is not None:
        found = emit.slice(found, 0, picture, picture + 1)
    if outputs.layout == "rows":
        rank = emit.reshape(emit.slice(found, 2, _BOX, _BOX + 1), -1)
    else:
        rank = emit.reshape(emit.largest(emit.slice(found, 1, _BOX, _BOX + outputs.classes), 1, keep=False), -1)
    best = top(emit, rank, most, count if isinstance(count, int) else None)
    width = outputs.classes + (_BOX + 1 if outputs.layout == "rows" else _BOX)
    chosen = emit("Gather", found, best, axis=along)
    if outputs.layout == "columns":
        chosen = emit("Transpose", chosen, perm=[0, 2, 1])
    chosen = emit.reshape(chosen, -1, width)
    boxes = emit.slice(chosen, 1, 0, _BOX)
    if outputs.layout == "columns":
        return Candidates(boxes, emit.slice(chosen, 1, _BOX, width), None)
    return Candidates(boxes, emit.slice(chosen, 1, _BOX + 1, width), emit.slice(chosen, 1, _BOX, _BOX + 1))


def top(emit: Emitter, values: gs.Variable, most: int, count: int | None) -> gs.Variable:
    """Places [K] of the largest values, the largest first.

    Args:
        emit: appends to the graph.
        values: [N].
        most: how many; all where there are fewer.
        count: how many values there are, None where that is open.
    """
    if count is not None:
        wanted: gs.Tensor = emit.constant(integers(min(most, count)))
    else:
        size = emit("Shape", values, dtype=np.int64)
        wanted = emit("Min", size, integers(most), dtype=np.int64)
    return emit.top(values, wanted, 0)
