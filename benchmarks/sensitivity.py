"""Whether searching a factor for each layer's foreseen loss finds better ranks, as SPDY does.

    python -m benchmarks.sensitivity model.onnx pictures/ held_out/ --saved 0.2

Frantar & Alistarh, "SPDY: Accurate Pruning with Speedup Guarantees" (ICML 2022), section 3.2: factors are drawn at
random, the plan that is best by them is applied and measured, and the best factors are varied in ever smaller parts.
The plans are measured on some of the pictures, without a refit. The plan that was found best and the one without
factors are then refitted, and both are measured on the pictures that were held out.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

import yocc
from benchmarks.foreseen import found
from benchmarks.rank_plans import Factors, Plans
from yocc.analysis.ranks.layers import find_layers
from yocc.analysis.ranks.moves import MovePlan
from yocc.analysis.ranks.spectra import spectra_on_pictures
from yocc.compiler.graph.shapes import concrete_shapes
from yocc.compiler.pipeline.lineage import factored_teacher
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.passes.factorize.choose import PROMISE

SPREAD = 1.0
"""Standard deviation of the logarithm of a factor drawn at random."""
VARIED = 0.1
"""Share of the factors that a step of the local search draws anew, at first."""


def saving(plans: Plans, share: float, factors: Factors) -> MovePlan:
    """The best plan that saves a share of parameters and MACs, no more of the parameters than is promised."""
    return plans.best(factors, macs=share, parameters=share, most=share + PROMISE)


def search(plans: Plans, share: float, trials: int, ctx: PassContext) -> MovePlan:
    """The plan that is found to lose least: half of the trials at random, half near the best."""
    random, count = np.random.default_rng(0), len(plans.moves)
    best, least, chosen = np.ones(count), np.inf, saving(plans, share, np.ones(count))
    for trial in range(trials):
        if trial < trials // 2:
            factors = np.exp(SPREAD * random.standard_normal(count)) if trial else np.ones(count)
        else:
            part = VARIED * (trials - trial) / (trials - trials // 2)
            places = random.choice(count, max(1, round(part * count)), replace=False)
            factors = best.copy()
            factors[places] = np.exp(SPREAD * random.standard_normal(len(places)))
        plan = saving(plans, share, factors)
        lost = found(plans.graph, plans.applied(plan)[0], ctx)
        if lost < least:
            best, least, chosen = factors, lost, plan
            print(f"trial {trial}: foreseen {plan.loss:.3g}, found {lost:.4g}", flush=True)
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("--saved", type=float, default=0.2, help="share of parameters and MACs")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--count", type=int, default=96, help="pictures to measure losses and refit on")
    parser.add_argument("--seen", type=int, default=8, help="pictures that each trial is measured on")
    parser.add_argument("-o", "--output", type=Path, help="folder for both refitted models")
    options = parser.parse_args()
    original = yocc.load(str(options.model))
    ctx = yocc.pass_context(original, data=options.pictures, count=options.count, threads=1)
    graph, _ = Pipeline.parse("fp32,simplify,fuse").run(original, ctx)
    held = yocc.pass_context(original, data=options.held_out, threads=1)
    few = yocc.pass_context(original, data=options.pictures, count=options.seen, threads=1)
    shapes = concrete_shapes(graph, ctx.input_shapes)
    if ctx.feeds is None:
        raise SystemExit("There are no pictures.")
    layers, _ = find_layers(graph, shapes)
    spectra, _ = spectra_on_pictures(graph, shapes, layers, ctx.feeds, ctx, count=min(24, options.count))
    plans, share = Plans(graph, ctx, spectra), options.saved
    chosen = {
        "as foreseen": saving(plans, share, np.ones(len(plans.moves))),
        "searched": search(plans, share, options.trials, few),
    }
    print("| plan | foreseen | found on held-out pictures | refitted |\n| --- | --- | --- | --- |")
    for name, plan in chosen.items():
        changed, pairs = plans.applied(plan)
        plain = found(graph, changed, held)
        refit = yocc.pass_context(original, data=options.pictures, count=options.count, threads=1)
        refit = replace(refit, teacher=factored_teacher(graph, None, pairs))
        recovered, _ = Pipeline.parse("recover{pictures=96}").run(changed, refit)
        print(f"| {name} | {plan.loss:.3g} | {plain:.4g} | {found(graph, recovered, held):.4g} |", flush=True)
        if options.output:
            options.output.mkdir(parents=True, exist_ok=True)
            yocc.save(recovered, str(options.output / f"{name.replace(' ', '_')}.onnx"))


if __name__ == "__main__":
    main()
