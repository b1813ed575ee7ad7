"""How many trials several workers of a search finish in the time in which one finishes one; nothing is timed meanwhile.

    python benchmarks/search_workers.py MODEL.onnx PICTURES/ -o out/ --workers 2

Each worker has a core of its own. The trials are all points of a small space (sizes, int8 or float32), the same for one
worker and for several, and nothing is cached. Counted are completed trials, from the start of the first one to the end
of the last one.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from yocc.searching.evaluating import LocalEvaluator
from yocc.searching.limits import Limits, Measured
from yocc.searching.request import Request
from yocc.searching.searching import search_model

SPACE = {"side": "256..480:32", "prune": "0", "precision": "float32,int8"}


@dataclass(frozen=True)
class Untimed(LocalEvaluator):
    """Compiles and judges, and takes the share of the size for that of the time."""

    def latency(self, folder: Path) -> Measured:
        """Of a compiled model."""
        return Measured(latency=self.size(folder).size, latency_ms=1.0)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("pictures", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args(arguments)
    cores = sorted(os.sched_getaffinity(0))
    rates = {}
    for workers in (1, options.workers):
        os.sched_setaffinity(0, cores[:workers])
        folder = options.out / f"workers-{workers}"
        shutil.rmtree(folder, ignore_errors=True)
        count, seconds = searched(options.model, options.pictures, folder, workers)
        rates[workers] = count / seconds
        print(f"{workers} workers: {count} trials in {seconds:.0f} s, {60 * rates[workers]:.2f} a minute", flush=True)
    share = rates[options.workers] / rates[1] / options.workers
    print(f"{options.workers} workers finish {share:.2f} times {options.workers} what one does")


def searched(model: Path, pictures: Path, out: Path, workers: int) -> tuple[int, float]:
    """Trials, and the seconds that they took together."""
    request = Request(
        model=model, out=out, keywords={"threads": 1}, calibration=pictures, limits=Limits(), trials=1000,
        workers=workers, space=SPACE, sampler="grid",
    )  # fmt: skip
    search_model(request, evaluator=lambda local: Untimed(local.request, local.split))
    storage = JournalStorage(JournalFileBackend(str(out / "search.journal")))
    study = optuna.load_study(study_name=optuna.get_all_study_names(storage)[0], storage=storage)
    completed = study.get_trials(states=(TrialState.COMPLETE,))
    spans = [(trial.datetime_start, trial.datetime_complete) for trial in completed]
    done = [(start.timestamp(), end.timestamp()) for start, end in spans if start is not None and end is not None]
    return len(done), max(end for _, end in done) - min(start for start, _ in done)


if __name__ == "__main__":
    main()
