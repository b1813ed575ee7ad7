"""The pipeline that the short options stand for."""

from __future__ import annotations

import math
from typing import Literal

from yocc.errors import OptionError
from yocc.passes.encode import encode_spec

Recovery = Literal["none", "reconstruct"]
Sparsity = Literal["2:4"]
Budget = Literal["both", "parameters", "macs", "channels"]
MOST_PRUNED = 0.95
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
    prune_budget: Budget | None = None,
    max_drop: float | None = None,
    max_latency: float | None = None,
) -> str:
    """The pipeline that options stand for.

    Without recovery, pruning comes before fusing, as the BatchNorm scales say what matters; with it, channels are
    ranked on pictures, and the layers that are refitted should be whole.

    Raises:
        OptionError: a ratio that cannot be meant, recovery without pruning, or both a pipeline and its short forms.
    """
    if prune is not None and not 0 < prune < MOST_PRUNED:
        raise OptionError(
            f"Cannot prune a share of {prune:g}.", f"Use a share above 0 and below {MOST_PRUNED:g}, such as 0.4."
        )
    if pipeline is not None:
        promised = max_drop is not None or max_latency is not None
        if prune is not None or prune_budget or int8 or weights or fp16 or recover or sparsity or promised:
            raise OptionError(
                "A pipeline says everything.",
                "Give either --pipeline or --prune, --prune-budget, --int8, --max-accuracy-drop, --max-latency, "
                "--weights, --fp16, --recover, --sparsity.",
            )
        return pipeline
    if not int8 and (max_drop is not None or max_latency is not None):
        raise OptionError("There is nothing to leave float.", "Give --int8 with --max-accuracy-drop and --max-latency.")
    if recover == "reconstruct" and prune is None:
        raise OptionError("There is nothing to recover from.", "Give --prune as well, or leave --recover out.")
    if prune_budget is not None and prune is None:
        raise OptionError("A budget needs a share to remove.", "Give --prune as well, or leave --prune-budget out.")
    budget = f",budget={prune_budget}" if prune_budget not in (None, "both") else ""
    steps = ["fp32", "simplify"]
    if recover == "reconstruct" and prune is not None:
        steps += ["fuse", *_rounds(prune, budget)]
    elif prune is not None:
        steps += [f"prune{{ratio={prune!r}{budget}}}", "fuse"]
    else:
        steps.append("fuse")
    if sparsity is not None:
        steps.append(f"sparsify{{pattern={sparsity}}}")
    if int8:
        steps.append(_quantize(max_drop, max_latency))
    if weights is not None:
        if fp16:
            raise OptionError("Weights in codes are decoded to float32.", "Give either --weights or --fp16.")
        if sparsity is not None:
            raise OptionError("Rounding on pictures moves the zeros.", "Give either --weights or --sparsity.")
        steps.append(encode_spec(weights))
    if fp16:
        steps.append("fp16")
    return ",".join(steps)


def _quantize(max_drop: float | None, max_latency: float | None) -> str:
    options = [f"{name}={value!r}" for name, value in (("max_drop", max_drop), ("max_latency", max_latency))
               if value is not None]  # fmt: skip
    return f"quantize{{{','.join(options)}}}" if options else "quantize"


def _rounds(prune: float, budget: str) -> list[str]:
    """Pruning and refitting in rounds that remove the same share of what is left each."""
    count = math.ceil(math.log(1 - prune) / math.log(1 - ROUND))
    ratio = round(1 - (1 - prune) ** (1 / count), 4)
    return [f"prune{{ratio={ratio!r}{budget},criterion=effect}}", "recover"] * count
