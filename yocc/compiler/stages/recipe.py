"""The passes that a compression recipe stands for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

from yocc.compiler.pipeline.passes import Pass
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.stages.shrink import Shrink
from yocc.compiler.stages.shrink.steps import Budget, channel_steps, rank_steps, usual_rounds
from yocc.errors import OptionError
from yocc.options import CompressionRecipe
from yocc.passes.distill import Distill
from yocc.passes.encode import Encode
from yocc.passes.factorize import Factorize
from yocc.passes.fp16 import Fp16
from yocc.passes.fp32 import Fp32
from yocc.passes.fuse import Fuse
from yocc.passes.nms import Nms
from yocc.passes.prune import Prune
from yocc.passes.quantize import Quantize
from yocc.passes.quantize_weights import QuantizeWeights
from yocc.passes.raw_outputs import RawOutputs
from yocc.passes.recover import Recover
from yocc.passes.resize_input import ResizeInput
from yocc.passes.simplify import Simplify
from yocc.passes.sparsify import Sparsify
from yocc.passes.substitute import Substitute
from yocc.passes.top_candidates import TopCandidates
from yocc.passes.uint8_input import Uint8Input

BUDGETS: tuple[Budget, ...] = ("parameters", "macs", "channels", "latency")
MOST_PRUNED = 0.95
MIXED = 0.5
"""Share of the values behind SiLUs for which HardSwish takes its place where Gelu does for the others."""
LEARN = 500
"""Batches on which a distilled network learns to live with rounding."""
_INPUT_OPTIONS = {"layout": ("nchw", "nhwc"), "color": ("rgb", "bgr"), "fit": ("letterbox",)}


def recipe_pipeline(recipe: CompressionRecipe, *, pictures: bool = True) -> Pipeline:
    """The pipeline of a recipe.

    By weights, pruning comes before fusing, as the BatchNorm scales say what matters; with pictures, channels are
    ranked on them, and the layers that are refitted should be whole.

    Args:
        recipe: what to compress, and how; its text wins where it states a pipeline.
        pictures: whether the user gave pictures.

    Raises:
        OptionError: a share out of range, or options that contradict each other.
    """
    if recipe.pipeline is not None:
        return Pipeline.parse(recipe.pipeline)
    return Pipeline(tuple(_steps(recipe, pictures)))


def prepare_pipeline() -> Pipeline:
    """The passes before anything is compressed."""
    return recipe_pipeline(CompressionRecipe())


def read_target(text: str) -> tuple[Budget, float]:
    """What a target such as `latency=0.7` counts, and the share of it to remove.

    Raises:
        OptionError: an unknown budget, or a share out of range.
    """
    name, _, share = text.partition("=")
    try:
        left = float(share)
    except ValueError:
        left = math.nan
    kind = next((budget for budget in BUDGETS if budget == name), None)
    if kind is None or not 1 - MOST_PRUNED < left < 1:
        raise OptionError(
            f"Cannot prune to {text!r}.",
            f"Give the share to keep of one of {', '.join(BUDGETS)}, above {1 - MOST_PRUNED:g}, such as latency=0.7.",
        )
    return kind, round(1 - left, 6)


def read_input(text: str) -> Uint8Input:
    """The pass for an input such as `uint8,nhwc,bgr,letterbox`.

    Raises:
        OptionError: another type, or a layout or color order that does not exist or is given twice.
    """
    kind, *rest = text.lower().replace(" ", "").split(",")
    found: dict[str, Any] = {}
    for part in rest:
        option = next((name for name, known in _INPUT_OPTIONS.items() if part in known), "")
        if not option or option in found:
            kind = ""
        found[option] = part
    if kind != "uint8":
        raise OptionError(
            f"The input cannot be {text!r}.",
            "Give uint8, and after commas nchw or nhwc, rgb or bgr, and letterbox.",
        )
    return Uint8Input(**{**found, "fit": "fit" in found})


def _steps(recipe: CompressionRecipe, pictures: bool) -> Iterator[Pass]:
    size = recipe.input_size or ("" if recipe.side is None else str(recipe.side))
    if size or recipe.batch is not None:
        yield ResizeInput(size=size, batch="" if recipe.batch is None else str(recipe.batch))
    yield Fp32()
    yield Simplify()
    changes = [*_pruning(recipe, pictures)]
    if recipe.activations != "keep":
        changes = _with_activations(changes, _substitute(recipe.activations), _recovery(recipe))
    yield from changes
    if recipe.recover == "distill":
        yield Distill()
    if recipe.activations != "keep":
        # What is in front of an activation becomes the layer's once no layer is compared with the original's.
        yield Fuse()
    if recipe.sparsity is not None:
        yield Sparsify(pattern=recipe.sparsity)
    if recipe.int8:
        learn = LEARN if recipe.recover == "distill" else 0
        yield Quantize(max_drop=recipe.max_drop, max_latency=recipe.max_latency, learn=learn)
        yield QuantizeWeights()
    if recipe.weights is not None:
        yield Encode.parse(recipe.weights)
    if recipe.fp16:
        yield Fp16()
    yield from _outputs(recipe)
    if recipe.input is not None:
        step = read_input(recipe.input)
        # Who hands over a picture wants boxes in that picture.
        yield replace(step, boxes="picture") if recipe.nms and step.fit else step


def _outputs(recipe: CompressionRecipe) -> Iterator[Pass]:
    """What the outputs become."""
    if recipe.nms:
        yield Nms(
            **_given(
                confidence=recipe.nms_confidence,
                overlap=recipe.nms_overlap,
                most=recipe.nms_most,
                candidates=recipe.max_candidates,
            )
        )
    elif recipe.max_candidates is not None:
        yield TopCandidates(most=recipe.max_candidates)
    if recipe.outputs == "raw":
        yield RawOutputs()


def _given(**options: Any) -> dict[str, Any]:
    """Options without those that are left to a pass's default."""
    return {name: value for name, value in options.items() if value is not None}


def _pruning(recipe: CompressionRecipe, pictures: bool) -> Iterator[Pass]:
    """Pruning, fusing, low ranks and refitting."""
    recovery = _recovery(recipe)
    share, budget = _share(recipe)
    _require_movable(recipe, share, budget)
    if recovery is not None and share is None and recipe.factorize is None and recipe.activations == "keep":
        raise OptionError(
            "There is nothing to recover from.",
            "Give --prune, --factorize or --activations as well, or leave --recover out.",
        )
    count = _count_rounds(share, recipe)
    ranks = recipe.factorize
    if share is not None and recipe.moves == "ranks":
        yield Fuse()
        yield from rank_steps(share, recovery, budget)
    elif (
        share is not None
        and (budget == "both" or budget == "latency")
        and _leaves_open(recipe)
        and recovery is not None
        and pictures
    ):
        yield Fuse()
        stated = (recipe.schedule, recipe.rounds) != (None, None)
        yield Shrink(
            ratio=share,
            moves="auto" if recipe.moves == "auto" else "both",
            recover=recovery.method,
            rounds=count if stated else None,
            budget=budget,
        )
    elif share is not None and recipe.moves == "channels,ranks":
        part = 1 - math.sqrt(1 - share)
        yield from _channels(part, budget, recipe, pictures, recovery)
        yield from rank_steps(part, recovery, budget)
    else:
        yield from _channels(share, budget, recipe, pictures, recovery)
    if ranks is None:
        return
    if not 0 < ranks < MOST_PRUNED:
        raise OptionError(
            f"Cannot save a share of {ranks:g} by low ranks.",
            f"Use a share above 0 and below {MOST_PRUNED:g}, such as 0.2.",
        )
    yield Factorize(ratio=ranks)
    if recovery is not None:
        yield recovery


def _recovery(recipe: CompressionRecipe) -> Recover | None:
    """What refits the layers; None where nothing is to."""
    if recipe.recover in (None, "none"):
        return None
    return Recover(method="statistics" if recipe.recover == "statistics" else "reconstruct")


def _substitute(activations: Literal["gelu", "mixed", "hardswish", "relu"]) -> Substitute:
    return Substitute(share=MIXED, rest="gelu") if activations == "mixed" else Substitute(activation=activations)


def _with_activations(steps: list[Pass], step: Substitute, recovery: Recover | None) -> list[Pass]:
    """Other activations once layers are whole, refitted together with what else is taken out."""
    place = next(number for number, each in enumerate(steps) if isinstance(each, Fuse)) + 1
    refitted = any(isinstance(each, Recover | Shrink) for each in steps)
    behind = [recovery] if recovery is not None and not refitted else []
    return [*steps[:place], step, *steps[place:], *behind]


def _leaves_open(recipe: CompressionRecipe) -> bool:
    """Whether channels and ranks divide the share by what they lose."""
    return recipe.moves == "channels,ranks" or (recipe.moves == "auto" and recipe.factorize is None)


def _require_movable(recipe: CompressionRecipe, share: float | None, budget: Budget) -> None:
    """Moves divide a share of parameters and MACs, or of the time.

    Raises:
        OptionError: there is no such share.
    """
    if recipe.moves == "auto":
        return
    if share is None:
        raise OptionError(
            "Only --prune and --prune-target latency= remove a share by moves.",
            "Give one of them with --moves, or leave --moves out.",
        )
    if budget not in ("both", "latency"):
        raise OptionError(
            f"A target of {budget} is met by removing channels only.",
            "Leave --moves out, or use --prune-target latency=.",
        )


def _channels(
    share: float | None, budget: Budget, recipe: CompressionRecipe, pictures: bool, recovery: Recover | None
) -> Iterator[Pass]:
    """Removing channels, fusing and refitting."""
    if share is None:
        yield Fuse()
        return
    stated = (recipe.schedule, recipe.rounds) != (None, None)
    count = _count_rounds(share, recipe)
    if recovery is not None and (pictures or (stated and count > 1)):
        yield Fuse()
        yield from channel_steps(share, count, recovery, budget=budget, criterion="effect" if pictures else "auto")
        return
    yield Prune(ratio=round(share, 4) if recipe.moves == "channels,ranks" else share, budget=budget)
    yield Fuse()
    if recovery is not None:
        yield recovery


def _share(recipe: CompressionRecipe) -> tuple[float | None, Budget]:
    """The share to remove, None for nothing, and of what."""
    if recipe.prune_target is not None:
        kind, share = read_target(recipe.prune_target)
        return share, kind
    if recipe.prune is not None and not 0 < recipe.prune < MOST_PRUNED:
        raise OptionError(
            f"Cannot prune a share of {recipe.prune:g}.",
            f"Use a share above 0 and below {MOST_PRUNED:g}, such as 0.4.",
        )
    return recipe.prune, "both"


def _count_rounds(share: float | None, recipe: CompressionRecipe) -> int:
    """In how many rounds to prune.

    Raises:
        OptionError: nothing happens between rounds, or their number contradicts the schedule.
    """
    schedule, rounds = recipe.schedule, recipe.rounds
    usual = 1 if share is None else usual_rounds(share)
    if (schedule, rounds) == (None, None):
        return usual
    if share is None or recipe.recover in (None, "none"):
        raise OptionError("Without recovery between them, rounds change nothing.", "Leave --schedule and --rounds out.")
    if recipe.moves == "ranks":
        raise OptionError("Low ranks are chosen at once, not in rounds.", "Leave --schedule and --rounds out.")
    if rounds is not None and (rounds < 1 or (schedule == "oneshot" and rounds > 1)):
        raise OptionError(
            f"Cannot prune in {rounds} rounds{' with --schedule oneshot' if schedule == 'oneshot' else ''}.",
            "Use 1 or more, several with --schedule iterative.",
        )
    if rounds is not None:
        return rounds
    return 1 if schedule == "oneshot" else max(2, usual)
