"""Time from the input array to boxes: yocc's decoding in numpy behind the model, against NMS in the graph.

    python benchmarks/outputs.py MODEL PICTURE... [--threads 1] [--rounds 30]

Each variant is compiled for onnxruntime and OpenVINO, in fp32 unless --int8 is given. Variants run in alternation;
times are medians over all rounds and pictures. They are those of the processor, so that other work counts little, or
with --wall those of the clock.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yocc.api.opening import examine_model, find_model
from yocc.compiler.stages.compiling import compile_model
from yocc.runtime.backends.backend import Session
from yocc.runtime.data.letterbox import read_picture
from yocc.runtime.data.preprocess import prepare
from yocc.runtime.detection.boxes import SHOWING, Detections, detect

VARIANTS: dict[str, dict[str, Any]] = {
    "as exported": {},
    "`--max-candidates 300`": {"max_candidates": 300},
    "`--outputs raw`": {"outputs": "raw"},
    "`--nms`": {"nms": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--int8", type=Path, help="calibration pictures; quantizes all variants")
    parser.add_argument("--wall", action="store_true", help="time by the clock")
    given = parser.parse_args()
    now = time.perf_counter if given.wall else time.process_time
    print("| runtime | outputs | run ms | to boxes ms | share |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        for target in ("onnxruntime", "openvino"):
            runners = {}
            for place, (name, options) in enumerate(VARIANTS.items()):
                out = Path(folder) / f"{target}{place}"
                common: dict[str, Any] = {
                    "fidelity": False,
                    "bench": False,
                    "html": False,
                    "target": target,
                    "out": out,
                }
                if given.int8:
                    common |= {"int8": True, "calibration": given.int8, "count": 64}
                compile_model(given.model, **common, **options)
                runners[name] = _runner(out, given.threads, stack, now)
            _time(target, runners, given.pictures, given.rounds)


def _runner(
    out: Path, threads: int, stack: contextlib.ExitStack, now: Callable[[], float]
) -> Callable[[Path], tuple[Detections, float, float]]:
    """Runs a compiled model on a picture; what it finds, and the time of the run alone and to boxes in milliseconds."""
    model = find_model(out)
    profile = examine_model(model).profile
    assert profile is not None
    session: Session = stack.enter_context(model.session(threads))

    def run(picture: Path) -> tuple[Detections, float, float]:
        feed, placement = prepare(read_picture(picture), profile.preprocess, profile.input)
        start = now()
        outputs = session.run({profile.input_name: feed})
        ran = now()
        found = detect(outputs, profile, placement, SHOWING)
        return found, 1e3 * (ran - start), 1e3 * (now() - start)

    return run


def _time(target: str, runners: dict[str, Any], pictures: list[Path], rounds: int) -> None:
    alone: dict[str, list[float]] = {name: [] for name in runners}
    whole: dict[str, list[float]] = {name: [] for name in runners}
    found: dict[str, list[Detections]] = {name: [] for name in runners}
    for number in range(rounds + 2):
        for name, run in runners.items():
            for picture in pictures:
                detections, ran, total = run(picture)
                if number < 2:
                    found[name].append(detections)
                    continue
                alone[name].append(ran)
                whole[name].append(total)
    first = next(iter(runners))
    for name in runners:
        ratio = statistics.median(one / base for one, base in zip(whole[name], whole[first], strict=True))
        run_ms, box_ms = statistics.median(alone[name]), statistics.median(whole[name])
        print(f"| {target} | {name} | {run_ms:.1f} | {box_ms:.1f} | {ratio:.3f} |")
        same = all(
            len(a) == len(b) and (a.classes == b.classes).all() and (not len(a) or abs(a.boxes - b.boxes).max() < 0.05)
            for a, b in zip(found[first], found[name], strict=True)
        )
        if not same:
            print(f"{name}: detections differ")


if __name__ == "__main__":
    main()
