"""Many processes share one search in a database; those that are killed lose nothing."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.searching.fakes import Formula, request_in, write_case
from tests.searching.postgres import Server, needs_postgres, postgres_server
from yocc.errors import OutputError
from yocc.searching.evaluating import LocalEvaluator
from yocc.searching.folder import read_front, read_marker
from yocc.searching.searching import search_model
from yocc.searching.study import open_study

optuna = pytest.importorskip("optuna")
pytestmark = [pytest.mark.slow, needs_postgres]
ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from pathlib import Path
from tests.searching.fakes import Formula, request_in
from yocc.searching.evaluating import LocalEvaluator
from yocc.searching.searching import search_model

LocalEvaluator.emit = lambda _, __, out: out.mkdir(parents=True)
if __name__ == "__main__":
    where, out, storage, seed, workers, trials = sys.argv[1:]
    where = Path(where)
    search_model(
        request_in(where, out=where / out, storage=storage, workers=int(workers), trials=int(trials),
                   seed=int(seed), heartbeat=1),
        evaluator=lambda _: Formula(where / "log", seconds=0.3),
    )
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_case(tmp_path)
    (tmp_path / "log").mkdir()
    (tmp_path / "script.py").write_text(SCRIPT)
    monkeypatch.setattr(LocalEvaluator, "emit", lambda _, __, out: out.mkdir(parents=True))
    return tmp_path


# Searches of one question are one study, so that each test has a seed of its own.
def command(case: Path, server: Server, out: str, seed: int, workers: int, trials: int) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        [sys.executable, case / "script.py", str(case), out, server.url, *map(str, (seed, workers, trials))],
        cwd=case,
        env={**os.environ, "PYTHONPATH": path},
    )


def wait_for(case: Path, compilations: int, *processes: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while len(list((case / "log").iterdir())) < compilations:
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < until
        time.sleep(0.05)


def workers_of(process: subprocess.Popen[bytes]) -> list[int]:
    """Processes that work for a command: those that have compiled something."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(child) for child in children]


def require_each_once(server: Server, folder: Path, trials: int) -> None:
    front, marker = read_front(folder), read_marker(folder)
    assert marker is not None
    recipes = [json.dumps(point.recipe, sort_keys=True) for point in front.points]
    assert len(recipes) == len(set(recipes))
    assert trials <= len(recipes) <= trials + 3
    with open_study(request_in(folder.parent, storage=server.url), marker) as study:
        states = Counter(trial.state.name for trial in study.trials)
        retried = {number for trial in study.trials for number in trial.system_attrs.get("retry_history", [])}
        failed = {trial.number for trial in study.trials if trial.state.name == "FAIL"}
    assert not states["RUNNING"]
    assert retried == failed


def test_three_of_four_workers_are_killed_and_every_trial_ends_once(case: Path, server: Server) -> None:
    process = command(case, server, "front", 0, 4, 24)
    wait_for(case, 10, process)
    logged = {int(path.name.split("-")[1]) for path in (case / "log").iterdir()}
    working = [pid for pid in workers_of(process) if pid in logged]
    assert len(working) >= 3
    for pid in working[:3]:
        os.kill(pid, signal.SIGKILL)
    assert process.wait(timeout=240) == 0
    require_each_once(server, case / "front", 24)


def test_a_command_whose_processes_are_all_killed_leaves_its_trials_to_another(case: Path, server: Server) -> None:
    lost, kept = command(case, server, "lost", 1, 3, 25), command(case, server, "kept", 1, 1, 25)
    wait_for(case, 12, lost, kept)
    lost.send_signal(signal.SIGKILL)
    lost.wait()
    assert kept.wait(timeout=240) == 0
    require_each_once(server, case / "kept", 25)
    commands = {path.name.split("-")[1] for path in (case / "log").iterdir()}
    assert len(commands) > 1


def test_a_trial_whose_worker_was_killed_before_its_first_sign_of_life_is_tried_again(
    case: Path, server: Server
) -> None:
    request = request_in(case, storage=server.url, trials=3, seed=4, heartbeat=1)
    search_model(request, evaluator=lambda _: Formula(case / "log"))
    marker = read_marker(case / "front")
    assert marker is not None
    with open_study(request, marker) as study, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it warns of exactly this
        study.ask()
    search_model(replace(request, trials=4), evaluator=lambda _: Formula(case / "log"))
    require_each_once(server, case / "front", 4)


def test_a_server_that_restarts_ends_the_command_and_the_next_goes_on(case: Path, server: Server) -> None:
    request = request_in(case, storage=server.url, trials=23, seed=2, heartbeat=1)
    stopped = []

    class Restarting(Formula):
        def size(self, folder: Path) -> Any:
            if len(list(self.log.iterdir())) == 6 and not stopped:
                stopped.append(folder)
                server.stop()
            return super().size(folder)

    with pytest.raises(OutputError, match="cannot be reached"):
        search_model(request, evaluator=lambda _: Restarting(case / "log"))
    server.start()
    search_model(request, evaluator=lambda _: Formula(case / "log"))
    require_each_once(server, case / "front", 23)


@pytest.fixture
def proxy(server: Server) -> Iterator[str]:
    pytest.importorskip("grpc")
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "yocc", "search", "serve", "--storage", server.url, "--port", str(port)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
        assert process.stderr is not None
        assert b"grpc://localhost" in process.stderr.readline()
        yield f"grpc://localhost:{port}"
        process.terminate()


def test_workers_behind_a_proxy_are_killed_and_every_trial_ends_once(case: Path, server: Server, proxy: str) -> None:
    process = command(case, replace(server, proxy=proxy), "front", 3, 3, 26)
    wait_for(case, 10, process)
    logged = {int(path.name.split("-")[1]) for path in (case / "log").iterdir()}
    for pid in [pid for pid in workers_of(process) if pid in logged][:2]:
        os.kill(pid, signal.SIGKILL)
    assert process.wait(timeout=240) == 0
    require_each_once(server, case / "front", 26)


def test_no_proxy_where_one_is_said_to_be(case: Path) -> None:
    pytest.importorskip("grpc")
    with pytest.raises(OutputError, match="cannot be"):
        search_model(request_in(case, storage="grpc://localhost:9", trials=1))
