"""What rewrites for runtimes have in common."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

TO_LAST = [0, 2, 3, 1]
"""How axes are moved so that channels are last."""
TO_FIRST = [0, 3, 1, 2]
"""And back."""


def only_reader(tensor: gs.Tensor, op: str) -> gs.Node | None:
    """The only reader of a tensor, if it is such an operator."""
    readers = tensor.outputs
    return readers[0] if len(readers) == 1 and readers[0].op == op else None


def fixed_shape(tensor: gs.Tensor) -> tuple[int, ...]:
    """The shape, or nothing where it is open or a scalar's."""
    shape = tensor.shape
    if shape is None or not all(isinstance(size, int) and size > 0 for size in shape):
        return ()
    return tuple(shape)


def picture_shape(tensor: gs.Tensor) -> tuple[int, ...]:
    """Channels, height and width, whatever the batch; nothing where they are open or the tensor has other axes."""
    shape = tensor.shape
    if shape is None or len(shape) != 4 or not all(isinstance(size, int) and size > 0 for size in shape[1:]):
        return ()
    return tuple(shape[1:])


def axis_of(node: gs.Node, rank: int) -> int:
    """The axis of a Split or Concat of tensors of some rank, from the front."""
    axis = int(node.attrs.get("axis", 0))
    return axis + rank if axis < 0 else axis


def split_into(source: gs.Tensor, parts: list[gs.Tensor], axis: int, sizes: list[int], name: str) -> gs.Node:
    """A Split into parts of these sizes, as opset 13 has it."""
    counts = gs.Constant(f"{name}_counts", np.array(sizes, np.int64))
    return gs.Node("Split", name, {"axis": axis}, [source, counts], parts)


def reshape_to(source: gs.Tensor, shape: tuple[int, ...], result: gs.Variable) -> gs.Node:
    """A Reshape to a constant shape."""
    return gs.Node(
        "Reshape", result.name, {}, [source, gs.Constant(f"{result.name}_shape", np.array(shape, np.int64))], [result]
    )
