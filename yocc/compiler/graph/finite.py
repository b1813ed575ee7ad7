"""Refusing weights that are not numbers before anything is computed from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues

from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import constant_behind
from yocc.compiler.graph.operators import OPS
from yocc.errors import ModelError


def check_finite(graph: Graph) -> None:
    """Refuse NaN and infinity in the weights of operators that have trained values.

    Infinity elsewhere means something: an open bound of Clip, a mask. Weights on disk are read one at a time and let
    go again.

    Raises:
        ModelError: naming the tensor.
    """
    for node, weight in _weights(graph):
        values = weight._values.load() if isinstance(weight._values, LazyValues) else weight.values
        bad = _first_bad(values)
        if bad is not None:
            raise ModelError(
                f"The weights {weight.name!r} hold {bad}.",
                "Export the model again from a checkpoint that works.",
                node=node.name,
            )


def _weights(graph: Graph) -> Iterator[tuple[gs.Node, gs.Constant]]:
    seen: set[str] = set()
    for node in graph.nodes:
        facts = OPS.get(node.op)
        if facts is None or not facts.parameters:
            continue
        for slot in range(len(node.inputs)):
            weight = constant_behind(node, slot)
            if weight is not None and weight.name not in seen:
                seen.add(weight.name)
                yield node, weight


def _first_bad(values: np.ndarray[Any, Any]) -> str | None:
    if values.dtype.kind != "f":
        return None
    # The sum is finite for all sound weights and costs no array; only a suspect tensor is looked at value by value.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(np.sum(values, dtype=np.float64)):
            return None
    if np.isnan(values).any():
        return "NaN"
    return "infinity" if np.isinf(values).any() else None
