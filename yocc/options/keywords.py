"""The options by name, for type checkers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from yocc.options.option import Activations, Color, Fit, Moves, Number, Outputs, Recovery, Schedule, Shapes, Sparsity


class FeedingKeywords(TypedDict, total=False):
    """The options by name of everything that runs a model on data: for which target, and how it is fed."""

    target: str
    options: Mapping[str, str] | None
    count: int | None
    input_shapes: Shapes | None
    input_color: Color | None
    input_scale: Number | None
    input_mean: Number | Sequence[Number] | None
    input_std: Number | Sequence[Number] | None
    input_fit: Fit | None
    input_pad: int | None
    preprocess: str | None
    threads: int | None


class CalibrateKeywords(FeedingKeywords, total=False):
    """The options by name that decide what calibration statistics belong to, as in a compilation."""

    side: int | None
    input_size: str | None
    batch: int | str | None
    pipeline: str | None


class CompileKeywords(CalibrateKeywords, total=False):
    """The options by name, for calls such as `yocc.compile("model.onnx", prune=0.4, int8=True)`."""

    input: str | None
    prune: float | None
    prune_target: str | None
    moves: Moves
    factorize: float | None
    activations: Activations
    latency_table: str | Path | None
    int8: bool
    max_drop: float | None
    max_latency: float | None
    weights: str | None
    fp16: bool
    recover: Recovery | None
    schedule: Schedule | None
    rounds: int | None
    budget: str | None
    sparsity: Sparsity | None
    nms: bool
    nms_confidence: float | None
    nms_overlap: float | None
    nms_most: int | None
    max_candidates: int | None
    outputs: Outputs
    calibration: str | Path | None
    statistics: Sequence[str | Path]
    seed: int
    evaluate: str | Path | None
    labels: str | Path | None
    fidelity: bool
    bench: bool
    gates: Sequence[str]
    strict: bool
    html: bool
    examples: bool
    dry_run: bool
    out: str | Path | None
