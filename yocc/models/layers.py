"""The usual layers written into an ONNX graph, with seeded weights that keep the scale of the activations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from yocc.errors import InternalError
from yocc.models.graph_writer import Attribute, GraphWriter, Value
from yocc.models.seeded import BatchNormStatistics, activation_power, draw_batch_norm, draw_filters

_BATCH_NORM_EPSILON = 1e-3


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-z)), np.float64)


# What each activation does to a Gaussian input, to follow the scale of the activations.
_ACTIVATIONS: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "Relu": lambda z: np.maximum(z, 0.0),
    "LeakyRelu": lambda z: np.where(z > 0, z, 0.1 * z),
    "Sigmoid": _sigmoid,
    "HardSigmoid": lambda z: np.clip(z / 6 + 0.5, 0.0, 1.0),
    "HardSwish": lambda z: z * np.clip(z / 6 + 0.5, 0.0, 1.0),
    "Tanh": np.tanh,
    "Clip": lambda z: np.clip(z, 0.0, 6.0),
    "Silu": lambda z: z * _sigmoid(z),
}


@dataclass(frozen=True)
class Window:
    """The geometry of a convolution or pooling; pads are equal on both sides, "same" for stride 1 when None."""

    kernel: int = 1
    stride: int = 1
    pads: int | None = None
    dilation: int = 1

    @property
    def pad(self) -> int:
        """Padding on each side of each spatial axis."""
        return self.dilation * (self.kernel - 1) // 2 if self.pads is None else self.pads

    def output(self, size: Sequence[int]) -> tuple[int, ...]:
        """Spatial output size of a convolution or pooling over an input of `size`."""
        return tuple((s + 2 * self.pad - self.dilation * (self.kernel - 1) - 1) // self.stride + 1 for s in size)

    def attributes(self) -> dict[str, Attribute]:
        """The ONNX attributes of a two-dimensional window."""
        return {
            "kernel_shape": [self.kernel] * 2,
            "strides": [self.stride] * 2,
            "pads": [self.pad] * 4,
            "dilations": [self.dilation] * 2,
        }


@dataclass(frozen=True)
class Filters:
    """How the filters of a convolution are drawn.

    Attributes:
        variance: wanted output variance, one number or one per channel.
        factor: what each filter is multiplied by after drawing, shape [channels] (a folded BatchNorm's).
        power: mean square of the output that follows from `variance`, `factor` and the bias.
    """

    variance: float | NDArray[np.float32] = 1.0
    factor: NDArray[np.float32] | None = None
    power: float = 1.0


DEFAULT_FILTERS = Filters()


class LayerWriter(GraphWriter):
    """A graph writer that knows the layers of convolutional networks."""

    def conv(
        self,
        x: Value,
        channels: int,
        window: Window | None = None,
        *,
        groups: int = 1,
        bias: bool | str | NDArray[np.float32] = True,
        filters: Filters | str = DEFAULT_FILTERS,
        name: str = "",
        parameters: str = "",
    ) -> Value:
        """Adds a two-dimensional Conv.

        Args:
            x: the input, [n, c, h, w].
            channels: output channels.
            window: kernel, stride, padding, dilation; 1x1 when None.
            groups: of the convolution.
            bias: whether there is one (then drawn), its values of shape [channels], or an initializer to reuse.
            filters: how they are drawn, or an initializer to reuse.
            name: of the node.
            parameters: prefix of the initializers' names, the node's name when empty.
        """
        window = window or Window()
        name = name or self.fresh("Conv")
        parameters = parameters or name
        power = 1.0
        if isinstance(filters, Filters):
            shape = (channels, x.channels // groups, window.kernel, window.kernel)
            weight = draw_filters(self.rng, shape, power=x.power, variance=filters.variance)
            if filters.factor is not None:
                weight *= filters.factor.reshape(-1, 1, 1, 1)
            power = filters.power
            filters = self.constant(weight, f"{parameters}.weight")
        inputs: list[Value | str] = [x, filters]
        if bias is True:
            bias = self.draw_bias(channels)
        if isinstance(bias, np.ndarray):
            bias = self.constant(bias, f"{parameters}.bias")
        if bias:
            inputs.append(bias)
        attributes = {**window.attributes(), "group": groups}
        shape_out = (x.shape[0], channels, *window.output(x.spatial))
        return self.node("Conv", inputs, shape_out, attributes=attributes, power=power, name=name)

    def conv_transpose(self, x: Value, channels: int, window: Window, *, groups: int = 1) -> Value:
        """Adds a ConvTranspose with a bias; its weight is [x.channels, channels / groups, kernel, kernel]."""
        name = self.fresh("ConvTranspose")
        fan_in = max(1, x.channels // groups * window.kernel**2 // window.stride**2)
        shape = (x.channels, channels // groups, window.kernel, window.kernel)
        weight = draw_filters(self.rng, shape, power=x.power, fan_in=fan_in)
        inputs: list[Value | str] = [x, self.constant(weight, f"{name}.weight")]
        inputs.append(self.constant(self.draw_bias(channels), f"{name}.bias"))
        span = window.dilation * (window.kernel - 1) + 1 - 2 * window.pad
        size = tuple((s - 1) * window.stride + span for s in x.spatial)
        attributes = {**window.attributes(), "group": groups}
        return self.node("ConvTranspose", inputs, (x.shape[0], channels, *size), attributes=attributes, name=name)

    def gemm(self, x: Value, features: int, *, transpose: bool = True, bias: bool = True) -> Value:
        """Adds a Gemm over [n, k]; its weight is [features, k] when transposed, as torch writes it."""
        name = self.fresh("Gemm")
        filters = draw_filters(self.rng, (features, x.channels), power=x.power)
        weight = np.ascontiguousarray(filters if transpose else filters.T)
        inputs: list[Value | str] = [x, self.constant(weight, f"{name}.weight")]
        if bias:
            inputs.append(self.constant(self.draw_bias(features), f"{name}.bias"))
        return self.node("Gemm", inputs, (x.shape[0], features), attributes={"transB": int(transpose)}, name=name)

    def batch_norm(
        self,
        x: Value,
        statistics: BatchNormStatistics | None = None,
        *,
        name: str = "",
        parameters: str = "",
        epsilon: float = _BATCH_NORM_EPSILON,
    ) -> Value:
        """Adds a BatchNormalization; when not given, the statistics are drawn for an input of unit variance."""
        if statistics is None:
            drawn = draw_batch_norm(self.rng, x.channels)
            variance = (drawn.variance / np.float32(drawn.variance.mean())).clip(0.5, 2.0)
            statistics = replace(
                drawn, mean=(drawn.mean / np.sqrt(drawn.variance)).astype(np.float32), variance=variance
            )
        name = name or self.fresh("BatchNormalization")
        parameters = parameters or name
        inputs: list[Value | str] = [
            x,
            self.constant(statistics.gamma, f"{parameters}.weight"),
            self.constant(statistics.beta, f"{parameters}.bias"),
            self.constant(statistics.mean, f"{parameters}.running_mean"),
            self.constant(statistics.variance, f"{parameters}.running_var"),
        ]
        attributes: dict[str, Attribute] = {"epsilon": epsilon, "momentum": 0.97, "training_mode": 0}
        power = statistics.power()
        return self.node("BatchNormalization", inputs, x.shape, attributes=attributes, power=power, name=name)

    def activation(self, op: str, x: Value, *, name: str = "") -> Value:
        """Adds an activation: `Silu` as Sigmoid and Mul, `Clip` as ReLU6, `LeakyRelu` of slope 0.1, else the op itself.

        For Silu, `name` is the scope that Sigmoid and Mul are named in.
        """
        if op not in _ACTIVATIONS:
            raise InternalError(f"no activation {op!r}")
        power = activation_power(_ACTIVATIONS[op], x.power)
        if op == "Silu":
            scope = name or self.fresh("act")
            gate = self.node("Sigmoid", [x], x.shape, name=f"{scope}/Sigmoid")
            return self.node("Mul", [x, gate], x.shape, power=power, name=f"{scope}/Mul")
        inputs: list[Value | str] = [x]
        if op == "Clip":
            inputs += [self.constant(np.array(bound, np.float32)) for bound in (0.0, 6.0)]
        alphas: dict[str, dict[str, Attribute]] = {"LeakyRelu": {"alpha": 0.1}, "HardSigmoid": {"alpha": 1 / 6}}
        return self.node(op, inputs, x.shape, attributes=alphas.get(op), power=power, name=name)

    def prelu(self, x: Value, *, per_channel: bool = True) -> Value:
        """Adds a PRelu with slopes drawn from 0..0.5, one per channel or one for all."""
        slope = self.rng.uniform(0.0, 0.5, (x.channels if per_channel else 1, 1, 1)).astype(np.float32)
        power = activation_power(lambda z: np.where(z > 0, z, 0.25 * z), x.power)
        return self.node("PRelu", [x, self.constant(slope)], x.shape, power=power)

    def per_channel(self, x: Value, mean: float) -> str:
        """Adds a constant [1, channels, 1, 1] drawn around `mean`, to multiply or add, and returns its name."""
        values = self.rng.normal(mean, 0.3, (1, x.channels, 1, 1))
        return self.constant(values.astype(np.float32))

    def add(self, a: Value, b: Value, *, name: str = "") -> Value:
        """Adds an elementwise Add with broadcasting."""
        return self.node("Add", [a, b], np.broadcast_shapes(a.shape, b.shape), power=a.power + b.power, name=name)

    def mul(self, a: Value, b: Value, *, name: str = "") -> Value:
        """Adds an elementwise Mul with broadcasting."""
        return self.node("Mul", [a, b], np.broadcast_shapes(a.shape, b.shape), power=a.power * b.power, name=name)

    def concat(self, values: Sequence[Value], axis: int = 1, *, name: str = "", output: str = "") -> Value:
        """Adds a Concat."""
        sizes = [v.shape[axis] for v in values]
        shape = (*values[0].shape[:axis], sum(sizes), *values[0].shape[axis + 1 :])
        power = sum(v.power * s for v, s in zip(values, sizes, strict=True)) / sum(sizes)
        return self.node("Concat", values, shape, attributes={"axis": axis}, power=power, name=name, output=output)

    def split(self, x: Value, sizes: Sequence[int], axis: int = 1, *, name: str = "", shared: str = "") -> list[Value]:
        """Adds a Split into parts of the given sizes, read from the initializer `shared` when one is named."""
        shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
        inputs: list[Value | str] = [x, shared or self.constant(sizes)]
        return self.nodes("Split", inputs, shapes, attributes={"axis": axis}, power=x.power, name=name)

    def slice(self, x: Value, axis: int, start: int, stop: int, step: int = 1) -> Value:
        """Adds a Slice of one axis."""
        shape = (*x.shape[:axis], len(range(x.shape[axis])[start:stop:step]), *x.shape[axis + 1 :])
        inputs: list[Value | str] = [x, *(self.constant([number]) for number in (start, stop, axis, step))]
        return self.node("Slice", inputs, shape, power=x.power)

    def reshape(self, x: Value, shape: Sequence[int], *, name: str = "", output: str = "") -> Value:
        """Adds a Reshape to a static shape."""
        return self.node("Reshape", [x, self.constant(shape)], tuple(shape), power=x.power, name=name, output=output)

    def flatten(self, x: Value) -> Value:
        """Adds a Flatten from axis 1."""
        return self.node("Flatten", [x], (x.shape[0], int(np.prod(x.shape[1:]))), power=x.power)

    def transpose(self, x: Value, perm: Sequence[int], *, name: str = "", output: str = "") -> Value:
        """Adds a Transpose."""
        shape = tuple(x.shape[axis] for axis in perm)
        return self.node("Transpose", [x], shape, attributes={"perm": perm}, power=x.power, name=name, output=output)

    def pool(self, op: str, x: Value, window: Window, *, name: str = "") -> Value:
        """Adds a MaxPool or AveragePool; opset 18 and older AveragePool has no dilation, so none is written for it."""
        attributes = window.attributes()
        if op == "AveragePool":
            del attributes["dilations"]
        shape = (*x.shape[:2], *window.output(x.spatial))
        return self.node(op, [x], shape, attributes=attributes, power=x.power, name=name)

    def pad(self, x: Value, amount: int, *, mode: str = "constant") -> Value:
        """Adds a Pad of both spatial axes by the same amount on all sides."""
        shape = (*x.shape[:2], *(s + 2 * amount for s in x.spatial))
        inputs: list[Value | str] = [x, self.constant([0, 0, amount, amount] * 2)]
        return self.node("Pad", inputs, shape, attributes={"mode": mode}, power=x.power)

    def global_pool(self, x: Value) -> Value:
        """Adds a GlobalAveragePool; half of the input's power is taken to be common to all positions."""
        return self.node("GlobalAveragePool", [x], (*x.shape[:2], 1, 1), power=x.power / 2)

    def upsample(self, x: Value, *, by_sizes: bool = False, name: str = "") -> Value:
        """Adds a Resize, nearest, by 2 in both directions, with scales or with the output's sizes."""
        shape = (*x.shape[:2], *(2 * s for s in x.spatial))
        factors = ["", self.constant(shape)] if by_sizes else [self.constant(np.array([1, 1, 2, 2], np.float32))]
        inputs: list[Value | str] = [x, "", *factors]
        attributes: dict[str, Attribute] = {
            "coordinate_transformation_mode": "asymmetric",
            "mode": "nearest",
            "nearest_mode": "floor",
        }
        return self.node("Resize", inputs, shape, attributes=attributes, power=x.power, name=name)

    def draw_bias(self, channels: int) -> NDArray[np.float32]:
        """A small random bias of shape [channels]."""
        return np.float32(0.1) * self.rng.standard_normal(channels, dtype=np.float32)
