"""Outlier channel splitting: channels far larger than the others enter a layer several times, each time smaller.

Zhao et al., "Improving Neural Network Quantization without Retraining using Outlier Channel Splitting" (ICML 2019),
section 3: w x = w (x / 2) + w (x / 2), so that a channel that is twice as large as the others no longer decides how
coarsely all are quantized. There the layer before is made to give the halves; here its values are taken twice, which
works with SiLU and with several readers. It costs the layer some input channels and a multiplication in front.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.heads import decode_nodes
from yocc.analysis.pictures import evenly
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.errors import CalibrationError, OptionError

Array = np.ndarray[Any, Any]
PICTURES = 32
WORTH = 0.75
"""What the largest value must shrink to at least; less is not worth a multiplication."""


@dataclass(frozen=True, kw_only=True)
class SplitOutliers(Pass):
    """Split the input channels of convolutions with the largest activations on pictures into halves.

    The network computes the same function, up to the order of floating-point sums.

    Attributes:
        share: most channels to add to a layer, as a share of its input channels.
    """

    name: ClassVar[str] = "split_outliers"
    summary: ClassVar[str] = "split channels with outliers into parts, for a finer scale of the rest"

    share: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise OptionError(f"A share of {self.share:g} channels cannot be added.", "Use more than 0, at most 1.")

    def requires(self, graph: Graph, ctx: PassContext) -> None:  # noqa: ARG002 # the protocol's
        """There must be pictures to see which channels are large."""
        if ctx.feeds is None or len(ctx.feeds) == 0:
            raise CalibrationError("Outliers are found on pictures.", "Give a folder with --calib.")

    def run(self, graph: Graph, ctx: PassContext) -> int:
        """The number of tensors that are read in parts."""
        if ctx.feeds is None:
            return 0
        if ctx.target.placement == "whole_graph":
            ctx.note("No outliers are split: the target quantizes every tensor, not only the inputs of layers.")
            return 0
        layers = _layers(graph)
        split = 0
        for name, largest in _largest(graph, list(layers), ctx).items():
            copies = parts(largest, self.share)
            if (copies == 1).all():
                continue
            _split(graph, layers[name], copies)
            ctx.note(f"{(copies > 1).sum()} of {len(copies)} channels are read in parts.", node=layers[name][0].name)
            split += 1
        if not split:
            ctx.note("No channel is large enough for splitting to help.")
        return split


def parts(largest: Array, share: float) -> Array:
    """Into how many parts each channel goes, powers of two; all 1 where too little is gained.

    Args:
        largest: magnitude of each channel, shape [channels].
        share: of the number of channels, how many may be added; one always.
    """
    copies = np.ones(len(largest), dtype=np.int64)
    best, least = copies.copy(), WORTH * float(largest.max(initial=0.0))
    room = max(1, int(share * len(largest)))
    while room > 0 and least > 0:
        worst = int(np.argmax(largest / copies))
        room -= int(copies[worst])
        copies[worst] *= 2
        left = float((largest / copies).max())
        if room >= 0 and left <= least:
            best, least = copies.copy(), np.nextafter(left, 0.0)
    return best


def _layers(graph: Graph) -> dict[str, list[gs.Node]]:
    """Convolutions whose input channels can be chosen, by the tensor that enters them."""
    decode = decode_nodes(graph)
    found: dict[str, list[gs.Node]] = {}
    for node in graph.nodes:
        if node.op != "Conv" or node.attrs.get("group", 1) != 1 or node.name in decode:
            continue
        data, weight = node.inputs[:2]
        if isinstance(weight, gs.Constant) and weight.values.dtype == np.float32 and data.inputs:
            found.setdefault(data.name, []).append(node)
    return found


def _largest(graph: Graph, names: list[str], ctx: PassContext) -> dict[str, Array]:
    """Magnitude of each channel of the named tensors on pictures."""
    assert ctx.feeds is not None  # `run` has looked
    run = run_until(graph, names, ctx)
    pictures = evenly(ctx.feeds, PICTURES)
    found: dict[str, Array] = {}
    for arrays in ctx.progress(pictures, "outliers", len(pictures)):
        for name, values in run(arrays).items():
            magnitudes = np.abs(values).max(axis=tuple(axis for axis in range(values.ndim) if axis != 1))
            found[name] = np.maximum(found[name], magnitudes) if name in found else magnitudes
    return {name: found[name] for name in names if name in found}


def _split(graph: Graph, layers: list[gs.Node], copies: Array) -> None:
    """Let the layers read parts: the channels taken several times, times one by the number of parts."""
    source = layers[0].inputs[0]
    places = np.repeat(np.arange(len(copies)), copies)
    factors = (1 / copies[places]).astype(np.float32)
    taken = gs.Variable(f"{source.name}_repeated", dtype=np.float32)
    shares = gs.Variable(f"{source.name}_parts", dtype=np.float32)
    rank = layers[0].inputs[1].values.ndim
    graph.nodes.append(
        gs.Node("Gather", taken.name, {"axis": 1}, [source, gs.Constant(f"{taken.name}_channels", places)], [taken])
    )
    scale = gs.Constant(f"{shares.name}_factors", factors.reshape(1, -1, *[1] * (rank - 2)))
    graph.nodes.append(gs.Node("Mul", shares.name, {}, [taken, scale], [shares]))
    for node in layers:
        weight = node.inputs[1]
        node.inputs[0] = shares
        node.inputs[1] = gs.Constant(f"{node.name}_repeated_weight", np.ascontiguousarray(weight.values[:, places]))
