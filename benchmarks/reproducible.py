"""Whether two clean environments write the same bytes.

    python benchmarks/reproducible.py [--options '--prune 0.4 --int8 --count 16'] [--keep FOLDER]

Installs this checkout into two new virtual environments, compiles the street detector that comes with yocc in each,
with another home, working folder, hash seed, locale and time zone, and compares the SHA-256 of every file. The packages
of both are those pip chooses that day. Takes some minutes; ends with 1 where a file differs.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
AROUND = (
    {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "UTC"},
    {"PYTHONHASHSEED": "20777", "LC_ALL": "C.UTF-8", "TZ": "Asia/Tokyo"},
)
MEASURED = {"report.json", "report.html"}
"""They hold times, so they differ from run to run."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--options", default="--prune 0.4 --int8 --count 16")
    parser.add_argument("--keep", type=Path, help="folder to work in [default: a temporary one]")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="yocc-") as temporary:
        folder = arguments.keep or Path(temporary)
        found = [
            compiled(folder / f"environment{number}", around, arguments.options.split())
            for number, around in enumerate(AROUND)
        ]
    first, second = found
    for name in sorted(first | second):
        same = first.get(name) == second.get(name)
        print(f"{'same     ' if same else 'DIFFERENT'} {first.get(name, 'missing')} {name}")
    return 0 if first == second else 1


def compiled(folder: Path, around: dict[str, str], options: Sequence[str]) -> dict[str, str]:
    """SHA-256 of each file that a new environment writes, by name."""
    home, work = folder / "home", folder / "work"
    for needed in (home, work):
        needed.mkdir(parents=True)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    clean = {"PATH": os.environ["PATH"], "HOME": str(home), **around}
    run([str(python), "-m", "pip", "install", "--quiet", str(ROOT)], work, clean)
    detector = "from yocc.models.shipped import shipped_detector; print(shipped_detector())"
    model = run([str(python), "-c", detector], work, clean).strip()
    draw = "from yocc.models.street import write; write(Path('street'), 'calibration', 24, size=256)"
    run([str(python), "-c", f"from pathlib import Path; {draw}"], work, clean)
    command = [str(folder / "venv" / "bin" / "yocc"), "compile", model, "--calib", "street/images", *options]
    run([*command, "--threads", "1", "--no-bench", "--no-cache", "-o", "out"], work, clean)
    files = sorted(path for path in (work / "out").rglob("*") if path.is_file() and path.name not in MEASURED)
    return {str(path.relative_to(work / "out")): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(command: Sequence[str], folder: Path, environment: dict[str, str]) -> str:
    """Standard output of a command that has to succeed."""
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
