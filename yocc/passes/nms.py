"""Non-maximum suppression inside the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.outputs import DetectorOutputs
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.compiler.pipeline.target import RowsOfCells
from yocc.errors import OptionError
from yocc.rewrites.all_candidates import all_decoded, all_from_heads
from yocc.rewrites.candidates import Candidates, from_decoded, require_rankable
from yocc.rewrites.emitting import Emitter
from yocc.rewrites.raw_candidates import from_heads, grids
from yocc.rewrites.suppressing import OUTPUTS, Limits, detection_output, plugin, standard


@dataclass(frozen=True, kw_only=True)
class Nms(Pass):
    """Put decoding and non-maximum suppression into the graph, so that it gives detections.

    The outputs are `num_dets` [B, 1] int32, `det_boxes` [B, most, 4] of x1, y1, x2, y2 in pixels of the network's
    input, `det_scores` [B, most] and `det_classes` [B, most] int32: the best first, zeros behind the last. A box has
    its best class only. `uint8_input{fit=true,boxes=picture}` turns boxes into pixels of the picture.

    Attributes:
        confidence: least score of a detection, 0..1.
        overlap: intersection over union with a better box of its class from which a box is dropped, 0..1.
        most: detections per picture.
        candidates: boxes per picture that are looked at, by objectness, or by their best class where there is none;
            boxes of a class above the confidence where the target chooses by itself.
    """

    name: ClassVar[str] = "nms"
    summary: ClassVar[str] = "decode boxes and suppress all but the best of overlapping ones in the graph"
    quick: ClassVar[bool] = True

    confidence: float = 0.25
    overlap: float = 0.45
    most: int = 300
    candidates: int = 1000

    def __post_init__(self) -> None:
        if not 0 <= self.confidence <= 1 or not 0 <= self.overlap <= 1:
            raise OptionError(
                f"A confidence of {self.confidence:g} and an overlap of {self.overlap:g} are no thresholds for NMS.",
                "Use numbers from 0 to 1.",
            )
        if self.most < 1 or self.candidates < self.most:
            raise OptionError(
                f"{self.most} detections cannot be chosen from {self.candidates} candidates.",
                "Use at least 1 detection, and at least as many candidates as detections.",
            )

    def min_opset(self, ctx: PassContext) -> int:  # noqa: ARG002 # the same for all targets
        """Axes of Slice and Unsqueeze are inputs from opset 13 on."""
        return 13

    def requires(self, graph: Graph, ctx: PassContext) -> None:  # noqa: ARG002 # the context says it
        """Refuse what cannot be decoded, and targets that cannot suppress.

        Raises:
            OptionError: it is no detector of a known family, or the target has no NMS.
        """
        outputs = ctx.outputs
        if outputs is None:
            raise OptionError("NMS takes a detector of a known family.", "Leave --nms out; `yocc families` lists them.")
        if outputs.layout == "other" and outputs.heads is None:
            raise OptionError(f"NMS cannot be added, because {outputs.obstacle}.", "Leave --nms out.")
        if ctx.target.suppression == "none":
            raise OptionError(
                f"The target {ctx.target.name!r} cannot run NMS on a YOLO detector's boxes.",
                "Leave --nms out, or compile for another target.",
            )
        if ctx.target.suppression != "detection_output":
            require_rankable(ctx.target, self.candidates)

    def require_fixed(self, shape: Sequence[int | str], outputs: DetectorOutputs) -> None:
        """Refuse an input whose shape leaves open what has to be fixed.

        Args:
            shape: of the input when the pass runs.
            outputs: of the detector.

        Raises:
            OptionError: the batch is open, or the size where there are raw heads only.
        """
        if not isinstance(shape[0], int):
            raise OptionError("NMS in the graph takes a fixed number of pictures in a run.", "Give --batch 1 as well.")
        if outputs.layout == "other" and not all(isinstance(size, int) for size in shape):
            raise OptionError(
                "NMS behind raw outputs takes a graph of one size, and that of this one is open.",
                "Give --side or --input-size as well.",
            )

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Replace the outputs.

        Raises:
            OptionError: what has to be fixed of the input's shape is open.
        """
        self.requires(graph, ctx)
        outputs = ctx.outputs
        assert outputs is not None  # as required
        self.require_fixed(graph.inputs[0].shape, outputs)
        batch = graph.inputs[0].shape[0]
        for name, tensor in graph.tensors().items():
            if name in OUTPUTS:
                tensor.name = f"{name}_before"
        emit = Emitter(graph, "nms")
        limits = Limits(self.confidence, self.overlap, self.most)
        if ctx.target.suppression == "detection_output":
            found = _everything(emit, graph, outputs, batch)
            graph.outputs = detection_output(emit, *found, limits, self.candidates)
        else:
            pictures = _candidates(emit, graph, outputs, self.candidates, batch, ctx.target.rows_of_cells)
            suppress = plugin if ctx.target.suppression == "efficient_nms" else standard
            graph.outputs = suppress(emit, pictures, limits, outputs.classes)
        return PassResult(1, {"batch": batch, "outputs": list(OUTPUTS)})


def _everything(emit: Emitter, graph: Graph, outputs: DetectorOutputs, batch: int) -> tuple[gs.Variable, gs.Variable]:
    """Boxes and scores of all candidates.

    Raises:
        OptionError: there are several pictures.
    """
    if batch != 1:
        raise OptionError(f"This target runs NMS on one picture at a time, not {batch}.", "Give --batch 1 as well.")
    sizes = grids(graph, outputs)
    return all_decoded(emit, graph, outputs) if sizes is None else all_from_heads(emit, graph, outputs, sizes)


def _candidates(
    emit: Emitter, graph: Graph, outputs: DetectorOutputs, most: int, batch: int, rows: RowsOfCells
) -> list[Candidates]:
    """The best candidates of each picture, before they are decoded where the sizes of raw heads are fixed."""
    sizes = grids(graph, outputs)
    if sizes is not None:
        return [from_heads(emit, graph, outputs, sizes, most, picture, rows=rows) for picture in range(batch)]
    return [from_decoded(emit, graph, outputs, most, picture if batch > 1 else None) for picture in range(batch)]
