"""SHA-256 of what about thirty commands write, to tell whether a change of the code changed a result.

    python benchmarks/artifacts.py record FILE [--shared DIR] [--only NAME ...]
    python benchmarks/artifacts.py check FILE [--shared DIR] [--only NAME ...]

`record` runs every command and writes the digests as JSON; `check` runs them again and exits with 1 where a file
differs. Float arithmetic differs between processors and library versions, so compare runs of one machine and
environment only. `--shared` names a folder with `models/yolov5n.onnx` and `images/calib178`; commands on them are left
out where there are none. Every command runs on one thread; reports are not compared, as they hold timings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

NOT_COMPARED = {"report.json", "report.html"}
QUIET = "--no-bench --no-html --no-examples --no-cache --quiet --threads 1".split()
PICTURES = 12
"""How many of the shared pictures calibrate."""


@dataclass(frozen=True)
class Command:
    """One compilation.

    Attributes:
        model: `small` and `tiny` are built, `street` comes with yocc, `real` is the shared YOLOv5n.
        options: of `yocc compile`; PICTURES stands for a folder.
    """

    model: str
    options: str

    @property
    def shared(self) -> bool:
        """Whether it needs files that are not part of yocc."""
        return self.model == "real" or "PICTURES" in self.options


COMMANDS = {
    "simplify": Command("small", "--pipeline simplify,fuse"),
    "int8 drawn": Command("small", "--int8 --count 8"),
    "int8": Command("small", "--int8 --calib PICTURES"),
    "int8 with a promise": Command("street", "--int8 --max-accuracy-drop 0.02 --calib PICTURES"),
    "input size": Command("small", "--input-size 64x96 --int8 --count 8"),
    "batch": Command("small", "--batch 2"),
    "fp16": Command("small", "--fp16"),
    "int8 fp16": Command("small", "--int8 --fp16 --calib PICTURES"),
    "prune by weights": Command("small", "--prune 0.4 --recover none"),
    "prune drawn": Command("small", "--prune 0.3 --count 8"),
    "prune": Command("small", "--prune 0.4 --calib PICTURES"),
    "prune int8": Command("small", "--prune 0.3 --int8 --calib PICTURES"),
    "prune statistics": Command("small", "--prune 0.3 --recover statistics --calib PICTURES"),
    "prune macs": Command("small", "--prune-target macs=0.7 --calib PICTURES"),
    "prune in rounds": Command("small", "--prune 0.3 --schedule iterative --rounds 2 --calib PICTURES"),
    "prune filters": Command("small", "--pipeline simplify,fuse,prune{ratio=0.2,granularity=filter}"),
    "2:4": Command("small", "--sparsity 2:4 --calib PICTURES"),
    "codes log2": Command("small", "--weights log2:4 --calib PICTURES"),
    "codes by size": Command("small", "--weights apot:0.2 --calib PICTURES"),
    "activations": Command("small", "--pipeline simplify,fuse,encode_activations --calib PICTURES"),
    "equalize": Command("small", "--pipeline simplify,fuse,equalize,split_outliers,quantize --calib PICTURES"),
    "distill": Command(
        "small",
        "--pipeline fp32,simplify,fuse,prune{ratio=0.2,criterion=effect},recover,distill{steps=3},quantize{learn=3} "
        "--calib PICTURES",
    ),
    "nms": Command("small", "--nms --int8 --count 8"),
    "raw outputs": Command("small", "--outputs raw --count 8"),
    "candidates": Command("small", "--max-candidates 50 --count 8"),
    "tiny prune int8": Command("tiny", "--prune 0.3 --int8 --count 4"),
    "openvino": Command("small", "--int8 --target openvino --calib PICTURES"),
    "ncnn": Command("small", "--target ncnn"),
    "ncnn int8": Command("small", "--prune 0.2 --int8 --target ncnn --calib PICTURES"),
    "ncnn fp16": Command("small", "--fp16 --target ncnn"),
    "tensorrt": Command("small", "--int8 --fp16 --target tensorrt --calib PICTURES"),
    "tvm": Command("small", "--int8 --target tvm --calib PICTURES"),
    "real int8": Command("real", "--int8 --calib PICTURES"),
    "real prune int8": Command("real", "--prune 0.2 --int8 --calib PICTURES"),
}


def main() -> int:
    """Record or compare."""
    arguments = _arguments()
    shared = arguments.shared if arguments.shared.is_dir() else None
    chosen = {
        name: command
        for name, command in COMMANDS.items()
        if (not arguments.only or name in arguments.only) and (shared is not None or not command.shared)
    }
    with tempfile.TemporaryDirectory(prefix="yocc-artifacts-") as folder:
        models = dict(_models(Path(folder), shared))
        pictures = _pictures(Path(folder), shared)
        found = {
            name: _digests(command, models[command.model], pictures)
            for name, command in track(chosen.items(), "compiling", disable=not sys.stderr.isatty())
        }
    if arguments.action == "record":
        arguments.file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return 0
    return _compare(json.loads(arguments.file.read_text(encoding="utf-8")), found)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["record", "check"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("YOCC_SHARED_DATA", "../shared/data")))
    parser.add_argument("--only", nargs="*", default=[])
    return parser.parse_args()


def _models(folder: Path, shared: Path | None) -> Iterator[tuple[str, Path]]:
    import onnx

    from tests.samples import tiny_model
    from yocc.models.shipped import shipped_detector
    from yocc.models.yolov5 import build_yolov5

    onnx.save(build_yolov5("n", size=96, seed=3), folder / "small.onnx")
    onnx.save(tiny_model(), folder / "tiny.onnx")
    yield from ((name, folder / f"{name}.onnx") for name in ("small", "tiny"))
    yield "street", shipped_detector()
    if shared is not None:
        yield "real", shared / "models" / "yolov5n.onnx"


def _pictures(folder: Path, shared: Path | None) -> Path | None:
    if shared is None:
        return None
    pictures = folder / "pictures"
    pictures.mkdir()
    for picture in sorted((shared / "images" / "calib178").glob("*.jpg"))[:PICTURES]:
        shutil.copy(picture, pictures)
    return pictures


def _digests(command: Command, model: Path, pictures: Path | None) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="yocc-artifact-") as folder:
        out = Path(folder) / "out"
        options = [str(pictures) if option == "PICTURES" else option for option in command.options.split()]
        done = subprocess.run(
            ["yocc", "compile", str(model), *options, *QUIET, "-o", str(out)],
            capture_output=True,
            text=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            check=False,
        )
        if done.returncode:
            return {"exit status": str(done.returncode), "error": done.stderr.strip().splitlines()[-1]}
        return {
            path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(out.rglob("*"))
            if path.is_file() and path.name not in NOT_COMPARED
        }


def _compare(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> int:
    changed = 0
    for name, digests in after.items():
        files = {*before.get(name, {}), *digests}
        differing = sorted(file for file in files if before.get(name, {}).get(file) != digests.get(file))
        changed += bool(differing)
        print(f"{name}: {'same' if not differing else 'DIFFERS: ' + ', '.join(differing)}")
    print(f"{len(after) - changed} of {len(after)} the same")
    return int(bool(changed))


if __name__ == "__main__":
    sys.exit(main())
