"""Whether the loss that low ranks are chosen by orders plans as the loss that is found does.

    python -m benchmarks.foreseen model.onnx pictures/ held_out/
    python -m benchmarks.foreseen model.onnx pictures/ held_out/ --blocks

Plans are drawn at random: a share of the MACs to save, and a factor for what each layer loses. Each is applied without
a refit. The loss found is the same second-order change of the outputs, measured on other pictures. With `--blocks`,
each branch and block is left out alone instead.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import yocc
from benchmarks.rank_plans import Plans
from yocc.analysis.effect import fisher
from yocc.analysis.heads import final_layers
from yocc.analysis.omission import exit_axis
from yocc.analysis.ranks.layers import find_layers
from yocc.analysis.ranks.moves import MovePlan
from yocc.analysis.ranks.spectra import spectra_on_pictures
from yocc.compiler.graph import Graph, clone, refresh
from yocc.compiler.graph.cost import layer_costs, totals
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.partial import run_until
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.passes.drop.bypass import bypass
from yocc.passes.drop.candidates import Blocks, Losses

SHARES = (0.05, 0.4)
SPREAD = 0.7
"""Standard deviation of the logarithm of a layer's factor."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("--plans", type=int, default=20)
    parser.add_argument("--count", type=int, default=24, help="pictures to measure on")
    parser.add_argument("--held", type=int, default=8, help="pictures to find losses on")
    parser.add_argument("--blocks", action="store_true", help="leave out branches and blocks instead")
    options = parser.parse_args()
    graph = yocc.load(str(options.model))
    ctx = yocc.pass_context(graph, data=options.pictures, count=options.count, threads=1)
    graph, _ = Pipeline.parse("fp32,simplify,fuse").run(graph, ctx)
    held = yocc.pass_context(graph, data=options.held_out, count=options.held, threads=1)
    shapes = concrete_shapes(graph, ctx.input_shapes)
    if ctx.feeds is None:
        raise SystemExit("There are no pictures.")
    if options.blocks:
        print(f"\nRank correlation {rank_correlation(without_blocks(graph, ctx, held, options.count)):.3f}")
        return
    layers, _ = find_layers(graph, shapes)
    spectra, by = spectra_on_pictures(graph, shapes, layers, ctx.feeds, ctx, count=options.count)
    plans, random, rows = Plans(graph, ctx, spectra), np.random.default_rng(0), []
    print(f"| MACs left | foreseen ({by}) | found |\n| --- | --- | --- |")
    for _ in range(options.plans):
        plan = drawn(plans, random)
        rows.append((plan.loss, found(graph, plans.applied(plan)[0], held)))
        print(f"| {plans.macs_left(plan):.3f} | {rows[-1][0]:.3g} | {rows[-1][1]:.3g} |", flush=True)
    print(f"\nRank correlation {rank_correlation(rows):.3f}")


def without_blocks(graph: Graph, ctx: PassContext, held: PassContext, count: int) -> list[tuple[float, float]]:
    """Loss foreseen and found without each block."""
    blocks = Blocks.of(graph, ctx)
    losses = Losses.of(graph, blocks, blocks.blocks, ctx, most=count, original=graph)
    costs, whole = blocks.savings(graph), totals(layer_costs(graph, blocks.shapes))
    nodes = {node.name: node for node in graph.nodes}
    print(
        f"| block | kind | parameters | MACs | foreseen ({losses.by}) | found |\n| --- | --- | --- | --- | --- | --- |"
    )
    rows = []
    for name, omission in losses.omissions.items():
        block, shortened = blocks.blocks[name], clone(graph)
        bypass(shortened, blocks.shapes, block, omission.shift, exit_axis(block, nodes, blocks.shapes))
        refresh(shortened)
        rows.append((omission.loss, found(graph, shortened, held)))
        shares = costs[name].parameters / whole.parameters, costs[name].macs / whole.macs
        print(
            f"| {name} | {block.kind} | {shares[0]:.3f} | {shares[1]:.3f} | {rows[-1][0]:.3g} | {rows[-1][1]:.3g} |",
            flush=True,
        )
    return rows


def drawn(plans: Plans, random: np.random.Generator) -> MovePlan:
    """A plan by losses varied at random."""
    factors = np.exp(SPREAD * random.standard_normal(len(plans.moves)))
    return plans.best(factors, macs=random.uniform(*SHARES))


def found(graph: Graph, changed: Graph, ctx: PassContext) -> float:
    """The squared change of the last layers' outputs, by their Fisher information, a picture."""
    names = [node.outputs[0].name for node in final_layers(graph)]
    original, candidate = run_until(graph, names, ctx), run_until(changed, names, ctx)
    each = []
    for arrays in ctx.feeds or ():
        wanted, given = original(arrays), candidate(arrays)
        information = fisher({name: wanted[name] for name in names}, ctx.detection)
        each.append(sum(float((information[name] * np.square(given[name] - wanted[name])).sum()) for name in names))
    return float(np.mean(each))


def rank_correlation(rows: list[tuple[float, float]]) -> float:
    """Spearman's coefficient of pairs without ties."""
    order = np.argsort(np.argsort(np.array(rows), axis=0), axis=0)
    return float(np.corrcoef(order[:, 0], order[:, 1])[0, 1])


if __name__ == "__main__":
    main()
