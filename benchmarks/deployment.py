"""Time from a decoded picture to boxes, with pre- and postprocessing in Python or in the graph.

    python benchmarks/deployment.py MODEL --calib PICTURES [--threads 1] [--rounds 30] PICTURE...

Everything between the picture's bytes and its boxes in pixels counts: scaling and padding by Pillow, conversion, the
run, decoding and non-maximum suppression. Variants run in alternation in one process; times are medians over rounds
and pictures, ratios medians of the ratios in a round. --cpu takes times of the processor instead of the clock, for a
machine that has other work; use it with one thread.
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

from PIL import Image

from yocc.api.opening import examine_model, find_model
from yocc.compiler.stages.compiling import compile_model
from yocc.runtime.backends.backend import Session
from yocc.runtime.data.letterbox import read_picture
from yocc.runtime.data.preprocess import prepare
from yocc.runtime.detection.boxes import SHOWING, Detections, detect
from yocc.runtime.detection.suppression import intersection_over_union

_DEPLOYED = {"nms": True, "input": "uint8,nhwc"}
VARIANTS: dict[str, dict[str, Any]] = {
    "as exported": {"pipeline": ""},
    "`--nms --input uint8,nhwc`": _DEPLOYED,
    "`--int8`": {"int8": True},
    "`--int8 --nms --input uint8,nhwc`": {"int8": True, **_DEPLOYED},
    "`--int8 --nms --input uint8,nhwc,letterbox`": {"int8": True, "nms": True, "input": "uint8,nhwc,letterbox"},
    "`--side 480 --int8 --nms --input uint8,nhwc`": {"side": 480, "int8": True, **_DEPLOYED},
}
ONLY_ONNXRUNTIME = "letterbox"
Runner = Callable[[Image.Image], Detections]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--calib", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--cpu", action="store_true", help="time of the processor")
    given = parser.parse_args()
    pictures = [read_picture(path) for path in given.pictures]
    now = time.process_time if given.cpu else time.perf_counter
    print("| runtime | variant | ms | share of the first | detections | as the first |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        for target in ("onnxruntime", "openvino"):
            runners = {}
            for place, (name, options) in enumerate(VARIANTS.items()):
                if ONLY_ONNXRUNTIME in name and target != "onnxruntime":
                    continue
                out = Path(folder) / f"{target}{place}"
                common = {"fidelity": False, "bench": False, "html": False, "count": 64, "target": target, "out": out}
                compile_model(given.model, calibration=given.calib, **common, **options)
                runners[name] = _runner(out, given.threads, stack)
            _compare(target, runners, pictures, given.rounds, now)


def _runner(out: Path, threads: int, stack: contextlib.ExitStack) -> Runner:
    """What makes detections of a picture with a compiled model."""
    model = find_model(out)
    profile = examine_model(model).profile
    assert profile is not None
    session: Session = stack.enter_context(model.session(threads))

    def run(picture: Image.Image) -> Detections:
        feed, placement = prepare(picture, profile.preprocess, profile.input)
        return detect(session.run({profile.input_name: feed}), profile, placement, SHOWING)

    return run


def _compare(
    target: str, runners: dict[str, Runner], pictures: list[Image.Image], rounds: int, now: Callable[[], float]
) -> None:
    found = {name: [run(picture) for picture in pictures] for name, run in runners.items()}
    times: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for picture in pictures:
            for name, run in runners.items():
                start = now()
                run(picture)
                times[name].append(1e3 * (now() - start))
    first = next(iter(runners))
    for name in runners:
        share = statistics.median(one / base for one, base in zip(times[name], times[first], strict=True))
        count = sum(map(len, found[name]))
        alike = sum(_matches(*pair) for pair in zip(found[first], found[name], strict=True))
        print(f"| {target} | {name} | {statistics.median(times[name]):.1f} | {share:.2f} | {count} | {alike} |")


def _matches(wanted: Detections, found: Detections) -> int:
    """Detections of the first that the second has too, of the same class and overlapping by 0.75 or more."""
    overlaps = intersection_over_union(wanted.boxes, found.boxes)
    same = wanted.classes[:, None] == found.classes[None]
    return int(((overlaps >= 0.75) & same).any(axis=1).sum()) if len(wanted) and len(found) else 0


if __name__ == "__main__":
    main()
