"""Time as a target: how well a latency table and the square root law predict it, and what it leaves of the accuracy.

    python benchmarks/latency.py ../shared/data -o benchmarks/latency.md

Predictions: YOLOv5n pruned by weights to several shares of parameters and MACs, in steps of 16 and of 8 channels; the
time of each in onnxruntime against the original's, both in alternation, beside what a table measured once and the law
T*/T = sqrt(F*/F) expect. Accuracy: pruned and refitted to 0.7 of the time, and to the sizes that take about as long.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from yocc.analysis.timing import time_ratio
from yocc.compiler.graph import clone, load, refresh
from yocc.compiler.pipeline.passes import PassContext
from yocc.compiler.pipeline.pipeline import Pipeline
from yocc.compiler.stages.subject import examine
from yocc.passes.prune.latency import SquareRootLaw, table_latency
from yocc.passes.prune.plan import Goal, rank_channels
from yocc.passes.prune.remove import remove_channels, split_shared
from yocc.passes.prune.timing import measure_table
from yocc.runtime.backends.onnxruntime import OnnxRuntimeBackend, reference_executor
from yocc.runtime.measuring.profiling import OnnxRuntimeProfiler

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
STEPS = (16, 8)
PICTURES = 128
TARGETS = ("--prune-target latency=0.7", "--prune 0.5", "--prune-target macs=0.45")
"""Time, and what takes about as long."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/latency.md"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--no-accuracy", action="store_true")
    options = parser.parse_args()
    parts = predictions(options.data / "models" / "yolov5n.onnx", options.threads)
    if not options.no_accuracy:
        parts += accuracy(options.data, options.threads)
    options.output.write_text(
        "\n\n".join(["# Time as a target", "    python benchmarks/latency.py ../shared/data", *parts]) + "\n"
    )


def predictions(path: Path, threads: int) -> list[str]:
    graph = load(path)
    subject = examine(graph, path, None)
    protected = frozenset() if subject.profile is None else subject.profile.protected
    ctx = PassContext(
        OnnxRuntimeBackend().target({}),
        executor=reference_executor(threads=threads, optimize=True),
        protected=protected,
        input_shapes=subject.shapes,
    )
    graph, _ = Pipeline.parse("fp32,simplify,fuse").run(graph, ctx)
    split_shared(graph)
    profiler = OnnxRuntimeProfiler(threads)
    ranked = rank_channels(graph, ctx, "l1")
    table = table_latency(graph, ranked.shapes, ranked.channels, measure_table(graph, ctx, profiler))
    law = SquareRootLaw(ranked.capacity)
    full = np.array([len(group.classes) for group in ranked.channels.groups], dtype=np.float64)
    rows, errors = [], []
    for step in STEPS:
        for share in SHARES:
            plan = ranked.plan(Goal.of("both", share), step)
            kept = plan.allocation.kept.astype(np.float64)
            pruned = clone(graph)
            remove_channels(pruned, plan.shapes, plan.channels, plan.kept)
            refresh(pruned)
            measured = time_ratio(ctx, graph, pruned)
            found = [predictor.total(kept) / predictor.total(full) for predictor in (table, law)]
            errors.append([abs(each - measured) for each in found])
            cells = (plan.allocation.parameters, plan.allocation.macs, measured, *found)
            rows.append([str(plan.allocation.multiple), *(f"{value:.3f}" for value in cells)])
            print("+", *rows[-1], file=sys.stderr)
    mean = np.mean(errors, axis=0)
    most = np.max(errors, axis=0)
    return [
        "## Predicted and measured",
        f"YOLOv5n at 640 x 640, {profiler.device}, {threads} thread(s): the fast runs of each "
        "in alternation, as shares of the original's time.",
        markdown("steps of|parameters|MACs|measured|table|square root law", rows),
        f"Mean error: {mean[0]:.3f} with the table, {mean[1]:.3f} with the law; largest {most[0]:.3f} and "
        f"{most[1]:.3f}. `--prune-target latency=` measures what it plans and corrects the prediction, "
        "so an error of the table only costs another try.",
    ]


def accuracy(data: Path, threads: int) -> list[str]:
    return [
        "## Accuracy at a latency target",
        f"YOLOv5n, ranked by `effect` and refitted on the first {PICTURES} pictures of calib178, scored on val128. "
        "Time is that of 30 rounds in alternation with the original.",
        markdown(
            "target|time|MACs|parameters|mAP50-95|mAP50|seconds",
            [compiled(data, target, threads) for target in TARGETS],
        ),
    ]


def compiled(data: Path, target: str, threads: int) -> list[str]:
    images = data / "images"
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder, "pictures")
        pictures.mkdir()
        for file in sorted((images / "calib178").iterdir())[:PICTURES]:
            (pictures / file.name).symlink_to(file.resolve())
        command = [sys.executable, "-c", "from yocc.cli import main; main()", "compile"]
        command += [str(data / "models" / "yolov5n.onnx"), *target.split(), "--threads", str(threads)]
        command += ["--calib", str(pictures), "--no-fidelity", "--no-html"]
        command += ["--eval", str(images / "val128" / "images"), "--no-cache", "-q", "-o", f"{folder}/out"]
        print("+", *command, file=sys.stderr)
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - started
        report = json.loads(Path(folder, "out", "report.json").read_text())
    before, after, score = report["before"], report["after"], report["accuracy"]["compiled"]
    return [
        f"`{target}`",
        f"{1 / report['measured']['latency_ms']['paired_speedup']:.3f}",
        *(f"{after[figure] / before[figure]:.3f}" for figure in ("macs", "parameters")),
        *(f"{score[figure]:.4f}" for figure in ("map50_95", "map50")),
        f"{seconds:.0f}",
    ]


def markdown(heads: str, rows: list[list[str]]) -> str:
    names = heads.split("|")
    return "\n".join("| " + " | ".join(line) + " |" for line in (names, ["---"] * len(names), *rows))


if __name__ == "__main__":
    main()
