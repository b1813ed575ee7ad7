"""What each operator does to a gradient, as nodes of a graph: one file for each kind of operator."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from yocc.analysis.gradients.rules import (
    activations,
    arithmetic,
    gathering,
    linear,
    normalization,
    pooling,
    resize,
    shapes,
)
from yocc.analysis.gradients.rules.rule import Gradients, Rule
from yocc.analysis.gradients.rules.shapes import split

__all__ = ["FLAT", "RULES", "Gradients", "Rule", "split"]

_KINDS = (activations, arithmetic, gathering, linear, normalization, pooling, resize, shapes)

RULES: Mapping[str, Rule] = MappingProxyType({op: rule for kind in _KINDS for op, rule in kind.RULES.items()})
"""A rule for each operator; Split, whose outputs all have gradients, is apart."""

FLAT = frozenset(
    "And ArgMax ArgMin BitShift Equal Greater GreaterOrEqual IsInf IsNaN Less LessOrEqual NonMaxSuppression NonZero "
    "Not OneHot Or Shape Size Xor".split()
)
"""Operators whose outputs are counts, places or truth values: nothing flows back through them."""
