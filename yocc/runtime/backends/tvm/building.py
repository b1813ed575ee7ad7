"""Compiling a model with TVM into a shared library."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import onnx

from yocc.compiler.graph import Graph
from yocc.compiler.graph.single import is_half, to_single
from yocc.errors import BackendError, BackendUnavailable
from yocc.runtime.backends.pixel_blocks import read_blocks
from yocc.runtime.backends.tvm.integers import legalize_round
from yocc.runtime.backends.tvm.lowering import Dot, lower
from yocc.runtime.backends.tvm.messages import one_sentence
from yocc.runtime.backends.tvm.processors import Family, Processor, host_family
from yocc.runtime.backends.tvm.schedules import schedule_module
from yocc.runtime.backends.tvm.sigmoid import legalize_sigmoid

INSTALL = "Install it with: pip install 'yocc[tvm]'"
_CORES = 4
_LLVM_OPTIONS: Mapping[Family, tuple[str, ...]] = {"aarch64": ("-unroll-threshold-aggressive:uint=150",), "x86_64": ()}
"""Otherwise LLVM unrolls the sums over few input channels to thousands of instructions, loads all their weights
beforehand and, having 32 registers of 4 elements on ARM, spills them."""

_ROWS_WITHOUT_SDOT = 2
"""Positions side by side of integer convolutions: with 4, products and sums of 16 channels do not fit 32 registers."""


@dataclass(frozen=True)
class Compiled:
    """Facts about the compilation besides the library.

    Attributes:
        padded: output channels before and after padding, for each convolution padded.
        unscheduled: kernels that no schedule fits and that run as scalar loops.
        integer: convolutions that compute in integers.
        half: convolutions whose weights are stored in half precision.
    """

    padded: tuple[tuple[int, int], ...]
    unscheduled: tuple[str, ...]
    integer: int
    half: int


class Watch(Protocol):
    """Looks at a compilation."""

    def kernels(self, module: Any) -> None:
        """What each kernel computes, after fusion and before it is scheduled; TVM's module."""

    def objects(self, assembly: str, objects: Sequence[str]) -> Sequence[str]:
        """What to link instead of the object files, the first of which was made from the assembly."""


def compiler_of(processor: Processor) -> str | None:
    """The C++ compiler that links for a processor; None if it is not installed."""
    if processor.family == host_family():
        return next((found for name in ("g++", "clang++", "c++") if (found := shutil.which(name))), None)
    return shutil.which(processor.compiler)


def missing_compiler(processor: Processor) -> str:
    """What to install if `compiler_of` finds none."""
    if processor.family == host_family():
        return "Install it with: apt install g++"
    return f"Install it with: apt install g++-{processor.compiler.removesuffix('-g++')}"


def arrange(graph: Graph, processor: Processor) -> bool:
    """Prepare a graph for TVM, in place: float tensors become float32, and on ARM quantized first layers read blocks.

    Returns:
        Whether weights were in half precision.
    """
    half = any(node.op == "Conv" and is_half(node.inputs[1]) for node in graph.nodes)
    to_single(graph)
    if processor.family == "aarch64":
        read_blocks(graph, paired=False)
    return half


def compile_library(
    model: onnx.ModelProto, processor: Processor, path: Path, *, half: bool = False, watch: Watch | None = None
) -> Compiled:
    """Compile a model of fixed shapes.

    Args:
        model: computes in single precision.
        processor: what to compile for.
        path: where to write the library.
        half: store the weights that fit in half precision.
        watch: sees the kernels before they are scheduled, and may change the machine code.

    Raises:
        BackendUnavailable: TVM or the C++ compiler are not installed.
        BackendError: TVM cannot compile it.
    """
    try:
        import tvm
    except ImportError as error:
        raise BackendUnavailable(f"tvm does not import: {error}.", INSTALL) from error
    linker = compiler_of(processor)
    if linker is None:
        raise BackendUnavailable(
            f"There is no C++ compiler for {processor.family} to link {path.name!r} with.", missing_compiler(processor)
        )
    facts = {
        "kind": "llvm",
        "mtriple": processor.triple,
        "mcpu": processor.name,
        "num-cores": _CORES,
        **({"cl-opt": list(options)} if (options := _LLVM_OPTIONS[processor.family]) else {}),
        **({"mattr": list(processor.features)} if processor.features else {}),
    }
    unscheduled: list[str] = []
    try:
        target = tvm.target.Target(facts)
        lowered = lower(model, dot=_dot(processor), half=half)
        pipeline = _pipeline(target, processor, unscheduled, watch)
        library = tvm.compile(lowered.module, target=target, relax_pipeline=pipeline)
        link = _linking(linker)
        library.export_library(str(path), fcompile=link if watch is None else _watched(link, library, watch))
    except BackendError:
        raise
    except Exception as error:  # TVM's exceptions share no base but Exception
        raise BackendError(
            f"TVM cannot compile the model: {one_sentence(error)}.", "Use --target onnxruntime."
        ) from error
    return Compiled(lowered.padded, tuple(unscheduled), lowered.integer, lowered.half)


def _dot(processor: Processor) -> Dot | None:
    if processor.family != "aarch64":
        return None
    sdot = "+dotprod" in processor.features
    return Dot(processor.rows if sdot else _ROWS_WITHOUT_SDOT, sdot)


def _pipeline(target: Any, processor: Processor, unscheduled: list[str], watch: Watch | None) -> Any:
    """TVM's default for processors, with our sigmoid and our schedules."""
    import tvm
    from tvm import relax

    before = (
        relax.transform.LegalizeOps({"relax.sigmoid": legalize_sigmoid, "relax.round": legalize_round}),
        relax.transform.AnnotateTIROpPattern(),
        relax.transform.FuseOps(),
        relax.transform.FuseTIR(),
        relax.transform.DeadCodeElimination(),
    )
    after = (
        relax.transform.RewriteDataflowReshape(),
        relax.transform.ToNonDataflow(),
        relax.transform.RemovePurityChecking(),
        relax.transform.CallTIRRewrite(),
        relax.transform.StaticPlanBlockMemory(),
        relax.transform.LowerAllocTensor(),
        relax.transform.KillAfterLastUse(),
        relax.transform.LowerRuntimeBuiltin(),
        relax.transform.ComputePrimValue(),
        relax.transform.VMShapeLower(),
        relax.transform.AttachGlobalSymbol(),
    )

    @tvm.transform.module_pass(opt_level=0)  # type: ignore[untyped-decorator] # TVM has no types
    def run(module: Any, _: Any) -> Any:
        with target:
            module = tvm.transform.Sequential(list(before))(module)
            if watch is not None:
                watch.kernels(module)
            module, plain = schedule_module(module, processor)
            unscheduled.extend(plain)
            return tvm.transform.Sequential(list(after))(module)

    return run


def _linking(compiler: str) -> Any:
    """What TVM calls to link object files."""

    def link(output: str, objects: Sequence[str], options: Sequence[str] | None = None, **_: Any) -> None:
        # Without symbols: they contain names of temporary files, and two builds would differ.
        command = [compiler, "-shared", "-fPIC", "-s", "-Wl,--build-id=none", "-o", output, *objects, *(options or ())]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise BackendError(f"{Path(compiler).name} cannot link the library: {last}.")

    link.output_format = "so"  # type: ignore[attr-defined] # how TVM knows what it makes
    return link


def _watched(link: Any, library: Any, watch: Watch) -> Any:
    """Link what `watch` makes of the object files."""

    def watched(output: str, objects: Sequence[str], options: Sequence[str] | None = None, **_: Any) -> None:
        module = next(each for each in library.mod.imports if each.kind == "llvm")
        link(output, watch.objects(module.inspect_source("asm"), objects), options)

    watched.output_format = link.output_format  # type: ignore[attr-defined] # how TVM knows what it makes
    return watched
