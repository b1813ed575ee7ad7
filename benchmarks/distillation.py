r"""What distillation adds to the closed-form refit: YOLOv5n or a street detector, pruned, refitted, trained, scored.

    python benchmarks/distillation.py ../shared/data/models/yolov5n.onnx --rounds 0.2254,0.2254 --minutes 100 \
        --fit ../shared/data/images/calib178 ../shared/data/images/unlabelled \
        --learn ../shared/data/images/calib178 ../shared/data/images/unlabelled \
        --score ../shared/data/images/val128/images --out d40

    python benchmarks/distillation.py ../shared/data/models/yolov5n.onnx --pipeline 'factorize{ratio=0.4},recover' \
        --fit ../shared/data/images/calib178 --learn ../shared/data/images/calib178 ../shared/data/images/unlabelled \
        --minutes 10 --device cuda --batch 32 --side 0 --out r40

Channels are ranked and layers refitted on the pictures of `--fit`, the network is trained on those of `--learn`; both
without labels. Each round is trained for twice as long as the one before it, or as `--minutes 75,42` says; rounds
joined by `+`, as in `0.2254+0.2254`, are refitted between and trained after the last of them only. `--out` gets the
network after each refit and each training, and `rows.md` with the scores, where `--score` names pictures with labels,
and the losses. A refit that `--out` has already is not done again, so that it can be prepared on one machine
(`--refit-only`) and trained from on another. Needs the extra `torch`.
"""

from __future__ import annotations

import argparse
import itertools
import os
import pickle
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from yocc.api.judging import against_labels
from yocc.compiler.graph import Graph, load, refresh, to_proto
from yocc.compiler.pipeline.deadline import Deadline
from yocc.compiler.pipeline.lineage import Teacher
from yocc.compiler.pipeline.passes import Arrays, PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.stages.subject import examine
from yocc.errors import CalibrationError, PassError
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
    how = parser.add_mutually_exclusive_group(required=True)
    how.add_argument("--rounds", help="share of what is left that each round removes")
    how.add_argument("--pipeline", help="passes of a single round instead, with the recovery after them")
    parser.add_argument("--fit", type=Path, nargs="+", required=True)
    parser.add_argument("--learn", type=Path, nargs="+", required=True)
    parser.add_argument("--score", type=Path, help="labeled pictures")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, help="of the last training [default: 4000, or what the time allows]")
    parser.add_argument("--minutes", default="inf", help="for all trainings together, or a list with those of each")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--refit-only", action="store_true", help="no training")
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
    minutes = [float(each) for each in options.minutes.split(",")]
    rounds = [options.pipeline] if options.pipeline else [_round(joined) for joined in options.rounds.split(",")]
    if len(minutes) not in (1, len(rounds)):
        parser.error("--minutes takes one number, or one for each of the --rounds.")
    spent, rows, losses = 0.0, [], []
    for number, refit in enumerate(rounds, 1):
        started = time.perf_counter()
        known = _read(options.out, number)
        if known is None:
            ctx = replace(ctx, feeds=Both([pictures(folder) for folder in options.fit]), deadline=Deadline())
            graph, runs = Pipeline.parse(f"{passes},{refit}" if number == 1 else refit).run(graph, ctx)
            for run in runs:
                ctx = ctx.after(run.name, run.result)
            _write(options.out, number, graph, ctx.teacher)
        else:
            graph, teacher = known
            ctx = replace(ctx, teacher=teacher)
        rows.append(_row(f"refitted_{number}", options, graph, time.perf_counter() - started))
        if options.refit_only:
            break
        together = len(minutes) == 1
        learning = replace(
            ctx,
            feeds=Both([pictures(folder) for folder in options.learn]),
            remaining_passes=("distill",) * (len(rounds) - number) if together else (),
            deadline=Deadline(60 * minutes[0] - spent if together else 60 * minutes[number - 1]),
        )
        steps = options.steps and options.steps // LATER ** (len(rounds) - number)
        distill = Distill(steps=steps, batch=options.batch, side=options.side, rate=options.rate, device=options.device)
        done = distill.run(graph, learning)
        refresh(graph)
        curve = done.figures["curve"]
        spent += curve[-1]["seconds"]
        rows.append(_row(f"distilled_{number}", options, graph, curve[-1]["seconds"]))
        losses.append(", ".join(f"{look['step']}: {look['loss']:.3f}" for look in curve))
        (options.out / "rows.md").write_text("\n".join([*rows, "", "Losses held out by step:", *losses]) + "\n")


def _round(joined: str) -> str:
    return ",".join(f"prune{{ratio={ratio},criterion=effect}},recover" for ratio in joined.split("+"))


def _write(folder: Path, number: int, graph: Graph, teacher: Teacher | None) -> None:
    """What training starts from: the network, the original, and which channels of it are left."""
    if teacher is None:
        raise PassError("Nothing was taken out of the network.", "Prune or factorize it.")
    onnx.save(to_proto(graph), folder / f"refitted_{number}.onnx")
    onnx.save(to_proto(teacher.graph), folder / "original.onnx")
    (folder / f"lineage_{number}.pickle").write_bytes(pickle.dumps((teacher.kept, teacher.zeroed, teacher.pairs)))


def _read(folder: Path, number: int) -> tuple[Graph, Teacher] | None:
    lineage = folder / f"lineage_{number}.pickle"
    if not lineage.exists():
        return None
    kept, zeroed, pairs = pickle.loads(lineage.read_bytes())  # written by this program
    return load(folder / f"refitted_{number}.onnx"), Teacher(load(folder / "original.onnx"), kept, zeroed, pairs)


def _row(name: str, options: argparse.Namespace, graph: Graph, seconds: float) -> str:
    path = options.out / f"{name}.onnx"
    onnx.save(to_proto(graph), path)
    cells = [options.model.stem, options.pipeline or options.rounds, name, f"{seconds:.0f}"]
    if options.score is None:
        return f"| {' | '.join(cells)} | | |"
    scores = against_labels(path, options.score, None, threads=options.threads)
    return f"| {' | '.join(cells)} | {scores.map50_95:.4f} | {scores.map50:.4f} |"


if __name__ == "__main__":
    main()
