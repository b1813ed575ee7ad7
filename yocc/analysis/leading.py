"""What the first nodes behind a picture input say of the values that it is fed with.

Models that are exported together with their preprocessing begin with nodes that convert, scale and shift the picture:
Cast, Transpose, Mul, Div, Add, Sub, BatchNormalization, or a Gather or Slice that reverses the channels. What they turn
into values of the usual size is what the input must be fed with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import onnx_graphsurgeon as gs

Array = np.ndarray[Any, Any]
Range = Literal["pixels", "unit", "signed"]
"""0..255, 0..1 or -1..1."""

_PLAIN = frozenset({"Cast", "Identity", "Resize", "Dropout", "QuantizeLinear", "DequantizeLinear"})
"""Operators that leave values and the order of channels as they are."""
_RANK = 4
_SCALED = (0.4 / 255, 12 / 255)
"""Factors that bring pixels 0..255 to the size that networks compute with: a range of 0.4 to 12."""
_SHIFTED = (0.9, 12.0)
"""Factors that leave the size as it is."""
_TO_PIXELS = (100.0, 300.0)
"""Factors that bring 0..1 or -1..1 to pixels, for networks that compute with those."""
_MEANS = ((123.675, 116.28, 103.53), (123.68, 116.779, 103.939), (123.0, 117.0, 104.0))
"""Mean colors that are published for ImageNet, red first."""
_MEAN_TOLERANCE = 1.5
_CLOSE = 0.05


@dataclass(frozen=True)
class Evidence:
    """What the first nodes say.

    Attributes:
        range: of the values that the input takes; None where they do not say.
        color: the order of channels that the input takes; empty where they do not say.
        reverses: whether they reverse the channels, so that the input takes the other order than the network behind.
        nodes: operators that this follows from, in order.
    """

    range: Range | None = None
    color: Literal["", "rgb", "bgr"] = ""
    reverses: bool = False
    nodes: tuple[str, ...] = ()


@dataclass
class _Walk:
    """Where a walk along the first nodes has got to: there, values are `gain * input + offset` in each channel.

    Attributes:
        tensor: what the last node writes.
        axis: of the channels.
        gain: a number for each channel, in the order of the input's.
        offset: the same.
        reversed: whether channels are in reverse order.
        nodes: operators that scale, shift or reverse.
        statistics: running mean and variance where the walk ended at a BatchNormalization, in the input's order.
    """

    tensor: gs.Tensor
    axis: int
    gain: Array
    offset: Array
    reversed: bool = False
    nodes: list[str] = field(default_factory=list)
    statistics: tuple[Array, Array] | None = None


def read_leading_nodes(graph: gs.Graph, name: str, shape: tuple[int, ...]) -> Evidence:
    """What the first nodes behind a picture input say of it.

    Args:
        graph: as loaded.
        name: of the input.
        shape: its shape, of four axes, one of them 1 or 3 channels.
    """
    tensor = next(each for each in graph.inputs if each.name == name)
    axis = 1 if shape[1] in (1, 3) else 3
    walk = _Walk(tensor, axis, np.ones(shape[axis]), np.zeros(shape[axis]))
    while walk.statistics is None:
        readers = [node for node in walk.tensor.outputs if node.op != "Shape"]
        if len(readers) != 1 or not _step(walk, readers[0]):
            break
        walk.tensor = readers[0].outputs[0]
    found = _range_of_statistics(walk) if walk.statistics is not None else _range_of_scaling(walk)
    if not walk.nodes:
        return Evidence()
    return Evidence(found, _color(walk, found), walk.reversed, tuple(walk.nodes))


def _step(walk: _Walk, node: gs.Node) -> bool:
    """Follow a node; False where it is none of those that prepare a picture."""
    if node.domain not in (None, "", "ai.onnx"):
        return False
    if node.op in _PLAIN:
        return node.inputs[0] is walk.tensor
    if node.op == "Transpose":
        order = list(node.attrs.get("perm", range(_RANK)[::-1]))
        walk.axis = order.index(walk.axis)
        return True
    if node.op in ("Mul", "Div", "Add", "Sub"):
        return _arithmetic(walk, node)
    if node.op in ("Gather", "Slice"):
        return _reversal(walk, node)
    if node.op == "BatchNormalization" and walk.axis == 1 and node.inputs[0] is walk.tensor:
        numbers = [_per_channel(walk, tensor, axis=0) for tensor in node.inputs[3:5]]
        if any(each is None for each in numbers):
            return False
        walk.statistics = (numbers[0], numbers[1])  # type: ignore[assignment] # none is None
        walk.nodes.append(node.op)
        return True
    return False


def _arithmetic(walk: _Walk, node: gs.Node) -> bool:
    first = node.inputs[0] is walk.tensor
    number = _per_channel(walk, node.inputs[1 if first else 0])
    if number is None or (node.op == "Div" and not (first and number.all())):
        return False
    if node.op in ("Mul", "Div"):
        factor = number if node.op == "Mul" else 1 / number
        walk.gain, walk.offset = walk.gain * factor, walk.offset * factor
    elif first:
        walk.offset = walk.offset + (number if node.op == "Add" else -number)
    else:
        sign = 1 if node.op == "Add" else -1
        walk.gain, walk.offset = sign * walk.gain, number + sign * walk.offset
    walk.nodes.append(node.op)
    return True


def _reversal(walk: _Walk, node: gs.Node) -> bool:
    """Three channels in reverse order."""
    if len(walk.gain) != 3 or node.inputs[0] is not walk.tensor:
        return False
    values = [tensor.values.reshape(-1).tolist() for tensor in node.inputs[1:] if isinstance(tensor, gs.Constant)]
    if node.op == "Gather":
        turned = node.attrs.get("axis", 0) % _RANK == walk.axis and values in ([[2, 1, 0]], [[-1, -2, -3]])
    else:
        starts, ends, axes, steps = values if len(values) == 4 else ([0], [0], [0], [0])
        turned = (
            [axis % _RANK for axis in axes] == [walk.axis]
            and steps == [-1]
            and starts[0] in (-1, 2)
            and (ends[0] <= -4)
        )
    if turned:
        walk.reversed = not walk.reversed
        walk.nodes.append(node.op)
    return bool(turned)


def _per_channel(walk: _Walk, tensor: gs.Tensor, axis: int | None = None) -> Array | None:
    """A constant as a number for each channel, in the order of the input's; None where it is none."""
    if not isinstance(tensor, gs.Constant):
        return None
    value = np.asarray(tensor.values, np.float64)
    if not np.isfinite(value).all():
        return None
    if value.size == 1:
        return np.broadcast_to(value.reshape(1), walk.gain.shape)
    place = _RANK - walk.axis if axis is None else value.ndim - axis
    if value.size != len(walk.gain) or value.ndim < place or value.shape[value.ndim - place] != value.size:
        return None
    numbers = value.reshape(-1)
    return numbers[::-1] if walk.reversed else numbers


def _range_of_scaling(walk: _Walk) -> Range | None:
    """Which values become such as networks compute with."""
    if (walk.gain <= 0).any():
        return None
    gain = float(np.median(walk.gain))
    zeros = -walk.offset / walk.gain  # inputs that become 0
    if _SCALED[0] <= gain <= _SCALED[1] and (zeros >= -1).all() and (zeros <= 255).all():
        return "pixels"
    if (np.abs(zeros + 1) < _CLOSE).all():
        return "signed"
    if _SHIFTED[0] <= gain <= _SHIFTED[1]:
        if (zeros > 2).all() and (zeros <= 255).all():
            return "pixels"
        if (zeros > 0).all() and (zeros <= 1).all():
            return "unit"
    if _TO_PIXELS[0] <= gain <= _TO_PIXELS[1] and (np.abs(zeros) < 1).all():
        return "unit"
    return None


def _range_of_statistics(walk: _Walk) -> Range | None:
    """Which values have the mean and the deviation that a BatchNormalization has seen."""
    mean, variance = walk.statistics or (np.zeros(1), np.ones(1))
    if (walk.gain == 0).any() or (not mean.any() and (variance == 1).all()):
        return None  # as before any training
    center = float(np.mean((mean - walk.offset) / walk.gain))
    spread = float(np.mean(np.sqrt(np.maximum(variance, 0)) / np.abs(walk.gain)))
    if 30 <= spread <= 110 and 60 <= center <= 200:
        return "pixels"
    if 0.1 <= spread <= 0.45 and 0.2 <= center <= 0.8:
        return "unit"
    return "signed" if 0.35 <= spread <= 0.75 and abs(center) <= 0.35 else None


def _color(walk: _Walk, found: Range | None) -> Literal["", "rgb", "bgr"]:
    """The order of a published mean color that is subtracted."""
    if found not in ("pixels", "unit") or len(walk.gain) != 3 or (walk.gain == 0).any():
        return ""
    zeros = -walk.offset / walk.gain * (255 if found == "unit" else 1)
    for mean in _MEANS:
        if np.abs(zeros - mean).max() < _MEAN_TOLERANCE:
            return "rgb"
        if np.abs(zeros - mean[::-1]).max() < _MEAN_TOLERANCE:
            return "bgr"
    return ""
