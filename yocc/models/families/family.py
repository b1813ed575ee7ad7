"""What a family of detectors is, and which families are installed.

A family is one file and one entry point in the group `yocc.families`. It recognizes its detectors and says everything
that the rest of yocc has to know of them.
"""

from __future__ import annotations

import abc
import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from yocc.compiler.pipeline.outputs import RawHeads
from yocc.compiler.pipeline.registry import Plugin, describe, discover, lookup
from yocc.models.families.layouts import Channels, Decoded, Floats, decode_columns, decode_rows, split_channels
from yocc.models.families.profile import ModelProfile, OutputLayout
from yocc.models.families.reading import picture_input
from yocc.runtime.data.preprocess import InputSpec, Preprocess

GROUP = "yocc.families"
_OURS = "yocc"

Array = np.ndarray[Any, Any]
Decoding = Callable[[Sequence[str]], Callable[[Sequence[Array]], Array]]
"""Given names of tensors, the part of the graph behind them as a function from their values to the output."""


class NoRawHeadsError(Exception):
    """A detector cannot be cut at its last convolutions.

    Args:
        reason: why, in words that follow "because".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Family(abc.ABC):
    """Detectors that are fed and decoded in one way. It is made without arguments and keeps no state."""

    name: ClassVar[str]
    """The name of its entry point, which stands in profiles and reports."""
    summary: ClassVar[str]
    """One line for `yocc families`."""
    feeding: ClassVar[Preprocess | None] = None
    """How its detectors take pictures unless structure says otherwise, also for `--preprocess` with the family's name;
    None where there is no one way."""
    priority: ClassVar[int] = 0
    """Higher is asked first: 1 where structure decides and not shapes alone, which may coincide."""

    tasks: ClassVar[tuple[str, ...]] = ("detect",)
    """Values of the entry `task` of the metadata, as Ultralytics writes it, with which it is asked."""

    @abc.abstractmethod
    def recognize(self, graph: gs.Graph, picture: InputSpec, metadata: Mapping[str, str]) -> ModelProfile | None:
        """The profile of a detector of this family, None for any other graph.

        Args:
            graph: not to be changed; look at structure and shapes, not at the names of files and nodes.
            picture: its only input, of three channels, with a default size where the model leaves it open.
            metadata: entries of the model file.
        """

    def decode(self, outputs: Sequence[Floats], profile: ModelProfile, confidence: float) -> Decoded:
        """Boxes and scores of the candidates that may be more confident than `confidence`.

        Args:
            outputs: those the profile names, of the first picture, without the batch axis.
            profile: as recognized.
            confidence: 0..1; candidates below it may be left out.

        Returns:
            Boxes [n, 4] as cx, cy, w, h in pixels of the network's input, and class scores [n, C] in 0..1.
        """
        if profile.layout is OutputLayout.ROWS:
            return decode_rows(outputs[0], confidence)
        if profile.layout is OutputLayout.COLUMNS:
            return decode_columns(outputs[0], confidence)
        raise NotImplementedError(f"the family {self.name} does not decode the layout {profile.layout.name}")

    def channels(self, shape: Sequence[int], profile: ModelProfile) -> Channels | None:
        """Which channels of an output of this shape, batch included, hold what; None to compare it as a whole."""
        classes = len(profile.classes)
        if profile.layout is OutputLayout.ROWS:
            return split_channels(shape[-1], classes, len(shape) - 1, objectness=True)
        if profile.layout is OutputLayout.COLUMNS:
            return split_channels(shape[1], classes, 1, objectness=False)
        return None

    def raw_heads(
        self,
        profile: ModelProfile,
        sizes: Mapping[str, tuple[int, ...]],  # noqa: ARG002 # for families that can be cut
        decoding: Decoding,  # noqa: ARG002 # as above
    ) -> Iterator[RawHeads]:
        """Ways in which the detector may be cut at its last convolutions; the emitter tries them on random values.

        Args:
            profile: as recognized.
            sizes: shape [1, channels, h, w] of each protected tensor.
            decoding: runs the part of the graph behind tensors.

        Raises:
            NoRawHeadsError: it cannot be cut.
        """
        if profile.suppression is not None:
            raise NoRawHeadsError("the graph itself chooses its detections")
        raise NoRawHeadsError(f"detectors of the family {profile.family} cannot be cut at their last convolutions")


@dataclass(frozen=True)
class Recognition:
    """What was found of a graph.

    Attributes:
        profile: None when it is of no family.
        problems: a sentence about each family that failed on it.
    """

    profile: ModelProfile | None
    problems: tuple[str, ...] = ()


def families() -> Mapping[str, Plugin]:
    """Every registered family by name; one that does not import stays listed with its reason.

    Raises:
        OptionError: two distributions register the same name.
    """
    return _discovered(tuple(sys.path))


def family_named(name: str) -> Family:
    """The family of a profile.

    Raises:
        OptionError: there is none, or it does not import.
    """
    found: Family = lookup(families(), name, "family")()
    return found


def find_family(graph: gs.Graph) -> Recognition:
    """Ask each family whether a graph is one of its detectors: yocc's own first, then by priority and name.

    Args:
        graph: a `yocc.compiler.graph.Graph`; families read its `metadata`. One whose metadata state a task is of no
            family that does not name it.

    Raises:
        OptionError: two distributions register the same name.
    """
    metadata: Mapping[str, str] = getattr(graph, "metadata", {})
    picture = picture_input(graph, metadata)
    task = metadata.get("task", "detect")
    if picture is None:
        return Recognition(None)
    problems = []
    for plugin in sorted(families().values(), key=_place):
        if plugin.loaded is None:
            problems.append(f"The family {plugin.name!r} of {plugin.distribution} does not load: {plugin.reason}.")
            continue
        if task not in getattr(plugin.loaded, "tasks", ()):
            continue
        try:
            profile = plugin.loaded().recognize(graph, picture, metadata)
        except Exception as error:  # somebody else's code may raise anything
            problems.append(f"The family {plugin.name!r} of {plugin.distribution} failed: {describe(error)}.")
            continue
        if isinstance(profile, ModelProfile) and profile.family == plugin.name:
            return Recognition(profile, tuple(problems))
        if profile is not None:
            problems.append(f"The family {plugin.name!r} of {plugin.distribution} gave no profile of its own.")
    return Recognition(None, tuple(problems))


def find_profile(graph: gs.Graph) -> ModelProfile | None:
    """The profile of a detector, None when it is of no known family; see `find_family`."""
    return find_family(graph).profile


def _place(plugin: Plugin) -> tuple[bool, int, str]:
    return plugin.distribution != _OURS, -getattr(plugin.loaded, "priority", 0), plugin.name


@functools.lru_cache(maxsize=4)
def _discovered(_: tuple[str, ...]) -> Mapping[str, Plugin]:
    """What is found where Python looks for packages; pictures are decoded often and nothing is installed meanwhile."""
    return discover(GROUP, Family)
