"""What each criterion keeps of the real YOLOv5n: pruned, refitted on pictures without labels, scored.

    python benchmarks/recovery.py ../shared/data -o benchmarks/recovery.md

Each row is one `yocc compile` in a process of its own; nothing is fitted on val128, which scores. A row is written as
soon as it is measured, and rows that the file already has are not measured again. `--criteria`, `--ratios` and
`--models` choose rows, as lists with commas.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from yocc.compiler.stages.recipe import ROUND

CRITERIA = (
    "random,l1,l2,fpgm,bn_gamma,activation,deviation,zeros,gamma,hrank,mutual_information,taylor,gauss_newton,"
    "reconstruction,effect"
)
HEADS = "model|pruned|criterion|last layers|pictures|rounds|parameters|MACs|mAP50-95|mAP50|seconds|peak MB".split("|")
HELD_BACK = 32
"""Pictures that yocc compares outputs on, and fits nothing to."""
ON_NORMALIZED = ("auto", "bn_gamma")
"""Criteria that read batch normalizations, so that these are folded after pruning, all of it in one round."""
_ROW = re.compile(r"^\| (\S+) \| (\d+) % \| (\S+) \| (\S+) \| (\d+) \|", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """What makes a row the same as another."""

    model: str
    percent: int
    criterion: str
    last: str
    pictures: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("benchmarks/recovery.md"))
    parser.add_argument("--criteria", default=CRITERIA)
    parser.add_argument("--ratios", default="0.1,0.2,0.4")
    parser.add_argument("--models", default="yolov5n,yolov5n_bn")
    parser.add_argument("--pictures", type=int, default=288, help="pictures to choose channels and refit on")
    parser.add_argument("--last", choices=("answers", "squares"), default="answers", help="fit of the last layers")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if not options.output.exists():
        options.output.write_text(intro())
    done = {Row(row[1], int(row[2]), row[3], row[4], int(row[5])) for row in _ROW.finditer(options.output.read_text())}
    for ratio in options.ratios.split(","):
        for criterion in options.criteria.split(","):
            for model in options.models.split(","):
                row = Row(model, round(100 * float(ratio)), criterion, options.last, options.pictures)
                if row in done or (criterion == "bn_gamma" and not model.endswith("_bn")):
                    continue
                with options.output.open("a") as file:
                    file.write(measured(row, options.data, options.threads))


def intro() -> str:
    lines = [
        "# Criteria, pruned and refitted",
        "Parameters and MACs are pruned together by the given share, more than a quarter in rounds. After each round "
        "all convolutions are refitted in closed form on calib178 and, beyond its 178, on unlabelled, without labels; "
        "32 pictures of them are held back. The last layers were then fitted once more by the divergence of their "
        "probabilities (`answers`), or kept as least squares on their logits fits them (`squares`). Scores are "
        "those of val128, where the original has 0.3393 mAP50-95 and 0.5228 mAP50. "
        "`python benchmarks/recovery.py DATA` adds what is missing. The machine is shared: "
        "seconds are one run of the whole command, scoring included; peak MB is the "
        "memory of its process.",
        "\n".join("| " + " | ".join(line) + " |" for line in (HEADS, ["---"] * len(HEADS))),
    ]
    return "\n\n".join(lines) + "\n"


def measured(row: Row, data: Path, threads: int) -> str:
    """Run the command; one line of the table."""
    normalized = row.criterion in ON_NORMALIZED
    left = 1 - row.percent / 100
    rounds = 1 if normalized else math.ceil(math.log(left) / math.log(1 - ROUND))
    prune = f"prune{{ratio={round(1 - left ** (1 / rounds), 4):g},criterion={row.criterion}}}"
    recover = f"recover{{pictures={row.pictures},answers={str(row.last == 'answers').lower()}}}"
    steps = (prune, "fuse", recover) if normalized else ("fuse", *(prune, recover) * rounds)
    pipeline = ",".join(("fp32", "simplify", *steps))
    images = data / "images"
    with tempfile.TemporaryDirectory() as folder:
        link_pictures(images, Path(folder, "pictures"), row.pictures + HELD_BACK)
        command = [sys.executable, "-c", "from yocc.cli import main; main()", "compile"]
        command += [str(data / "models" / f"{row.model}.onnx"), "--pipeline", pipeline, "--threads", str(threads)]
        command += ["--calib", f"{folder}/pictures", "--eval", str(images / "val128" / "images")]
        command += ["--no-bench", "--no-fidelity", "--no-html", "--no-cache", "-q", "-o", f"{folder}/out"]
        print("+", " ".join(command), file=sys.stderr)
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        if process.returncode:
            raise SystemExit(f"{command} ended with {process.returncode}")
        report = json.loads(Path(folder, "out", "report.json").read_text())
    before, after, score = report["before"], report["after"], report["accuracy"]["compiled"]
    cells = [
        row.model,
        f"{row.percent} %",
        row.criterion,
        row.last,
        str(row.pictures),
        str(rounds),
        *(f"{after[figure] / before[figure]:.1%}" for figure in ("parameters", "macs")),
        *(f"{score[figure]:.4f}" for figure in ("map50_95", "map50")),
        f"{seconds:.0f}",
        f"{usage.ru_maxrss / 1024:.0f}",
    ]
    return "| " + " | ".join(cells) + " |\n"


def link_pictures(images: Path, folder: Path, count: int) -> None:
    """Those of calib178, and as many evenly spaced ones of unlabelled as are missing."""
    files, more = sorted((images / "calib178").iterdir()), sorted((images / "unlabelled").iterdir())
    missing = max(0, count - len(files))
    folder.mkdir()
    for file in [*files, *(more[place * len(more) // missing] for place in range(missing))]:
        (folder / file.name).symlink_to(file.resolve())


if __name__ == "__main__":
    main()
