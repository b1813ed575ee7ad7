"""The pipeline that the short options stand for."""

from __future__ import annotations

import math
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


def pipeline_spec(
    prune: float | None,
    int8: bool,
    fp16: bool,
    pipeline: str | None,
    recover: Recovery | None = None,
    sparsity: Sparsity | None = None,
    weights: str | None = None,
    prune_target: str | None = None,
    schedule: Schedule | None = None,
    rounds: int | None = None,
    pictures: bool = True,
    max_drop: float | None = None,
    max_latency: float | None = None,
) -> str:
    """The pipeline that options stand for.

    By weights, pruning comes before fusing, as the BatchNorm scales say what matters; with `pictures`, channels are
    ranked on them, and the layers that are refitted should be whole.

    Raises:
        OptionError: a ratio that cannot be meant, recovery without pruning, or both a pipeline and its short forms.
    """
    if prune is not None and prune_target is not None:
        raise OptionError(
            "--prune says how much of parameters and MACs goes, --prune-target what is to be left.", "Give one of them."
        )
    budget = ""
    if prune is not None and not 0 < prune < MOST_PRUNED:
        raise OptionError(
            f"Cannot prune a share of {prune:g}.", f"Use a share above 0 and below {MOST_PRUNED:g}, such as 0.4."
        )
    if prune_target is not None and pipeline is None:
        kind, prune = read_target(prune_target)
        budget = f",budget={kind}"
    if pipeline is not None:
        promised = max_drop is not None or max_latency is not None
        if prune is not None or prune_target or int8 or weights or fp16 or recover or sparsity or promised:
            raise OptionError(
                "A pipeline says everything.",
                "Give either --pipeline or --prune, --prune-target, --int8, --max-accuracy-drop, --max-latency, "
                "--weights, --fp16, --recover, --sparsity.",
            )
        return pipeline
    if not int8 and (max_drop is not None or max_latency is not None):
        raise OptionError("There is nothing to leave float.", "Give --int8 with --max-accuracy-drop and --max-latency.")
    if recover not in (None, "none") and prune is None:
        raise OptionError("There is nothing to recover from.", "Give --prune as well, or leave --recover out.")
    count = _count_rounds(prune, recover, schedule, rounds)
    steps = ["fp32", "simplify"]
    recovery = "recover{method=statistics}" if recover == "statistics" else "recover"
    scheduled = (schedule, rounds) != (None, None) and count > 1
    if recover not in (None, "none") and prune is not None and (pictures or scheduled):
        steps += ["fuse", *_rounds(prune, budget, recovery, count, "effect" if pictures else "auto")]
    elif recover not in (None, "none") and prune is not None:
        steps += [f"prune{{ratio={prune!r}{budget}}}", "fuse", recovery]
    elif prune is not None:
        steps += [f"prune{{ratio={prune!r}{budget}}}", "fuse"]
    else:
        steps.append("fuse")
    if recover == "distill":
        steps.append("distill")
    if sparsity is not None:
        steps.append(f"sparsify{{pattern={sparsity}}}")
    if int8:
        steps.append(_quantize(max_drop, max_latency, LEARNT if recover == "distill" else None))
    if weights is not None:
        if fp16:
            raise OptionError("Weights in codes are decoded to float32.", "Give either --weights or --fp16.")
        if sparsity is not None:
            raise OptionError("Rounding on pictures moves the zeros.", "Give either --weights or --sparsity.")
        steps.append(encode_spec(weights))
    if fp16:
        steps.append("fp16")
    return ",".join(steps)


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


def _count_rounds(prune: float | None, recover: Recovery | None, schedule: Schedule | None, rounds: int | None) -> int:
    """In how many rounds to prune.

    Raises:
        OptionError: nothing happens between rounds, or their number contradicts the schedule.
    """
    if (schedule, rounds) == (None, None):
        return 1 if prune is None else max(1, math.ceil(math.log(1 - prune) / math.log(1 - ROUND) - 1e-9))
    if prune is None or recover in (None, "none"):
        raise OptionError("Without recovery between them, rounds change nothing.", "Leave --schedule and --rounds out.")
    if rounds is not None and (rounds < 1 or (schedule == "oneshot" and rounds > 1)):
        raise OptionError(
            f"{rounds} rounds are no schedule{' that is oneshot' if schedule == 'oneshot' else ''}.",
            "Use 1 or more, several with --schedule iterative.",
        )
    if rounds is not None:
        return rounds
    return 1 if schedule == "oneshot" else max(2, _count_rounds(prune, recover, None, None))


def _quantize(max_drop: float | None, max_latency: float | None, learn: int | None) -> str:
    options = {"max_drop": max_drop, "max_latency": max_latency, "learn": learn}
    given = [f"{name}={value!r}" for name, value in options.items() if value is not None]
    return f"quantize{{{','.join(given)}}}" if given else "quantize"


def _rounds(prune: float, budget: str, recovery: str, count: int, criterion: str) -> list[str]:
    """Pruning and refitting in rounds that remove the same share of what is left each."""
    ratio = round(1 - (1 - prune) ** (1 / count), 4)
    chosen = f",criterion={criterion}" if criterion != "auto" else ""
    return [f"prune{{ratio={ratio!r}{budget}{chosen}}}", recovery] * count
