from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.report.page.contents import TENSOR, content, report, with_examples
from yocc.report.page.render import render_page

HOSTILE = '<script>alert("1")</script>\'"><img src=x onerror=alert(2)>{{ 7 * 7 }}'
VOID = {"meta", "link", "br", "img", "rect", "path", "line", "image", "use", "i"}


class _Page(HTMLParser):
    """Every element, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID - {"i"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_no_control_character_of_a_name_reaches_the_page() -> None:
    strange = content()
    strange["source"]["path"] = "a\x1b[31m\x07\u202eb.onnx"
    page = render_page(strange)
    assert "a\\x1b[31m\\x07\\u202eb.onnx" in page
    assert not any(character in page for character in "\x1b\x07\u202e")


def test_every_section_is_there_and_tags_close() -> None:
    page = _Page(render_page(content()))
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert {"headline", "layers", "sensitivity", "quantization", "passes", "again"} <= set(ids)
    assert len(ids) == len(set(ids))
    targets = {link["href"] for link in page.all("a")}
    assert {target.removeprefix("#") for target in targets} <= set(ids)


def test_figures_of_the_report_are_on_the_page() -> None:
    words = re.sub(r"\s+", " ", _Page(render_page(content())).words)
    for figure in (
        "2.00 MB", "from 8.00 MB", "\N{MINUS SIGN}75.0 %", "25.0 ms", "2 threads", "0.330", "\N{MINUS SIGN}0.010",
        "0.910", "16 → 8", "int8 on uint8", "21.5 dB", "lossless", "3.0 %", "40.2", "25.0 %", "1 min 0 s",
        "--seed 3", "--pipeline 'prune{ratio=0.5},quantize'", "-O channel_multiple=4", "a last layer",
        "50.0 % int8", "could not be checked", "no device", "Few pictures.",
    ):  # fmt: skip
        assert figure in words, figure


def test_the_same_content_gives_the_same_page(tmp_path: Path) -> None:
    assert render_page(with_examples(tmp_path)) == render_page(with_examples(tmp_path))


def test_nothing_is_fetched_and_nothing_runs(tmp_path: Path) -> None:
    text = render_page(with_examples(tmp_path))
    page = _Page(text)
    assert not page.all("script")
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    assert "url(" not in text
    assert "@import" not in text
    (policy,) = [meta["content"] for meta in page.all("meta") if meta.get("http-equiv")]
    assert policy.startswith("default-src 'none'")


def test_whatever_a_model_is_called_is_text(tmp_path: Path) -> None:
    facts = report()
    hostile: dict[str, Any] = {
        "source": replace(facts.source, path=HOSTILE),
        "layers": tuple(replace(layer, name=HOSTILE, skipped={HOSTILE: HOSTILE}) for layer in facts.layers),
        "warnings": (HOSTILE,),
        "passes": (
            replace(facts.passes[0], spec=HOSTILE),
            replace(facts.passes[1], details={"tensors": {HOSTILE: {**TENSOR, "behind": HOSTILE}}, HOSTILE: HOSTILE,
                    "sensitivity": [{"layer": HOSTILE}]}),
        ),
        "versions": {"yocc": HOSTILE},
        "target": HOSTILE,
    }  # fmt: skip
    made = content(**hostile)
    made["fidelity"]["collapsed"] = made["fidelity"]["data"] = HOSTILE
    made["fidelity"]["examples"] = with_examples(tmp_path)["fidelity"]["examples"]
    made["fidelity"]["examples"][0]["original"][0]["label"] = HOSTILE
    page = _Page(render_page(made))
    assert not page.all("script")
    assert not page.all("img")
    assert page.words.count(HOSTILE) > 10
    assert "49" not in re.sub(r"[\d.]*\d{3}[\d.]*", "", page.words)


def test_a_model_that_no_longer_detects_is_loud() -> None:
    made = content()
    assert 'role="alert"' not in render_page(made)
    made["fidelity"]["collapsed"] = "It finds nothing."
    made["warnings"].insert(0, "It finds nothing.")
    page = _Page(render_page(made))
    assert [one for one in page.all("section") if one.get("role") == "alert"]
    assert page.words.count("It finds nothing.") == 1


def test_gates_are_shown_with_their_verdict() -> None:
    gate = {"gate": "size_mb <= 1", "metric": "size_mb", "wanted": "<= 1", "got": 2.5, "passed": False, "remark": ""}
    unmeasured = {**gate, "got": None, "remark": "not timed"}
    words = _Page(render_page({**content(), "gates": [gate, {**gate, "passed": True}, unmeasured]})).words
    assert words.count("fails") == 2
    assert "2.5" in words
    assert "fails: not timed" in words
    assert "Gates" not in _Page(render_page(content(gates=()))).words


@pytest.mark.parametrize("text", ["nan", "inf", "-inf"])
def test_numbers_that_are_none_are_shown_as_such(text: str) -> None:
    """A report holds NaN and infinity as text."""
    made = content()
    made["fidelity"]["detection"] = None
    output = made["fidelity"]["outputs"][0]
    output.update(max_abs=text, relative=text, cosine=text, snr_db=text)
    figures = made["layers"][0]["figures"]
    figures["recover"].update(error=text, error_before=text)
    figures["quantize"].update(weight_sqnr_db=text)
    figures["prune"].update(saliency_kept=text)
    details = made["passes"][1]["details"]
    details["tensors"]["features"].update(
        low=text, high=text, quantized=[text, text], scale=text, clipped=text, sqnr_db=text
    )
    details["sensitivity"][0].update(score_error=text, box_error=text)
    details.update(
        curve=[{"step": step, "seconds": 1.0, "loss": loss} for step, loss in ((0, text), (1, 1.0))],
        pictures=4,
        steps=1,
        rate=text,
    )
    made["measured"]["layer_ms"] = {"original": {"stem": text, "head": 1.0}, "compiled": {"stem": text}}
    words = _Page(render_page(made)).words
    shown = text.replace("-", "\N{MINUS SIGN}")
    assert f"{shown}\N{NO-BREAK SPACE}dB" in words
    assert words.count(shown) > 5


def test_warnings_come_before_the_figures_and_alarms_before_them() -> None:
    made = content(warnings=("It is lost.", "A small thing."), alarms=("It is lost.",), wrong=True)
    page = _Page(render_page(made))
    order = [page.words.index(text) for text in ("It is lost.", "A small thing.", "Size on disk")]
    assert order == sorted(order)
    assert page.words.count("It is lost.") == 1
    assert "This model is of little use" in page.words


def test_how_pictures_are_fed_is_told_and_replayed() -> None:
    fed = {"name": "x", "color": "bgr", "scale": 1.0, "mean": [-1.0, 2.0, 3.0], "std": [1.0], "letterbox": False}
    words = _Page(render_page(content(input={**fed, "origin": "given"}))).words
    assert "as given" in words
    assert "--input-color bgr --input-scale 1.0 --input-mean=-1.0,2.0,3.0 --input-std=1.0" in words
    words = _Page(render_page(content(input={**fed, "origin": "assumed"}))).words
    assert "assumed" in words
    assert "--input-color" not in words


@pytest.mark.parametrize(
    "details",
    [
        7,
        ["a"],
        {"tensors": ["a"]},
        {"tensors": {"a": 3}},
        {"tensors": {}},
        {"sensitivity": 3},
        {"sensitivity": [3, {}]},
    ],
)
def test_figures_of_any_form_are_taken(details: object) -> None:
    made = content()
    made["passes"][1]["details"] = details
    ids = {attributes.get("id") for _, attributes in _Page(render_page(made)).elements}
    assert not {"quantization", "sensitivity"} & ids


def test_a_bare_report_is_a_page() -> None:
    made = content(
        passes=(), layers=(), types=None, calibration=None, fidelity=None, accuracy=None, warnings=(), measured={}
    )
    page = _Page(render_page(made))
    ids = {attributes.get("id") for _, attributes in page.elements}
    assert {"headline", "passes", "again"} <= ids
    assert not {"layers", "quantization", "detections", "sensitivity"} & ids


def test_a_report_of_the_first_schema_is_a_page() -> None:
    made = content()
    for key in ("layers", "types", "gates", "platform"):
        del made[key]
    made["schema"] = 1
    made["passes"][1]["details"] = {"layers": ["stem"], "tensors": {"images": {"low": 0.0, "high": 1.0}}}
    del made["measured"]["latency_ms"]["threads"]
    words = _Page(render_page(made)).words
    assert "schema 1" in words
    assert "4 threads" in words


def test_what_is_no_report_is_an_error() -> None:
    with pytest.raises(KeyError):
        render_page({"schema": 3})
