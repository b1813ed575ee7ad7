"""What a model contains, and what can be done to each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from yocc.analysis.coupling.channels import ChannelMap, map_channels
from yocc.compiler.graph import Graph
from yocc.compiler.graph.cost import LayerCost, Totals, layer_costs, totals
from yocc.compiler.graph.operators import WEIGHTED
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.anatomy import anatomy_of, assumed_inputs
from yocc.compiler.stages.subject import taken_apart
from yocc.models.families.family import family_named
from yocc.models.families.profile import ModelProfile
from yocc.passes.quantize.exceptions import find_exceptions
from yocc.passes.quantize.placement import place
from yocc.runtime.data.description import InputDescription


@dataclass(frozen=True)
class Layer:
    """One operator that has weights.

    Attributes:
        node: its name.
        op: its operator.
        parameters: trained values.
        macs: multiply-accumulates for one run.
        weight_shape: of its weight, or None.
        output_shape: of its first output, or None.
        group: number of the coupled group its output channels belong to, or the channels it works on one by one; None
            when they stay.
        stays: why its output channels stay, or empty.
        int8: whether it can be quantized.
        stays_float: why not, or empty.
    """

    node: str
    op: str
    parameters: int
    macs: int
    weight_shape: tuple[int, ...] | None
    output_shape: tuple[int, ...] | None
    group: int | None
    stays: str
    int8: bool
    stays_float: str

    @property
    def has_known_macs(self) -> bool:
        """Whether its MACs follow from shapes; they are 0 where not."""
        return self.output_shape is not None or self.op not in WEIGHTED


@dataclass(frozen=True)
class CoupledGroup:
    """Channels that must be removed together.

    Attributes:
        number: as in `Layer.group`.
        channels: how many can be chosen from.
        layers: names of the layers that produce them.
    """

    number: int
    channels: int
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Inspection:
    """A model, looked at.

    Attributes:
        opset: version of the default operator set.
        nodes: number of operators.
        inputs: name and shape of each input.
        assumed: inputs whose shape the model leaves open and nobody stated.
        outputs: name and shape of each output; None or text where a dimension is open.
        family: of the detector, or empty.
        reason: what its family is recognized by, and the outputs that are decoded; or empty.
        classes: number of classes of the detector.
        input: how pictures are fed to it, None when it does not take them.
        totals: parameters and MACs.
        layers: in graph order.
        groups: coupled groups.
    """

    opset: int
    nodes: int
    inputs: Mapping[str, tuple[int, ...]]
    assumed: tuple[str, ...]
    outputs: Mapping[str, tuple[int | str | None, ...]]
    family: str
    reason: str
    classes: int
    input: InputDescription | None
    totals: Totals
    layers: tuple[Layer, ...]
    groups: tuple[CoupledGroup, ...]


def inspect_model(
    graph: Graph, target: Target, input_shapes: Mapping[str, tuple[int, ...]] | None = None
) -> Inspection:
    """Look at a graph without changing it.

    Args:
        graph: as loaded.
        target: what would be quantized for.
        input_shapes: a shape for each input the model leaves open.

    Raises:
        OptionError: a given shape contradicts the graph's own.
    """
    nodes, graph = len(graph.nodes), taken_apart(graph)
    anatomy = anatomy_of(graph, input_shapes)
    profile = anatomy.profile
    shapes = concrete_shapes(graph, anatomy.shapes)
    channels = map_channels(graph, shapes, frozenset() if profile is None else profile.protected)
    groups = tuple(
        CoupledGroup(number, len(group.classes), group.producers) for number, group in enumerate(channels.groups, 1)
    )
    member = {
        **_groups_worked_on(channels),
        **{layer: group.number for group in groups for layer in group.layers},
    }
    placement = place(graph, target, exceptions=find_exceptions(graph, anatomy.context(target)))
    quantized = set(placement.layers)
    costs = layer_costs(graph, shapes)
    layers = tuple(
        Layer(
            cost.node,
            cost.op,
            cost.parameters,
            cost.macs,
            cost.weight_shape,
            cost.output_shape,
            member.get(cost.node),
            _stays(cost, channels),
            cost.node in quantized,
            placement.skipped.get(cost.node, ""),
        )
        for cost in costs
    )
    return Inspection(
        opset=graph.opset,
        nodes=nodes,
        inputs=anatomy.shapes,
        assumed=assumed_inputs(graph, anatomy.shapes, input_shapes),
        outputs={tensor.name: tuple(tensor.shape or ()) for tensor in graph.outputs},
        family="" if profile is None else profile.family,
        reason="" if profile is None else _reason(profile),
        classes=0 if profile is None else len(profile.classes),
        input=anatomy.description,
        totals=totals(costs),
        layers=layers,
        groups=groups,
    )


def _groups_worked_on(channels: ChannelMap) -> dict[str, int]:
    """The group whose channels a layer works on one by one, as depthwise convolutions do, by layer name."""
    numbers = {int(each): number for number, group in enumerate(channels.groups, 1) for each in group.classes}
    found: dict[str, int] = {}
    for cut in channels.cuts:
        of = next((numbers[each] for each in map(int, cut.atoms.ravel()) if each in numbers), None)
        if cut.role == "along" and of is not None:
            found.setdefault(cut.node, of)
    return found


def _stays(cost: LayerCost, channels: ChannelMap) -> str:
    """Why a layer's output channels stay; empty where they do not."""
    if cost.node in channels.reasons:
        return channels.reasons[cost.node].text
    made_or_worked_on = [cut for cut in channels.cuts if cut.node == cost.node and cut.role != "in"]
    if not made_or_worked_on and cost.op in WEIGHTED and cost.output_shape is None:
        return f"a shape at {cost.op} depends on data"
    if not made_or_worked_on:
        return f"yocc removes no channels of {cost.op}"
    if not any(cut.atoms.any() for cut in made_or_worked_on):
        return "it works on each channel alone, and the channels it reads stay"
    return ""


def _reason(profile: ModelProfile) -> str:
    listed = ", ".join(profile.outputs)
    return f"{family_named(profile.family).summary.rstrip('.')} (output{'s' * (len(profile.outputs) > 1)} {listed})"
