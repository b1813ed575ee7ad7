"""TensorRT as a target: what it supports, rejects and writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from yocc.compiler.graph import Graph, save
from yocc.compiler.graph.operators import WEIGHTED
from yocc.compiler.pipeline.target import Reject, Target, TensorScheme
from yocc.runtime.backends.backend import Artifact, Backend, Check, Session, read_count
from yocc.runtime.backends.examples import Example, example_of
from yocc.runtime.backends.tensorrt.files import MODEL_FILE, RUNNER_FILE, runner_text, write_script
from yocc.runtime.backends.tensorrt.lints import lint
from yocc.runtime.backends.tensorrt.options import (
    NAME,
    OPTIONS,
    TensorRtTarget,
    close_inputs,
    profiles,
    read_level,
    read_plugins,
    read_shapes,
    settings_of,
)
from yocc.runtime.backends.tensorrt.probe import find_device
from yocc.runtime.backends.tensorrt.session import obstacle, open_session
from yocc.runtime.backends.tensorrt.verification import verify

LEAST_CHANNELS = 16
"""Below it int8 kernels pad more than they compute."""


class TensorRtBackend(Backend):
    """Strongly typed ONNX for TensorRT 10.12 and newer."""

    name = NAME
    summary = "TensorRT for NVIDIA GPUs: typed ONNX in fp32, fp16 and int8, with the line that builds the engine."
    options: ClassVar[Mapping[str, str]] = OPTIONS

    def device(self, options: Mapping[str, str]) -> str:  # noqa: ARG002 # no option chooses it
        """The GPU that engines are built and timed on, or why there is none."""
        return obstacle() or str(find_device())

    def target(self, options: Mapping[str, str]) -> TensorRtTarget:
        """Symmetric int8 inputs of layers and residual additions, one scale across operators that move values."""
        self.check_options(options)
        return TensorRtTarget(
            name=self.name,
            # The first with fp16 scales.
            opset=19,
            channel_multiple=read_count(self.name, "channel_multiple", options.get("channel_multiple", "8")),
            activations=TensorScheme(bits=8, signed=True, symmetric=True),
            weights=TensorScheme(bits=8, signed=True, symmetric=True, per_channel=True),
            placement="inputs",
            bias="float",
            int8_ops=frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"}),
            shared_scale_ops=frozenset({"Concat", "MaxPool", "Resize"}),
            scale_sharing="connected",
            # Bytes may enter and leave a network, and nothing but a Cast may read them.
            uint8_input="converted",
            added_inputs="quantize",
            least_channels=LEAST_CHANNELS,
            rest_is_fp16=True,
            skips_zeros=True,
            last_layers_fp16=True,
            suppression="efficient_nms",
            # Int8 constants may be read by DequantizeLinear only, and recurrent layers take constants only.
            decoded_weights=frozenset({"Gather", *WEIGHTED}),
            decoder="dequantize",
            # As its documentation says of TopK.
            most_ranked=3840,
            workspace=read_count(self.name, "workspace", options.get("workspace", "1024")),
            optimization_level=read_level(options.get("optimization_level", "3")),
            smallest=read_shapes("min_shapes", options.get("min_shapes")),
            usual=read_shapes("opt_shapes", options.get("opt_shapes")),
            largest=read_shapes("max_shapes", options.get("max_shapes")),
            plugins=read_plugins(options.get("plugins")),
        )

    def close_inputs(
        self, options: Mapping[str, str], graph: Graph, stated: Mapping[str, tuple[int, ...]]
    ) -> tuple[Mapping[str, str], Mapping[str, tuple[int, ...]]]:
        """`opt_shapes` and the stated shapes of inputs that are open beyond the batch."""
        return close_inputs(options, graph, stated)

    def validate(self, graph: Graph, target: Target) -> list[Reject]:
        """Every rule of the parser, and whether ranges of dynamic shapes are known."""
        own = target.plugins if isinstance(target, TensorRtTarget) else ()
        return [*lint(graph, own), *profiles(graph, target)[1]]

    def build(self, graph: Graph, target: Target, folder: Path) -> Artifact:
        """Write the model and the command that builds its engine."""
        save(graph, folder / MODEL_FILE)
        script = write_script(folder, settings_of(graph, target))
        return Artifact(self.name, folder, folder / MODEL_FILE, (script,))

    def example(self, artifact: Artifact) -> Example:  # noqa: ARG002 # all artifacts run alike
        """Runs the engine through NVIDIA's driver."""
        return example_of(self.name, "tensorrt numpy pillow", files={RUNNER_FILE: runner_text()})

    def substitute(self, target: Target) -> str:  # noqa: ARG002 # whether an engine can be built is a matter of the machine
        """Why no engine can be built here."""
        return obstacle() or ""

    def session(self, artifact: Artifact, *, threads: int | None = None, optimize: bool = True) -> Session:
        """With a GPU and `tensorrt`, build the engine and check it against onnxruntime; otherwise use onnxruntime."""
        return open_session(artifact, self.target(artifact.options), threads=threads, optimize=optimize)

    def verify(self, artifact: Artifact, *, thorough: bool = True) -> tuple[Check, ...]:
        """The rules on the written file, NVIDIA's parser and builder, and with a GPU the engine."""
        return verify(artifact, self.target(artifact.options), thorough=thorough)
