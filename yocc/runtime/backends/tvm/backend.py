"""Apache TVM as a target: what it supports, rejects and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx_graphsurgeon as gs

from yocc.compiler.graph import Graph, clone, save, to_proto
from yocc.compiler.graph.shapes import concrete_shapes, is_open
from yocc.compiler.pipeline.target import Reject, Target, TensorScheme
from yocc.errors import BackendUnavailable
from yocc.runtime.backends.backend import Artifact, Backend, Check, Session, read_count
from yocc.runtime.backends.channels_last import move_channels_last
from yocc.runtime.backends.examples import Example, example_of
from yocc.runtime.backends.plugin_operators import remedy
from yocc.runtime.backends.tvm.building import arrange, compile_library
from yocc.runtime.backends.tvm.files import LIBRARY_FILE, ONNX_FILE, Facts, ports, read_facts, write_runner
from yocc.runtime.backends.tvm.limits import misread
from yocc.runtime.backends.tvm.operators import OPERATORS
from yocc.runtime.backends.tvm.processors import find_processor, host_family
from yocc.runtime.backends.tvm.session import ForeignSession, TvmSession
from yocc.runtime.backends.tvm.verification import verify


@dataclass(frozen=True)
class TvmTarget(Target):
    """A target with its processor.

    Attributes:
        mcpu: the processor's name.
    """

    mcpu: str = "host"


class TvmBackend(Backend):
    """Shared libraries for ARM and x86 processors."""

    name = "tvm"
    summary = "Apache TVM for ARM and x86 processors: a shared library with kernels scheduled by yocc."
    options: ClassVar[Mapping[str, str]] = {
        "mcpu": "LLVM's name of the processor, such as cortex-a72 (default: host, this machine)",
        "channel_multiple": "pruned channel counts are multiples of this (default 8; kernels need 4 and like 16)",
    }

    def available(self) -> str | None:
        """It is an extra of yocc; a package of the same name on PyPI computes the time value of money."""
        try:
            import tvm

            tvm.runtime.load_module  # noqa: B018 # only whether it is the right package matters
        except (ImportError, AttributeError) as error:
            return f"tvm does not import ({error}); install it with: pip install 'yocc[tvm]'"
        return None

    def device(self, options: Mapping[str, str]) -> str:
        """The processor to compile for: this machine's unless one is named."""
        return find_processor(options.get("mcpu", "host")).name

    def target(self, options: Mapping[str, str]) -> TvmTarget:
        """Symmetric int8 inputs of convolutions."""
        self.check_options(options)
        mcpu = options.get("mcpu", "host")
        find_processor(mcpu)
        return TvmTarget(
            name=self.name,
            opset=13,
            channel_multiple=read_count(self.name, "channel_multiple", options.get("channel_multiple", "8")),
            activations=TensorScheme(bits=8, signed=True, symmetric=True),
            weights=TensorScheme(bits=8, signed=True, symmetric=True, per_channel=True),
            placement="inputs",
            bias="float",
            int8_ops=frozenset({"Conv"}),
            shared_scale_ops=frozenset(),
            grouped="float",
            rest_is_fp16=True,
            last_layers_fp16=True,
            fixed_shapes=True,
            # Its sorting is part of a runtime that is not on every board.
            suppression="none",
            most_ranked=0,
            decoded_weights=frozenset(),
            mcpu=mcpu,
        )

    def validate(self, graph: Graph, target: Target) -> list[Reject]:  # noqa: ARG002 # every processor takes the same
        """Operators the importer does not know or misreads, and open shapes, which kernels are not compiled for."""
        rejects = []
        for node in graph.nodes:
            if node.domain not in (None, "", "ai.onnx") or node.op not in OPERATORS:
                quantized = "Integer" in node.op or "QLinear" in node.op or node.op == "DynamicQuantizeLinear"
                other = remedy(node, "Use --target onnxruntime or openvino.")
                hint = "Quantize the float model with --int8 instead." if quantized else other
                rejects.append(Reject(node.name, f"TVM has no operator {node.op}", hint))
        rejects += [wrong for node in graph.nodes if (wrong := misread(node)) is not None]
        opened = [tensor for tensor in graph.inputs if is_open(tensor)]
        rejects += [Reject(tensor.name, "its shape is open", _example_shape(tensor)) for tensor in opened]
        return rejects if opened else [*rejects, *_sized_by_data(graph)]

    def advise(self, graph: Graph, target: Target) -> tuple[str, ...]:
        """That int8 saves size only where the processor has no instruction for it."""
        processor = find_processor(target.mcpu if isinstance(target, TvmTarget) else "host")
        quantized = any(node.op == "QuantizeLinear" for node in graph.nodes)
        if not quantized or "+dotprod" in processor.features:
            return ()
        return (f"{processor.name} has no dot products of int8 that yocc uses; int8 saves size there and little time.",)

    def build(self, graph: Graph, target: Target, folder: Path) -> Artifact:
        """Write the library, its description, the model it was made from, and the program that runs it on raw values.

        Raises:
            BackendUnavailable: TVM or a compiler for the processor are not installed.
            BackendError: TVM cannot compile the model.
        """
        processor = find_processor(target.mcpu if isinstance(target, TvmTarget) else "host")
        graph = clone(graph)
        # Convolutions compute with channels last, which makes the usual head a matter of moving whole cells.
        move_channels_last(graph)
        save(graph, folder / ONNX_FILE)
        half = arrange(graph, processor)
        compiled = compile_library(to_proto(graph), processor, folder / LIBRARY_FILE, half=half)
        facts = Facts(
            processor.name,
            processor.triple,
            ports(graph, "inputs"),
            ports(graph, "outputs"),
            compiled.padded,
            compiled.unscheduled,
            compiled.integer,
            compiled.half,
        )
        others = (folder / ONNX_FILE, facts.write(folder), write_runner(folder))
        return Artifact(self.name, folder, folder / LIBRARY_FILE, others)

    def example(self, artifact: Artifact) -> Example:
        """Loads the library in TVM's virtual machine."""
        outputs = tuple(port.name for port in read_facts(artifact.folder).outputs)
        return example_of(self.name, "apache-tvm numpy pillow", outputs=outputs)

    def substitute(self, target: Target) -> str:
        """That the library is for processors of another family."""
        processor = find_processor(target.mcpu if isinstance(target, TvmTarget) else "host")
        if processor.family == host_family():
            return ""
        return f"it is compiled for {processor.name}, and this machine is {host_family()}."

    def session(self, artifact: Artifact, *, threads: int | None = None, optimize: bool = True) -> Session:
        """The library where it runs, else its model in onnxruntime, which says so in `execution`."""
        reason = self.available()
        if reason is not None:
            raise BackendUnavailable(f"The target 'tvm' is not available here: {reason}.")
        facts = read_facts(artifact.folder)
        if not facts.mtriple.startswith(host_family()):
            return ForeignSession(artifact.folder / ONNX_FILE, threads, optimize, facts)
        return TvmSession(artifact.model, threads=threads)

    def verify(self, artifact: Artifact, *, thorough: bool = True) -> tuple[Check, ...]:
        """Run the library, emulated where it is for another processor, and compare with onnxruntime."""
        return verify(artifact) if thorough else ()


def _example_shape(tensor: gs.Tensor) -> str:
    """How to state a shape that the input takes, with a batch of 1 and sides of 640."""
    if tensor.shape is None:
        return "Give it with --input-shape NAME=1,3,640,640."
    sizes = [
        size if isinstance(size, int) and size > 0 else 640 if axis else 1 for axis, size in enumerate(tensor.shape)
    ]
    return f"Give it with --input-shape {tensor.name}={','.join(map(str, sizes))}, or other sizes that it takes."


def _sized_by_data(graph: Graph) -> list[Reject]:
    """The first node whose result has another size for each input, if an output depends on it."""
    if not any(is_open(tensor) for tensor in graph.outputs):
        return []
    shapes = concrete_shapes(graph)
    unknown = (node for node in graph.nodes if any(each.name and shapes.of(each) is None for each in node.outputs))
    node = next(unknown, None)
    if node is None:
        tensor = next(tensor for tensor in graph.outputs if is_open(tensor))
        return [Reject(tensor.name, "its shape is open", "Put fix_shapes in front of the pipeline.")]
    reason = f"the size of what {node.op} gives depends on the data, and TVM compiles for fixed sizes"
    return [Reject(node.name, reason, "End the model before it, or use --target onnxruntime or openvino.")]
