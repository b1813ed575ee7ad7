"""What passes make of a detector's outputs: how the compiled model is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.outputs import DetectorOutputs
from yocc.compiler.pipeline.passes import Pass, PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.stages.subject import Subject
from yocc.errors import OptionError
from yocc.models.families.cutting import find_raw_heads, raw_profile
from yocc.models.families.family import NoRawHeadsError
from yocc.models.families.profile import ModelProfile, OutputLayout, Suppression
from yocc.passes.drop import Drop
from yocc.passes.nms import Nms
from yocc.passes.raw_outputs import RawOutputs
from yocc.passes.resize_input import ResizeInput
from yocc.passes.top_candidates import CANDIDATES, TopCandidates
from yocc.passes.uint8_input import Uint8Input
from yocc.rewrites.suppressing import OUTPUTS

_READ = {OutputLayout.ROWS: "rows", OutputLayout.COLUMNS: "columns"}


def output_passes(pipeline: Pipeline) -> tuple[Pass, ...]:
    """The passes that change what a detector gives.

    Raises:
        OptionError: others come behind them, which would not find the outputs as they know them.
    """
    # What changes the input only may follow.
    steps = tuple(step for step in pipeline.passes if not isinstance(step, Uint8Input))
    found = tuple(step for step in steps if isinstance(step, Nms | RawOutputs | TopCandidates))
    if found != steps[len(steps) - len(found) :]:
        raise OptionError(f"{found[0].name} stands before other passes.", "Let the pipeline end with it.")
    if found and dropped_levels(pipeline):
        raise OptionError(
            f"{found[0].name} takes all levels of a detector, and drop leaves one out.", "Leave one of the two out."
        )
    if len(found) > 1:
        raise OptionError(f"{found[0].name} and {found[1].name} exclude each other.", "Use one of them.")
    return found


def dropped_levels(pipeline: Pipeline) -> tuple[int, ...]:
    """Strides of the levels that are left out of a detector."""
    levels = (step.level for step in pipeline.passes if isinstance(step, Drop))
    return tuple(level for level in levels if level is not None)


def detector_outputs(
    profile: ModelProfile | None, graph: Graph, shapes: Mapping[str, tuple[int, ...]]
) -> DetectorOutputs | None:
    """What passes need to know of the outputs of a detector; None of networks of no known family.

    Args:
        profile: of the model that came in.
        graph: before the passes.
        shapes: a concrete shape for each input.
    """
    if profile is None:
        return None
    layout = _READ.get(profile.layout, "other")
    known = concrete_shapes(graph, shapes).shapes
    facts = DetectorOutputs(
        layout="rows" if layout == "rows" else "columns" if layout == "columns" else "other",
        output=profile.outputs[0] if layout != "other" else "",
        classes=len(profile.classes),
    )
    sizes = {name: known[name] for name in profile.protected if name in known}
    try:
        if len(sizes) != len(profile.protected) or any(len(size) != 4 for size in sizes.values()):
            raise NoRawHeadsError("its last layers are not convolutions of known size")
        return replace(facts, heads=find_raw_heads(graph, profile, sizes))
    except NoRawHeadsError as error:
        return replace(facts, obstacle=error.reason)


def require_changeable(graph: Graph, pipeline: Pipeline, subject: Subject, ctx: PassContext) -> None:
    """Refuse before the first pass what those that change outputs could not do.

    Args:
        graph: before the passes.
        pipeline: the passes.
        subject: the model as it came in.
        ctx: what the passes are given.

    Raises:
        OptionError: it is no detector of a known family, or its shape stays open, or the target cannot.
    """
    _finds_in_picture(pipeline)
    for dropping in (step for step in pipeline.passes if isinstance(step, Drop)):
        dropping.requires(graph, ctx)
    for step in output_passes(pipeline):
        step.requires(graph, ctx)
        if isinstance(step, Nms | TopCandidates) and ctx.outputs is not None and not ctx.target.fixed_shapes:
            step.require_fixed(_shape_after(graph, pipeline, subject), ctx.outputs)


def _shape_after(graph: Graph, pipeline: Pipeline, subject: Subject) -> list[int | str]:
    """The shape of the picture input when the last passes run."""
    picture = graph.inputs[0]
    shape = list(picture.shape)
    for step in pipeline.passes:
        if isinstance(step, ResizeInput):
            after = step.input_shapes(graph, subject.shapes)[picture.name]
            if step.size:
                shape[1:] = after[1:]
            if step.batch:
                shape[0] = "n" if step.opens_batch else after[0]
    return shape


def read_as(subject: Subject, pipeline: Pipeline, outputs: DetectorOutputs | None) -> Subject:
    """The model with the outputs it has after the passes; `subject` itself where they stay."""
    changing, levels = output_passes(pipeline), dropped_levels(pipeline)
    if subject.profile is None or outputs is None:
        return subject
    if levels:
        return replace(subject, profile=profile_without(subject.profile, levels))
    if not changing:
        return subject
    profile = read_profile_as(subject.profile, changing[0], outputs)
    if profile.suppression is not None and _finds_in_picture(pipeline):
        profile = replace(profile, suppression=replace(profile.suppression, boxes="picture"))
    return replace(subject, profile=profile)


def _finds_in_picture(pipeline: Pipeline) -> bool:
    """Whether boxes become pixels of the picture.

    Raises:
        OptionError: they should, and there is no NMS that gives them.
    """
    asked = any(isinstance(step, Uint8Input) and step.boxes == "picture" for step in pipeline.passes)
    if asked and not any(isinstance(step, Nms) for step in pipeline.passes):
        raise OptionError(
            "Only boxes of NMS in the graph can be given in pixels of the picture.",
            "Put nms before uint8_input, or leave boxes out of it.",
        )
    return asked


def profile_without(profile: ModelProfile, levels: tuple[int, ...]) -> ModelProfile:
    """The profile of a detector without the levels of some strides."""
    left = [place for place, stride in enumerate(profile.strides) if stride not in levels]
    profile = replace(profile, strides=tuple(profile.strides[place] for place in left))
    if profile.layout is not OutputLayout.RAW_HEADS:
        return profile
    return replace(
        profile,
        outputs=tuple(profile.outputs[place] for place in left),
        anchors=tuple(profile.anchors[place] for place in left),
    )


def read_profile_as(profile: ModelProfile, step: Pass, outputs: DetectorOutputs) -> ModelProfile:
    """The profile of a detector after one of the passes that change what it gives."""
    if isinstance(step, Nms):
        return replace(
            profile,
            layout=OutputLayout.DETECTIONS,
            outputs=OUTPUTS,
            suppression=Suppression(step.confidence, step.overlap, step.most),
        )
    if outputs.heads is None:
        return profile
    if isinstance(step, RawOutputs):
        return raw_profile(profile, outputs.heads)
    if outputs.layout != "other":
        return profile
    layout = OutputLayout.COLUMNS if outputs.heads.decoding == "distances" else OutputLayout.ROWS
    return replace(profile, layout=layout, outputs=(CANDIDATES,), anchors=(), squashed=False)
