"""Training a network on its own pictures to give what another one gives, without labels.

Hinton et al., "Distilling the Knowledge in a Neural Network" (arXiv 1503.02531, 2015), with the outputs of layers on
the way as in FitNets (Romero et al., arXiv 1412.6550, 2015).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from yocc.analysis.heads import final_layers
from yocc.compiler.graph import Graph
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.lineage import Teacher, rewritten
from yocc.compiler.pipeline.passes import Feeds, PassContext
from yocc.errors import OptionError
from yocc.learning.learner import Learner
from yocc.learning.loop import Look, Recipe, learn
from yocc.learning.network import Network
from yocc.learning.pictures import Pictures, collect
from yocc.rewrites.folding import fold_into_layers

ENOUGH_PICTURES = 16
"""The network overfits fewer pictures than this."""
HELD_OUT = 24
"""Pictures that choose the weights instead of being learned from, at most; a quarter where there are few."""
STEPS = 4000
LATER = 2
"""How many times as long each later round of pruning is learned from as the one before it."""
_ENDLESS = 10**7


@dataclass(frozen=True)
class Training:
    """How to train.

    Attributes:
        steps: batches to learn from; None takes as many as the time allows that users give, or `STEPS` without one.
        batch: pictures in each.
        side: pixels of the squares cut out of the pictures; 0 learns from whole ones.
        rate: five times the relative change of weights in a step, in root mean square, at its peak.
        features: weight of the layers' own outputs beside the network's.
        device: `cpu`, `cuda`, or `auto` for the GPU if there is one.
        checkpoint: file that keeps the state, to continue from after an interruption; None keeps none.
        later: trainings that come after this one; each takes `LATER` times as long as the one before it.
    """

    steps: int | None
    batch: int
    rate: float
    side: int = 320
    features: float = 1.0
    device: str = "auto"
    checkpoint: Path | None = None
    later: int = 0


@dataclass(frozen=True)
class Trained:
    """What a training did.

    Attributes:
        changed: weights and biases that have new values.
        figures: for the report.
    """

    changed: int
    figures: dict[str, Any]


def train(graph: Graph, teacher: Teacher, feeds: Feeds, ctx: PassContext, training: Training) -> Trained:
    """Learn, and put the weights that were best on pictures held out into the graph.

    Args:
        graph: learns; with one input.
        teacher: what it learns from, with batch normalizations or without, and the channels it still has of that.
        feeds: two pictures at least.
        ctx: takes notes, shows progress, knows the time that is left.
        training: how.

    Raises:
        OptionError: there is no such device, or the checkpoint belongs to another run.
    """
    if len(feeds) < ENOUGH_PICTURES:
        ctx.note(
            f"Distilled on {len(feeds)} pictures; the network overfits fewer than {ENOUGH_PICTURES}.", level="warning"
        )
    pictures = collect(ctx.progress(feeds, "pictures", len(feeds)), graph.inputs[0].name)
    if len(pictures.samples) < len(feeds):
        ctx.note(
            f"Distilled on {len(pictures.samples)} of {len(feeds)} pictures, evenly spaced; "
            "more do not fit into half of what is free on the disk of temporary files, or 16 GiB.",
            level="warning",
        )
    fitted, held_out = _shared_out(pictures)
    learner = make_learner(graph, teacher, ctx)
    recipe = _recipe(training, learner, fitted, ctx)
    device = _device(training.device)
    seconds = ctx.deadline.left() / sum(LATER**place for place in range(training.later + 1))
    looks = learn(
        learner, fitted, held_out, recipe,
        device=device, seconds=seconds, checkpoint=training.checkpoint, progress=ctx.progress,
    )  # fmt: skip
    if looks[-1].step < recipe.steps < _ENDLESS:
        ctx.note(
            f"Distillation ended after {looks[-1].step} of {recipe.steps} steps; the best weights so far are kept.",
            level="warning",
        )
    figures = _figures(looks, recipe, device, len(fitted.samples), len(held_out.samples))
    return Trained(learner.student.store(graph), figures)


def make_learner(graph: Graph, teacher: Teacher, ctx: PassContext) -> Learner:
    """Both networks in torch, compared at their last layers' outputs and at those of the layers they share."""
    # With its batch normalizations folded its layers give what the pruned one's give.
    original = rewritten(teacher, fold_into_layers)
    ends = [node.outputs[0].name for node in final_layers(graph)]
    features = {name: torch.from_numpy(kept) for name, kept in _matching(graph, original) if name not in ends}
    names = [*ends, *features]
    student = Network(graph, names, concrete_shapes(graph, ctx.input_shapes), learning=True)
    taught = Network(original.graph, names, concrete_shapes(original.graph, ctx.input_shapes), learning=False)
    return Learner(student, taught, ends, features, ctx.detection)


def _recipe(training: Training, learner: Learner, fitted: Pictures, ctx: PassContext) -> Recipe:
    side = min(training.side, *fitted.samples[0].shape[2:]) if fitted.are_pictures else 0
    if side and not learner.student.size_free:
        ctx.note("The network takes pictures of one size only: trained on whole ones.")
        side = 0
    steps = training.steps
    if steps is None:
        steps = STEPS // LATER**training.later if math.isinf(ctx.deadline.seconds) else _ENDLESS
    return Recipe(
        steps=steps, batch=training.batch, side=side, rate=training.rate, features=training.features, seed=ctx.seed
    )


def _shared_out(pictures: Pictures) -> tuple[Pictures, Pictures]:
    """Pictures to learn from, and evenly spaced ones to choose by."""
    count = len(pictures.samples)
    chosen = set(np.linspace(0, count - 1, min(HELD_OUT, -(-count // 4))).round().astype(int).tolist())
    return pictures.take([place for place in range(count) if place not in chosen]), pictures.take(sorted(chosen))


def _matching(graph: Graph, teacher: Teacher) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    """Outputs of layers that both networks have, and the original's channels that are left."""
    originals = {node.name: node.outputs[0].name for node in teacher.graph.nodes if node.outputs}
    for node in graph.nodes:
        kept = teacher.kept.get(node.name)
        if kept is not None and len(kept) and originals.get(node.name) == node.outputs[0].name:
            yield node.outputs[0].name, np.asarray(kept)


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.partition(":")[0] == "cuda" and not torch.cuda.is_available():
        raise OptionError("There is no GPU that torch can use here.", "Use device=cpu.")
    if wanted.partition(":")[0] not in ("cpu", "cuda"):
        raise OptionError(f"There is no device {wanted!r}.", "Use cpu, cuda or auto.")
    return wanted


def _figures(looks: list[Look], recipe: Recipe, device: str, fitted: int, held_out: int) -> dict[str, Any]:
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
