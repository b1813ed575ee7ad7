"""One lowering rule for each ONNX operator ncnn can take; rules of a kind share a file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from yocc.runtime.backends.ncnn.lowering import Rule
from yocc.runtime.backends.ncnn.rules import (
    activation,
    arithmetic,
    convolution,
    detection,
    matrix,
    moving,
    normalization,
    pooling,
    recurrent,
    reduction,
    resize,
    shaping,
)

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        **activation.RULES,
        **arithmetic.RULES,
        **convolution.RULES,
        **detection.RULES,
        **matrix.RULES,
        **moving.RULES,
        **normalization.RULES,
        **pooling.RULES,
        **recurrent.RULES,
        **reduction.RULES,
        **resize.RULES,
        **shaping.RULES,
    }
)
"""Operators ncnn takes, by name; those of another domain than ONNX's own as `domain.name`."""
