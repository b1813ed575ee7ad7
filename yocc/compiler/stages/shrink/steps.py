"""The passes that remove channels in rounds, and those that save by low ranks."""

from __future__ import annotations

import math
from typing import Literal

from yocc.compiler.pipeline.passes import Pass
from yocc.passes.factorize import Factorize
from yocc.passes.prune import Prune
from yocc.passes.recover import Recover

Budget = Literal["both", "parameters", "macs", "channels", "latency"]
ROUND = 0.25
"""Largest share removed before what is left is refitted: what matters changes as the network shrinks."""


def usual_rounds(share: float) -> int:
    """In how many rounds a share of the channels goes unless something else is asked for."""
    return max(1, math.ceil(math.log(1 - share) / math.log(1 - ROUND) - 1e-9))


def channel_steps(
    share: float, rounds: int, recovery: Recover, *, budget: Budget = "both", criterion: str = "effect"
) -> tuple[Pass, ...]:
    """Remove channels in rounds of equal shares, with recovery after each."""
    ratio = round(1 - (1 - share) ** (1 / rounds), 4)
    return (Prune(ratio=ratio, budget=budget, criterion=criterion), recovery) * rounds


def rank_steps(share: float, recovery: Recover | None, budget: Budget = "both") -> tuple[Pass, ...]:
    """Save by low ranks what a share asks for, no less and no more: of parameters and MACs, or of the time."""
    ratio = round(share, 4)
    step = Factorize(ratio=ratio, budget="latency") if budget == "latency" else Factorize(ratio=ratio, exact=True)
    return (step,) if recovery is None else (step, recovery)
