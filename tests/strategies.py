"""Random graphs for hypothesis: a short printable spec, and the valid ONNX model that it stands for.

A spec is a list of steps. Each step names an operation, which of the tensors so far it reads (counted from the newest)
and a number the operation takes its choices from, so that any spec is valid and shrinks step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeVar

import onnx
from hypothesis import strategies as st

from tests.networks.blocks import channel_shuffle, conv_norm, rearrange_to_depth, slice_to_depth
from yocc.models.graph_writer import Value
from yocc.models.layers import LayerWriter, Window
from yocc.models.seeded import draw_filters

MOST_CHANNELS = 32
LARGEST_SIZE = 16
T = TypeVar("T")

ACTIVATIONS = ("Relu", "Silu", "HardSwish", "LeakyRelu", "Clip", "Tanh")
ENDINGS = ("conv", "direct", "gemm", "pool_gemm")


@dataclass(frozen=True)
class Step:
    """One operation of a spec.

    Attributes:
        op: a key of `OPERATIONS`.
        pick: which open tensor is read, counted from the newest, modulo their number.
        option: what the operation takes its choices from.
    """

    op: str
    pick: int = 0
    option: int = 0


@dataclass(frozen=True)
class RandomGraph:
    """The spec of a random graph; `build()` writes the model."""

    channels: int
    height: int
    width: int
    seed: int
    steps: tuple[Step, ...]
    endings: tuple[str, ...]

    def build(self) -> onnx.ModelProto:
        """A new model: every tensor that no step reads becomes an output, through the spec's endings in turn."""
        growth = _Growth(LayerWriter(self.seed))
        growth.keep(growth.writer.input("x", (1, self.channels, self.height, self.width), power=1 / 3))
        for step in self.steps:
            growth.keep(*OPERATIONS[step.op](growth, growth.read(step.pick), _Choice(step.option)))
        for i, leaf in enumerate(growth.leaves()):
            growth.writer.output(_end(growth.writer, leaf, self.endings[i % len(self.endings)]))
        return growth.writer.model()


class _Choice:
    """Takes one choice after another from a number, by division with remainder; 0 is the first choice throughout."""

    def __init__(self, number: int) -> None:
        self._number = number

    def of(self, options: Sequence[T]) -> T:
        self._number, index = divmod(self._number, len(options))
        return options[index]

    def yes(self) -> bool:
        return self.of((False, True))


@dataclass
class _Growth:
    """A graph while it grows: its feature maps so far, and the names of those read."""

    writer: LayerWriter
    values: list[Value] = field(default_factory=list)
    used: set[str] = field(default_factory=set)

    def keep(self, *values: Value) -> None:
        self.values.extend(values)

    def read(self, pick: int) -> Value:
        value = self.values[-1 - pick % len(self.values)]
        self.used.add(value.name)
        return value

    def partners(self, x: Value, *, channels: bool) -> list[Value]:
        """Feature maps that can be concatenated with `x`, or added to it; newest first, `x` not among them."""
        start = 1 if channels else 2
        return [v for v in reversed(self.values) if v.name != x.name and v.shape[start:] == x.shape[start:]]

    def use(self, value: Value) -> Value:
        self.used.add(value.name)
        return value

    def leaves(self) -> list[Value]:
        return [value for value in self.values if value.name not in self.used]


def _end(writer: LayerWriter, leaf: Value, ending: str) -> Value:
    if ending == "direct":
        return leaf
    if ending == "gemm":
        return writer.gemm(writer.flatten(leaf), 5)
    if ending == "pool_gemm":
        return writer.gemm(writer.flatten(writer.global_pool(leaf)), 5)
    return writer.conv(leaf, 6)


def _conv(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    windows = (Window(1), Window(3), Window(3, 2, pads=1), Window(3, dilation=2), Window(2, 2, pads=0))
    window = choice.of(windows if min(x.spatial) > 1 else windows[:-1])
    return [growth.writer.conv(x, choice.of((8, 12, 16, 24, 6)), window, bias=choice.yes())]


def _shared_conv(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    """One weight, and perhaps one bias, in two convolutions: of two tensors, or one behind the other."""
    writer, channels = growth.writer, x.channels
    kernel = choice.of((1, 3))
    filters = draw_filters(writer.rng, (channels, channels, kernel, kernel), power=x.power)
    weight = writer.constant(filters)
    bias = writer.constant(writer.draw_bias(channels)) if choice.yes() else True
    first = writer.conv(x, channels, Window(kernel), filters=weight, bias=bias)
    others = [v for v in reversed(growth.values) if v.name != x.name and v.channels == channels]
    if others and choice.yes():
        other = growth.use(choice.of(others))
        return [first, writer.conv(other, channels, Window(kernel), filters=weight, bias=bias)]
    return [writer.conv(writer.activation("Relu", first), channels, Window(kernel), filters=weight, bias=bias)]


def _grouped_conv(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    groups = choice.of([g for g in (2, 3, 4) if x.channels % g == 0] or [1])
    window = choice.of((Window(3), Window(1), Window(3, 2, pads=1)))
    return [growth.writer.conv(x, groups * choice.of((2, 4, 3)), window, groups=groups, bias=choice.yes())]


def _depthwise(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    window = choice.of((Window(3), Window(3, 2, pads=1), Window(5)))
    multiplier = choice.of((1, 2)) if 2 * x.channels <= MOST_CHANNELS else 1
    return [growth.writer.conv(x, multiplier * x.channels, window, groups=x.channels, bias=choice.yes())]


def _conv_transpose(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    if max(x.spatial) * 2 > LARGEST_SIZE:
        return [growth.writer.conv_transpose(x, 8, Window(3))]
    groups = choice.of((1, 2)) if x.channels % 2 == 0 else 1
    return [growth.writer.conv_transpose(x, choice.of((8, 12)), Window(2, 2, pads=0), groups=groups)]


def _conv_norm(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    y = conv_norm(growth.writer, x, choice.of((8, 16, 12)), choice.of((Window(3), Window(1), Window(3, 2, pads=1))))
    return [growth.writer.activation(choice.of(ACTIVATIONS), y)]


def _batch_norm(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    del choice
    return [growth.writer.batch_norm(x)]


def _activation(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    return [growth.writer.activation(choice.of(ACTIVATIONS), x)]


def _prelu(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    return [growth.writer.prelu(x, per_channel=not choice.yes())]


def _add(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    """Adds another tensor of the same shape, or a convolution of `x` itself where there is none."""
    partners = growth.partners(x, channels=True)
    if partners and not choice.yes():
        return [growth.writer.add(x, growth.use(choice.of(partners)))]
    return [growth.writer.add(x, growth.writer.conv(x, x.channels, Window(3)))]


def _mul(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    """Multiplies by a constant per channel, from either side, or by another tensor's sigmoid."""
    writer = growth.writer
    partners = growth.partners(x, channels=True)
    if partners and choice.yes():
        return [writer.mul(x, writer.activation("Sigmoid", growth.use(choice.of(partners))))]
    constant = writer.per_channel(x, mean=1.0)
    inputs = [constant, x] if choice.yes() else [x, constant]
    return [writer.node("Mul", inputs, x.shape, power=x.power)]


def _concat(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    """Concatenates two or three tensors of one size; `x` with itself or with a convolution of it when it is alone."""
    joined = [x]
    for _ in range(choice.of((1, 2))):
        partners = growth.partners(x, channels=False)
        if partners and not choice.yes():
            joined.append(growth.use(choice.of(partners)))
        else:
            joined.append(x if choice.yes() else growth.writer.conv(x, 8, Window(3)))
    if choice.yes():
        joined.reverse()
    return [_narrow(growth, growth.writer.concat(joined))]


def _split(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    """Splits the channels into two or three parts, mostly unequal."""
    if x.channels < 3:
        return [growth.writer.conv(x, 8)]
    first = 1 + choice.of(list(range(x.channels - 2)))
    sizes = [first, x.channels - first]
    if sizes[1] > 2 and choice.yes():
        sizes[1:] = [2, sizes[1] - 2]
    return growth.writer.split(x, sizes)


def _slice(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    """A run of channels, every second channel, or a crop."""
    kind = choice.of(("run", "every_second", "crop"))
    if kind == "crop" and x.spatial[0] > 3:
        return [growth.writer.slice(x, 2, 1, x.spatial[0])]
    if kind == "every_second" and x.channels > 1:
        return [growth.writer.slice(x, 1, choice.of((0, 1)), x.channels, 2)]
    start = choice.of(list(range(max(1, x.channels // 2))))
    return [growth.writer.slice(x, 1, start, x.channels - choice.of((0, 1)) * (x.channels - start > 1))]


def _shuffle(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    groups = choice.of([g for g in (2, 3, 4) if x.channels % g == 0] or [1])
    return [channel_shuffle(growth.writer, x, groups)]


def _space_to_depth(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    if x.channels * 4 > 2 * MOST_CHANNELS or any(s % 2 for s in x.spatial):
        return [growth.writer.conv(x, 8)]
    rearrange = choice.of((slice_to_depth, rearrange_to_depth))
    return [_narrow(growth, rearrange(growth.writer, x))]


def _pool(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    window = choice.of((Window(3), Window(2, 2, pads=0), Window(3, 2, pads=1)))
    if min(x.spatial) < 2:
        window = Window(3)
    return [growth.writer.pool(choice.of(("MaxPool", "AveragePool")), x, window)]


def _resize(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    """Doubles the size; of a tensor that is large already, after halving it."""
    if max(x.spatial) * 2 > LARGEST_SIZE:
        x = growth.writer.pool("MaxPool", x, Window(2, 2, pads=0) if min(x.spatial) > 1 else Window(3, 2, pads=1))
    return [growth.writer.upsample(x, by_sizes=choice.yes())]


def _squeeze_excite(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    writer = growth.writer
    pooled = writer.global_pool(x)
    if choice.yes():
        gate = writer.gemm(writer.activation("Relu", writer.gemm(writer.flatten(pooled), 4)), x.channels)
        gate = writer.reshape(gate, (1, x.channels, 1, 1))
    else:
        gate = writer.conv(writer.activation("Relu", writer.conv(pooled, 4)), x.channels)
    return [writer.mul(x, writer.activation(choice.of(("Sigmoid", "HardSigmoid")), gate))]


def _pad(growth: _Growth, x: Value, choice: _Choice) -> list[Value]:
    mode = choice.of(("constant", "reflect")) if min(x.spatial) > 1 else "constant"
    return [growth.writer.conv(growth.writer.pad(x, 1, mode=mode), 8, Window(3, pads=0))]


def _narrow(growth: _Growth, x: Value) -> Value:
    """Convolves a tensor that has grown too wide back to 16 channels."""
    return x if x.channels <= MOST_CHANNELS else growth.writer.conv(x, 16)


OPERATIONS: Mapping[str, Callable[[_Growth, Value, _Choice], list[Value]]] = MappingProxyType(
    {
        "conv": _conv,
        "activation": _activation,
        "conv_norm": _conv_norm,
        "add": _add,
        "concat": _concat,
        "grouped_conv": _grouped_conv,
        "depthwise": _depthwise,
        "shared_conv": _shared_conv,
        "conv_transpose": _conv_transpose,
        "batch_norm": _batch_norm,
        "prelu": _prelu,
        "mul": _mul,
        "split": _split,
        "slice": _slice,
        "shuffle": _shuffle,
        "space_to_depth": _space_to_depth,
        "pool": _pool,
        "resize": _resize,
        "squeeze_excite": _squeeze_excite,
        "pad": _pad,
    }
)


def random_graphs(
    *, operations: tuple[str, ...] = tuple(OPERATIONS), min_steps: int = 4, max_steps: int = 14
) -> st.SearchStrategy[RandomGraph]:
    """Specs of graphs of one input [1, 3..4, 8 | 12 | 16, ...]; a spec begins with a convolution and ends at outputs.

    Args:
        operations: the keys of `OPERATIONS` to draw from.
        min_steps: the fewest operations behind the first convolution.
        max_steps: the most.
    """
    # In two parts, because hypothesis draws integers from a range beyond 128 unevenly, the small ones far more often.
    numbers = st.builds(lambda high, low: 100 * high + low, st.integers(0, 99), st.integers(0, 99))
    # Mostly the newest tensors, so that graphs are deep and not only wide.
    picks = st.sampled_from((0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 5))
    step = st.builds(Step, op=st.sampled_from(operations), pick=picks, option=numbers)
    sizes = st.sampled_from((8, 12, 16))
    steps = st.lists(step, min_size=min_steps, max_size=max_steps).map(tuple)
    first = st.builds(Step, op=st.just("conv"), option=numbers)
    return st.builds(
        RandomGraph,
        channels=st.integers(3, 4),
        height=sizes,
        width=sizes,
        seed=st.integers(0, 999),
        steps=st.builds(lambda head, rest: (head, *rest), first, steps),
        endings=st.lists(st.sampled_from(ENDINGS), min_size=1, max_size=3).map(tuple),
    )
