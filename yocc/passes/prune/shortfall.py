"""Why a budget cannot be met, in one sentence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from yocc.passes.prune.plan import PrunePlan

_WORDS: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        "both": (("parameters", "parameters"), ("macs", "MACs")),
        "parameters": (("parameters", "parameters"),),
        "macs": (("macs", "MACs"),),
        "channels": (("channels", "channels that may go"),),
    }
)

PROMINENT = 0.05
"""Share of what was there from which a layer is worth naming."""


def shortfall(plan: PrunePlan, budget: str, ratio: float) -> str:
    """The nearest that is reachable, and what prevents more."""
    wanted = " and ".join(word for _, word in _WORDS[budget])
    reached = " and ".join(f"{getattr(plan.allocation, key):.1%} of the {word}" for key, word in _WORDS[budget])
    return f"Asked to leave {1 - ratio:.0%} of {wanted}; the nearest reachable is {reached}{_obstacle(plan, budget)}."


def _obstacle(plan: PrunePlan, budget: str) -> str:
    """The layer that holds most of what is left and cannot be made narrower, or the limits of each group."""
    if budget == "channels":
        return ": every group of coupled channels keeps one"
    key, word = max(_WORDS[budget], key=lambda pair: getattr(plan.allocation, pair[0]))
    total = getattr(plan.before, key)
    staying = [(getattr(layer, key), layer.node) for layer in plan.layers if layer.node in plan.channels.reasons]
    cost, layer = max(staying, default=(0, ""))
    if cost <= total * PROMINENT:
        return ": the rest is in layers whose channels are coupled and must stay in step"
    reason = plan.channels.reasons[layer].text
    return f": {cost / total:.1%} of the {word} are in {layer!r}, whose output channels stay, as {reason}"
