"""What rounding alone makes of a quantized model.

Two runtimes that compute the same in another order differ in the last digits of float32. Where a value lies between two
codes, that decides which one it becomes, and in networks of many narrow layers such codes add up: outputs differ by as
much as quantizing itself changes them, and neither runtime is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.runtime.backends.compare import Difference

Array = np.ndarray[Any, Any]
_LAST_DIGITS = 2e-7
"""Relative; one step of float32 is 6e-8 to 1.2e-7, and sums are exact to a few."""
TOLERANCE = 6.0
"""Decibels that a difference may lie below that by rounding alone, which is another draw of the same chance."""
LEAST_SNR = 6.0
"""Decibels that are asked for even so: what is wrong lies near 0."""


def move_scales(graph: Graph) -> int:
    """Change the scales of quantized weights in their last digits, in place, by a fixed seed.

    Returns:
        The number of scales or arrays of scales.
    """
    random = np.random.default_rng(0)
    moved: set[str] = set()
    for node in graph.nodes:
        if node.op != "DequantizeLinear" or not all(isinstance(part, gs.Constant) for part in node.inputs[:2]):
            continue
        scale = node.inputs[1]
        if scale.name not in moved:
            moved.add(scale.name)
            change = 1.0 + _LAST_DIGITS * random.choice([-1.0, 1.0], scale.values.shape)
            scale.values = (scale.values * change).astype(scale.values.dtype)
    return len(moved)


def is_by_rounding(found: Sequence[Difference], alone: Sequence[Difference], enough: float) -> bool:
    """Whether no output differs by more than by rounding alone.

    Args:
        found: differences of a runtime.
        alone: of the model with moved scales, of the same outputs.
        enough: decibels that are right in any case.
    """
    by_rounding = {(each.output, each.label): each.snr_db for each in alone}

    def is_near(each: Difference) -> bool:
        moved = by_rounding.get((each.output, each.label))
        least = enough if moved is None else min(enough, max(moved - TOLERANCE, LEAST_SNR))
        return each.finite and (each.snr_db is None or each.snr_db >= least)

    return all(map(is_near, found))
