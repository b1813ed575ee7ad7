"""Everything that a model itself says of how pictures are fed to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from yocc.analysis.leading import Evidence, Range, read_leading_nodes
from yocc.compiler.graph import Graph
from yocc.models.families.metadata import metadata_hints
from yocc.models.families.profile import ModelProfile
from yocc.runtime.data.description import Hint, known_as
from yocc.runtime.data.preprocess import InputSpec
from yocc.runtime.data.stated import InputOptions

_RANGES: Mapping[Range, InputOptions] = {
    "pixels": InputOptions(scale=1.0, mean=(0.0,), std=(1.0,)),
    "unit": InputOptions(scale=1 / 255, mean=(0.0,), std=(1.0,)),
    "signed": InputOptions(scale=1 / 127.5, mean=(1.0,), std=(1.0,)),
}
_OTHER = {"rgb": "bgr", "bgr": "rgb"}


def input_hints(graph: Graph, specs: Sequence[InputSpec], profile: ModelProfile | None) -> list[Hint]:
    """What the graph, its metadata and its family say of its picture input; what counts first comes first.

    Args:
        graph: as loaded.
        specs: all inputs.
        profile: of a recognized detector.
    """
    if len(specs) != 1 or not specs[0].takes_pictures:
        return []
    usual = None if profile is None or profile.fed_unknown else profile
    known = [*metadata_hints(graph.metadata, recognized=usual is not None)]
    if usual is not None:
        known.append(Hint("family", f"usual of the family {usual.family}", known_as(usual.preprocess)))
    found = read_leading_nodes(graph, specs[0].name, specs[0].shape)
    behind = next((each.options.color for each in known if each.options.color), "rgb")
    return [*_graph_hints(found, behind), *known]


def _graph_hints(found: Evidence, behind: str) -> Iterator[Hint]:
    """What the first nodes say.

    Args:
        found: what was read from them.
        behind: the order of channels that the network behind them takes.
    """
    color = found.color or (_OTHER.get(behind, "") if found.reverses else "")
    nodes = f"the graph begins with {', '.join(found.nodes)}"
    if color:
        yield Hint("graph", nodes, InputOptions(color=color))
    if found.range is not None:
        yield Hint("graph", nodes, _RANGES[found.range])
