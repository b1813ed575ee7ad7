"""How fast compiled models are in their runtimes, where their time goes, and what other tools make of the same model.

    python benchmarks/speed.py MODEL FOLDER... [--threads 1 --threads 2] [--profile] [--boxes] [--heldout PICTURES]
    python benchmarks/speed.py MODEL FOLDER... --calib PICTURES --peers --heldout PICTURES
    python benchmarks/speed.py MODEL FOLDER... --settings

FOLDERs are what `yocc compile` wrote for onnxruntime and OpenVINO. Each is compared with the original in its own
runtime: all models of a runtime are loaded in one process and run in turns on random numbers, and a ratio is the median
of the pairs of a round. Everything is done `--repeat` times; medians of these are shown, and the range of the ratios.
OpenVINO's plugin may compute float models in bfloat16, so the original is timed as the plugin runs it by default, which
is what counts, and in float32. Tables are in Markdown.

  --profile   milliseconds by kind of work, from the runtimes' own profilers
  --peers     also onnxruntime's quantizer, NNCF (where it is installed) and onnxsim, on pictures of `--calib`
  --heldout   also fidelity: mAP50-95 with what the original finds there with confidence as truth
  --boxes     also from JPEG bytes of pictures of `--calib` to boxes: a folder's `run.py` against the usual procedure
  --settings  instead: what settings of the runtimes bring for these folders
  --cpu       take times of the processor instead of the clock, for a machine with other work; use it with one thread
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import speed_boxes
import speed_peers
import speed_settings
from speed_profile import KINDS, profile
from speed_runs import (
    ORIGINAL,
    Candidate,
    candidates_of,
    instruction_sets,
    load_all,
    ratios,
    target_of,
    time_in_turns,
)

from yocc.runtime.measuring.bench import describe_machine

RUNTIMES = ("onnxruntime", "openvino")
_PROFILED = 25
"""Runs under the profiler, of which the fast ones count."""
_BOXES = 20
"""Pictures that go from bytes to boxes."""


def main() -> None:
    options = _options()
    facts: dict[str, Any] = {"machine": asdict(describe_machine()), "instruction_sets": instruction_sets()}
    facts["versions"] = {name: version(name) for name in RUNTIMES}
    print(_headline(facts, options))
    if options.settings:
        facts["settings"] = {}
        for title, rows in speed_settings.measure(options.folders, options.threads, options.rounds, options.repeat):
            facts["settings"][title] = rows
            _table([title, *list(rows[0])[1:]], [list(row.values()) for row in rows])
    else:
        facts["runtimes"] = list(_compared(options))
    if options.json:
        options.json.write_text(json.dumps(facts, indent=1, default=str) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, action="append", help="1 when not given; several may be given")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--calib", type=Path, help="pictures for --peers and --boxes")
    parser.add_argument("--count", type=int, default=32, help="pictures that peers calibrate with")
    parser.add_argument("--heldout", type=Path, help="pictures that nothing was calibrated with")
    parser.add_argument("--json", type=Path, help="file for everything that was measured")
    for name in ("profile", "peers", "boxes", "settings", "cpu"):
        parser.add_argument(f"--{name}", action="store_true")
    options = parser.parse_args()
    options.threads = options.threads or [1]
    if (options.peers or options.boxes) and options.calib is None:
        parser.error("--peers and --boxes need pictures: --calib")
    return options


def _clock(options: argparse.Namespace) -> Callable[[], float]:
    return time.process_time if options.cpu else time.perf_counter


def _headline(facts: dict[str, Any], options: argparse.Namespace) -> str:
    machine = facts["machine"]
    flags = ", ".join(facts["instruction_sets"]) or "instruction sets unknown"
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    return (
        f"{machine['processor']} ({flags}), {machine['cores']} cores, {versions}. Medians of {options.repeat} runs of "
        f"{options.rounds} rounds in turns, by {'processor time' if options.cpu else 'the clock'}.\n"
    )


def _compared(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """For each runtime and number of threads: speeds, and what else was asked for."""
    with tempfile.TemporaryDirectory(prefix="yocc-speed-") as scratch:
        peers: dict[str, Path | str] = {}
        if options.peers:
            peers = speed_peers.quantize_with_all(options.model, options.calib, options.count, Path(scratch))
        for name, result in peers.items():
            if isinstance(result, str):
                print(f"{name}: failed, {result}\n")
        others = {name: result for name, result in peers.items() if isinstance(result, Path)}
        scores = _scores(options, others) if options.heldout else {}
        for runtime in RUNTIMES:
            if not others and runtime not in map(target_of, options.folders):
                continue
            chosen = candidates_of(options.model, options.folders, runtime)
            chosen += [Candidate(name, runtime, model) for name, model in others.items()]
            for threads in options.threads:
                yield _measured(chosen, runtime, threads, scores, options)


def _measured(
    chosen: Sequence[Candidate], runtime: str, threads: int, scores: dict[str, Any], options: argparse.Namespace
) -> dict[str, Any]:
    rows = _timed(chosen, threads, options)
    for row in rows:
        row["fidelity"] = scores.get(row["name"])
    _show_speed(rows, runtime, threads, with_fidelity=bool(scores))
    found: dict[str, Any] = {"runtime": runtime, "threads": threads, "speed": rows}
    if options.profile:
        names = {row["name"] for row in rows if row["ms"] is not None}
        own = [each for each in chosen if each.name in names and (each.folder or each.name.startswith(ORIGINAL))]
        found["profile"] = {each.name: profile(each, threads, _PROFILED) for each in own}
        _show_profile(found["profile"], runtime, threads)
    if options.boxes:
        found["boxes"] = [
            asdict(row)
            for row in speed_boxes.measure(
                options.model, options.folders, runtime, options.calib,
                threads=threads, rounds=_BOXES, repeat=options.repeat, clock=_clock(options),
            )
        ]  # fmt: skip
        _show_boxes(found["boxes"], runtime, threads)
    return found


def _timed(chosen: Sequence[Candidate], threads: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    models, refused = load_all(chosen, threads)
    seconds = time_in_turns(models, options.rounds, options.repeat, _clock(options))
    medians = np.median(np.median(seconds, axis=1), axis=0) * 1e3
    faster = ratios(seconds, 0)
    floats = [place for place, model in enumerate(models) if model.candidate.name == f"{ORIGINAL}, f32"]
    than_float = ratios(seconds, floats[0] if floats else 0)
    rows = [
        {
            "name": model.candidate.name,
            "precision": model.precision,
            "ms": round(float(medians[place]), 2),
            "times_faster": [round(float(value), 3) for value in faster[:, place]],
            "than_float": round(float(np.median(than_float[:, place])), 3),
        }
        for place, model in enumerate(models)
    ]
    return rows + [{"name": name, "precision": reason, "ms": None} for name, reason in refused.items()]


def _scores(options: argparse.Namespace, others: dict[str, Path]) -> dict[str, Any]:
    models = {folder.name: folder for folder in options.folders} | others
    return {
        name: speed_peers.fidelity(model, options.model, options.heldout, max(options.threads))
        for name, model in models.items()
    }


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    print("| " + " | ".join(heads) + " |\n" + "|---" * len(heads) + "|")
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print(flush=True)


def _show_speed(rows: Sequence[dict[str, Any]], runtime: str, threads: int, *, with_fidelity: bool) -> None:
    heads = [f"{runtime}, {_said(threads)}", "float part in", "ms", "times faster", "range", "than f32"]
    lines = []
    for row in rows:
        if row["ms"] is None:
            line = [row["name"], row["precision"], "", "", "", ""]
        else:
            runs = row["times_faster"]
            span = f"{min(runs):.2f} to {max(runs):.2f}"
            line = [row["name"], row["precision"], f"{row['ms']:.2f}", f"{np.median(runs):.2f}", span]
            line.append(f"{row['than_float']:.2f}")
        lines.append([*line, "" if row.get("fidelity") is None else row["fidelity"]][: 7 if with_fidelity else 6])
    _table([*heads, "fidelity"] if with_fidelity else heads, lines)


def _show_profile(kinds: dict[str, dict[str, float]], runtime: str, threads: int) -> None:
    heads = [f"{runtime}, {_said(threads)}, ms in", *KINDS, "sum"]
    _table(heads, [
        [name, *(f"{found[kind]:.2f}" for kind in KINDS), f"{sum(found.values()):.2f}"] for name, found in kinds.items()
    ])  # fmt: skip


def _show_boxes(rows: Sequence[dict[str, Any]], runtime: str, threads: int) -> None:
    heads = [f"{runtime}, {_said(threads)}, bytes to boxes", "ms", "times faster", "boxes", "of the original's"]
    _table(heads, [
        [row["name"], row["milliseconds"], f"{np.median(row['times_faster']):.2f}", row["boxes"], row["shared"]]
        for row in rows
    ])  # fmt: skip


def _said(threads: int) -> str:
    return "1 thread" if threads == 1 else f"{threads} threads"


if __name__ == "__main__":
    main()
