"""Which lever follows from the figures."""

from __future__ import annotations

import math

from yocc.api.advice import Conclusion, LeverReport, OriginalFacts, conclude


def report(options: str, *, speedup: float | None, fidelity: float | None, size: int = 90) -> LeverReport:
    return LeverReport("int8", options, "measured", bytes=size, speedup=speedup, fidelity=fidelity)


def concluded(*reports: LeverReport, latency: float | None = 10.0) -> Conclusion:
    return conclude(OriginalFacts(100, 100, 100, latency), reports, lambda options: f"yocc compile m.onnx {options}")


def test_the_fastest_that_is_close_is_recommended() -> None:
    found = concluded(
        report("--int8", speedup=1.5, fidelity=0.93),
        report("--a", speedup=1.2, fidelity=0.99),
        report("--side 384", speedup=4.0, fidelity=0.4),
        report("--side 480", speedup=2.0, fidelity=0.6),
    )
    assert found.recommended is not None
    assert found.recommended.command == "yocc compile m.onnx --int8"
    assert found.recommended.reason == "1.50 times as fast, 0.90 of the size, fidelity 0.930"
    assert found.worth_scoring is not None
    assert found.worth_scoring.options == "--side 480"


def test_what_is_slower_than_the_recommended_is_not_worth_scoring() -> None:
    found = concluded(report("--int8", speedup=1.5, fidelity=0.93), report("--prune 0.1", speedup=1.2, fidelity=0.7))
    assert found.worth_scoring is None


def test_where_nothing_is_faster_the_smallest_is_recommended() -> None:
    found = concluded(
        report("--weights log2:4", speedup=1.0, fidelity=0.95, size=16),
        report("--int8", speedup=1.05, fidelity=0.95, size=40),
    )
    assert found.recommended is not None
    assert found.recommended.options == "--weights log2:4"
    assert found.rule.startswith("No lever with a fidelity of at least 0.9 is faster; recommended is the smallest")


def test_without_times_the_smallest_is_recommended() -> None:
    found = concluded(report("--int8", speedup=None, fidelity=0.95, size=40), latency=None)
    assert found.recommended is not None
    assert found.recommended.reason == "0.40 of the size, fidelity 0.950"
    assert found.rule.startswith("Nothing was timed")


def test_where_nothing_is_close_nothing_is_recommended() -> None:
    found = concluded(report("--int8", speedup=1.5, fidelity=0.3, size=40))
    assert found.recommended is None
    assert found.rule == "No lever has a fidelity of at least 0.9."


def test_where_nothing_is_gained_nothing_is_recommended() -> None:
    found = concluded(report("", speedup=1.02, fidelity=1.0, size=100))
    assert found.recommended is None
    assert found.rule == "No lever with a fidelity of at least 0.9 is faster or smaller."


def test_other_networks_are_judged_by_their_worst_output() -> None:
    close = LeverReport("int8", "--int8", "measured", bytes=40, speedup=1.5, snr_db=25.0)
    far = LeverReport("prune", "--prune 0.4", "measured", bytes=40, speedup=2.5, snr_db=5.0)
    equal = LeverReport("fp32", "", "measured", bytes=99, speedup=1.2, snr_db=math.inf)
    found = concluded(close, far, equal)
    assert found.recommended is not None
    assert found.recommended.reason == "1.50 times as fast, 0.40 of the size, worst output 25.0 dB"
    assert found.worth_scoring is None
    assert "20 dB" in found.rule
    alone = concluded(equal).recommended
    assert alone is not None
    assert alone.reason.endswith("outputs equal")


def test_nothing_compared_is_nothing_recommended() -> None:
    found = concluded(LeverReport("int8", "--int8", "failed", ("It failed.",)))
    assert found.recommended is None
    assert found.worth_scoring is None
