"""The embedded default backend: onnxruntime on the CPU."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx

from yocc.compiler.graph import PROTOBUF_LIMIT, Graph, clone, save
from yocc.compiler.pipeline.passes import Arrays, Executor
from yocc.compiler.pipeline.target import Reject, Target, TensorScheme
from yocc.containment.activity import during
from yocc.errors import BackendError, BackendUnavailable
from yocc.runtime.backends.anchor_products import multiply_anchors, multiply_cells
from yocc.runtime.backends.backend import Artifact, Backend, Session, TensorSpec, quantizes_last_layers, read_count
from yocc.runtime.backends.block_pairs import read_blocks_in_pairs
from yocc.runtime.backends.chosen_products import multiply_chosen
from yocc.runtime.backends.clipping import clip_codes
from yocc.runtime.backends.examples import Example, example_of
from yocc.runtime.backends.in_place import write_in_place
from yocc.runtime.backends.kernels import KernelTime, read_profile
from yocc.runtime.backends.late_joins import join_late
from yocc.runtime.backends.needed import needed
from yocc.runtime.backends.onnxruntime_messages import one_sentence, unloadable
from yocc.runtime.backends.pixel_blocks import read_blocks
from yocc.runtime.backends.plugin_operators import is_plugin, remedy
from yocc.runtime.backends.repeated_pixels import repeat_pixels
from yocc.runtime.backends.session_settings import SESSION_FILE, SessionSettings, settings_beside
from yocc.runtime.backends.unsigned import store_unsigned

MODEL_FILE = "model.onnx"
# Threads that spin after a run take the cores from what comes next: decoding, the next picture, another session.
SETTINGS = SessionSettings("onnxruntime", {"session.force_spinning_stop": "1"})
SETTABLE = frozenset(
    {
        "session.force_spinning_stop",
        "session.intra_op.allow_spinning",
        "session.dynamic_block_base",
        "session.set_denormal_as_zero",
    }
)

COMPUTES_ON_CODES = frozenset(
    {
        "Conv",
        "Gemm",
        "MatMul",
        "Add",
        "Mul",
        "Sigmoid",
        "LeakyRelu",
        "Softmax",
        "AveragePool",
        "GlobalAveragePool",
        "Concat",
        # These vanish into the quantization of their output.
        "Relu",
        "Clip",
    }
)
"""Operators onnxruntime's CPU provider fuses with the Q/DQ around them into one that computes in integers."""

MOVES_CODES = frozenset(
    {
        "MaxPool",
        "Resize",
        "Reshape",
        "Flatten",
        "Transpose",
        "Squeeze",
        "Unsqueeze",
        "Slice",
        "Split",
        "Gather",
        "DepthToSpace",
    }
)
"""Operators that run on codes as they are, provided input and output have one scale."""

_TYPES: Mapping[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(uint16)": np.uint16,
    "tensor(int16)": np.int16,
    "tensor(uint32)": np.uint32,
    "tensor(int32)": np.int32,
    "tensor(uint64)": np.uint64,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
"""Types of tensors that numpy has; bfloat16 and the like are not among them."""


class OnnxRuntimeBackend(Backend):
    """Plain ONNX, with integers where onnxruntime's CPU kernels have them."""

    name = "onnxruntime"
    summary = "ONNX for onnxruntime on CPUs: uint8 activations and int8 weights through the whole graph."
    options: ClassVar[Mapping[str, str]] = {
        "opset": "oldest opset of the written model (default 13, the first with per-channel scales)",
        "channel_multiple": "pruned channel counts are multiples of this (default 8, one vector register)",
        "last_layers": "layers in front of the decoding: int8 (default; where anchors are matrix products), or float",
    }

    def available(self) -> str | None:
        """It comes with yocc; a broken installation is still possible."""
        try:
            import onnxruntime  # noqa: F401 # only whether it imports matters
        except ImportError as error:
            return (
                f"onnxruntime does not import ({error}); reinstall it with: pip install --force-reinstall onnxruntime"
            )
        return None

    def target(self, options: Mapping[str, str]) -> Target:
        """Whole-graph uint8: leaving tensors between operators in float is slower than no quantization at all here."""
        self.check_options(options)
        return Target(
            name=self.name,
            opset=max(13, read_count(self.name, "opset", options.get("opset", "13"))),
            channel_multiple=read_count(self.name, "channel_multiple", options.get("channel_multiple", "8")),
            activations=TensorScheme(bits=8, signed=False, symmetric=False),
            weights=TensorScheme(bits=8, signed=True, symmetric=True, per_channel=True),
            placement="whole_graph",
            bias="int32",
            last_layers="products" if quantizes_last_layers(self.name, options) else "float",
            int8_ops=COMPUTES_ON_CODES | MOVES_CODES,
            shared_scale_ops=MOVES_CODES | {"Concat"},
            first_weights="half",
            fits_pictures=True,
            rows_of_cells="int8",
        )

    def validate(self, graph: Graph, target: Target) -> list[Reject]:  # noqa: ARG002 # nothing depends on the options
        """Plugins of TensorRT, and operators that ONNX lacks.

        Those of other domains are not judged: a library of custom kernels may be loaded where the model runs.
        """
        newest = onnx.defs.onnx_opset_version()
        rejects = [
            Reject(node.name, f"onnxruntime has no operator {node.op}", remedy(node, ""))
            for node in graph.nodes
            if is_plugin(node)
        ]
        rejects += [
            Reject(node.name, f"opset {graph.opset} has no operator {node.op}", "Export the model again.")
            for node in graph.nodes
            if not is_plugin(node)
            and node.domain in (None, "", "ai.onnx")
            and not onnx.defs.has(node.op, max_inclusive_version=graph.opset)
        ]
        if graph.opset > newest:
            rejects.insert(
                0, Reject(graph.name, f"opset {graph.opset} is newer than {newest}", "Export with an older.")
            )
        return rejects

    def build(self, graph: Graph, target: Target, folder: Path) -> Artifact:  # noqa: ARG002 # nothing depends on the options
        """Write `model.onnx`, with `model.onnx.data` beside it when it would pass 2 GiB."""
        path = folder / MODEL_FILE
        graph = clone(graph)
        read_blocks(graph)
        read_blocks_in_pairs(graph)
        repeat_pixels(graph)
        multiply_anchors(graph)
        multiply_chosen(graph)
        multiply_cells(graph)
        write_in_place(graph)
        join_late(graph)
        store_unsigned(graph)  # looks at what activations leave
        clip_codes(graph)
        save(graph, path)
        data = path.with_name(path.name + ".data")
        return Artifact(self.name, folder, path, (data,) if data.exists() else ())

    def example(self, artifact: Artifact) -> Example:  # noqa: ARG002 # all artifacts run alike
        """Loads the model with onnxruntime's CPU provider."""
        return example_of(self.name, "onnxruntime numpy pillow", files={SESSION_FILE: SETTINGS.text()})

    def session(self, artifact: Artifact, *, threads: int | None = None, optimize: bool = True) -> Session:
        """Load the model with onnxruntime's CPU provider."""
        settings = settings_beside(artifact.model, SETTINGS, SETTABLE)
        return OnnxRuntimeSession(artifact.model, threads=threads, optimize=optimize, settings=settings)


class OnnxRuntimeSession(Session):
    """A model loaded by onnxruntime.

    Args:
        model: a file, or a serialized model.
        threads: threads within an operator; the processor's cores when None.
        optimize: False runs operator by operator as the file says, which is the reference.
        settings: of the runtime.

    Attributes:
        left_out: names of onnxruntime's own rewrites that would change what models of a kind compute.

    Raises:
        BackendUnavailable: onnxruntime does not import.
        BackendError: it does not load the model.
    """

    left_out: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int | None = None,
        optimize: bool = True,
        settings: SessionSettings = SETTINGS,
    ) -> None:
        # A model in memory is not kept twice, so only one in a file can be loaded again.
        self._file = None if isinstance(model, bytes) else model
        self._threads, self._optimize, self._settings = threads or settings.threads, optimize, settings
        self._session = self._load(model)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        # onnxruntime gives no dimensions for a scalar and for what has no shape alike; the model tells them apart.
        unknown = frozenset() if all(value.shape for value in [*inputs, *outputs]) else _without_shape(model)
        self.inputs = tuple(_spec(value, unknown) for value in inputs)
        self.outputs = tuple(_spec(value, unknown) for value in outputs)
        self._names = [spec.name for spec in self.outputs]

    def run(self, feeds: Arrays) -> Arrays:
        """Run once."""
        self.check_feeds(feeds)
        return dict(zip(self._names, self._run(self._session, feeds), strict=True))

    def kernels(self, feeds: Arrays, rounds: int, percentile: float = 50) -> tuple[KernelTime, ...]:
        """Where the time goes, from onnxruntime's profiler in a session of its own; nothing of a model in memory."""
        if self._file is None:
            return ()
        self.check_feeds(feeds)
        with tempfile.TemporaryDirectory(prefix="yocc-") as folder:
            session = self._load(self._file, Path(folder) / "profile")
            for _ in range(rounds + 1):
                self._run(session, feeds)
            return read_profile(json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")), percentile)

    def close(self) -> None:
        """Free the runtime's session."""
        del self._session

    def _run(self, session: Any, feeds: Arrays) -> list[Any]:
        try:
            outputs: list[Any] = session.run(self._names, feeds)
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            raise BackendError(f"onnxruntime cannot run the model: {one_sentence(error)}.") from error
        return outputs

    def _load(self, model: Path | bytes, profile: Path | None = None) -> Any:
        runtime = _runtime()
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = self._threads or cores()
        options.inter_op_num_threads = 1
        for name, value in self._settings.config.items():
            options.add_session_config_entry(name, value)
        if not self._optimize:
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        try:
            with during("loading a model in onnxruntime", BackendError.exit_code):
                return runtime.InferenceSession(
                    model if isinstance(model, bytes) else str(model),
                    options,
                    providers=["CPUExecutionProvider"],
                    disabled_optimizers=list(self.left_out),
                )
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            raise unloadable(error) from error


def reference_executor(*, threads: int | None = None, optimize: bool = False) -> Executor:
    """What passes run models with.

    Args:
        threads: as for a session.
        optimize: let the runtime rewrite the graph: faster, and the numbers differ in the last bits.
    """

    def prepare(model: onnx.ModelProto) -> Callable[[Arrays], Arrays]:
        try:
            return session_of(model, threads=threads, optimize=optimize).run
        except BackendError:
            part = needed(model)
            if part is None:
                raise
            return session_of(part, threads=threads, optimize=optimize).run

    return prepare


def session_of(model: onnx.ModelProto, *, threads: int | None = None, optimize: bool = True) -> Session:
    """A session of a model in memory; near 2 GiB, which protobuf cannot serialize, it goes through a temporary file."""
    if _weight_bytes(model) < PROTOBUF_LIMIT:
        return OnnxRuntimeSession(model.SerializeToString(), threads=threads, optimize=optimize)
    with tempfile.TemporaryDirectory(prefix="yocc-") as folder:
        path = Path(folder) / MODEL_FILE
        copy = onnx.ModelProto()
        copy.CopyFrom(model)  # saving empties the weights of what it is given
        onnx.save_model(copy, path, save_as_external_data=True, location=path.name + ".data")
        return OnnxRuntimeSession(path, threads=threads, optimize=optimize)


def cores() -> int:
    """Processor cores this process may use."""
    with contextlib.suppress(AttributeError):  # not on every operating system
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _runtime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise BackendUnavailable(
            f"onnxruntime does not import: {error}.", "Reinstall it with: pip install --force-reinstall onnxruntime"
        ) from error
    return onnxruntime


def _spec(value: Any, unknown: frozenset[str]) -> TensorSpec:
    unknown_type = np.void if value.type.startswith("tensor(") else np.object_
    dtype = np.dtype(_TYPES.get(value.type, unknown_type))
    return TensorSpec(value.name, tuple(value.shape), dtype, open_rank=value.name in unknown)


def _without_shape(model: Path | bytes) -> frozenset[str]:
    """Names of the inputs and outputs for which a model states no shape, not even an empty one."""
    proto = (
        onnx.ModelProto.FromString(model)
        if isinstance(model, bytes)
        else onnx.load_model(model, load_external_data=False)
    )
    ports = [*proto.graph.input, *proto.graph.output]
    return frozenset(port.name for port in ports if not port.type.tensor_type.HasField("shape"))


def _weight_bytes(model: onnx.ModelProto) -> int:
    return sum(len(tensor.raw_data) or 4 * len(tensor.float_data) for tensor in model.graph.initializer)
