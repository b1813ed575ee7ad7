from __future__ import annotations

from pathlib import Path

import pytest

from tests.compiler.pipeline.plugins import install
from yocc.cli.listing import pass_list, target_list
from yocc.cli.reading import target_tables

BACKEND = """
from yocc.compiler.pipeline.target import Target
from yocc.runtime.backends.backend import Backend

class Odd(Backend):
    name = "odd"
    summary = "cannot say whether it is available"
    def target(self, options): return Target("odd")
    def validate(self, graph, target): return ()
    def build(self, *args, **kwargs): raise NotImplementedError
    def session(self, *args, **kwargs): raise NotImplementedError
    def available(self): raise RuntimeError("the driver is gone")
"""


def test_a_backend_that_fails_when_asked_stays_listed_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    install(tmp_path, "acme-odd", {"odd": "acme_odd:Odd"}, {"acme_odd": BACKEND}, "yocc.backends")
    found = {entry["name"]: entry for entry in target_list()}
    assert found["odd"]["problem"] == "RuntimeError: the driver is gone"
    assert found["onnxruntime"]["problem"] == ""


def test_a_target_is_ready_only_where_its_own_runtime_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    body = BACKEND.replace('raise RuntimeError("the driver is gone")', "return None").replace('"odd"', '"far"')
    body += "    def substitute(self, target): return 'there is no such chip here'\n"
    install(tmp_path, "acme-far", {"far": "acme_far:Odd"}, {"acme_far": body}, "yocc.backends")
    found = target_list()
    states = {row[0]: row[-1] for row in next(iter(target_tables(found)))[2]}
    assert states["far"] == "writes models, runs them in onnxruntime: there is no such chip here"
    assert states["onnxruntime"] == "ready"


def test_a_half_made_pass_stays_listed_with_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    module = "from yocc.compiler.pipeline.passes import Pass\nclass Half(Pass):\n    name = 'half'\n"
    install(tmp_path, "acme-half", {"half": "acme_half:Half"}, {"acme_half": module}, "yocc.passes")
    found = {entry["name"]: entry for entry in pass_list()}
    assert found["half"]["problem"] == "acme_half:Half lacks run, summary"
