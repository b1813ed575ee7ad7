"""The options of the target `tensorrt`, read and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from yocc.compiler.graph import Graph
from yocc.compiler.graph.sparsity import sparse_layers
from yocc.compiler.pipeline.target import Reject, Target
from yocc.errors import OptionError
from yocc.runtime.backends.backend import read_count
from yocc.runtime.backends.tensorrt.building import Profile, Settings, Shape

NAME = "tensorrt"
OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "channel_multiple": "pruned channel counts are multiples of this (default 8; tensor cores like 16 and 32)",
        "workspace": "scratch memory a kernel may use, in MiB (default 1024)",
        "optimization_level": "how long the builder searches, 0 to 5 (default 3)",
        "min_shapes": "smallest shapes of open inputs, such as images:1x3x640x640, several with commas between",
        "opt_shapes": "shapes the engine is tuned for",
        "max_shapes": "largest shapes",
        "plugins": "operators that plugins of your own compute, such as MyPool,MyNorm",
    }
)
LARGEST_BATCH = 8
"""The engine's largest batch if only the batch is dynamic and no shapes are given."""
_SHAPE = re.compile(r"(?P<name>.+):(?P<sizes>\d+(x\d+)*)")


@dataclass(frozen=True)
class TensorRtTarget(Target):
    """A target with the builder's settings.

    Attributes:
        workspace: in MiB.
        optimization_level: 0 to 5.
        smallest, usual, largest: shapes by input name.
        plugins: operators that plugins of the user's own compute.
    """

    workspace: int = 1024
    optimization_level: int = 3
    smallest: Mapping[str, Shape] = field(default_factory=dict)
    usual: Mapping[str, Shape] = field(default_factory=dict)
    largest: Mapping[str, Shape] = field(default_factory=dict)
    plugins: tuple[str, ...] = ()


def read_level(text: str) -> int:
    """The optimization level.

    Raises:
        OptionError: it is not 0 to 5.
    """
    if text not in tuple("012345"):
        raise OptionError(f"The option 'optimization_level' of target {NAME!r} cannot be {text!r}.", "Use 0 to 5.")
    return int(text)


def read_plugins(text: str | None) -> tuple[str, ...]:
    """Names of operators.

    Raises:
        OptionError: one of them is no name.
    """
    names = () if text is None else tuple(text.split(","))
    wrong = next((name for name in names if not name.isidentifier()), None)
    if wrong is not None:
        raise OptionError(
            f"The option 'plugins' of target {NAME!r} cannot be {wrong!r}.", "Name operators, such as MyPool,MyNorm."
        )
    return names


def read_shapes(option: str, text: str | None) -> dict[str, Shape]:
    """Shapes by input name, from trtexec's notation.

    Raises:
        OptionError: invalid text, or a size is 0.
    """
    if text is None:
        return {}
    shapes = {}
    for entry in text.split(","):
        match = _SHAPE.fullmatch(entry)
        if match is None:
            raise OptionError(
                f"The option {option!r} of target {NAME!r} cannot be {entry!r}.", "Write it as images:1x3x640x640."
            )
        sizes = match["sizes"].split("x")
        shapes[match["name"]] = tuple(read_count(NAME, option, size) for size in sizes)
    return shapes


def profiles(graph: Graph, target: Target) -> tuple[dict[str, Profile], list[Reject]]:
    """The shapes to build for, for each input with dynamic dimensions, and the errors in those that were given."""
    found: dict[str, Profile] = {}
    given = target if isinstance(target, TensorRtTarget) else TensorRtTarget(target.name)
    known = {tensor.name for tensor in graph.inputs}
    rejects = [
        Reject(name, "there is no such input to give shapes for [dynamic-shape]", _HINT)
        for name in {**given.smallest, **given.usual, **given.largest}
        if name not in known
    ]
    for tensor in graph.inputs:
        profile = _profile(tensor.name, tensor.shape, given)
        if isinstance(profile, Reject):
            rejects.append(profile)
        elif profile is not None:
            found[tensor.name] = profile
    return found, rejects


def close_inputs(
    options: Mapping[str, str], graph: Graph, stated: Mapping[str, Shape]
) -> tuple[Mapping[str, str], Mapping[str, Shape]]:
    """Inputs that are open beyond the batch are fed what the engine is tuned for, whichever of the two is given."""
    opened = {tensor.name for tensor in graph.inputs if tensor.shape is None or _is_open(tensor.shape[1:])}
    tuned: dict[str, Shape] = {}
    for option in ("min_shapes", "max_shapes", "opt_shapes"):
        tuned |= read_shapes(option, options.get(option))
    missing = {name: shape for name, shape in stated.items() if name in opened and name not in tuned}
    shapes = {**{name: shape for name, shape in tuned.items() if name in opened}, **stated}
    if not missing:
        return options, shapes
    given = [options["opt_shapes"]] if "opt_shapes" in options else []
    added = [f"{name}:{'x'.join(map(str, shape))}" for name, shape in missing.items()]
    return {**options, "opt_shapes": ",".join([*given, *added])}, shapes


def _is_open(sizes: list[int | str | None]) -> bool:
    return not all(isinstance(size, int) and size > 0 for size in sizes)


def settings_of(graph: Graph, target: Target) -> Settings:
    """How to build the engine of a graph."""
    wanted = target if isinstance(target, TensorRtTarget) else TensorRtTarget(target.name)
    return Settings(
        workspace=wanted.workspace,
        optimization_level=wanted.optimization_level,
        sparse=bool(sparse_layers(graph)),
        profiles=profiles(graph, target)[0],
    )


_HINT = "Give -O min_shapes, -O opt_shapes and -O max_shapes, each such as images:1x3x640x640."


def _profile(name: str, shape: list[int | str | None] | None, target: TensorRtTarget) -> Profile | Reject | None:
    if shape is None:
        return Reject(name, "the number of axes of this input is open [dynamic-shape]", "Export it with a shape.")
    fixed = [size if isinstance(size, int) and size > 0 else None for size in shape]
    if None not in fixed:
        return None
    usual = target.usual.get(name) or target.largest.get(name) or target.smallest.get(name)
    if usual is None:
        if None in fixed[1:]:
            return Reject(name, f"its shape {list(shape)} is open beyond the batch [dynamic-shape]", _HINT)
        rest = tuple(size for size in fixed[1:] if size is not None)
        return Profile((1, *rest), (1, *rest), (LARGEST_BATCH, *rest))
    profile = Profile(target.smallest.get(name, usual), usual, target.largest.get(name, usual))
    wrong = _contradiction(profile, fixed)
    return Reject(name, f"{wrong} [dynamic-shape]", _HINT) if wrong else profile


def _contradiction(profile: Profile, fixed: list[int | None]) -> str:
    for shape in (profile.smallest, profile.usual, profile.largest):
        if len(shape) != len(fixed) or any(want not in (None, have) for want, have in zip(fixed, shape, strict=True)):
            return f"the shape {'x'.join(map(str, shape))} is not one this input takes"
    ordered = zip(profile.smallest, profile.usual, profile.largest, strict=True)
    if not all(low <= middle <= high for low, middle, high in ordered):
        return "its smallest, usual and largest shapes are not in that order"
    return ""
