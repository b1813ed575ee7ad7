"""A campaign: damaged models through every command, or random networks through every pass, in processes with limits.

    python benchmarks/fuzz.py mutants --count 100000 -o mutants.jsonl
    python benchmarks/fuzz.py pairs --count 100000 -o pairs.jsonl --workers 2
    python benchmarks/fuzz.py mutants --seconds 150 -o mutants.jsonl
    python benchmarks/fuzz.py mutants --only 4711 -o one.jsonl --keep bad/
    python benchmarks/fuzz.py table mutants.jsonl pairs.jsonl

A case is made from its number alone. Results are appended as they come, and a campaign goes on where it stopped: cases
that the file has are not run again. The exit status is 1 if anything happened that must not.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, Queue
from select import select
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
CAMPAIGNS = ("mutants", "pairs")
FINE = ("done", "refused")
SECONDS, MEMORY = 20.0, 2 << 30
"""Of processor time, and bytes beyond what a process has mapped before."""
_PATIENCE = 10
"""How many times as long by the clock, not counting when a process could compute and other work has the processors."""
_MARK = "case "


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("campaign", choices=(*CAMPAIGNS, "table"))
    parser.add_argument("files", nargs="*", type=Path, help="for a table")
    parser.add_argument("-o", "--output", type=Path, help="results, one JSON object a line")
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--count", type=int, default=10**9)
    parser.add_argument("--only", type=int, action="append", help="numbers of cases")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="no case begins later")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the models of cases that must not be")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        serve(options.campaign)
    elif options.campaign == "table":
        print("\n".join(table(options.files)))
    elif options.output is None:
        parser.error("-o is needed")
    else:
        raise SystemExit(campaign(options))


def campaign(options: argparse.Namespace) -> int:
    """Run all cases that the file does not have; 1 if one of them went wrong."""
    done = {each["case"] for each in read(options.output)}
    numbers: Queue[int] = Queue()
    wanted = options.only or range(options.start, options.start + options.count)
    deadline = time.monotonic() + options.seconds
    found: Counter[str] = Counter()
    upcoming = (number for number in wanted if number not in done)
    with options.output.open("a") as file, ThreadPoolExecutor(options.workers) as pool:

        def work() -> None:
            with Child(options.campaign) as child:
                while time.monotonic() < deadline:
                    try:
                        number = numbers.get_nowait()
                    except Empty:
                        return
                    result = child.run(number)
                    found[result["outcome"]] += 1
                    file.write(json.dumps(result) + "\n")
                    file.flush()
                    report(result, options, sum(found.values()))
                    refill()

        def refill() -> None:
            number = next(upcoming, None)
            if number is not None:
                numbers.put(number)

        for _ in range(2 * options.workers):
            refill()
        for job in [pool.submit(work) for _ in range(options.workers)]:
            job.result()
    print(", ".join(f"{count} {kind}" for kind, count in sorted(found.items())))
    return int(any(kind not in FINE for kind in found))


def report(result: dict[str, Any], options: argparse.Namespace, count: int) -> None:
    """Say what must not be, and every hundred cases how many there were."""
    if result["outcome"] not in FINE:
        print(json.dumps(result), flush=True)
        if options.keep:
            from benchmarks.fuzzing.cases import make_case

            options.keep.mkdir(parents=True, exist_ok=True)
            name = f"{options.campaign}_{result['case']}.onnx"
            (options.keep / name).write_bytes(make_case(options.campaign, result["case"]).model)
    elif count % 100 == 0:
        print(f"{count} cases", file=sys.stderr, flush=True)


class Child:
    """A process that runs cases; started again when a case ends it or takes too long."""

    def __init__(self, campaign: str) -> None:
        self._campaign = campaign
        self._process: subprocess.Popen[str] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="fuzz-")

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._folder.cleanup()

    def run(self, number: int) -> dict[str, Any]:
        """The result of a case, as it is written."""
        if self._process is None:
            self._process = self._started()
            self._line(120.0)  # it has imported everything
        assert self._process.stdin is not None
        started = time.monotonic()
        self._process.stdin.write(f"{number}\n")
        self._process.stdin.flush()
        try:
            line, outcome = self._line(SECONDS), "crash"
        except TimeoutError:
            line, outcome = "", "hang"
        seconds = round(time.monotonic() - started, 2)
        if line.startswith(_MARK):
            return {"case": number, **json.loads(line.removeprefix(_MARK)), "seconds": seconds}
        process, self._process = self._process, None
        if outcome == "hang":
            process.kill()
        process.communicate()
        return {"case": number, "outcome": outcome, "detail": f"status {process.returncode}", "seconds": seconds}

    def _started(self) -> subprocess.Popen[str]:
        command = [sys.executable, __file__, self._campaign, "--child"]
        place = {"TMPDIR": self._folder.name, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **place, "YOCC_CACHE": "off"},
            cwd=self._folder.name,
        )

    def _line(self, seconds: float) -> str:
        """What the process says next; empty where it has ended."""
        assert self._process is not None
        assert self._process.stdout is not None
        used, waited = _processor_time(self._process.pid), 0.0
        while waited < _PATIENCE * seconds:
            if select([self._process.stdout], [], [], 1.0)[0]:
                return self._process.stdout.readline()
            if _processor_time(self._process.pid) - used > seconds:
                break
            waited += not _could_compute(self._process.pid)
        raise TimeoutError


def serve(campaign: str) -> None:
    """Run the cases whose numbers come in, each in a folder of its own."""
    from benchmarks.fuzzing.cases import run_case

    answers = os.fdopen(os.dup(1), "w")
    print("ready", file=answers, flush=True)
    folder = Path(tempfile.gettempdir()) / "case"
    for line in sys.stdin:
        resource.setrlimit(resource.RLIMIT_AS, (_mapped() + MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
        label, outcome = run_case(campaign, int(line), folder)
        kind = "memory" if "MemoryError" in outcome.detail else outcome.kind
        result = {"label": label, "outcome": kind, "detail": outcome.detail[:400]}
        print(_MARK + json.dumps(result), file=answers, flush=True)


def _processor_time(process: int) -> float:
    """Seconds that a process has computed."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _could_compute(process: int) -> bool:
    """Whether a process or one of its children has something to compute right now."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:  # it has ended
        return False
    return state == "R" or any(_could_compute(int(child)) for child in children)


def _mapped() -> int:
    """Bytes this process has mapped."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """The results in a file; a last line that was not finished is left out."""
    if path.exists():
        for line in path.read_text().splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


def table(files: Sequence[Path]) -> Iterator[str]:
    """Counts by outcome, a column for each file, as Markdown."""
    from benchmarks.fuzzing.cases import OUTCOMES

    results = [list({each["case"]: each for each in read(file)}.values()) for file in files]
    counts = [Counter(each["outcome"] for each in result) for result in results]
    yield "| outcome | " + " | ".join(file.stem for file in files) + " |"
    yield "|---|" + "---|" * len(files)
    for kind, meaning in OUTCOMES.items():
        yield f"| {meaning} | " + " | ".join(str(count[kind]) for count in counts) + " |"
    yield "| all | " + " | ".join(str(len(result)) for result in results) + " |"
    slowest = (max((each["seconds"] for each in result), default=0.0) for result in results)
    yield "| longest, s | " + " | ".join(f"{seconds:.1f}" for seconds in slowest) + " |"


if __name__ == "__main__":
    main()
