"""Weights in codes of few bits: log-scale, additive powers of two or uniform, packed so that the file is small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import onnx_graphsurgeon as gs

from yocc.analysis.heads import final_layers, first_layers
from yocc.analysis.layouts import can_sample
from yocc.analysis.stored import StoredLayer, stored_layer
from yocc.analysis.walk import Sampling, walk
from yocc.compiler.graph import Graph, clone, skeleton, weight_bytes
from yocc.compiler.pipeline.columns import Column
from yocc.compiler.pipeline.foreseen import Foreseen, unknown
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.errors import CalibrationError, OptionError
from yocc.fitting.choices import Choice, choose
from yocc.fitting.codec import MOST_BITS, Codec
from yocc.fitting.moments import Moments
from yocc.fitting.rounding import choose_scales, output_error, refit_scales, round_jointly, round_nearest
from yocc.fitting.rows import best_bias, best_weight, damped_covariance
from yocc.passes.encode.codes import codec_named, codecs_named, parse_codec
from yocc.passes.encode.lowering import Decoders
from yocc.passes.encode.repeats import store_once

Array = np.ndarray[Any, Any]
DEFAULT_BITS = 4
RIDGE = 0.1
"""Pull towards the weights there were, as a share of the inputs' mean variance."""
SMALL = 0.05
"""Share of all weights that the smallest layers may hold which are given more bits."""
_ROW_BYTES = 8
"""Bytes of a scale and a bias."""
_DECODER_BYTES = 1200
"""Bytes of the operators that decode one weight, at most."""
_TABLE_BYTES = 16000
"""Bytes of the tables all weights share, at most."""


@dataclass(frozen=True, kw_only=True)
class Encode(Pass):
    """Store weights in codes of few bits.

    Attributes:
        code: the levels: `log2` signed powers of two, `apot` sums of powers of two, `uniform` integers, or a plugin's.
        bits: bits of a code; None for 4, or for what `size` allows.
        wide: bits in the first layer, the last layers, and the smallest layers, which together hold up to a twentieth
            of the weights; only with `bits`.
        size: largest size of the result as a share of the model in float32; chooses the bits of each layer.
        rounding: `nearest` rounds each weight on its own; `gram` lets rounding errors compensate each other, measured
            on pictures.
        packed: store packed codes; if false, weights are only rounded.
        pictures: most pictures to use.
        points: positions sampled in each layer and picture.
    """

    name: ClassVar[str] = "encode"
    summary: ClassVar[str] = "store weights in codes of 2 to 8 bits, log-scale or uniform, packed"
    columns: ClassVar[tuple[Column, ...]] = (Column("bits", "Bits", "Bits of one code of its weight"),)

    code: str = "log2"
    bits: int | None = None
    wide: int | None = None
    size: float | None = None
    rounding: Literal["nearest", "gram"] = "gram"
    packed: bool = True
    pictures: int = 48
    points: int = 256

    @classmethod
    def parse(cls, text: str) -> Self:
        """The pass for `code:bits` or `code:share`, such as `log2:4` or `log2:0.2`.

        With a number of bits, the first, the last and the smallest layers have 8, if the code has as many.

        Raises:
            OptionError: it cannot be read, or there is no such code.
        """
        code, _, amount = text.partition(":")
        if "." not in amount:
            codec = parse_codec(text)
            wide = MOST_BITS if codec.bits < MOST_BITS and MOST_BITS in codecs_named(codec.name) else cls.wide
            return cls(code=codec.name, bits=codec.bits, wide=wide)
        codecs_named(code)
        try:
            share = float(amount)
        except ValueError:
            raise OptionError(f"{text!r} is not a weight code.", "Write it like log2:4 or log2:0.2.") from None
        return cls(code=code, size=share)

    def __post_init__(self) -> None:
        if self.size is None or self.bits is not None:
            codec_named(self.code, DEFAULT_BITS if self.bits is None else self.bits)
        else:
            codecs_named(self.code)
        if self.bits is not None and self.size is not None:
            raise OptionError("A size chooses the bits of each layer.", "Give either bits or size.")
        if self.wide is not None:
            codec_named(self.code, self.wide)
            if self.bits is None or self.wide < self.bits:
                raise OptionError(
                    f"The first, last and small layers cannot have {self.wide} bits where others have {self.bits}.",
                    "Give bits, and wide ones that are not fewer.",
                )
        if self.size is not None and not 0 < self.size < 1:
            raise OptionError(f"A size of {self.size:g} is out of range.", "Use a number between 0 and 1, such as 0.2.")
        if self.pictures < 1 or self.points < 1:
            raise OptionError("Rounding needs at least one picture and one point.", "Use 1 or more of each.")

    def requires(self, graph: Graph, ctx: PassContext) -> None:  # noqa: ARG002 # the protocol's
        """Rounding that makes up for errors needs pictures to see them on."""
        if self.rounding != "nearest" and (ctx.feeds is None or len(ctx.feeds) == 0):
            raise CalibrationError(
                "Weights are rounded on pictures.", "Give a folder with --calib, or rounding=nearest."
            )

    def foresee(self, graph: Graph, ctx: PassContext, *, exact: bool) -> Foreseen:
        """The bits of each layer, which are given or follow from the weights."""
        if self.size is not None and not exact:
            return unknown("bits are chosen when it runs, in what earlier passes leave")
        codecs = self._codecs(graph, _layers(graph, ctx)[0], ctx)
        layers = {name: {"bits": codec.bits} for name, codec in codecs.items()}
        later = "weights are rounded when it runs"
        return Foreseen(PassResult(layers=layers, figures={"code": self.code}), done=False, later=later)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Choose bits, round layer after layer, pack."""
        if self.packed:
            store_once(graph)
        layers, sharing = _layers(graph, ctx)
        lookups = _lookups(layers)
        _note_left_out(graph, layers, lookups, ctx)
        codecs = self._codecs(graph, layers, ctx)
        rounded: dict[str, tuple[Array, Array]] = {}
        figures = {}
        sampled = {name: layer for name, layer in layers.items() if name not in sharing and self._samples(layer)}
        for name in layers.keys() - sampled.keys():
            rounded[name] = _without_pictures(layers[name], codecs[name])
        if sampled and ctx.feeds is not None:
            layouts = {name: layer.layout for name, layer in sampled.items()}
            sampling = Sampling(self.pictures, self.points)
            for node, moments in walk(graph, clone(graph), layouts, ctx.feeds, ctx, sampling):
                layer = sampled[node.name]
                rounded[node.name], figures[node.name] = _on_pictures(layer, codecs[node.name], moments)
        if self.packed:
            _pack(graph, layers, codecs, rounded)
            for name, readers in lookups.items():
                for reader in readers:
                    reader.inputs[0] = layers[name].node.inputs[1]
        for name, others in sharing.items():
            for node in others:
                node.inputs[1] = layers[name].node.inputs[1]
        by_layer = {name: {"bits": codecs[name].bits, **figures.get(name, {})} for name in layers}
        return PassResult(len(layers), {"code": self.code}, by_layer)

    def _samples(self, layer: StoredLayer) -> bool:
        return self.rounding == "gram" and layer.has_bias() and can_sample(layer.node, layer.layout.shape)

    def _codecs(self, graph: Graph, layers: Mapping[str, StoredLayer], ctx: PassContext) -> dict[str, Codec]:
        """A codec for each layer."""
        coded = {name for name, layer in layers.items() if layer.weight is not None}
        if self.size is None:
            codec = codec_named(self.code, self.bits or DEFAULT_BITS)
            if coded and not codec.fits_int8:
                raise OptionError(
                    f"{codec.spec} has levels that int8 does not hold.",
                    "Use fewer bits or uniform codes, or leave int8 out.",
                )
            found = dict.fromkeys(layers, codec)
            if self.wide is not None:
                # What is int8 already has codes that suit it.
                wide, whole = codec_named(self.code, self.wide), codec_named("uniform", MOST_BITS)
                found |= {name: whole if name in coded else wide for name in _worth_more(graph, layers)}
            return found
        widths = codecs_named(self.code)
        options = {
            name: [
                Choice(bits, bits * layer.rows().size / 8, _relative_error(layer, codec))
                for bits, codec in widths.items()
                if codec.fits_int8 or name not in coded
            ]
            for name, layer in layers.items()
        }
        budget = self._budget(graph, layers)
        bits = choose(options, budget)
        spent = sum(bits[name] * layer.rows().size / 8 for name, layer in layers.items())
        if spent > budget:
            ctx.note(
                f"Even {min(widths)} bits take more than the share {self.size:g} of the model.",
                level="warning",
            )
        return {name: widths[bits[name]] for name in layers}

    def _budget(self, graph: Graph, layers: Mapping[str, StoredLayer]) -> float:
        """Bytes that codes may take: the share of the float32 model, less what is no code."""
        held = float(weight_bytes(graph) + int(skeleton(graph).ByteSize()))
        weights = full = rows = 0.0
        for layer in layers.values():
            size = layer.rows().size
            weights += size * (4 if layer.weight is None else 1)
            full += size * 4
            rows += layer.layout.shape[layer.layout.axis] * _ROW_BYTES + _DECODER_BYTES
        rest = held - weights
        return (self.size or 0.0) * (rest + full) - rest - rows - _TABLE_BYTES


def _layers(graph: Graph, ctx: PassContext) -> tuple[dict[str, StoredLayer], dict[str, list[gs.Node]]]:
    """Layers by name, one for each weight, and the other readers of a weight that layers share.

    A shared weight is rounded to nearest and stored once: fitted to each of its readers it would take more room.
    """
    layers: dict[str, StoredLayer] = {}
    sharing: dict[str, list[gs.Node]] = {}
    first: dict[tuple[str, int], str] = {}
    for node in graph.nodes:
        found = stored_layer(node)
        if isinstance(found, StoredLayer):
            key = (node.inputs[1].name, found.layout.axis)
            if key in first:
                sharing.setdefault(first[key], []).append(node)
                continue
            first[key] = node.name
            layers[node.name] = found
        elif found != "it has no weight":
            ctx.note(f"Weight not encoded: {found}.", node=node.name)
    return layers, sharing


def _lookups(layers: Mapping[str, StoredLayer]) -> dict[str, list[gs.Node]]:
    """The lookups that read the weight of a layer, as embeddings tied to the last layer do, by the layer's name."""
    weights = {name: layer.node.inputs[1] for name, layer in layers.items() if layer.weight is None}
    return {
        name: [node for node in weight.outputs if node.op == "Gather" and node.inputs[0] is weight]
        for name, weight in weights.items()
    }


def _note_left_out(
    graph: Graph, layers: Mapping[str, StoredLayer], lookups: Mapping[str, list[gs.Node]], ctx: PassContext
) -> None:
    """Say so where most of the weights are not those of layers: of recurrences and embeddings, for example."""
    coded = {tensor.name for layer in layers.values() for tensor in layer.node.inputs[1:2]}
    readers = {node.name for found in lookups.values() for node in found}
    left = {
        tensor.name: (int(np.prod(tensor.shape)), node)
        for node in graph.nodes
        if node.name not in readers
        for tensor in node.inputs
        if isinstance(tensor, gs.Constant) and tensor.name not in coded and _is_weight(tensor)
    }
    sizes = [size for size, _ in left.values()]
    held = sum(sizes) + sum(layer.rows().size for layer in layers.values())
    if sum(sizes) > held / 2:
        node = max(left.values(), key=lambda each: each[0])[1]
        ctx.note(
            f"{sum(sizes) / held:.0%} of the weights stay as they are: codes are for Conv, ConvTranspose, Gemm and "
            f"MatMul, and {node.name!r} is a {node.op}. --int8 or --fp16 may store them smaller.",
            level="warning",
        )


def _is_weight(tensor: gs.Constant) -> bool:
    return len(tensor.shape) > 1 and tensor.dtype in (np.float32, np.float16)


def _worth_more(graph: Graph, layers: Mapping[str, StoredLayer]) -> set[str]:
    """Names of the first and last layers, whose errors count most, and of the smallest, whose bits cost least."""
    found = {node.name for node in (*first_layers(graph), *final_layers(graph))} & layers.keys()
    sizes = {name: layer.rows().size for name, layer in layers.items()}
    left = SMALL * sum(sizes.values())
    for name in sorted(sizes.keys() - found, key=lambda name: (sizes[name], name)):
        left -= sizes[name]
        if left < 0:
            break
        found.add(name)
    return found


def _relative_error(layer: StoredLayer, codec: Codec) -> float:
    """Squared error of rounding as a share of the weight's power."""
    rows = layer.rows()
    power = float(np.square(rows).sum())
    scales = choose_scales(rows, codec, np.ones(rows.shape[1]))
    error = float(np.square(codec.nearest(rows / scales[:, None]) * scales[:, None] - rows).sum())
    return error / power if power else 0.0


def _without_pictures(layer: StoredLayer, codec: Codec) -> tuple[Array, Array]:
    rows, bias = layer.rows(), layer.bias_values()
    scales = choose_scales(rows, codec, np.ones(rows.shape[1]), layer.least_scales(bias))
    levels = round_nearest(rows, scales, codec)
    layer.set_weight(levels, scales)
    if layer.bias is not None:
        layer.set_bias(bias, scales)
    return levels, scales


def _on_pictures(layer: StoredLayer, codec: Codec, moments: Moments) -> tuple[tuple[Array, Array], dict[str, float]]:
    covariance = damped_covariance(moments.inputs, RIDGE)
    wanted = best_weight(moments, layer.rows(), covariance)
    floor = layer.least_scales(layer.bias_values())
    scales = choose_scales(wanted, codec, np.diag(covariance), floor)
    plain = round_nearest(wanted, scales, codec) * scales[:, None]
    levels = round_jointly(wanted, scales, codec, covariance)
    scales = np.maximum(refit_scales(wanted, levels, scales, covariance), floor)
    found = levels * scales[:, None]
    power = max(output_error(wanted, covariance), 1e-30)
    layer.set_weight(levels, scales)
    layer.set_bias(best_bias(moments, found), scales)
    errors = {
        "error_nearest": output_error(plain - wanted, covariance) / power,
        "error": output_error(found - wanted, covariance) / power,
    }
    return (levels, scales), errors


def _pack(
    graph: Graph,
    layers: Mapping[str, StoredLayer],
    codecs: Mapping[str, Codec],
    rounded: Mapping[str, tuple[Array, Array]],
) -> None:
    decoders = Decoders(graph)
    for number, (name, layer) in enumerate(layers.items()):
        levels, scales = rounded[name]
        codec = codecs[name]
        # Long names, which exporters like, would take a tenth of a small file.
        prefix = f"yocc/{number}"
        if layer.weight is not None:
            if codec.bits < MOST_BITS:
                codes = layer.layout.weight(codec.encode(levels))
                layer.weight.inputs[0] = decoders.decoded(prefix, codes, codec, np.int8)
            continue
        codes = layer.layout.weight(codec.encode(levels))
        decoded = decoders.decoded(prefix, codes, codec, np.float32)
        layer.node.inputs[1] = decoders.scaled(prefix, decoded, scales, layer.layout.axis)
