r"""What distillation adds to the closed-form refit: YOLOv5n or a street detector, pruned, refitted, trained, scored.

    python benchmarks/distillation.py ../shared/data/models/yolov5n.onnx --rounds 0.2254,0.2254 --minutes 100 \
        --fit ../shared/data/images/calib178 ../shared/data/images/unlabelled \
        --learn ../shared/data/images/calib178 ../shared/data/images/unlabelled \
        --score ../shared/data/images/val128/images --out d40

Channels are ranked and layers refitted on the pictures of `--fit`, the network is trained on those of `--learn`; both
without labels. Each round is trained for twice as long as the one before it, or as `--minutes 75,42` says; rounds
joined by `+`, as in `0.2254+0.2254`, are refitted between and trained after the last of them only. `--out` gets the
network after each refit and each training, and `rows.md` with the scores and the losses. Needs the extra `torch`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from yocc.api.judging import against_labels
from yocc.compiler.graph import Graph, load, refresh, to_proto
from yocc.compiler.pipeline.deadline import Deadline
from yocc.compiler.pipeline.passes import Arrays, PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.stages.subject import examine
from yocc.errors import CalibrationError
from yocc.learning.training import LATER
from yocc.passes.distill import Distill
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend, reference_executor
from yocc.runtime.data.feeds import Feeds, open_feeds


@dataclass(frozen=True)
class Both:
    """Pictures of several folders, one after another."""

    parts: Sequence[Feeds]
    synthetic: bool = False

    @property
    def description(self) -> str:
        """Where they come from."""
        return " and ".join(part.description for part in self.parts)

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __iter__(self) -> Iterator[Arrays]:
        return itertools.chain.from_iterable(self.parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", required=True, help="share of what is left that each round removes")
    parser.add_argument("--fit", type=Path, nargs="+", required=True)
    parser.add_argument("--learn", type=Path, nargs="+", required=True)
    parser.add_argument("--score", type=Path, required=True, help="labeled pictures")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="of the last training [default: 4000, or what the time allows]")
    parser.add_argument("--minutes", default="inf", help="for all trainings together, or a list with those of each")
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if "OMP_NUM_THREADS" not in os.environ:
        import torch

        torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    graph = load(options.model)
    subject = examine(graph, options.model, None)
    profile = subject.profile
    if profile is None:
        raise CalibrationError("Only a detector of a known layout can be scored.")

    def pictures(folder: Path) -> Feeds:
        return open_feeds(folder, [profile.input], profile.preprocess)

    ctx = PassContext(
        target=OnnxRuntimeBackend().target({}),
        feeds=Both([pictures(folder) for folder in options.fit]),
        executor=reference_executor(threads=options.threads, optimize=True),
        protected=profile.protected,
        input_shapes=subject.shapes,
        detection=profile.detection,
    )
    passes = "fp32,simplify,fuse"
    rounds, minutes = options.rounds.split(","), [float(each) for each in options.minutes.split(",")]
    if len(minutes) not in (1, len(rounds)):
        parser.error("--minutes takes one number, or one for each of the --rounds.")
    spent, rows, losses = 0.0, [], []
    for number, joined in enumerate(rounds, 1):
        started = time.perf_counter()
        ctx = replace(ctx, feeds=Both([pictures(folder) for folder in options.fit]), deadline=Deadline())
        refit = [f"prune{{ratio={ratio},criterion=effect}},recover" for ratio in joined.split("+")]
        graph, runs = Pipeline.parse(",".join([passes, *refit] if number == 1 else refit)).run(graph, ctx)
        for run in runs:
            ctx = ctx.after(run.name, run.result)
        rows.append(_row(f"refitted_{number}", options, graph, time.perf_counter() - started))
        together = len(minutes) == 1
        learning = replace(
            ctx,
            feeds=Both([pictures(folder) for folder in options.learn]),
            remaining_passes=("distill",) * (len(rounds) - number) if together else (),
            deadline=Deadline(60 * minutes[0] - spent if together else 60 * minutes[number - 1]),
        )
        steps = options.steps and options.steps // LATER ** (len(rounds) - number)
        done = Distill(steps=steps, side=options.side, rate=options.rate).run(graph, learning)
        refresh(graph)
        curve = done.figures["curve"]
        spent += curve[-1]["seconds"]
        rows.append(_row(f"distilled_{number}", options, graph, curve[-1]["seconds"]))
        losses.append(", ".join(f"{look['step']}: {look['loss']:.3f}" for look in curve))
        (options.out / "rows.md").write_text("\n".join([*rows, "", "Losses held out by step:", *losses]) + "\n")


def _row(name: str, options: argparse.Namespace, graph: Graph, seconds: float) -> str:
    path = options.out / f"{name}.onnx"
    onnx.save(to_proto(graph), path)
    scores = against_labels(path, options.score, None, threads=options.threads)
    cells = [options.model.stem, options.rounds, name, f"{seconds:.0f}"]
    return f"| {' | '.join(cells)} | {scores.map50_95:.4f} | {scores.map50:.4f} |"


if __name__ == "__main__":
    main()
