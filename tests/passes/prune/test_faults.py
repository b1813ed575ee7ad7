"""Tests of the tests: each fault a pruner can have must be caught by the masking oracle or the full check."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from types import MappingProxyType

import numpy as np
import onnx
import pytest
from onnx.shape_inference import InferenceError
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, RuntimeException

from tests.networks.topologies import TOPOLOGIES
from tests.passes.prune.masking import pruned_equals_masked
from tests.strategies import RandomGraph, Step
from yocc.analysis.coupling import atoms, channels, flows, moving, weighted
from yocc.analysis.coupling.walk import Walk
from yocc.compiler.graph.operators import Flow
from yocc.passes.prune import remove

Patch = pytest.MonkeyPatch
CAUGHT = (AssertionError, IndexError, ValueError, InferenceError, Fail, InvalidArgument, InvalidGraph, RuntimeException)
"""What the oracle, the full check or onnxruntime itself raise."""


def _replace_rule(patch: Patch, flow: Flow, rule: flows.Rule) -> None:
    for module in (flows, channels):
        patch.setattr(module, "RULES", MappingProxyType({**flows.RULES, flow: rule}))


def forget_the_union_at_add(patch: Patch) -> None:
    def rule(walk: Walk, node: object) -> list[atoms.Array]:
        table, walk.table = walk.table, atoms.AtomTable()
        try:
            return flows.RULES_AS_WRITTEN[Flow.ELEMENTWISE](walk, node)
        finally:
            walk.table = table

    _replace_rule(patch, Flow.ELEMENTWISE, rule)


def swap_concat_order(patch: Patch) -> None:
    def rule(walk: Walk, node: object) -> list[atoms.Array]:
        (result,) = flows.RULES_AS_WRITTEN[Flow.CONCAT](walk, node)
        return [np.flip(result, axis=1)]

    _replace_rule(patch, Flow.CONCAT, rule)


def leave_outputs_unfrozen(patch: Patch) -> None:
    freeze = atoms.AtomTable.freeze

    def careless(self: atoms.AtomTable, array: atoms.Array, node: str, reason: str) -> None:
        if "output of the model" not in reason:
            freeze(self, array, node, reason)

    patch.setattr(atoms.AtomTable, "freeze", careless)


def let_normalization_mix_channels(patch: Patch) -> None:
    _replace_rule(patch, Flow.ALONG_AXIS, lambda walk, node: [walk.of(node.inputs[0]) for _ in node.outputs])


def cut_the_wrong_axis(patch: Patch) -> None:
    rewrite_cuts(patch, lambda cut: dataclasses.replace(cut, axis=1 - cut.axis) if cut.role == "in" else cut)


def forget_biases(patch: Patch) -> None:
    rewrite_cuts(patch, lambda cut: None if cut.role == "along" and cut.slot == 2 else cut)


def forget_running_variance(patch: Patch) -> None:
    rewrite_cuts(patch, lambda cut: None if cut.slot == 4 else cut)


def shift_input_channels_by_one(patch: Patch) -> None:
    rewrite_cuts(patch, lambda cut: dataclasses.replace(cut, atoms=np.roll(cut.atoms, 1)) if cut.role == "in" else cut)


def rewrite_cuts(patch: Patch, change: Callable[[atoms.WeightCut], atoms.WeightCut | None]) -> None:
    original = remove._cut_constants

    def faulty(graph: object, found: channels.ChannelMap, kept: np.ndarray) -> int:
        cuts = tuple(changed for cut in found.cuts if (changed := change(cut)) is not None)
        return original(graph, dataclasses.replace(found, cuts=cuts), kept)

    patch.setattr(remove, "_cut_constants", faulty)


def forget_a_correction(op: str) -> Callable[[Patch], None]:
    def fault(patch: Patch) -> None:
        kept = {name: correct for name, correct in remove._CORRECTIONS.items() if name != op}
        patch.setattr(remove, "_CORRECTIONS", MappingProxyType(kept))

    return fault


def do_not_tie_groups(patch: Patch) -> None:
    patch.setattr(weighted, "_tie_groups", lambda *_: None)


def do_not_tie_reshaped_axes(patch: Patch) -> None:
    patch.setattr(moving, "_one_axis", lambda *given: given[1])


SLICED = RandomGraph(4, 8, 8, 1, (Step("conv", 0, 9), Step("slice", 0, 9), Step("activation")), ("conv",))
MODELS: dict[str, Callable[[int], onnx.ModelProto]] = {**TOPOLOGIES, "channel_slice": lambda _: SLICED.build()}

FAULTS: dict[str, tuple[Callable[[Patch], None], tuple[str, ...]]] = {
    "forget the union at Add": (forget_the_union_at_add, ("residual", "bottleneck")),
    "swap Concat order": (swap_concat_order, ("dense", "c2f")),
    "leave outputs unfrozen": (leave_outputs_unfrozen, ("residual", "c2f")),
    "let normalization mix channels": (let_normalization_mix_channels, ("convnext",)),
    "cut the wrong axis": (cut_the_wrong_axis, ("residual",)),
    "bias not sliced": (forget_biases, ("unet", "residual")),
    "running variance not sliced": (forget_running_variance, ("residual",)),
    "input channels off by one": (shift_input_channels_by_one, ("residual",)),
    "stale Split sizes": (forget_a_correction("Split"), ("c2f",)),
    "depthwise group not updated": (forget_a_correction("Conv"), ("inverted_residual",)),
    "stale Slice bounds": (forget_a_correction("Slice"), ("channel_slice",)),
    "stale Reshape sizes": (forget_a_correction("Reshape"), ("shuffle_split",)),
    "groups not tied": (do_not_tie_groups, ("shuffle_groups",)),
    "reshaped axes not tied": (do_not_tie_reshaped_axes, ("shuffle_split",)),
}


@pytest.fixture(autouse=True)
def _rules_as_written(monkeypatch: Patch) -> None:
    monkeypatch.setattr(flows, "RULES_AS_WRITTEN", flows.RULES, raising=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({name for _, names in FAULTS.values() for name in names}))
def test_without_a_fault_nothing_is_caught(name: str) -> None:
    for seed in range(3):
        assert pruned_equals_masked(MODELS[name](seed), share=0.5, seed=seed) > 0


@pytest.mark.parametrize("name", FAULTS)
def test_the_fault_is_caught(name: str, monkeypatch: Patch) -> None:
    fault, topologies = FAULTS[name]
    fault(monkeypatch)
    with pytest.raises(CAUGHT):
        _prune_all(topologies)


def _prune_all(topologies: tuple[str, ...]) -> None:
    for topology in topologies:
        for seed in range(3):
            pruned_equals_masked(MODELS[topology](seed), share=0.5, seed=seed)
