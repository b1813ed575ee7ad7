"""The levers that `yocc advise` tries: each is a compilation with one option."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yocc.analysis.picture_input import picture_axes
from yocc.compiler.graph import Graph
from yocc.compiler.pipeline.registry import nearest
from yocc.compiler.pipeline.target import Target
from yocc.compiler.stages.subject import Subject
from yocc.errors import OptionError, YoccError
from yocc.options import flag_of
from yocc.passes.resize_input import largest_strides

KINDS = ("int8", "fp16", "side", "prune", "weights", "fp32")
"""Names of the levers, in the order of the table."""
SIDES = (0.75, 0.6)
"""Shares of the side of the input."""
SHARES = (0.1, 0.2, 0.4)
"""Shares of parameters and MACs to remove."""
CODE = "log2:4"
MOST_PICTURES = 16
"""Samples to calibrate a lever with."""
FEW_PICTURES = 8
"""The same for levers that look at each sample often."""
_LEAST_STRIDE = 32
"""Where the strides of a network are not known; its own message tells why."""


@dataclass(frozen=True)
class Lever:
    """A compilation with one option.

    Attributes:
        kind: one of `KINDS`.
        options: as typed after `yocc compile MODEL`; empty for a compilation without options.
        recipe: fields of `CompressionRecipe` to measure it with; those that are not typed only save time here.
        rank: the smaller, the sooner it is measured: what tells most for the time it takes comes first.
        pictures: samples to calibrate with at most; 0 where none are looked at.
        runs: times that one of them goes through the network while it is compiled, roughly.
        seconds: what compiling takes beside that for a network of two million parameters, roughly.
        remark: how it is measured.
        left_out: why it is not measured, or empty.
    """

    kind: str
    options: str
    recipe: Mapping[str, Any]
    rank: int
    pictures: int = 0
    runs: float = 0.0
    seconds: float = 1.0
    remark: str = ""
    left_out: str = ""


def read_kinds(levers: str | Iterable[str] | None) -> tuple[str, ...]:
    """The kinds that are asked for, in the order of the table; text is split at commas. None stands for all.

    Raises:
        OptionError: there is no such lever, or none is named.
    """
    if levers is None:
        return KINDS
    names = [name.strip() for name in (levers.split(",") if isinstance(levers, str) else levers)]
    for name in names:
        if name not in KINDS:
            raise OptionError(f"There is no lever {name!r}.", nearest(name, dict.fromkeys(KINDS)))
    if not names:
        raise OptionError("No lever is named.", f"Use some of {', '.join(KINDS)}.")
    return tuple(kind for kind in KINDS if kind in names)


def choose_levers(kinds: Sequence[str], graph: Graph, subject: Subject, target: Target, *, asked: bool) -> list[Lever]:
    """The levers of some kinds for a model and a target, in the order of the table.

    Args:
        kinds: of `KINDS`.
        graph: the model, before any pass.
        subject: the same, examined.
        target: what would be compiled for.
        asked: whether the user named the kinds; then also those are measured that cannot bring time here.
    """
    made = {
        "int8": _int8(),
        "fp16": _fp16(target, asked),
        "side": _sides(graph, subject),
        "prune": _prunings(),
        "weights": _codes(),
        "fp32": _float(),
    }
    return [lever for kind in kinds for lever in made[kind]]


def _int8() -> Iterator[Lever]:
    yield Lever("int8", flag_of("int8"), {"int8": True}, rank=2, pictures=MOST_PICTURES, runs=12.0, seconds=12.0)


def _fp16(target: Target, asked: bool) -> Iterator[Lever]:
    left_out = ""
    if not target.rest_is_fp16 and not asked:
        left_out = (
            f"The target {target.name!r} computes in float32 what is not int8, so that half precision only makes the "
            "file smaller; --levers fp16 measures it."
        )
    yield Lever("fp16", flag_of("fp16"), {"fp16": True}, rank=3, pictures=FEW_PICTURES, runs=1.0, left_out=left_out)


def _sides(graph: Graph, subject: Subject) -> Iterator[Lever]:
    """Sides that are multiples of the largest stride, of the shape that the input has."""
    remark = (
        "Fidelity is stricter here than accuracy: every small object that appears or vanishes with the size counts as "
        "an error. Score it on labeled pictures (--eval) before you decide."
    )
    shape = subject.shapes.get(graph.inputs[0].name, ()) if len(graph.inputs) == 1 else ()
    axes = picture_axes(tuple(shape))
    strides, problem = (_LEAST_STRIDE, _LEAST_STRIDE), ""
    try:
        strides = largest_strides(graph, subject.shapes)
    except YoccError as error:
        problem = str(error.message)
    if axes is None:
        yield Lever("side", flag_of("side"), {}, rank=0, left_out=problem or "The model does not take one picture.")
        return
    own = (shape[axes[0]], shape[axes[1]])
    sizes = dict.fromkeys(
        tuple(max(1, round(share * side / stride)) * stride for side, stride in zip(own, strides, strict=True))
        for share in SIDES
    )
    smaller = [
        size for size in sizes if size[0] * size[1] < own[0] * own[1] and size[0] <= own[0] and size[1] <= own[1]
    ]
    if problem or not smaller:
        sides = "x".join(map(str, own))
        reason = problem or f"No size below {sides} is near three quarters of it and a multiple of the largest stride."
        yield Lever("side", flag_of("side"), {}, rank=0, left_out=reason)
        return
    for number, (height, width) in enumerate(smaller):
        square = height == width
        name, value = ("side", height) if square else ("input_size", f"{height}x{width}")
        said = "" if subject.profile is None else remark
        yield Lever("side", f"{flag_of(name)} {value}", {name: value}, rank=number, remark=said)


def _prunings() -> Iterator[Lever]:
    remark = (
        "By channels or low ranks, in one round and recovered by --recover statistics to save time, on few pictures: "
        "a lower bound of the fidelity that --recover reconstruct (the default) or distill reaches."
    )
    # The first one that is measured ranks channels and measures ranks for all of them.
    for share, rank, runs, seconds in zip(SHARES, (8, 4, 7), (10.0, 18.0, 10.0), (5.0, 14.0, 5.0), strict=True):
        options = f"{flag_of('prune')} {share:g}"
        recipe = {"prune": share, "recover": "statistics", "rounds": 1}
        yield Lever("prune", options, recipe, rank, FEW_PICTURES, runs, seconds, remark)


def _codes() -> Iterator[Lever]:
    remark = (
        "Weights are decoded to float when the model is loaded: this buys file size, not time. More pictures keep more "
        "fidelity."
    )
    options = f"{flag_of('weights')} {CODE}"
    yield Lever("weights", options, {"weights": CODE}, 5, FEW_PICTURES, runs=5.0, seconds=5.0, remark=remark)


def _float() -> Iterator[Lever]:
    yield Lever("fp32", "", {}, rank=6, remark="Without options the graph is simplified and fused.")
