"""What is found once, in a pipeline or across several."""

from __future__ import annotations

from yocc.compiler.pipeline.memo import Memo, SharedMemo


def test_each_thing_is_found_once() -> None:
    memo = Memo()
    assert memo.once("a", lambda: 1) == 1
    assert memo.once("a", lambda: 2) == 1
    assert memo.once("b", lambda: 3) == 3


def test_only_a_shared_memo_keeps_what_one_pass_found() -> None:
    for memo, expected in ((Memo(), 2), (SharedMemo(), 1)):
        assert memo.across("a", lambda: 1) == 1
        assert memo.across("a", lambda: 2) == expected
