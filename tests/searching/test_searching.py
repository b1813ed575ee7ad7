"""A search from end to end, its trials by formula or really compiled."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

import yocc
from tests.searching.fakes import Formula, request_in, write_case
from yocc.errors import BackendUnavailable, CalibrationError, ModelError, OptionError, OutputError
from yocc.searching import searching
from yocc.searching.evaluating import Evaluator, LocalEvaluator, latency_of, loss_of
from yocc.searching.folder import MARKER, read_front, read_marker
from yocc.searching.front import Front, pick
from yocc.searching.limits import Limits
from yocc.searching.request import Request
from yocc.searching.searching import Progress, search_model
from yocc.searching.storages import JOURNAL, reaching
from yocc.searching.study import open_study
from yocc.searching.timing_lock import locked
from yocc.searching.working import PATIENCE

optuna = pytest.importorskip("optuna")


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model and pictures; artifacts of the front are folders with their options."""
    write_case(tmp_path)
    (tmp_path / "log").mkdir()

    def emit(_: LocalEvaluator, keywords: Any, out: Path) -> None:
        out.mkdir(parents=True)
        (out / "recipe.json").write_text(json.dumps(keywords))

    monkeypatch.setattr(LocalEvaluator, "emit", emit)
    return tmp_path


def by_formula(where: Path, **facts: Any) -> Callable[[LocalEvaluator], Evaluator]:
    return lambda _: Formula(where / "log", **facts)


def run(where: Path, request: Request | None = None, **facts: Any) -> Front:
    return search_model(request or request_in(where), evaluator=by_formula(where, **facts))


def test_the_front_is_found_and_written(case: Path) -> None:
    said: list[Progress] = []
    front = search_model(request_in(case), said.append, by_formula(case))
    assert len(front.points) == 12
    assert front.recommended is not None
    best = front.point(front.recommended)
    assert best.feasible
    assert best.measured.loss is not None
    assert best.measured.loss <= 0.05
    assert all(
        (case / "front" / point.folder / "recipe.json").is_file() for point in front.front_points if point.feasible
    )
    assert [each.ended for each in said] == list(range(1, 13))
    assert said[-1].seconds_left == 0
    assert read_front(case / "front") == front
    assert (case / "front" / "search.html").stat().st_size
    assert front.importance
    assert abs(sum(front.importance.values()) - 1) < 0.01


@pytest.mark.slow
def test_one_worker_and_one_seed_give_one_front(case: Path) -> None:
    fronts = [asdict(run(case, request_in(case, seed=seed, out=case / f"front{place}")))
              for place, seed in enumerate((3, 3, 4))]  # fmt: skip
    for front in fronts:
        front.pop("seconds")
        front.pop("fitting")
        for point in front["points"]:
            point.pop("seconds")
    assert fronts[0] == fronts[1]
    assert fronts[0]["points"] != fronts[2]["points"]


def test_the_same_command_goes_on(case: Path) -> None:
    run(case, request_in(case, trials=5))
    before = len(list((case / "log").iterdir()))
    front = run(case, request_in(case, trials=9))
    assert [point.trial for point in front.points] == list(range(9))
    assert run(case, request_in(case, trials=9)) == front
    assert len(list((case / "log").iterdir())) < 2 * before + 9
    kept = {path.name for path in (case / "front" / "points").iterdir()}
    assert kept == {Path(point.folder).name for point in front.points if point.folder}


def test_another_question_in_the_same_folder_is_refused(case: Path) -> None:
    run(case, request_in(case, trials=2))
    with pytest.raises(OptionError, match="a search with other limits") as caught:
        run(case, request_in(case, limits=Limits(loss=0.01)))
    assert caught.value.hint
    with pytest.raises(OptionError, match="other space, seed"):
        run(case, request_in(case, seed=1, space={"prune": "0"}))
    (case / "front" / MARKER).write_text("[")
    with pytest.raises(OptionError, match="other model"):
        run(case, request_in(case, trials=2))


def test_what_others_wrote_stays(case: Path) -> None:
    (case / "front").mkdir()
    (case / "front" / "notes.txt").write_text("mine")
    with pytest.raises(OptionError, match="contains files of something else"):
        run(case)
    with pytest.raises(OptionError, match="is a file"):
        run(case, request_in(case, out=case / "model.onnx"))
    with pytest.raises(OutputError, match="cannot be made"):
        run(case, request_in(case, out=case / "model.onnx" / "inside"))
    assert (case / "front" / "notes.txt").read_text() == "mine"


def test_one_search_works_in_a_folder(case: Path) -> None:
    run(case, request_in(case, trials=2))
    with locked(case / "front" / searching.LOCK, wait=False) as held:
        assert held
        with pytest.raises(OutputError, match="Another yocc search works in"):
            run(case)


def test_what_cannot_be_compiled_is_a_trial_with_a_reason(case: Path) -> None:
    front = run(case, request_in(case, space={"factorize": "0,0.1"}), broken="factorize")
    failed = [point for point in front.points if "factorize" in point.recipe]
    assert failed
    assert all(point.status == "stopped" and "factorize cannot be done" in point.reason for point in failed)
    assert len(front.points) == 12


@pytest.mark.slow
def test_a_hopeless_trial_is_not_recovered_or_not_timed(case: Path) -> None:
    limits = Limits(latency=0.7, loss=0.001)
    request = request_in(case, trials=16, limits=limits, space={"precision": "float32"})
    front = run(case, request)
    reasons = " ".join(point.reason for point in front.points)
    assert "Not recovered: it has 0." in reasons
    assert "Not timed: it has a loss of" in reasons
    assert (front.recommended, front.rule) == (
        None, "No configuration that was tried is within 0.7 of the original's time and a loss of 0.001.",
    )  # fmt: skip
    assert front.nearest is not None
    assert all(point.folder for point in front.front_points), "without a feasible point, the whole front is kept"


def test_a_small_space_is_exhausted_without_repetition(case: Path) -> None:
    space = {"prune": "0,0.2", "factorize": "0", "precision": "float32,int8", "recover": "statistics"}
    front = run(case, request_in(case, trials=100, space=space))
    recipes = [json.dumps(point.recipe, sort_keys=True) for point in front.points]
    assert len(recipes) == len(set(recipes)) == 4
    swept = run(case, request_in(case, out=case / "grid", trials=100, space=space, sampler="grid"))
    assert sorted(point.options for point in swept.points) == sorted(point.options for point in front.points)


@pytest.mark.parametrize("sampler", ["nsga2", "grid"])
def test_other_samplers_search_too(case: Path, sampler: Any) -> None:
    assert len(run(case, request_in(case, sampler=sampler)).points) == 12


def test_evolution_takes_over_from_two_hundred_trials(case: Path) -> None:
    assert request_in(case, trials=199).method == "tpe"
    assert request_in(case, trials=200).method == "nsga2"
    assert request_in(case, trials=200, sampler="tpe").method == "tpe"


def test_time_ends_a_search(case: Path) -> None:
    front = run(case, request_in(case, trials=None, minutes=0.01), seconds=0.05)
    assert 0 < len(front.points) < 20
    assert request_in(case, trials=None).seconds == 3600
    assert request_in(case, trials=5).seconds is None


@pytest.mark.slow
def test_size_counts_where_it_is_limited(case: Path) -> None:
    front = run(case, request_in(case, limits=Limits(size=0.2), trials=20, space={"weights": "none,log2:4"}))
    assert front.objectives == ("latency", "loss", "size")
    assert front.recommended is not None
    size = front.point(front.recommended).measured.size
    assert size is not None
    assert size <= 0.2
    assert any("weights" in point.recipe for point in front.points)


@pytest.mark.slow
def test_memory_counts_where_it_is_limited(case: Path) -> None:
    front = run(case, request_in(case, limits=Limits(memory=0.9), trials=20))
    assert front.objectives == ("latency", "loss", "memory")
    assert front.recommended is not None
    best = front.point(front.recommended)
    assert best.measured.memory is not None
    assert best.measured.memory <= 0.9
    assert "of the memory" in (case / "front" / "search.html").read_text(encoding="utf-8")
    picked = pick(front, "memory=0.9").measured.memory
    assert picked is not None
    assert picked <= 0.9


def test_a_full_disk_ends_this_machine_and_loses_no_trial(case: Path) -> None:
    with pytest.raises(OutputError, match="The disk is full"):
        run(case, full_at=6)
    front = run(case)
    recipes = [json.dumps(point.recipe, sort_keys=True) for point in front.points]
    assert len(recipes) == len(set(recipes)) == 12


def test_a_torn_journal_is_mended(case: Path) -> None:
    run(case, request_in(case, trials=3))
    journal = case / "front" / JOURNAL
    journal.write_bytes(journal.read_bytes() + b'{"op_code": 4, "tri')
    (case / "front" / f"{JOURNAL}.lock").symlink_to(journal)
    assert len(run(case, request_in(case, trials=5)).points) == 5


@pytest.mark.parametrize(
    ("others", "kind", "message"),
    [
        ({"model": Path("none.onnx")}, ModelError, "There is no file"),
        ({"calibration": Path("none")}, CalibrationError, "There is no"),
        ({"space": {"prune": "2"}}, OptionError, "The space cannot have prune=2"),
        ({"storage": "nonsense"}, OptionError, "--storage cannot be 'nonsense'"),
        ({"storage": "nonsense://host/name"}, OptionError, "--storage cannot be"),
        ({"storage": "sqlite:////nowhere/at/all.db"}, OutputError, "cannot be reached"),
        ({"keywords": {"target": "ncnn", "options": {"a": "b"}}}, OptionError, "a"),
    ],
)
def test_what_is_wrong_is_one_sentence(case: Path, others: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        run(case, request_in(case, **others))


def test_a_target_that_does_not_run_here_cannot_be_searched(case: Path) -> None:
    with pytest.raises(BackendUnavailable, match="does not run here"):
        run(case, request_in(case, keywords={"target": "tensorrt"}))


def test_passwords_are_not_shown(case: Path) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(OutputError, match="cannot be reached") as caught:
        run(case, request_in(case, storage="postgresql+psycopg://me:secret@127.0.0.1:9/none"))
    assert "secret" not in str(caught.value)
    assert "***" in str(caught.value)


def test_without_optuna_the_extra_is_named(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yocc.searching.study.util.find_spec", lambda _: None)
    with pytest.raises(BackendUnavailable, match=r"pip install 'yocc\[search\]'"):
        run(case)


@pytest.mark.parametrize("others", [{"trials": 0}, {"workers": 0}, {"minutes": 0.0}, {"heartbeat": 0}])
def test_numbers_out_of_range_are_refused(case: Path, others: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match="cannot be 0"):
        request_in(case, **others)


@pytest.mark.slow
def test_commands_with_one_database_share_a_search(case: Path) -> None:
    storage = f"sqlite:///{case}/search.db"
    run(case, request_in(case, out=case / "one", storage=storage, trials=3))
    front = run(case, request_in(case, out=case / "two", storage=storage, trials=6))
    assert [point.trial for point in front.points] == list(range(6))
    kept = {path.name for path in (case / "two" / "points").iterdir()}
    assert kept == {Path(point.folder).name for point in front.points if point.folder}


@pytest.mark.slow
def test_the_last_trial_of_others_is_waited_for_but_not_forever(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = request_in(case, storage=f"sqlite:///{case}/search.db", trials=4, heartbeat=7)
    run(case, replace(request, trials=3))
    identity = read_marker(case / "front")
    assert identity is not None
    with open_study(request, identity) as study:
        claimed = {"command": "elsewhere:1"}
        study.add_trial(optuna.create_trial(state=optuna.trial.TrialState.RUNNING, user_attrs=claimed))
    slept: list[float] = []
    monkeypatch.setattr("yocc.searching.working.time.sleep", slept.append)
    front = run(case, request)
    assert len(front.points) == 3
    assert slept == [7] * PATIENCE


def test_what_follows_from_a_storage_that_fails_is_one_sentence(case: Path) -> None:
    trouble, followed = optuna.exceptions.StorageInternalError("the server is full"), KeyError("state")
    followed.__context__ = trouble
    request = request_in(case, storage="postgresql://me:secret@host/name")
    with pytest.raises(OutputError, match="cannot be reached: the server is full") as caught, reaching(request):
        raise followed
    assert "me:***@host" in str(caught.value)
    with pytest.raises(KeyError), reaching(request_in(case)):
        raise KeyError("state")


@pytest.mark.slow
def test_a_tiny_model_is_really_searched(tmp_path: Path) -> None:
    model, pictures = write_case(tmp_path, 16)
    front = yocc.search(
        model, pictures, out=tmp_path / "front", max_loss=0.2, trials=8, threads=1, cache=tmp_path / "cache",
        space={"precision": "float32,int8"},
    )  # fmt: skip
    measured = [point for point in front.points if point.status == "measured"]
    assert len(measured) >= 4
    plain = front.point(0)
    assert (plain.options, plain.measured.loss) == ("", 0.0)
    assert all(point.measured.latency and point.measured.bytes for point in measured)
    kept = next(point for point in front.front_points if point.folder)
    content = json.loads((tmp_path / "front" / kept.folder / "report.json").read_text())
    assert content["after"]["bytes"] == kept.measured.bytes
    again = yocc.search(model, pictures, out=tmp_path / "front", max_loss=0.2, trials=8, threads=1,
                        cache=tmp_path / "cache", space={"precision": "float32,int8"})  # fmt: skip
    assert [asdict(point) for point in again.points] == [asdict(point) for point in front.points]


def test_what_was_not_measured_is_an_error() -> None:
    from yocc.api.judging import Speed
    from yocc.errors import BackendError
    from yocc.runtime.measuring.fidelity import FidelityFacts

    with pytest.raises(BackendError, match="was not timed"):
        latency_of(Speed("openvino", None, None, "It does not run."))
    nothing = FidelityFacts("pictures", 4, held_out=True, outputs=())
    with pytest.raises(CalibrationError, match="No output can be compared"):
        loss_of(nothing)
    with pytest.raises(CalibrationError, match="finds nothing"):
        loss_of(FidelityFacts("pictures", 4, held_out=True, outputs=(), confident=(0, 3)))
