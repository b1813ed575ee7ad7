"""OpenVINO on x86 and ARM processors: an IR beside the ONNX, int8 where its CPU plugin fuses it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx

from yocc.compiler.graph import PROTOBUF_LIMIT, Graph, clone, save, weight_bytes
from yocc.compiler.graph.operators import WEIGHTED
from yocc.compiler.pipeline.passes import Arrays
from yocc.compiler.pipeline.target import Reject, Target, TensorScheme
from yocc.errors import BackendError, BackendUnavailable, OptionError
from yocc.runtime.backends.backend import Artifact, Backend, Session, TensorSpec, quantizes_last_layers, read_count
from yocc.runtime.backends.byte_inputs import quantize_bytes
from yocc.runtime.backends.channels_last import move_channels_last
from yocc.runtime.backends.examples import Example, example_of
from yocc.runtime.backends.onnxruntime import cores
from yocc.runtime.backends.plugin_operators import remedy
from yocc.runtime.backends.session_settings import SESSION_FILE, SessionSettings, settings_beside
from yocc.runtime.backends.summed_axes import sum_over_axes
from yocc.runtime.backends.tall_kernels import widen_tall_kernels
from yocc.runtime.backends.undivided import undivide

MODEL_FILE = "model.xml"
WEIGHTS_FILE = "model.bin"
ONNX_FILE = "model.onnx"
_PRECISION = "INFERENCE_PRECISION_HINT"
# Without the second the plugin computes float32 files in bfloat16 where the processor has that.
SETTINGS = SessionSettings("openvino", {"PERFORMANCE_HINT": "LATENCY", _PRECISION: "f32"})
_BY_ITSELF = SessionSettings("openvino", {"PERFORMANCE_HINT": "LATENCY"})
_PRECISIONS = ("f32", "bf16", "f16", "auto")
SETTABLE = frozenset({"PERFORMANCE_HINT", _PRECISION, "NUM_STREAMS", "ENABLE_CPU_PINNING"})

_WITHOUT = "Leave it out, or use --target onnxruntime."
_INSTALL = "Install it with: pip install 'yocc[openvino]'"
_GENERATED_NAME = re.compile(r"[A-Za-z]\w*_\d+")
"""Names OpenVINO makes up hold a counter of the process, which would make two builds of one graph differ."""
_CONVOLUTIONS = frozenset({"Convolution", "Deconvolution"})
_CODES = frozenset({"i8", "u8"})


@dataclass(frozen=True)
class Int8Share:
    """How much of the convolutions of a compiled model computes in int8.

    Attributes:
        layers: convolutions that execute in int8.
        all_layers: all convolutions.
        macs: share of their multiply-accumulates, 0..1; shapes of 1 stand for open dimensions.
        skipped: names of the convolutions that execute in float.
    """

    layers: int
    all_layers: int
    macs: float
    skipped: tuple[str, ...]


class OpenVinoBackend(Backend):
    """OpenVINO IR for its CPU plugin."""

    name = "openvino"
    summary = "OpenVINO IR for Intel and ARM CPUs: uint8 activations in front of layers, int8 weights."
    options: ClassVar[Mapping[str, str]] = {
        "channel_multiple": "pruned channel counts are multiples of this (default 16, as its kernels are)",
        "precision": "of what is not int8: f32 (default), bf16 or f16, or auto, which leaves it to the plugin",
        "last_layers": "layers in front of the decoding: int8 (default), or float, slower and more accurate",
    }

    def available(self) -> str | None:
        """It is an extra of yocc."""
        try:
            import openvino  # noqa: F401 # only whether it imports matters
        except ImportError as error:
            return f"openvino does not import ({error}); install it with: pip install 'yocc[openvino]'"
        return None

    def target(self, options: Mapping[str, str]) -> Target:
        """Pairs on what enters a layer; the plugin itself carries codes through pooling and Concat up to its maker."""
        self.check_options(options)
        _settings(options)
        return Target(
            name=self.name,
            opset=13,
            channel_multiple=read_count(self.name, "channel_multiple", options.get("channel_multiple", "16")),
            activations=TensorScheme(bits=8, signed=False, symmetric=False),
            weights=TensorScheme(bits=8, signed=True, symmetric=True, per_channel=True),
            placement="inputs",
            # A quantized bias is decoded again and added in float32.
            bias="float",
            int8_ops=frozenset({"Conv", "Gemm", "MatMul"}),
            shared_scale_ops=frozenset({"Concat", "MaxPool", "Resize"}),
            last_layers="int8" if quantizes_last_layers(self.name, options) else "float",
            first_weights="half",
            tied_weights="copied",
            # Its recurrent layers take constants only.
            decoded_weights=frozenset({"Gather", *WEIGHTED}),
            rows_of_cells="always",
            faster_than_silu=("gelu", "mixed", "hardswish"),
            own_precision=True,
        )

    def validate(self, graph: Graph, target: Target) -> list[Reject]:  # noqa: ARG002 # nothing depends on the options
        """Operators outside ONNX, and models whose weights one protobuf message cannot hold."""
        rejects = [
            Reject(node.name, f"OpenVINO has no operator {node.op}", remedy(node, _WITHOUT))
            for node in graph.nodes
            if node.domain not in (None, "", "ai.onnx") or not onnx.defs.has(node.op)
        ]
        if weight_bytes(graph) >= PROTOBUF_LIMIT:
            rejects.append(Reject(graph.name, "its weights exceed 2 GiB", "Use --target onnxruntime."))
        return rejects

    def build(self, graph: Graph, target: Target, folder: Path) -> Artifact:  # noqa: ARG002 # nothing depends on the options
        """Write `model.xml` and `model.bin`, and `model.onnx` beside them.

        Raises:
            BackendUnavailable: openvino is not installed.
            BackendError: OpenVINO cannot convert the graph.
        """
        openvino = _runtime()
        path = folder / ONNX_FILE
        graph = clone(graph)
        # The plugin's convolutions write channels last; the usual head takes half the time of a pruned int8 detector.
        move_channels_last(graph, divide=True)
        undivide(graph)
        sum_over_axes(graph)
        quantize_bytes(graph)
        widen_tall_kernels(graph)
        save(graph, path)
        try:
            model = openvino.Core().read_model(str(path))
            _name_alike(model)
            openvino.save_model(model, str(folder / MODEL_FILE), compress_to_fp16=False)
        except Exception as error:  # OpenVINO's exceptions share no base but Exception
            raise BackendError(
                f"OpenVINO cannot convert the model: {_one_sentence(error)}.",
                "Use --target onnxruntime.",
                _blamed(graph, str(error)),
            ) from error
        return Artifact(self.name, folder, folder / MODEL_FILE, (folder / WEIGHTS_FILE, path))

    def example(self, artifact: Artifact) -> Example:
        """Loads the IR with the CPU plugin."""
        written = _settings(artifact.options).text()
        return example_of(self.name, "openvino numpy pillow", files={SESSION_FILE: written})

    def session(self, artifact: Artifact, *, threads: int | None = None, optimize: bool = True) -> Session:
        """Load the IR with the CPU plugin, which fuses and reorders in any case; `optimize` does not reach into it."""
        del optimize
        settings = settings_beside(artifact.model, _settings(artifact.options), SETTABLE)
        return OpenVinoSession(artifact.model, threads=threads, settings=settings)

    def original_session(
        self,
        graph: Graph,
        target: Target,  # noqa: ARG002 # nothing depends on the options
        folder: Path,
        *,
        threads: int | None = None,
    ) -> Session:
        """Without what yocc rewrites and sets for it: in bfloat16 where the plugin prefers that."""
        path = folder / ONNX_FILE
        save(graph, path)
        return OpenVinoSession(path, threads=threads, settings=_BY_ITSELF)


class OpenVinoSession(Session):
    """A model compiled by OpenVINO's CPU plugin, in the precision its file says unless the settings say otherwise.

    Args:
        model: an IR or ONNX file.
        threads: threads to compute with; the processor's cores when None.
        settings: of the plugin.

    Raises:
        BackendUnavailable: openvino is not installed.
        BackendError: it cannot load the model.
    """

    def __init__(self, model: Path, *, threads: int | None = None, settings: SessionSettings = SETTINGS) -> None:
        openvino = _runtime()
        core = openvino.Core()
        config = {**settings.config, "INFERENCE_NUM_THREADS": threads or settings.threads or cores()}
        try:
            read = core.read_model(str(model))
            self._model = core.compile_model(read, "CPU", config)
            self.precision = self._model.get_property(_PRECISION).get_type_name()
            self._request = self._model.create_infer_request()
        except Exception as error:  # OpenVINO's exceptions share no base but Exception
            raise BackendError(
                f"OpenVINO cannot load {model.name!r}: {_one_sentence(error)}.",
                "Compile the model again, or use --target onnxruntime.",
            ) from error
        # Names as in the file: a compiled port bears those of all tensors that became one with it.
        self.inputs = tuple(map(_spec, read.inputs, self._model.inputs))
        self.outputs = tuple(map(_spec, read.outputs, self._model.outputs))

    def run(self, feeds: Arrays) -> Arrays:
        """Run once."""
        self.check_feeds(feeds)
        try:
            found = self._hand_over_outputs()
            # Positions, as a port may bear several names.
            self._request.infer([np.asarray(feeds[spec.name], order="C") for spec in self.inputs], share_inputs=True)
            for index, spec in enumerate(self.outputs):
                if spec.name not in found:
                    # Copied, because the request writes its next results into the same memory.
                    found[spec.name] = np.array(self._request.get_output_tensor(index).data)
            return found
        except Exception as error:  # OpenVINO's exceptions share no base but Exception
            raise BackendError(f"OpenVINO cannot run the model: {_one_sentence(error)}.") from error

    def _hand_over_outputs(self) -> dict[str, np.ndarray[Any, Any]]:
        """New arrays for the results of known size to be written into, which saves copying them."""
        openvino = _runtime()
        found = {}
        for index, spec in enumerate(self.outputs):
            sizes = [size for size in spec.shape if isinstance(size, int)]
            if len(sizes) == len(spec.shape):
                found[spec.name] = np.empty(sizes, spec.dtype)
                self._request.set_output_tensor(index, openvino.Tensor(found[spec.name], shared_memory=True))
        return found

    def close(self) -> None:
        """Free the compiled model."""
        del self._request, self._model

    def execution(self) -> Mapping[str, Any]:
        """How many convolutions really compute in int8."""
        share = self.int8_share()
        return {
            "int8_convolutions": share.layers,
            "convolutions": share.all_layers,
            "int8_macs_share": round(share.macs, 4),
            "float_convolutions": list(share.skipped),
        }

    def int8_share(self) -> Int8Share:
        """Read off the compiled model, not off the file: the plugin decides what it fuses."""
        inside = {True: 0, False: 0}
        layers, left = 0, []
        for operator in self._model.get_runtime_model().get_ordered_ops():
            facts = operator.get_rt_info()
            if facts["layerType"].astype(str) not in _CONVOLUTIONS:
                continue
            quantized = facts["runtimePrecision"].astype(str) in _CODES
            inside[quantized] += _macs(operator)
            layers += 1
            if not quantized:
                left.append(str(operator.get_friendly_name()))
        total = sum(inside.values())
        return Int8Share(layers - len(left), layers, inside[True] / total if total else 0.0, tuple(left))


def _settings(options: Mapping[str, str]) -> SessionSettings:
    """Settings with the precision that is asked for."""
    precision = options.get("precision", "f32")
    if precision not in _PRECISIONS:
        raise OptionError(
            f"The option 'precision' of target 'openvino' cannot be {precision!r}.", "Use f32, bf16, f16 or auto."
        )
    if precision == "auto":
        return _BY_ITSELF
    return replace(SETTINGS, config={**SETTINGS.config, _PRECISION: precision})


def _macs(convolution: Any) -> int:
    """Weights times positions; of a Deconvolution, positions of its input."""
    deconvolution = convolution.get_rt_info()["layerType"].astype(str) == "Deconvolution"
    data = convolution.input(0) if deconvolution else convolution.output(0)
    weights = [_size(dim) for dim in convolution.input(1).get_partial_shape()]
    sizes = [_size(dim) for dim in data.get_partial_shape()]
    return math.prod(weights) * math.prod(sizes[2:]) * sizes[0]


def _size(dimension: Any) -> int:
    return int(dimension.get_length()) if dimension.is_static else 1


def _spec(written: Any, port: Any) -> TensorSpec:
    shape = tuple(int(dim.get_length()) if dim.is_static else None for dim in port.get_partial_shape())
    return TensorSpec(_name(written), shape, np.dtype(port.get_element_type().to_dtype()))


def _name(port: Any) -> str:
    """The name of an input or output; of several that of its operator, which an ONNX output's name begins."""
    own = port.get_node().get_friendly_name().removesuffix("/sink_port_0")
    return str(own if own in port.get_names() else port.get_any_name())


def _name_alike(model: Any) -> None:
    """Number generated names by their place in the model; given ones stay."""
    for place, operator in enumerate(model.get_ordered_ops()):
        name = operator.get_friendly_name()
        if _GENERATED_NAME.fullmatch(name) and name.startswith(operator.get_type_name() + "_"):
            operator.set_friendly_name(f"{operator.get_type_name()}_{place}")


def _one_sentence(error: Exception) -> str:
    """The last line of an error of OpenVINO that says what went wrong, without source files and line breaks."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith(("Exception from", "Check '", "FrontEnd API failed"))]
    if said and said[0].startswith("Model wasn't fully converted"):
        # What stands in the way comes after the headline: a node and why, or operators without a rule.
        at = next((place for place, line in enumerate(said) if line.startswith("While validating")), None)
        said = [" ".join(said[at : at + 2])] if at is not None else [said[-1].lstrip("- ")]
    return " ".join((said or lines or [type(error).__name__])[0].split()).rstrip(". ")


def _blamed(graph: Graph, said: str) -> str:
    """The first node of the operators that an error names as not converted; empty where it names none."""
    ops = {op for line in re.findall(r"^-- (.*)", said, re.MULTILINE) for op in re.findall(r"(\w+)-\d+", line)}
    return next((node.name for node in graph.nodes if node.op in ops), "")


def _runtime() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise BackendUnavailable(f"openvino does not import: {error}.", _INSTALL) from error
    return openvino
