"""Kills compilations at random moments and looks at what is left.

    python benchmarks/kill.py --count 500 -o kills.jsonl
    python benchmarks/kill.py --table kills.jsonl

Every round starts one compilation, or two at once on one output folder and one cache, and ends the first by SIGKILL,
SIGTERM or SIGINT after a random time. Then an old or a new result must stand at the output path, whole, or nothing
where nothing stood; the next compilation must succeed and leave nothing but its result. Rounds are made from their
number, but for what the clock decides. Results are appended, and a campaign goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_OPTIONS = ("--int8", "--no-html", "--no-bench", "--no-fidelity")
_LONGEST = 300.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("-o", "--output", type=Path, default=Path("kills.jsonl"))
    parser.add_argument("--table", type=Path)
    options = parser.parse_args()
    # Shells let background jobs ignore it, and what they start with them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if options.table:
        print("\n".join(table(options.table)))
        return
    done = {each["round"] for each in _read(options.output)}
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="kill-") as folder:
        seconds = _typical(Path(folder) / "typical")
        for number in range(options.count):
            if number not in done:
                result = play(number, Path(folder) / "round", seconds)
                wrong += bool(result["wrong"])
                with options.output.open("a") as file:
                    file.write(json.dumps(result) + "\n")
                if result["wrong"]:
                    print(json.dumps(result), flush=True)
    raise SystemExit(bool(wrong))


def play(number: int, folder: Path, seconds: float) -> dict[str, Any]:
    """One round, in an empty folder; `wrong` says what must not be."""
    rng = random.Random(number)
    ending, two, before = rng.choice(SIGNALS), rng.random() < 0.3, rng.random() < 0.7
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _models(folder)
    old = ""
    if before:
        _start(folder, "old.onnx").communicate(timeout=_LONGEST)
        old = _content(folder / "out")
    running = [_start(folder, "new.onnx") for _ in range(1 + two)]
    delay = rng.uniform(0, 1.2 * seconds)
    time.sleep(delay)
    running[0].send_signal(ending)
    codes = []
    for process in running:
        process.communicate(timeout=_LONGEST)
        codes.append(process.returncode)
    wrong = _damage(folder / "out", old, before=before)
    if two and codes[1] not in (0, 7):
        wrong = wrong or f"the other ended with {codes[1]}"
    again = _start(folder, "new.onnx")
    again.communicate(timeout=_LONGEST)
    if again.returncode != 0:
        wrong = wrong or f"the next one ended with {again.returncode}"
    wrong = wrong or _damage(folder / "out", "", before=False)
    left = sorted(each.name for each in folder.iterdir() if each.name not in ("old.onnx", "new.onnx", "out", "cache"))
    if left:
        wrong = wrong or f"left behind: {left}"
    said = {"round": number, "signal": ending.name, "two": two, "before": before, "delay": round(delay, 2)}
    return {**said, "codes": codes, "wrong": wrong}


def table(path: Path) -> list[str]:
    """Counts as Markdown."""
    results = list({each["round"]: each for each in _read(path)}.values())
    lines = ["| signal | compilations | rounds | ended by it | wrong |", "|---|---|---|---|---|"]
    for ending in SIGNALS:
        for two in (False, True):
            rounds = [each for each in results if (each["signal"], each["two"]) == (ending.name, two)]
            hit = sum(each["codes"][0] != 0 for each in rounds)
            wrong = sum(bool(each["wrong"]) for each in rounds)
            lines.append(f"| {ending.name} | {1 + two} | {len(rounds)} | {hit} | {wrong} |")
    kinds = Counter(each["wrong"] for each in results if each["wrong"])
    return lines + [f"{count} x {kind}" for kind, count in kinds.items()]


def _models(folder: Path) -> None:
    from tests.samples import tiny_model

    for seed, name in enumerate(("old.onnx", "new.onnx")):
        onnx.save(tiny_model(seed), folder / name)


def _start(folder: Path, model: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "yocc",
        "compile",
        str(folder / model),
        "--int8",
        "-o",
        str(folder / "out"),
        *_OPTIONS,
    ]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=folder)


def _typical(folder: Path) -> float:
    """Seconds that a compilation takes here."""
    folder.mkdir()
    _models(folder)
    started = time.monotonic()
    _start(folder, "new.onnx").communicate(timeout=_LONGEST)
    return time.monotonic() - started


def _content(folder: Path) -> str:
    """A hash of all names and bytes in a folder; empty where there is none."""
    if not folder.is_dir():
        return ""
    found = hashlib.sha256()
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        found.update(f"{path.relative_to(folder)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return found.hexdigest()


def _damage(out: Path, old: str, *, before: bool) -> str:
    """What is wrong at the output path; empty where it is the old result, a whole one, or rightly none."""
    if not out.exists():
        return "the old result is gone" if before else ""
    if before and _content(out) == old:
        return ""
    try:
        files: Sequence[dict[str, Any]] = json.loads((out / "report.json").read_text())["files"]
    except (OSError, ValueError, KeyError) as error:
        return f"half-written: {error}"
    for each in files:
        path = out / each["path"]
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != each["sha256"]:
            return f"half-written: {each['path']}"
    return ""


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


if __name__ == "__main__":
    main()
