"""Post-training quantization: calibrate, choose scales, put Q/DQ pairs where the target wants them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import onnx

from yocc.analysis.calibrate import collect
from yocc.analysis.heads import final_layers
from yocc.analysis.observers import observer_named
from yocc.analysis.quant_params import QuantParams
from yocc.analysis.statistics import TensorStatistics
from yocc.analysis.transfer import as_is, transfer_of
from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.graph.shapes import Shapes, concrete_shapes
from yocc.compiler.pipeline.columns import Column
from yocc.compiler.pipeline.foreseen import Foreseen
from yocc.compiler.pipeline.lineage import whole_teacher
from yocc.compiler.pipeline.partial import does_run, run_until
from yocc.compiler.pipeline.passes import DATA_REMEDY, Feeds, Pass, PassContext
from yocc.compiler.pipeline.result import PassResult
from yocc.compiler.pipeline.target import TensorScheme
from yocc.errors import BackendError, CalibrationError, OptionError, PassError
from yocc.fitting.activations import silu
from yocc.fitting.codec import MOST_BITS
from yocc.passes.quantize.activations import Seen, quantize_activations
from yocc.passes.quantize.bias import correct_biases
from yocc.passes.quantize.coarse import TOO_COARSE, choose_float, coarse_inputs
from yocc.passes.quantize.exceptions import find_exceptions, masked_tensors
from yocc.passes.quantize.figures import layer_figures, tensor_figures
from yocc.passes.quantize.influence import Influence, influences
from yocc.passes.quantize.learned import learn_quantization
from yocc.passes.quantize.mixed import agreement, estimated, measured, modeled_time, units, until_kept, within_time
from yocc.passes.quantize.placement import Placement, nothing_quantized, place
from yocc.passes.quantize.refit import refit, refittable
from yocc.passes.quantize.saved import load_merged
from yocc.passes.quantize.tied import read_codes, shared_lookups
from yocc.passes.quantize.weights import quantize_biases, quantize_weights, weight_schemes
from yocc.requirements import torch_missing
from yocc.rewrites.qdq import insert_qdq, store_quantized

_NOT_RUN = "the model does not run here to be calibrated"
OUTPUTS = "outputs"
"""The observer that weighs quantization errors by their effect on the outputs."""

_Rounding = Literal["gram", "nearest"]
_BiasCorrection = Literal["empirical", "analytic", "none"]
_Sensitivity = Literal["measured", "hawq"]
_CHOICES = {
    "rounding": get_args(_Rounding),
    "bias_correction": get_args(_BiasCorrection),
    "sensitivity": get_args(_Sensitivity),
}


@dataclass(frozen=True, kw_only=True)
class Quantize(Pass):
    """Quantize weights and activations to integers, calibrated on pictures.

    Attributes:
        observer: how the range of an activation is chosen. `outputs` minimizes the effect of rounding and clipping on
            the network's outputs, by gradients on some pictures; the others (`minmax`, `average`,
            `percentile`, `mse`, `entropy`, or a plugin's) use the distribution of the values only.
            Without gradients, and on synthetic pictures, `outputs` falls back to `mse`.
        rounding: `gram` fits the weights of each layer to the float network's outputs on pictures and rounds them so
            that rounding errors compensate each other; `nearest` rounds each weight on its own. On synthetic pictures
            `gram` falls back to `nearest`.
        bias_correction: what is subtracted from the bias of each layer that is not fitted: `empirical`, the mean error
            of its outputs; `analytic`, the part caused by the weights, their error times the mean input; or `none`.
        learn: quantization-aware training steps for weights, biases and scales, with the float network as teacher and
            without labels; needs torch.
        max_drop: largest drop of the agreement with the float network, 0..1; the most sensitive layers for their time
            then stay float. Agreement is mAP50-95 with the float network's confident detections as ground truth, on
            held-out pictures; for other networks, 1 minus the relative error of the outputs. None quantizes every
            layer.
        max_latency: largest modeled time of the layers as a share of float's, 0.5 to 1; the most sensitive layers that
            fit stay float.
        sensitivity: how sensitivity is found: `measured`, by quantizing each layer alone, or `hawq`, by curvature.
    """

    name: ClassVar[str] = "quantize"
    summary: ClassVar[str] = (
        "quantize weights and activations to 8 bits; the last layers of a detection head stay float"
    )
    columns: ClassVar[tuple[Column, ...]] = (
        Column("weight_sqnr_db", "Weight, dB", "Signal to quantization noise of its weight in decibels", "decibels"),
        Column("input_sqnr_db", "Input, dB", "Signal to quantization noise of the activation it reads", "decibels"),
    )

    observer: str = "mse"
    rounding: _Rounding = "gram"
    bias_correction: _BiasCorrection = "empirical"
    learn: int = 0
    max_drop: float | None = None
    max_latency: float | None = None
    sensitivity: _Sensitivity = "measured"

    def __post_init__(self) -> None:
        if self.observer != OUTPUTS:
            observer_named(self.observer, [OUTPUTS])
        for option, choices in _CHOICES.items():
            chosen = getattr(self, option)
            if chosen not in choices:
                raise OptionError(f"There is no {option}={chosen}.", f"Use one of {', '.join(choices)}.")
        if self.learn < 0:
            raise OptionError(f"Cannot learn from {self.learn} batches.", "Use 0 or more.")
        for name, share in (("accuracy drop", self.max_drop), ("latency", self.max_latency)):
            if share is not None and not 0 <= share <= 1:
                raise OptionError(f"The {name} {share:g} is out of range.", "Use a share from 0 to 1.")
        if self.max_drop is not None and self.max_latency is not None:
            raise OptionError("Accuracy and latency cannot both be bounded.", "Give max_drop or max_latency.")

    def unavailable(self) -> str | None:
        """Learning is written in torch."""
        return torch_missing() if self.learn else None

    def min_opset(self, ctx: PassContext) -> int:
        """Scales for each channel exist from opset 13 on, 16-bit integers from 21."""
        wide = max(ctx.target.activations.bits, ctx.target.weights.bits) > 8
        return max(21 if wide else 13, ctx.target.opset)

    def requires(self, graph: Graph, ctx: PassContext) -> None:  # noqa: ARG002 # the protocol's
        """There must be something to calibrate with."""
        if ctx.feeds is None:
            raise CalibrationError("Quantization needs pictures to calibrate with.", DATA_REMEDY)

    def foresee(self, graph: Graph, ctx: PassContext, *, exact: bool) -> Foreseen:  # noqa: ARG002 # the protocol's
        """Which layers, by the structure of the graph."""
        self.requires(graph, ctx)
        placement = place(graph, ctx.target, exceptions=find_exceptions(graph, ctx))
        if not placement.layers:
            ctx.note(nothing_quantized(graph, placement), level="warning")
        layers = {name: {"weight_bits": ctx.target.weights.bits} for name in placement.layers}
        later = "scales, and layers that 8 bits are too coarse for, are found when it runs"
        if self.max_drop is not None or self.max_latency is not None:
            later = "scales, and layers that stay float for the bound, are found when it runs"
        return Foreseen(PassResult(layers=layers, skipped=dict(placement.skipped)), done=False, later=later)

    def run(self, graph: Graph, ctx: PassContext) -> PassResult:
        """Place, calibrate, insert.

        Raises:
            CalibrationError: the feeds are empty or drive the model to infinity.
        """
        if ctx.feeds is None:
            return PassResult()
        placement = place(graph, ctx.target, exceptions=find_exceptions(graph, ctx))
        if not placement.layers:
            _note_skipped(placement, ctx)
            ctx.note(nothing_quantized(graph, placement), level="warning")
            return PassResult(skipped=dict(placement.skipped))
        if not _is_measurable(graph, placement, ctx):
            return _unmeasured(placement)
        shapes = concrete_shapes(graph, ctx.input_shapes)
        tensors = [name for group in placement.groups for name in group]
        statistics: Mapping[str, TensorStatistics]
        if ctx.statistics:
            saved = load_merged(ctx.statistics, graph, tensors)
            ctx.note(f"Ranges come from the statistics of {saved.samples} pictures in {len(ctx.statistics)} files.")
            statistics = saved.statistics
        else:
            try:
                statistics = collect(graph, tensors, ctx.feeds, shapes, ctx)
            except BackendError as error:
                _stay_float(error, graph, ctx)
                return _unmeasured(placement)
        placement = _without_masks(graph, placement, statistics, ctx)
        effects: Mapping[str, Influence] = {}
        if self.observer == OUTPUTS and not ctx.feeds.synthetic:
            try:
                effects = influences(graph, placement, statistics, ctx.feeds, shapes, ctx)
            except PassError as error:
                ctx.note(f"Ranges are chosen by the values alone. {error.message}", node=error.node)
        seen = Seen(statistics, effects)
        extra: dict[str, Any] = {}
        if self.max_drop is not None or self.max_latency is not None:
            kept, extra = self._kept(graph, placement, seen, ctx.feeds, shapes, ctx)
            placement = place(graph, ctx.target, kept, placement.exceptions)
        elif not ctx.feeds.synthetic:
            placement, extra = self._without_coarse(graph, placement, seen, ctx.feeds, shapes, ctx)
        _note_skipped(placement, ctx)
        activations = self._activations(graph, placement, seen, ctx)
        weights = quantize_weights(graph, placement, activations, ctx)
        for name in sorted({name for name, _ in weights} - set(placement.layers)):
            ctx.note("Its weight is stored quantized anyway, as quantized layers share it.", node=name)
        # Fitting changes the weights in the graph, so what learning takes for right is put aside before.
        teacher = ctx.teacher or whole_teacher(graph, None) if self.learn else None
        weights = self._fit(graph, placement, activations, weights, ctx.feeds, ctx)
        if teacher is not None:
            activations, weights, extra["learned"] = learn_quantization(
                graph, teacher, activations, weights, ctx.feeds, ctx, steps=self.learn
            )
        by_tensor = _tensor_figures(graph, placement, statistics, activations, ctx)
        by_layer = layer_figures(graph, weights, by_tensor, ctx.target.weights)
        figures = {"calibration": ctx.feeds.description, "pictures": len(ctx.feeds), "tensors": by_tensor, **extra}
        pairs = _insert(graph, activations, weights, ctx)
        return PassResult(pairs, figures, by_layer, dict(placement.skipped))

    def _activations(
        self, graph: Graph, placement: Placement, seen: Seen, ctx: PassContext, *, warn: bool = True
    ) -> dict[str, QuantParams]:
        by_values = "mse" if self.observer == OUTPUTS else self.observer
        return quantize_activations(graph, placement, seen, by_values, ctx, warn=warn)

    def _fit(
        self,
        graph: Graph,
        placement: Placement,
        activations: Mapping[str, QuantParams],
        weights: dict[tuple[str, int], QuantParams],
        feeds: Feeds,
        ctx: PassContext,
    ) -> dict[tuple[str, int], QuantParams]:
        """Change weights and biases so that errors make up for each other; how weights are to be quantized then."""
        layers = list(dict.fromkeys([*placement.layers, *(node.name for node in final_layers(graph))]))
        chosen: dict[str, TensorScheme | None] = {}
        if self.rounding == "gram" and not feeds.synthetic and ctx.target.weights.bits <= MOST_BITS:
            schemes, int8 = weight_schemes(graph, ctx.target), set(placement.layers)
            chosen = {name: schemes[name] if name in int8 else None for name in refittable(graph, layers)}
        teacher = clone(graph) if chosen else graph
        if self.bias_correction != "none":
            if ctx.statistics and feeds.synthetic:
                ctx.note("Biases are not corrected, as no pictures were given to measure on.")
            else:
                # Before the others are fitted: those would make up for mean errors that are taken out afterwards.
                left = [name for name in layers if name not in chosen]
                # With activations exact, the mean error of the outputs is what the weights' change makes of the mean
                # inputs.
                quantized = activations if self.bias_correction == "empirical" else {}
                correct_biases(graph, left, quantized, weights, feeds, ctx)
        return refit(graph, teacher, chosen, activations, weights, feeds, ctx) if chosen else weights

    def _without_coarse(
        self, graph: Graph, placement: Placement, seen: Seen, feeds: Feeds, shapes: Shapes, ctx: PassContext
    ) -> tuple[Placement, dict[str, Any]]:
        """The placement without layers that 8 bits are too coarse for, with figures for the report."""
        activations = self._activations(graph, placement, seen, ctx, warn=False)
        candidates = coarse_inputs(graph, placement, activations, feeds, shapes, ctx)
        if not candidates:
            return placement, {}

        def quantized(kept: frozenset[str]) -> dict[str, QuantParams]:
            groups = place(graph, ctx.target, kept, placement.exceptions).groups
            return {name: activations[name] for group in groups for name in group}

        kept, figures = choose_float(graph, candidates, quantized, feeds, shapes, ctx)
        if not kept:
            return placement, {}
        chosen = place(graph, ctx.target, kept, placement.exceptions)
        reasons = {**chosen.skipped, **dict.fromkeys(kept, TOO_COARSE)}
        return replace(chosen, skipped=reasons), figures

    def _kept(
        self,
        graph: Graph,
        placement: Placement,
        seen: Seen,
        feeds: Feeds,
        shapes: Shapes,
        ctx: PassContext,
    ) -> tuple[frozenset[str], dict[str, Any]]:
        """Layers to leave float, with figures for the report."""
        activations = self._activations(graph, placement, seen, ctx, warn=False)
        weights = quantize_weights(graph, placement, activations, ctx)
        found = units(graph, placement, shapes)
        by_measuring = self.sensitivity != "hawq"
        if not by_measuring:
            try:
                found = estimated(graph, found, shapes, seen.statistics, activations, weights, feeds, ctx)
            except PassError as error:
                ctx.note(f"Errors are measured instead of estimated. {error.message}", node=error.node)
                by_measuring = True
        if by_measuring:
            found = measured(graph, found, activations, weights, feeds, ctx)
        agree = agreement(graph, feeds, ctx)

        def drop(kept: frozenset[str]) -> float:
            quantized = clone(graph)
            chosen = place(quantized, ctx.target, kept, placement.exceptions)
            quant_params = self._activations(quantized, chosen, seen, ctx, warn=False)
            fitted = self._fit(
                quantized, chosen, quant_params, quantize_weights(quantized, chosen, quant_params, ctx), feeds, ctx
            )
            _insert(quantized, quant_params, fitted, ctx)
            refresh(quantized)
            return 1 - agree(quantized)

        if self.max_drop is not None:
            kept, lost = until_kept(found, self.max_drop, drop)
            if lost > self.max_drop:
                ctx.note(
                    f"A drop of at most {self.max_drop:g} is not reachable: with every layer float it is {lost:.4f}.",
                    level="warning",
                )
        else:
            most = self.max_latency or 0.0
            kept = within_time(found, most)
            lost = drop(kept)
            least = modeled_time(found, frozenset())
            if least > most:
                ctx.note(
                    f"A latency of {most:g} is not reachable: with every layer quantized it is modeled at {least:.3f}.",
                    level="warning",
                )
        return kept, {
            "sensitivity": [
                {"layer": name, "score_error": unit.score_error, "box_error": unit.box_error}
                for unit in sorted(found, key=lambda unit: -unit.error)
                for name in unit.layers
            ],
            "mixed": {
                "drop": round(lost, 5),
                "modeled_time": round(modeled_time(found, kept), 4),
                "modeled_time_all_quantized": round(modeled_time(found, frozenset()), 4),
                "float_layers": sorted(kept),
            },
        }


def _without_masks(
    graph: Graph, placement: Placement, statistics: Mapping[str, TensorStatistics], ctx: PassContext
) -> Placement:
    """The placement without tensors that hold sentinels, and those that share a scale with them."""
    groups = masked_tensors(placement.groups, statistics)
    for name in groups:
        ctx.note("Stays float: it holds values far beyond all others, as masks do.", node=name)
    masked = frozenset[str]().union(*groups.values())
    return place(graph, ctx.target, exceptions=replace(placement.exceptions, masked=masked)) if masked else placement


def _is_measurable(graph: Graph, placement: Placement, ctx: PassContext) -> bool:
    """Whether every layer to quantize or fit can be run: none is behind an operator that is missing here."""
    first = next(iter(ctx.feeds or ()), None)
    if first is None or all(onnx.defs.has(node.op, node.domain or "") for node in graph.nodes):
        return True
    layers = {*placement.layers, *(node.name for node in final_layers(graph))}
    try:
        run_until(graph, [node.outputs[0].name for node in graph.nodes if node.name in layers], ctx)(first)
    except BackendError as error:
        _stay_float(error, graph, ctx)
        return False
    return True


def _stay_float(error: BackendError, graph: Graph, ctx: PassContext) -> None:
    """Say that the model does not run here; raise the error where it does."""
    if does_run(graph, ctx):
        raise error
    ctx.note(f"Nothing is quantized, as the model does not run here to be calibrated. {error.message}", level="warning")


def _unmeasured(placement: Placement) -> PassResult:
    return PassResult(skipped={**dict.fromkeys(placement.layers, _NOT_RUN), **placement.skipped})


def _note_skipped(placement: Placement, ctx: PassContext) -> None:
    for name, reason in placement.skipped.items():
        ctx.note(f"Stays float: {reason}.", node=name)


def _insert(
    graph: Graph,
    activations: Mapping[str, QuantParams],
    weights: Mapping[tuple[str, int], QuantParams],
    ctx: PassContext,
) -> int:
    """Insert pairs and store quantized constants; the number of pairs."""
    lookups = shared_lookups(graph, weights, ctx.target)
    pairs = insert_qdq(graph, activations, weights)
    if ctx.target.bias == "int32":
        quantize_biases(graph, weights)
    store_quantized(graph, ctx.target.weights)
    read_codes(graph, lookups, ctx.target)
    return pairs


def _tensor_figures(
    graph: Graph,
    placement: Placement,
    statistics: Mapping[str, TensorStatistics],
    activations: Mapping[str, QuantParams],
    ctx: PassContext,
) -> dict[str, Any]:
    """Figures of every quantized activation, by tensor."""
    tensors = graph.tensors()
    figures = {}
    for group in placement.groups:
        for name in group:
            transfer = transfer_of(tensors[name]) if len(group) == 1 else as_is
            behind = "SiLU" if transfer is silu else ""
            figures[name] = tensor_figures(
                statistics[name], activations[name], ctx.target.activations, transfer, behind
            )
    return figures
