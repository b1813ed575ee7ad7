"""Workers in processes of their own, some of which are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.searching.fakes import Formula, request_in, write_case
from yocc.searching.evaluating import LocalEvaluator
from yocc.searching.front import Front
from yocc.searching.searching import search_model
from yocc.searching.working import cores_of

optuna = pytest.importorskip("optuna")


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_case(tmp_path)
    (tmp_path / "log").mkdir()
    monkeypatch.setattr(LocalEvaluator, "emit", lambda _, __, out: out.mkdir(parents=True))
    return tmp_path


def run(where: Path, *, formula: dict[str, Any] | None = None, **others: Any) -> Front:
    return search_model(request_in(where, **others), evaluator=lambda _: Formula(where / "log", **(formula or {})))


def require_each_once(front: Front, count: int) -> None:
    recipes = [json.dumps(point.recipe, sort_keys=True) for point in front.points]
    assert len(recipes) == len(set(recipes))
    assert len(recipes) >= count


def test_cores_are_shared() -> None:
    assert [cores_of(number, 2, [0, 1, 2, 3]) for number in range(2)] == [[0, 2], [1, 3]]
    assert [cores_of(number, 3, [4, 5]) for number in range(3)] == [[4], [5], [4]]
    assert cores_of(0, 1, [0, 1, 2]) == [0, 1, 2]


@pytest.mark.slow
def test_several_workers_share_a_search(case: Path) -> None:
    front = run(case, workers=3, trials=15, formula={"seconds": 0.05})
    require_each_once(front, 15)
    assert len(front.points) <= 17
    assert len({path.name.split("-")[1] for path in (case / "log").iterdir()}) == 3


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(case: Path) -> None:
    front = run(case, workers=2, trials=12, formula={"seconds": 0.05, "kill_at": 5})
    require_each_once(front, 12)


@pytest.mark.slow
def test_a_search_whose_processes_were_all_killed_goes_on(case: Path) -> None:
    code = (
        "from pathlib import Path; from tests.searching import fakes; "
        "from yocc.searching.searching import search_model\n"
        "if __name__ == '__main__':\n"
        f"    where = Path({str(case)!r})\n"
        "    search_model(fakes.request_in(where, workers=3, trials=30), "
        "evaluator=lambda _: fakes.Formula(where / 'log', seconds=0.3))\n"
    )
    (case / "script.py").write_text(code)
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, case / "script.py"], cwd=case, env={**os.environ, "PYTHONPATH": path}, start_new_session=True
    )
    until = time.monotonic() + 60
    while len(list((case / "log").iterdir())) < 8:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(1)
    compiled = len(list((case / "log").iterdir()))
    time.sleep(1)
    assert len(list((case / "log").iterdir())) == compiled, "workers end with the process that started them"
    front = run(case, trials=12)
    require_each_once(front, 12)
