"""Distillation: the pruned network learns from the original on pictures without labels; needs torch."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from yocc.analysis.heads import final_layers
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.passes import Pass, PassContext, Teacher
from yocc.errors import CalibrationError, OptionError, PassError
from yocc.passes.recover import fused_teacher

if TYPE_CHECKING:
    from yocc.learning.learner import Learner
    from yocc.learning.loop import Look, Recipe
    from yocc.learning.pictures import Pictures

__all__ = ["Distill"]

ENOUGH_PICTURES = 16
"""Fewer pictures than this are learnt by heart."""
HELD_OUT = 24
"""Pictures that choose the weights instead of being learnt from, at most; a quarter where there are few."""
STEPS = 4000
LATER = 2
"""How many times as long each later round of pruning is learnt from as the one before it."""
_ENDLESS = 10**7


@dataclass(frozen=True, kw_only=True)
class Distill(Pass):
    """Train a pruned network to give what the original gives (Hinton et al. 2015, arXiv 1503.02531), without labels.

    The network's raw outputs are compared where the original is confident, and its layers' outputs with those channels
    of the original's that they still have (FitNets, Romero et al. 2015, arXiv 1412.6550).

    Attributes:
        steps: batches to learn from; None takes as many as the time allows that users give, or `STEPS` without one.
            Where a pipeline distills several times, each time gets twice as many as the time before.
        batch: pictures in each.
        side: pixels of the squares cut out of the pictures; 0 learns from whole ones.
        rate: five times the relative change of weights in a step, in root mean square, at its peak.
        features: weight of the layers' own outputs beside the network's; 0 compares the network's alone.
        device: `cpu`, `cuda`, or `auto` for the GPU if there is one.
        checkpoint: file that keeps the state, to continue from after an interruption; empty keeps none.
    """

    name: ClassVar[str] = "distill"
    summary: ClassVar[str] = "train a pruned network to give what the original gives, without labels (extra torch)"

    steps: int | None = None
    batch: int = 8
    side: int = 320
    rate: float = 3e-3
    features: float = 1.0
    device: str = "auto"
    checkpoint: str = ""

    def __post_init__(self) -> None:
        if (self.steps is not None and self.steps < 0) or self.batch < 1 or self.side < 0 or self.side % 32:
            raise OptionError(
                f"Distillation cannot take {self.steps} steps of {self.batch} pictures of {self.side} pixels.",
                "Use 0 or more steps, 1 or more pictures, and a side that is a multiple of 32.",
            )
        if not (0 < self.rate < 1 and self.features >= 0):
            raise OptionError(
                f"Distillation cannot learn at the rate {self.rate:g} with features weighing {self.features:g}.",
                "Use a rate between 0 and 1 and a weight of 0 or more.",
            )

    def unavailable(self) -> str | None:
        """It is written in torch."""
        if importlib.util.find_spec("torch") is None:
            return "it needs PyTorch; install it with: pip install 'yocc[torch]'"
        return None

    def requires(self, graph: Graph, ctx: PassContext) -> None:
        """There must be an original to learn from, and pictures to do it on."""
        if ctx.teacher is None:
            raise PassError("There is nothing to learn: nothing was pruned before.", "Put prune before distill.")
        if ctx.feeds is None or len(ctx.feeds) < 2:
            raise CalibrationError("Distillation needs two pictures at least.", "Give a folder with --calib.")
        if len(graph.inputs) != 1:
            raise PassError(
                f"Distillation takes networks with one input, this one has {len(graph.inputs)}.",
                "Recover with --recover reconstruct.",
            )

    def run(self, graph: Graph, ctx: PassContext) -> int:
        """Learn, and put the weights that were best on pictures held out into the graph."""
        from yocc.learning.loop import learn
        from yocc.learning.pictures import collect

        if ctx.teacher is None or ctx.feeds is None:
            return 0
        if len(ctx.feeds) < ENOUGH_PICTURES:
            ctx.note(
                f"Distilled on {len(ctx.feeds)} pictures; fewer than {ENOUGH_PICTURES} are learnt by heart.",
                level="warning",
            )
        pictures = collect(ctx.progress(ctx.feeds, "pictures", len(ctx.feeds)), graph.inputs[0].name)
        if len(pictures.samples) < len(ctx.feeds):
            ctx.note(
                f"Distilled on {len(pictures.samples)} of {len(ctx.feeds)} pictures, evenly spaced; "
                "more do not fit into the memory it takes.",
                level="warning",
            )
        fitted, held_out = _shared_out(pictures)
        learner = _learner(graph, fused_teacher(ctx.teacher, ctx), ctx)
        recipe = self._recipe(learner, fitted, ctx)
        device = _device(self.device)
        checkpoint = Path(self.checkpoint) if self.checkpoint else None
        later = ctx.to_come.count(self.name)
        seconds = ctx.deadline.left() / sum(LATER**place for place in range(later + 1))
        looks = learn(
            learner, fitted, held_out, recipe, device=device, seconds=seconds, checkpoint=checkpoint,
            progress=ctx.progress,
        )  # fmt: skip
        if looks[-1].step < recipe.steps < _ENDLESS:
            ctx.note(
                f"Distillation ended after {looks[-1].step} of {recipe.steps} steps; the best weights so far are kept.",
                level="warning",
            )
        ctx.details[self.name] = _details(looks, recipe, device, len(fitted.samples), len(held_out.samples))
        return learner.student.store(graph)

    def _recipe(self, learner: Learner, fitted: Pictures, ctx: PassContext) -> Recipe:
        from yocc.learning.loop import Recipe

        side = min(self.side, *fitted.samples[0].shape[2:]) if fitted.are_pictures else 0
        if side and not learner.student.size_free:
            ctx.note("The network takes pictures of one size only: learnt from whole ones.")
            side = 0
        steps = self.steps
        if steps is None:
            later = ctx.to_come.count(self.name)
            steps = STEPS // LATER**later if math.isinf(ctx.deadline.seconds) else _ENDLESS
        return Recipe(steps=steps, batch=self.batch, side=side, rate=self.rate, features=self.features, seed=ctx.seed)


def _shared_out(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """Pictures to learn from, and evenly spaced ones to choose by."""
    count = len(pictures.samples)
    chosen = set(np.linspace(0, count - 1, min(HELD_OUT, -(-count // 4))).round().astype(int).tolist())
    return pictures.take([place for place in range(count) if place not in chosen]), pictures.take(sorted(chosen))


def _learner(graph: Graph, teacher: Teacher, ctx: PassContext) -> Learner:
    import torch

    from yocc.learning.learner import Learner
    from yocc.learning.network import Network

    ends = [node.outputs[0].name for node in final_layers(graph)]
    features = {name: torch.from_numpy(kept) for name, kept in _matching(graph, teacher) if name not in ends}
    names = [*ends, *features]
    student = Network(graph, names, concrete_shapes(graph, ctx.input_shapes), learning=True)
    original = Network(teacher.graph, names, concrete_shapes(teacher.graph, ctx.input_shapes), learning=False)
    return Learner(student, original, ends, features, ctx.detection)


def _matching(graph: Graph, teacher: Teacher) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Outputs of layers that both networks have, and the original's channels that are left."""
    originals = {node.name: node.outputs[0].name for node in teacher.graph.nodes if node.outputs}
    for node in graph.nodes:
        kept = teacher.kept.get(node.name)
        if kept is not None and len(kept) and originals.get(node.name) == node.outputs[0].name:
            yield node.outputs[0].name, np.asarray(kept)


def _device(wanted: str) -> str:
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.partition(":")[0] == "cuda" and not torch.cuda.is_available():
        raise OptionError("There is no GPU that torch can use here.", "Use device=cpu.")
    if wanted.partition(":")[0] not in ("cpu", "cuda"):
        raise OptionError(f"There is no device {wanted!r}.", "Use cpu, cuda or auto.")
    return wanted


def _details(looks: list[Look], recipe: Recipe, device: str, fitted: int, held_out: int) -> dict[str, Any]:
    best = min(looks, key=lambda look: look.loss)
    return {
        "pictures": fitted,
        "held_out": held_out,
        "device": device,
        "batch": recipe.batch,
        "side": recipe.side,
        "steps": looks[-1].step,
        "best_step": best.step,
        "loss_before": looks[0].loss,
        "loss": best.loss,
        "curve": [
            {
                "step": look.step,
                "seconds": round(look.seconds, 1),
                "loss": look.loss if math.isfinite(look.loss) else None,
            }
            for look in looks
        ],
    }
