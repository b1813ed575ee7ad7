"""ncnn as a target: what it supports, rejects and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.graph.types import numpy_type
from yocc.compiler.pipeline.target import Reject, Target, TensorScheme
from yocc.errors import BackendError, OptionError
from yocc.runtime.backends.backend import Artifact, Backend, Session, read_count
from yocc.runtime.backends.examples import Example, example_of
from yocc.runtime.backends.ncnn.decoding import Cut, cut_heads
from yocc.runtime.backends.ncnn.description import Description, Port, read_description
from yocc.runtime.backends.ncnn.detections import BLOB, LAYOUT, with_one_output
from yocc.runtime.backends.ncnn.format import Network, write_bin, write_param
from yocc.runtime.backends.ncnn.lowering import Lowered, Refusal, lower
from yocc.runtime.backends.ncnn.rules import RULES
from yocc.runtime.backends.ncnn.session import NcnnSession
from yocc.runtime.backends.ncnn.splitting import sound_name

PARAM_FILE = "model.param"
WEIGHTS_FILE = "model.bin"


@dataclass(frozen=True)
class NcnnTarget(Target):
    """A target with ncnn's two options.

    Attributes:
        head: `decoded` keeps the whole graph, `raw` cuts at the detection convolutions.
        input_size: height and width for dynamic inputs.
    """

    head: Literal["decoded", "raw"] = "decoded"
    input_size: tuple[int, int] | None = None


class NcnnBackend(Backend):
    """ncnn's `.param` and `.bin`."""

    name = "ncnn"
    summary = "ncnn for phones and boards: .param and .bin in float32, float16 or int8."
    options: ClassVar[Mapping[str, str]] = {
        "head": "decoded (default), or raw: cut at the detection convolutions",
        "input_size": "height x width of an input that leaves them open, such as 640 or 480x640",
        "channel_multiple": "pruned channel counts are multiples of this (default 8)",
    }

    def available(self) -> str | None:
        """Writing needs no ncnn, but judging what was written does."""
        try:
            import ncnn  # noqa: F401 # only whether it imports matters
        except ImportError as error:
            return f"ncnn does not import ({error}); install it with: pip install 'yocc[ncnn]'"
        return None

    def target(self, options: Mapping[str, str]) -> NcnnTarget:
        """Symmetric int8 inputs of convolutions; per-channel scales for weights, one scale per activation."""
        self.check_options(options)
        return NcnnTarget(
            name=self.name,
            opset=13,
            channel_multiple=read_count(self.name, "channel_multiple", options.get("channel_multiple", "8")),
            activations=TensorScheme(bits=8, signed=True, symmetric=True),
            weights=TensorScheme(bits=8, signed=True, symmetric=True, per_channel=True),
            placement="inputs",
            other_readers="float",
            bias="float",
            int8_ops=frozenset({"Conv", "Gemm"}),
            # Values are moved in float, so each layer's input has a scale of its own.
            shared_scale_ops=frozenset(),
            grouped="float",
            # Mat::from_pixels converts bytes before the network sees them.
            uint8_input="none",
            suppression="detection_output",
            most_ranked=0,
            decoded_weights=frozenset(),
            head=_head(options.get("head", "decoded")),
            input_size=_input_size(options.get("input_size")),
        )

    def close_inputs(
        self, options: Mapping[str, str], graph: Graph, stated: Mapping[str, tuple[int, ...]]
    ) -> tuple[Mapping[str, str], Mapping[str, tuple[int, ...]]]:
        """`input_size` and the height and width of stated shapes.

        Raises:
            OptionError: both are given and differ.
        """
        size = _input_size(options.get("input_size"))
        opened = {tensor.name: tensor.shape for tensor in graph.inputs if _is_open_picture(tensor.shape)}
        wanted = {stated[name][2:] for name in opened if name in stated}
        if size is None:
            height, width = next(iter(wanted)) if len(wanted) == 1 else (0, 0)
            return ({**options, "input_size": f"{height}x{width}"} if height and width else options), stated
        if wanted - {size}:
            raise OptionError(
                f"The option 'input_size' of target 'ncnn' is {options['input_size']}, and --input-shape states "
                f"{'x'.join(map(str, next(iter(wanted - {size}))))}.",
                "Leave one of them out.",
            )
        return options, {**{name: _closed(shape, size) for name, shape in opened.items()}, **stated}

    def validate(self, graph: Graph, target: Target) -> list[Reject]:
        """Lower it without keeping the result."""
        return list(_lower(graph, target).lowered.rejects)

    def advise(self, graph: Graph, target: Target) -> tuple[str, ...]:
        """Whether int8 pays: around Swish every value is dequantized and quantized again."""
        made = _lower(graph, target)
        lowered = made.lowered
        layers = () if lowered.network is None else lowered.network.layers
        int8 = [layer for layer in layers if layer.parameters.get(8, 0) and layer.data]
        swish = sum(1 for layer in layers if layer.type == "Swish")
        if not int8 or 2 * swish < len(int8):
            return ()
        return (
            f"ncnn computes {len(int8)} layers in int8 but {swish} Swish activations between them in float, so int8 "
            "saves size and little time; --fp16 is often faster on ARM, and ReLU or HardSwish in training would let "
            "layers pass int8 on.",
        )

    def build(self, graph: Graph, target: Target, folder: Path) -> Artifact:
        """Write the network and its description.

        Raises:
            BackendError: it cannot be lowered.
        """
        made = _lower(graph, target)
        network = made.lowered.network
        if network is None:
            reject = made.lowered.rejects[0]
            raise BackendError(f"ncnn cannot take the model: {reject.reason}.", reject.hint, reject.node)
        if made.cut is not None:
            network = _any_size(network)
        (folder / PARAM_FILE).write_text(write_param(network), encoding="utf-8")
        (folder / WEIGHTS_FILE).write_bytes(write_bin(network))
        description = _describe(graph, made, network)
        others = (folder / WEIGHTS_FILE, description.write(folder))
        own = {"layout": LAYOUT, "outputs": [BLOB]} if description.detections else description.raw
        return Artifact(self.name, folder, folder / PARAM_FILE, others, shapes=made.shapes_of(graph), decode=own)

    def example(self, artifact: Artifact) -> Example:
        """Loads the network and names its blobs."""
        return example_of(self.name, "ncnn numpy pillow", half=read_description(artifact.folder).half)

    def session(self, artifact: Artifact, *, threads: int | None = None, optimize: bool = True) -> Session:
        """Load it with the ncnn wheel."""
        return NcnnSession(artifact.model, threads=threads, optimize=optimize)


@dataclass(frozen=True)
class _Made:
    lowered: Lowered
    shapes: Mapping[str, tuple[int, ...]]
    cut: Cut | None = None
    suppresses: bool = False

    def shapes_of(self, graph: Graph) -> dict[str, tuple[int, ...]]:
        """Shape of each input it was lowered with."""
        return {tensor.name: self.shapes[tensor.name] for tensor in graph.inputs}


def _lower(graph: Graph, target: Target) -> _Made:
    head = target.head if isinstance(target, NcnnTarget) else "decoded"
    size = target.input_size if isinstance(target, NcnnTarget) else None
    wrong = [reject for tensor in graph.inputs for reject in _judge_input(tensor, size)]
    if wrong:
        return _Made(Lowered(None, tuple(wrong)), {})
    given = {tensor.name: _closed(tensor.shape, size) for tensor in graph.inputs}
    try:
        shapes = concrete_shapes(graph, given)
        cut = cut_heads(graph, shapes) if head == "raw" else None
    except Refusal as refusal:
        return _Made(Lowered(None, (Reject(graph.name, refusal.reason, refusal.hint),)), {})
    suppressing = with_one_output(graph) if cut is None else None
    network = graph if cut is None else cut.graph
    lowered = lower(suppressing or network, shapes, RULES)
    return _Made(lowered, shapes.shapes, cut, suppressing is not None)


def _judge_input(tensor: gs.Tensor, size: tuple[int, int] | None) -> list[Reject]:
    name, shape, dtype = tensor.name, tensor.shape, tensor.dtype
    bytes_cast = dtype == np.uint8 and all(reader.op == "Cast" for reader in tensor.outputs)
    if not bytes_cast and (dtype is None or np.dtype(dtype) != np.float32):
        hint = "Export it with float32 inputs, or uint8 that only a Cast to float32 reads, or use --target onnxruntime."
        what = "of no known type" if dtype is None else numpy_type(dtype).name
        return [Reject(name, f"ncnn takes float32, and this input is {what}", hint)]
    if shape is None:
        return [Reject(name, "the number of axes of this input is open", "Export it with a shape.")]
    open_axes = [axis for axis, dim in enumerate(shape) if axis and not (isinstance(dim, int) and dim > 0)]
    if open_axes and (size is None or len(shape) != 4 or 1 in open_axes):
        return [Reject(name, f"its shape {list(shape)} is open", "Give it with -O input_size=640.")]
    return []


def _is_open_picture(shape: list[int | str | None] | None) -> bool:
    return shape is not None and len(shape) == 4 and not all(isinstance(dim, int) and dim > 0 for dim in shape[2:])


def _closed(shape: list[int | str | None], size: tuple[int, int] | None) -> tuple[int, ...]:
    wanted = (1, 0, *(size or (0, 0)))
    known = [dim if isinstance(dim, int) and dim > 0 else None for dim in shape]
    return tuple(dim if dim is not None else wanted[axis] for axis, dim in enumerate(known))


def _any_size(network: Network) -> Network:
    """Without the input's size, as every layer of a cut detector accepts any."""
    return Network(tuple(replace(layer, parameters={}) if layer.type == "Input" else layer for layer in network.layers))


def _describe(graph: Graph, made: _Made, network: Network) -> Description:
    inputs = tuple(_port(tensor.name, made.shapes[tensor.name], tensor.dtype) for tensor in graph.inputs)
    known = {tensor.name: tuple(tensor.shape) for tensor in graph.outputs} if made.suppresses else made.shapes
    outputs = tuple(_port(tensor.name, known[tensor.name], tensor.dtype) for tensor in graph.outputs)
    half = any(data.kind == "fp16" for layer in network.layers for data in layer.data)
    if made.suppresses:
        named = tuple(replace(port, blob="") for port in outputs)
        return Description(inputs, named, half, detections=BLOB)
    if made.cut is None:
        return Description(inputs, outputs, half)
    free = tuple(replace(port, shape=(1, port.shape[1], None, None)) for port in inputs)
    columns = not made.cut.decode["anchors"]
    found = tuple(
        replace(port, blob="", shape=(1, port.shape[1], None) if columns else (1, None, port.shape[2]))
        for port in outputs
    )
    return Description(free, found, half, made.cut.decode)


def _port(name: str, shape: tuple[int, ...], dtype: object) -> Port:
    return Port(name, sound_name(name), shape, np.dtype(dtype).name)  # type: ignore[call-overload] # a type


def _head(text: str) -> Literal["decoded", "raw"]:
    if text == "decoded":
        return "decoded"
    if text == "raw":
        return "raw"
    raise OptionError(f"The option 'head' of target 'ncnn' cannot be {text!r}.", "Use decoded or raw.")


def _input_size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    sides = [read_count("ncnn", "input_size", side) for side in text.split("x")]
    if len(sides) > 2:
        raise OptionError(f"The option 'input_size' of target 'ncnn' cannot be {text!r}.", "Use 640 or 480x640.")
    return sides[0], sides[-1]
