"""The campaign of damaged models: the same cases from the same numbers, and nothing that goes wrong unseen."""

from __future__ import annotations

import random
import sys
from collections import Counter
from pathlib import Path

import onnx
import pytest

from benchmarks import fuzz
from benchmarks.fuzzing.cases import EXACT, LOSSY, compare, make_case, run_case
from benchmarks.fuzzing.mutations import MUTATIONS
from benchmarks.fuzzing.seeds import fixed_seeds
from tests.samples import tiny_model
from yocc.compiler.graph import load


def test_what_it_begins_with_is_sound() -> None:
    for seed in fixed_seeds():
        onnx.checker.check_model(seed, full_check=True)
        load(seed)


@pytest.mark.parametrize("kind", MUTATIONS)
def test_mutations_change_models_and_are_the_same_for_the_same_number(kind: str) -> None:
    model = bytes(tiny_model().SerializeToString())
    found = [MUTATIONS[kind](model, random.Random(number)) for number in range(30)]
    assert found == [MUTATIONS[kind](model, random.Random(number)) for number in range(30)]
    assert len(set(found) - {model}) > 15


def test_cases_are_made_from_their_number() -> None:
    for campaign in fuzz.CAMPAIGNS:
        one, again, other = (make_case(campaign, number) for number in (3, 3, 4))
        assert (one.label, one.model) == (again.label, again.model) != (other.label, other.model)


def test_every_pass_that_needs_no_detector_is_in_it() -> None:
    words = " ".join((*EXACT, *LOSSY))
    names = ("simplify", "fuse", "fp16", "prune", "recover", "factorize", "quantize", "sparsify", "encode", "equalize")
    assert all(name in words for name in names)


def test_another_function_is_seen() -> None:
    before, after = (bytes(tiny_model(seed).SerializeToString()) for seed in (0, 1))
    assert compare(before, before, exact=True).kind == "done"
    assert compare(before, after, exact=True).kind == "wrong"
    assert compare(before, after, exact=False).kind == "done"


@pytest.mark.parametrize("campaign", fuzz.CAMPAIGNS)
def test_first_cases_end_well(campaign: str, tmp_path: Path) -> None:
    found = Counter(run_case(campaign, number, tmp_path / "case")[1].kind for number in range(4))
    assert set(found) <= set(fuzz.FINE), found


@pytest.mark.slow
def test_a_campaign_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "mutants.jsonl"
    for count in ("2", "4"):
        monkeypatch.setattr(sys, "argv", ["fuzz.py", "mutants", "--count", count, "-o", str(results)])
        with pytest.raises(SystemExit) as ended:
            fuzz.main()
        assert ended.value.code == 0
    assert sorted(each["case"] for each in fuzz.read(results)) == [0, 1, 2, 3]
    capsys.readouterr()
    monkeypatch.setattr(sys, "argv", ["fuzz.py", "table", str(results)])
    fuzz.main()
    assert "| all | 4 |" in capsys.readouterr().out


@pytest.mark.slow
def test_crashes_hangs_and_silence_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = tmp_path / "child.py"
    child.write_text(
        "import os, signal, sys, time\nprint('ready', flush=True)\n"
        "for line in sys.stdin:\n"
        "    os.kill(os.getpid(), signal.SIGSEGV) if line == '1\\n' else [None for _ in iter(int, 1)]\n"
    )
    monkeypatch.setattr(fuzz, "__file__", str(child))
    monkeypatch.setattr(fuzz, "SECONDS", 0.5)
    with fuzz.Child("mutants") as cases:
        assert [cases.run(number)["outcome"] for number in (1, 2, 1)] == ["crash", "hang", "crash"]
