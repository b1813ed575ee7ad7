from __future__ import annotations

from tests.report.page.contents import content
from yocc.report.page.steps import operators, replay, steps


def test_notes_of_one_wording_are_one_remark() -> None:
    made = content()
    note = made["passes"][0]["notes"][0]
    made["passes"][0]["notes"].append({**note, "node": "other"})
    (remark,) = steps(made)[0].remarks
    assert (remark.nodes, remark.warning) == (("head", "other"), False)


def test_times_are_relative_to_the_longest() -> None:
    first, second, _ = steps(content())
    assert (second.bar, second.time.replace("\N{NO-BREAK SPACE}", " ")) == (1.0, "1 min 0 s")
    assert first.bar < 0.01
    assert steps(content(measured={}))[0].time == ""


def test_only_plain_figures_are_listed() -> None:
    first, second, _ = steps(content())
    assert first.figures == (("multiple", "8"),)
    assert second.figures == (("calibration", "4 pictures"),)


def test_the_command_is_quoted() -> None:
    made = content()
    made["source"]["path"] = "my models/a.onnx; rm -rf ~"
    assert "'my models/a.onnx; rm -rf ~'" in replay(made)


def test_the_command_is_that_of_the_report_where_it_has_one() -> None:
    made = content(command=("yocc", "compile", "a.onnx", "--int8", "--calib", "my pictures"))
    assert replay(made) == "yocc compile a.onnx --int8 --calib 'my pictures'"


def test_operators_of_both_models_stand_side_by_side() -> None:
    made = content()
    assert operators(made) == ()
    made["measured"]["operator_ms"] = {
        "original": {"Conv": 8.0, "Mul": 1.0},
        "compiled": {"QLinearConv": 4.0, "Mul": 2.0},
    }
    first, second, third = operators(made)
    assert [row.name for row in (first, second, third)] == ["Conv", "QLinearConv", "Mul"]
    assert (first.before_bar, first.after, second.after_bar) == (1.0, "", 0.5)
