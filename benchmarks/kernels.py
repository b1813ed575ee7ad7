"""Whether smaller kernels lose less than low ranks that save as much.

    python benchmarks/kernels.py model.onnx pictures/

A layer under a k x k kernel keeps the middle of it, 1 x 1, k x 1 or 1 x k. Its outputs are regressed on the inputs that
are left, over the covariance of whole windows; what that leaves, weighted by what an error in the outputs costs, is the
loss in the unit of low ranks. Then the best plan of these kernels, of ranks, and of both is found for several shares.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import yocc
from yocc.analysis.ranks.layers import Cost, find_layers
from yocc.analysis.ranks.moves import Move, faster_moves, plan_moves, rank_moves
from yocc.analysis.ranks.spectra import LayerSpectrum, spectra_on_pictures
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.pipeline import Pipeline

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
RIDGE = 1e-6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("--count", type=int, default=24, help="pictures to measure on")
    options = parser.parse_args()
    graph = yocc.load(str(options.model))
    ctx = yocc.pass_context(graph, data=options.pictures, count=options.count, threads=1)
    graph, _ = Pipeline.parse("fp32,simplify,fuse").run(graph, ctx)
    shapes = concrete_shapes(graph, ctx.input_shapes)
    layers, _ = find_layers(graph, shapes)
    if ctx.feeds is None:
        raise SystemExit("There are no pictures.")
    spectra, _ = spectra_on_pictures(graph, shapes, layers, ctx.feeds, ctx, count=options.count)
    kernels = {name: list(kernel_moves(own)) for name, own in spectra.items()}
    print("| layer | kernel | loss | of a pair that saves as much |\n| --- | --- | --- | --- |")
    for move in (move for moves in kernels.values() for move in moves):
        own = spectra[move.layer]
        pairs = [pair.loss for pair in rank_moves(own.layer, own.losses(), 1) if pair.cost.macs <= move.cost.macs]
        print(f"| {move.layer} | {move.form} | {move.loss:.3g} | {min(pairs, default=np.nan):.3g} |")
    ranks = {name: faster_moves(own.layer, own.losses(), 8) for name, own in spectra.items()}
    both = {name: [*ranks[name], *kernels[name]] for name in ranks}
    whole = totals(layer_costs(graph, shapes))
    print("\n| saved | kernels | ranks | both | of these |\n| --- | --- | --- | --- | --- |")
    for share in SHARES:
        plans = [
            plan_moves(
                moves,
                {name: own.layer.cost for name, own in spectra.items()},
                macs=share * whole.macs,
                parameters=share * whole.parameters,
            )
            for moves in (kernels, ranks, both)
        ]
        losses = " | ".join(f"{plan.loss:.3g}" if plan.reached else "not reached" for plan in plans)
        print(f"| {share:.0%} | {losses} | {dict(Counter(move.form for move in plans[-1].moves.values()))} |")


def kernel_moves(own: LayerSpectrum) -> Iterator[Move]:
    """A layer under each smaller kernel."""
    if own.inputs is None:
        return
    layer, covariance = own.layer, own.inputs[1]
    covariance = covariance + RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    _, channels, height, width = layer.node.inputs[1].shape
    places = np.arange(layer.inputs).reshape(channels, height, width)
    row, column = height // 2, width // 2
    parts = {"1 x 1": places[:, row, column], "k x 1": places[:, :, column], "1 x k": places[:, row, :]}
    for form, part in parts.items():
        left = part.reshape(-1)
        read = covariance[:, left]
        missed = covariance - read @ np.linalg.solve(covariance[np.ix_(left, left)], read.T)
        loss = float(np.sum(own.metric * (layer.matrix() @ missed @ layer.matrix().T)))
        weights = len(left) * layer.outputs
        yield Move(layer.node.name, form, 0, loss, Cost(weights + layer.outputs, weights * layer.positions))  # type: ignore[arg-type] # forms of an experiment


if __name__ == "__main__":
    main()
