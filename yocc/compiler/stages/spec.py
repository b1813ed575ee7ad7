"""The pipeline that the short options stand for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from yocc.errors import OptionError
from yocc.passes.encode import encode_spec

Recovery = Literal["none", "statistics", "reconstruct", "distill"]
Schedule = Literal["oneshot", "iterative"]
Sparsity = Literal["2:4"]
BUDGETS = ("parameters", "macs", "channels", "latency")
MOST_PRUNED = 0.95
LEARNT = 500
"""Batches on which a distilled network learns to live with its codes."""
ROUND = 0.25
"""Share removed at most before what is left is refitted: what matters changes as the network shrinks."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """The short options, or the pipeline that stands instead of them; `yocc.compile` says what each means."""

    prune: float | None = None
    prune_target: str | None = None
    recover: Recovery | None = None
    schedule: Schedule | None = None
    rounds: int | None = None
    sparsity: Sparsity | None = None
    int8: bool = False
    max_drop: float | None = None
    max_latency: float | None = None
    weights: str | None = None
    fp16: bool = False
    pipeline: str | None = None


def pipeline_spec(wishes: Wishes, *, pictures: bool = True) -> str:
    """The pipeline that options stand for.

    By weights, pruning comes before fusing, as the BatchNorm scales say what matters; with `pictures`, channels are
    ranked on them, and the layers that are refitted should be whole.

    Raises:
        OptionError: a ratio that cannot be meant, options that contradict each other, or both a pipeline and its short
            forms.
    """
    if wishes.prune is not None and wishes.prune_target is not None:
        raise OptionError(
            "--prune says how much of parameters and MACs goes, --prune-target what is to be left.", "Give one of them."
        )
    if wishes.prune is not None and not 0 < wishes.prune < MOST_PRUNED:
        raise OptionError(
            f"Cannot prune a share of {wishes.prune:g}.",
            f"Use a share above 0 and below {MOST_PRUNED:g}, such as 0.4.",
        )
    if wishes.pipeline is not None:
        _require_alone(wishes)
        return wishes.pipeline
    promised = wishes.max_drop is not None or wishes.max_latency is not None
    if not wishes.int8 and promised:
        raise OptionError("There is nothing to leave float.", "Give --int8 with --max-accuracy-drop and --max-latency.")
    steps = ["fp32", "simplify", *_pruning(wishes, pictures)]
    if wishes.recover == "distill":
        steps.append("distill")
    if wishes.sparsity is not None:
        steps.append(f"sparsify{{pattern={wishes.sparsity}}}")
    if wishes.int8:
        steps.append(_quantize(wishes))
    if wishes.weights is not None:
        if wishes.fp16:
            raise OptionError("Weights in codes are decoded to float32.", "Give either --weights or --fp16.")
        if wishes.sparsity is not None:
            raise OptionError("Rounding on pictures moves the zeros.", "Give either --weights or --sparsity.")
        steps.append(encode_spec(wishes.weights))
    if wishes.fp16:
        steps.append("fp16")
    return ",".join(steps)


def _require_alone(wishes: Wishes) -> None:
    if replace(wishes, pipeline=None) != Wishes():
        raise OptionError(
            "A pipeline says everything.",
            "Give either --pipeline or --prune, --prune-target, --int8, --max-accuracy-drop, --max-latency, "
            "--weights, --fp16, --recover, --schedule, --rounds, --sparsity.",
        )


def _pruning(wishes: Wishes, pictures: bool) -> list[str]:
    """Pruning, fusing and refitting."""
    prune, budget = wishes.prune, ""
    if wishes.prune_target is not None:
        kind, prune = read_target(wishes.prune_target)
        budget = f",budget={kind}"
    recovered = wishes.recover not in (None, "none")
    if recovered and prune is None:
        raise OptionError("There is nothing to recover from.", "Give --prune as well, or leave --recover out.")
    count = _count_rounds(prune, wishes)
    if prune is None:
        return ["fuse"]
    recovery = "recover{method=statistics}" if wishes.recover == "statistics" else "recover"
    scheduled = (wishes.schedule, wishes.rounds) != (None, None) and count > 1
    if recovered and (pictures or scheduled):
        return ["fuse", *_rounds(prune, budget, recovery, count, "effect" if pictures else "auto")]
    return [f"prune{{ratio={prune!r}{budget}}}", "fuse", *([recovery] if recovered else [])]


def read_target(text: str) -> tuple[str, float]:
    """What a target such as `latency=0.7` counts, and the share of it to remove.

    Raises:
        OptionError: it counts something else, or leaves a share that cannot be meant.
    """
    kind, _, share = text.partition("=")
    try:
        left = float(share)
    except ValueError:
        left = math.nan
    if kind not in BUDGETS or not 1 - MOST_PRUNED < left < 1:
        raise OptionError(
            f"Cannot prune to {text!r}.",
            f"Give what is to be left of one of {', '.join(BUDGETS)}, above {1 - MOST_PRUNED:g}, such as latency=0.7.",
        )
    return kind, round(1 - left, 6)


def _count_rounds(prune: float | None, wishes: Wishes) -> int:
    """In how many rounds to prune.

    Raises:
        OptionError: nothing happens between rounds, or their number contradicts the schedule.
    """
    schedule, rounds = wishes.schedule, wishes.rounds
    usual = 1 if prune is None else max(1, math.ceil(math.log(1 - prune) / math.log(1 - ROUND) - 1e-9))
    if (schedule, rounds) == (None, None):
        return usual
    if prune is None or wishes.recover in (None, "none"):
        raise OptionError("Without recovery between them, rounds change nothing.", "Leave --schedule and --rounds out.")
    if rounds is not None and (rounds < 1 or (schedule == "oneshot" and rounds > 1)):
        raise OptionError(
            f"{rounds} rounds are no schedule{' that is oneshot' if schedule == 'oneshot' else ''}.",
            "Use 1 or more, several with --schedule iterative.",
        )
    if rounds is not None:
        return rounds
    return 1 if schedule == "oneshot" else max(2, usual)


def _quantize(wishes: Wishes) -> str:
    options = {
        "max_drop": wishes.max_drop,
        "max_latency": wishes.max_latency,
        "learn": LEARNT if wishes.recover == "distill" else None,
    }
    given = [f"{name}={value!r}" for name, value in options.items() if value is not None]
    return f"quantize{{{','.join(given)}}}" if given else "quantize"


def _rounds(prune: float, budget: str, recovery: str, count: int, criterion: str) -> list[str]:
    """Pruning and refitting in rounds that remove the same share of what is left each."""
    ratio = round(1 - (1 - prune) ** (1 / count), 4)
    chosen = f",criterion={criterion}" if criterion != "auto" else ""
    return [f"prune{{ratio={ratio!r}{budget}{chosen}}}", recovery] * count
