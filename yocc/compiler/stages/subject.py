"""The model as it came in, and what it is fed with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from yocc.compiler.graph import Graph, clone, refresh_model, weight_bytes
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import Shapes, concrete_shapes
from yocc.compiler.graph.types import numpy_type
from yocc.compiler.stages.anatomy import Anatomy, anatomy_of, require_runnable
from yocc.compiler.stages.inputs import Inputs, changed_inputs, feed_specs, open_inputs
from yocc.errors import CalibrationError, ModelError
from yocc.passes.simplify.fused_conv import split_fused_convolutions
from yocc.passes.simplify.fused_operators import split_fused_operators
from yocc.report.account import LayerStates, layer_names, layer_states
from yocc.report.report import FileFacts, ModelFacts, Resizing, TensorFacts, bytes_facts, file_facts
from yocc.runtime.data.arrays import open_arrays
from yocc.runtime.data.bytes import as_bytes
from yocc.runtime.data.feeds import fed_to, is_array_file
from yocc.runtime.data.stated import InputOptions

Source = str | Path | bytes | onnx.ModelProto


@dataclass(frozen=True, kw_only=True)
class Subject(Anatomy):
    """The model as it came in.

    Attributes:
        file: where it lies and what is in it.
        facts: its size.
        layers: its layers, for the report.
        names: the layer of each node of its own, for timings.
    """

    file: FileFacts
    facts: ModelFacts
    layers: LayerStates
    names: Mapping[str, str]


def examine(
    graph: Graph,
    source: Source,
    input_shapes: Mapping[str, tuple[int, ...]] | None,
    options: InputOptions | None = None,
) -> Subject:
    """Look at a model before anything is done to it.

    Args:
        graph: the model.
        source: what it was loaded from.
        input_shapes: a shape for each input the model leaves open.
        options: what the user states about its input.

    Raises:
        OptionError: the options do not fit the input, or a tensor is too large to run the model at this input shape.
        ModelError: a tensor is too large to run the model at all.
    """
    anatomy = anatomy_of(graph, input_shapes, options)
    require_runnable(graph, anatomy)
    file, whole = _source_facts(source), taken_apart(graph)
    size = file.bytes if file.bytes >= weight_bytes(graph) else file.bytes + weight_bytes(graph)
    return Subject(
        **vars(anatomy),
        file=file,
        facts=model_facts(graph, anatomy.shapes, size),
        layers=layer_states(whole, concrete_shapes(whole, anatomy.shapes)),
        names=layer_names(graph),
    )


def model_facts(graph: Graph, shapes: Mapping[str, tuple[int, ...]], size: int) -> ModelFacts:
    """Size of a graph whose files have `size` bytes."""
    whole = taken_apart(graph)
    cost = totals(layer_costs(whole, concrete_shapes(whole, shapes)))
    return ModelFacts(cost.parameters, cost.macs, len(graph.nodes), size, graph.opset)


def taken_apart(graph: Graph) -> Graph:
    """The graph, or a copy in which operators that onnxruntime has fused are those of ONNX, to be counted as such.

    Raises:
        ModelError: what is known of shapes then contradicts itself.
    """
    if not any(node.domain == "com.microsoft" for node in graph.nodes):
        return graph
    whole = clone(graph)
    # The types of what is behind such an operator are known once it is taken apart.
    while split_fused_convolutions(whole) + split_fused_operators(whole):
        refresh_model(whole, "The model contradicts itself")
    return whole


def tensor_facts(tensors: Iterable[Any], shapes: Shapes) -> tuple[TensorFacts, ...]:
    """Names, concrete shapes and types of inputs or outputs of a graph."""
    return tuple(
        TensorFacts(each.name, shapes.of(each), "" if each.dtype is None else numpy_type(each.dtype).name)
        for each in tensors
    )


def calibration_inputs(
    subject: Subject, compiled: Subject, calibration: str | Path | None, count: int | None, seed: int
) -> Inputs | None:
    """Calibration inputs; None where nothing was given and nothing can be synthesized.

    Where the compiled model has another input, pictures are fed to both, each as it takes them. Arrays fit the new one,
    and the original where its input differs by the batch alone.

    Args:
        subject: the model that came in.
        compiled: the same as the compiled model is fed.
        calibration: pictures or arrays, None for synthetic pictures.
        count: samples to calibrate with, None for all.
        seed: of synthetic pictures.

    Raises:
        CalibrationError: the source is missing, empty, unreadable or does not fit.
    """
    if calibration is not None and is_array_file(Path(calibration)):
        inputs = _open_inputs(compiled, calibration, count, seed)
        alike = compiled is subject or [vars(each) for each in compiled.specs] == [vars(each) for each in subject.specs]
        return inputs if inputs is None or alike else _compared(inputs, subject, Path(calibration))
    inputs = _open_inputs(subject, calibration, count, seed)
    if inputs is None or compiled is subject or compiled.description is None:
        return inputs
    return changed_inputs(inputs, compiled.specs[0], compiled.description.preprocess)


def _compared(inputs: Inputs, subject: Subject, arrays: Path) -> Inputs:
    """Arrays for the compiled model, with those for the original where they fit it too."""
    try:
        source = open_arrays(arrays, subject.specs)
    except CalibrationError:
        return replace(inputs, comparable=False)
    return replace(inputs, original=replace(inputs.measuring, source=source))


def measured_on(inputs: Inputs | None, during: Subject, compiled: Subject) -> Inputs | None:
    """Inputs of passes with what the compiled model is measured on, where that is fed in another way.

    Pictures are fed as it takes them. Arrays are turned into the bytes that make them.

    Args:
        inputs: for the passes.
        during: how the model is fed while passes run.
        compiled: how it is fed after them.
    """
    if inputs is None or compiled is during or compiled.description is None or during.description is None:
        return inputs
    spec, how = compiled.specs[0], compiled.description.preprocess
    if inputs.measuring.are_pictures:
        measuring = fed_to(inputs.measuring, spec, how)
    else:
        measuring = as_bytes(inputs.measuring, during.specs[0], during.description.preprocess, (spec, how))
    return replace(inputs, measuring=measuring, original=inputs.for_original)


def _open_inputs(subject: Subject, calibration: str | Path | None, count: int | None, seed: int) -> Inputs | None:
    try:
        specs = feed_specs(subject.shapes, subject.dtypes, subject.profile)
        how = None if subject.description is None else subject.description.preprocess
        return open_inputs(calibration, specs, how, count=count, seed=seed)
    except CalibrationError:
        if calibration is not None:
            raise
        return None


def resizing_facts(subject: Subject, compiled: Subject) -> Resizing | None:
    """What became of the picture input; None where its shape is the same."""
    if compiled is subject:
        return None
    before, after = subject.specs[0], compiled.specs[0]
    if (before.shape[0], before.size) == (after.shape[0], after.size):
        return None
    return Resizing(before.name, before.shape, after.shape, before.size, after.size)


def _source_facts(source: Source) -> FileFacts:
    if isinstance(source, bytes):
        return bytes_facts(source, "<bytes>")
    if isinstance(source, onnx.ModelProto):
        try:
            return bytes_facts(source.SerializeToString(deterministic=True), "<model>")
        except Exception as error:  # protobuf's own, of another class in each of its implementations
            raise ModelError("The model is too large to hold in memory as one message.", "Give its path.") from error
    return file_facts(Path(source), str(source))
